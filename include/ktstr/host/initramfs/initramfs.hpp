// SPDX-License-Identifier: MIT
// Builds the guest's initramfs: the test program as /init, everything it needs to run, modules in
// loading order. Packed once per set of inputs; a second call compares file times only. Host side.
//
// The file is two cpio archives, one behind the other: libraries and modules (cached on their own,
// so that a rebuilt test does not pack them again), then the programs and files that change.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/initramfs/cpio_writer.hpp>
#include <ktstr/host/initramfs/elf_closure.hpp>
#include <ktstr/host/initramfs/guest_tree.hpp>
#include <ktstr/host/initramfs/opened_program.hpp>
#include <ktstr/host/initramfs/test_program.hpp>
#include <ktstr/host/kernel/modules.hpp>
#include <ktstr/wire/boot.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace ktstr::host {

/// A file for the guest: from the host, or with its content given here.
struct guest_file {
    std::string guest_path;
    std::filesystem::path host_path = {};  ///< empty: `content` counts
    std::string content = {};
    mode_t mode = 0644;
};

/// A program for the guest; its libraries come along.
struct guest_program {
    std::filesystem::path host_path;
    std::string guest_path = {};  ///< empty: the same as on the host
    std::shared_ptr<const opened_program> opened =
        {};  ///< as a run has opened it; empty: as it is now
};

struct initramfs_input {
    test_program init;
    std::vector<guest_program> programs;
    std::vector<guest_file> files;
    std::vector<module_file> modules;  ///< in loading order, see modules_for()
    /// The kernel's build configuration, for /boot/config-RELEASE: a BPF program with `extern __kconfig`
    /// finds it nowhere else where the kernel does not carry its own. Empty: there is none.
    std::filesystem::path kernel_config = {};
    std::string kernel_release = {};
    std::uint64_t cache_limit = std::uint64_t{2} << 30;
};

struct initramfs {
    std::filesystem::path path;         ///< the file for QEMU's -initrd
    std::uint64_t size = 0;             ///< in bytes; also what it takes of the guest's memory
    std::string id;                     ///< hash of the content
    std::string base_id;                ///< identity of the libraries and modules in it
    std::vector<std::string> modules;   ///< guest paths in loading order
    std::shared_ptr<unique_fd> in_use;  ///< keeps the file from being deleted
};

namespace detail {

inline constexpr std::string_view initramfs_kind = "initramfs";
inline constexpr std::string_view initramfs_rule = "ktstr initramfs 2";

/// Of those whose libraries are to be searched for.
inline std::vector<std::filesystem::path> paths_of(const std::vector<guest_program>& programs) {
    std::vector<std::filesystem::path> paths;
    for (const guest_program& program : programs)
        if (!program.opened)
            paths.push_back(program.host_path);
    return paths;
}

inline std::string guest_module_path(const module_file& module) {
    return wire::module_root + module.name + ".ko";
}

inline result<void> add_identity(content_hash& hash, const std::filesystem::path& path) {
    const auto identity = identity_of(path);
    if (!identity)
        return identity.error();
    hash.add(std::string_view{path.native()});
    identity->add_to(hash);
    return {};
}

/// Names a set of inputs: the test program by its content, and where it looks for its libraries; the
/// rest by paths, times and sizes, without reading it. `rule`: by which rule it is packed.
inline result<std::string> key_of(const initramfs_input& input, std::string_view rule) {
    content_hash hash;
    hash.add(rule);
    hash.add(std::string_view{input.init.path().native()}).add(std::string_view{input.init.id()});
    for (const guest_program& program : input.programs) {
        hash.add(std::string_view{program.guest_path});
        if (program.opened) {
            hash.add(std::string_view{program.host_path.native()});
            program.opened->file->identity().add_to(hash);
        } else if (auto added = add_identity(hash, program.host_path); !added)
            return added.error();
    }
    for (const guest_file& file : input.files) {
        hash.add(std::string_view{file.guest_path}).add(file.mode);
        if (file.host_path.empty())
            hash.add(std::string_view{file.content});
        else if (auto added = add_identity(hash, file.host_path); !added)
            return added.error();
    }
    for (const module_file& module : input.modules)
        if (auto added = add_identity(hash, module.path); !added)
            return added.error();
    if (!input.kernel_config.empty()) {
        hash.add(std::string_view{input.kernel_release});
        if (auto added = add_identity(hash, input.kernel_config); !added)
            return added.error();
    }
    const char* const search = std::getenv("LD_LIBRARY_PATH");
    hash.add(std::string_view{search != nullptr ? search : ""});
    return hash.hex();
}

/// What was packed, in words, for `ktstr cache`.
inline std::string about_input(const initramfs_input& input) {
    std::string text = input.init.path().string();
    for (const guest_program& program : input.programs)
        text += ", " + program.host_path.filename().string();
    return text;
}

/// `opened`: the program whose closure it is, where a run has opened it.
inline result<void> plant_libraries(guest_tree& tree, const library_closure& closure,
                                    tree_layer layer, const opened_program* opened = nullptr) {
    const auto plant = [&](const std::string& place, const std::filesystem::path& path,
                           const std::shared_ptr<const opened_file>& file) {
        return file ? tree.add_opened(place, file, 0755, layer)
                    : tree.add_file(place, path, 0755, layer);
    };
    for (std::size_t i = 0; i < closure.interpreters.size(); ++i) {
        const auto& interpreter = closure.interpreters[i];
        if (auto added = plant(tree.mirror_path(interpreter, layer), interpreter,
                               opened != nullptr ? opened->interpreters[i] : nullptr);
            !added)
            return added;
    }
    for (std::size_t i = 0; i < closure.libraries.size(); ++i) {
        const needed_library& library = closure.libraries[i];
        const std::string place = tree.mirror_path(library.path, layer);
        if (auto added =
                plant(place, library.path, opened != nullptr ? opened->libraries[i] : nullptr);
            !added)
            return added;
        // The guest has neither our LD_LIBRARY_PATH nor an ld.so.cache, and $ORIGIN of /init is /.
        if (!library.in_default_directory)
            tree.add_symlink(
                tree.mirror_path(library.default_directory / library.path.filename(), layer), place,
                layer);
    }
    return {};
}

/// The libraries of the programs that a run has opened.
inline result<void> plant_opened(guest_tree& tree, const initramfs_input& input, tree_layer layer) {
    for (const guest_program& program : input.programs)
        if (program.opened)
            if (auto planted =
                    plant_libraries(tree, program.opened->needs, layer, program.opened.get());
                !planted)
                return planted;
    return {};
}

/// Whose libraries the base layer has.
enum class base_for {
    all,   ///< every program's: nothing comes later
    init,  ///< the test program's: those that only the others need are in the top layer
};

inline result<void> plant_base(guest_tree& tree, const initramfs_input& input, base_for whom) {
    using enum tree_layer;
    for (const char* directory : {"/lib", "/lib32", "/lib64", "/bin", "/sbin"}) {
        std::error_code failed;
        if (std::filesystem::is_symlink(directory, failed))
            tree.mirror_path(std::filesystem::path(directory) / "any", base);  // and its target
    }
    for (const char* directory : {"/dev", "/proc", "/sys", "/tmp", "/run", "/root", "/ktstr"})
        if (auto added = tree.add_directory(directory, 0755, base); !added)
            return added;
    // The kernel opens /dev/console for PID 1 before anything can be mounted.
    if (auto added = tree.add_device("/dev/console", S_IFCHR | 0600, makedev(5, 1), base); !added)
        return added;
    if (auto added = tree.add_device("/dev/null", S_IFCHR | 0666, makedev(1, 3), base); !added)
        return added;

    if (!input.kernel_config.empty())
        if (auto added = tree.add_file("/boot/config-" + input.kernel_release, input.kernel_config,
                                       0644, base);
            !added)
            return added;

    const auto closure =
        find_libraries(input.init, whom == base_for::all ? paths_of(input.programs)
                                                         : std::vector<std::filesystem::path>{});
    if (!closure)
        return closure.error();
    if (auto planted = plant_libraries(tree, *closure, base); !planted)
        return planted;
    if (whom == base_for::all)
        if (auto planted = plant_opened(tree, input, base); !planted)
            return planted;
    std::string list;
    for (const module_file& module : input.modules) {
        if (auto added = tree.add_file(guest_module_path(module), module.path, 0644, base, true);
            !added)
            return added;
        list += guest_module_path(module) + '\n';
    }
    return tree.add_text(wire::module_list_path, list, 0644, base);
}

inline result<void> plant_top(guest_tree& tree, const initramfs_input& input) {
    using enum tree_layer;
    const auto closure = find_libraries(paths_of(input.programs));
    if (!closure)
        return closure.error();
    if (auto planted = plant_libraries(tree, *closure, top); !planted)
        return planted;  // what the base has already stays there
    if (auto planted = plant_opened(tree, input, top); !planted)
        return planted;
    for (const guest_program& program : input.programs) {
        std::error_code failed;
        const std::string place =
            program.guest_path.empty()
                ? tree.mirror_path(std::filesystem::absolute(program.host_path, failed), top)
                : program.guest_path;
        if (auto added = program.opened ? tree.add_opened(place, program.opened->file, 0755, top)
                                        : tree.add_file(place, program.host_path, 0755, top);
            !added)
            return added;
    }
    for (const guest_file& file : input.files)
        if (auto added = file.host_path.empty()
                             ? tree.add_text(file.guest_path, file.content, file.mode, top)
                             : tree.add_file(file.guest_path, file.host_path, file.mode, top);
            !added)
            return added;
    return {};
}

/// Both layers of a guest, but for the test program itself.
inline result<guest_tree> plant(const initramfs_input& input, base_for whom) {
    guest_tree tree;
    if (auto planted = plant_base(tree, input, whom); !planted)
        return planted.error();
    if (auto planted = plant_top(tree, input); !planted)
        return planted.error();
    return tree;
}

/// Of both layers.
inline std::string id_of(const guest_tree& tree) {
    return tree.id(tree_layer::base) + tree.id(tree_layer::top);
}

/// After packing: whether the files are still those that the key and the tree were made of. What lies
/// under a key must be what the key says, also when a build or an upgrade runs meanwhile.
inline result<void> require_unchanged(const initramfs_input& input, std::string_view rule,
                                      const std::string& key, const std::string& planted,
                                      base_for whom) {
    const auto now = key_of(input, rule);
    if (!now)
        return now.error();
    const auto again = plant(input, whom);
    if (!again)
        return again.error();
    if (*now != key || id_of(*again) != planted)
        return plain_error("pack", about_input(input), "a file of it changed meanwhile",
                           "wait for the build to end, then run again");
    return {};
}

/// Whether what would be packed now is what lies there. It is searched for again: a library may have come
/// before the one that was found. Reads headers, and no content.
inline bool is_current(const cache_entry& entry, const initramfs_input& input, base_for whom) {
    const auto tree = plant(input, whom);
    const auto was = read_text(entry.path / "tree");
    return tree && was && *was == id_of(*tree);
}

inline result<void> pack_layer(const guest_tree& tree, tree_layer layer, const unique_fd& out,
                               const std::filesystem::path& name) {
    if (!out)
        return cache_error("create", name);
    return tree.pack(layer, out.get(), name.string());
}

inline unique_fd create_file(const std::filesystem::path& path) {
    return unique_fd{::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
}

inline result<void> make_initramfs(const cache& in, const initramfs_input& input,
                                   const std::string& key, const progress_callback& progress,
                                   const std::filesystem::path& directory) {
    auto planted = plant(input, base_for::all);
    if (!planted)
        return std::move(planted).error();
    guest_tree& tree = *planted;
    const auto id = id_of(tree);
    auto init = input.init.content();
    if (!init)
        return std::move(init).error();
    if (auto added = tree.add_text("/init", std::move(*init), 0755, tree_layer::top); !added)
        return added;
    cache::make_options options;
    options.what = "the guest's libraries and modules";
    options.progress = progress;
    options.durable = false;
    const auto base =
        in.obtain(initramfs_kind, "base-" + tree.id(tree_layer::base), options,
                  [&](const std::filesystem::path& into) {
                      return pack_layer(tree, tree_layer::base, create_file(into / "base.cpio"),
                                        into / "base.cpio");
                  });
    if (!base)
        return base.error();
    const unique_fd from{::open((base->path / "base.cpio").c_str(), O_RDONLY | O_CLOEXEC)};
    if (!from)
        return system_error("open", base->path / "base.cpio");
    struct ::stat facts {};
    ::fstat(from.get(), &facts);
    const unique_fd out = create_file(directory / "initrd");
    if (!out)
        return cache_error("create", directory / "initrd");
    if (auto copied = copy_bytes(from.get(), out.get(), static_cast<std::uint64_t>(facts.st_size),
                                 (directory / "initrd").string());
        !copied)
        return copied;
    if (auto packed = tree.pack(tree_layer::top, out.get(), (directory / "initrd").string());
        !packed)
        return packed;
    if (auto same = require_unchanged(input, initramfs_rule, key, id, base_for::all); !same)
        return same;
    if (auto written = write_text(directory / "base", tree.id(tree_layer::base)); !written)
        return written;
    if (auto written = write_text(directory / "about", about_input(input)); !written)
        return written;
    return write_text(directory / "tree", id);
}

}  // namespace detail

/// The initramfs for these inputs, from the cache where possible.
inline result<initramfs> build_initramfs(const initramfs_input& input,
                                         const progress_callback& progress = {}) {
    const auto in = cache::open();
    if (!in)
        return in.error();
    const auto key = detail::key_of(input, detail::initramfs_rule);
    if (!key)
        return key.error();
    cache::make_options options;
    options.what = "the initramfs of " + input.init.path().string();
    options.progress = progress;
    options.durable = false;  // a lost one is noticed by its manifest, and made again
    bool made = false;
    const auto entry = in->obtain_if(
        detail::initramfs_kind, *key, options,
        [&](const std::filesystem::path& directory) {
            made = true;
            return detail::make_initramfs(*in, input, *key, progress, directory);
        },
        [&](const cache_entry& there) {
            return detail::is_current(there, input, detail::base_for::all);
        });
    if (!entry)
        return entry.error();
    if (made)
        in->evict(detail::initramfs_kind, input.cache_limit);
    auto base = detail::read_text(entry->path / "base");
    if (!base)
        return std::move(base).error();
    initramfs ready;
    ready.base_id = std::move(*base);
    ready.path = entry->path / "initrd";
    for (const manifest_file& file : entry->content.files)
        if (file.path == "initrd") {
            ready.size = file.size;
            ready.id = file.hash;
        }
    for (const module_file& module : input.modules)
        ready.modules.push_back(detail::guest_module_path(module));
    ready.in_use = entry->in_use;
    return ready;
}

}  // namespace ktstr::host

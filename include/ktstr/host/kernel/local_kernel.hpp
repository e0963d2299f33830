// SPDX-License-Identifier: MIT
// Kernels that are already on this machine, outside the cache: an image, a build tree, an unpacked
// package, /lib/modules/VERSION, the running kernel. Finds the image's modules and configuration
// near it; keeps the unpacked ELF of a bzImage in the cache. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/kernel/cached_kernel.hpp>
#include <ktstr/host/kernel/kernel.hpp>
#include <ktstr/host/kernel/kernel_config.hpp>
#include <ktstr/host/kernel/kernel_image.hpp>
#include <ktstr/host/vm/architecture.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <sys/utsname.h>

namespace ktstr::host {

namespace detail {

inline constexpr std::string_view images_kind = "images";

/// Unpacks and examines an image into a cache directory: image.info, maybe vmlinux and config.
inline result<void> examine_image(const std::filesystem::path& image,
                                  const std::filesystem::path& directory,
                                  const progress_callback& progress) {
    const auto file = mapped_file::open(image);
    if (!file)
        return file.error();
    const image_kind kind = kind_of_image(file->bytes());
    if (kind == image_kind::unknown)
        return plain_error("use the kernel", image,
                           "it is neither a bzImage, an ELF kernel nor "
                           "an arm64 Image",
                           "pass " + std::string(machine_architecture.compressed_image) +
                               " or vmlinux of a built tree");
    info_map info;
    std::string name = image.string();
    std::replace(name.begin(), name.end(), '\n', '?');  // one line for each fact
    info["image"] = std::move(name);
    info["hash"] = hash_text(file->bytes());
    info["release"] = release_of_image(file->bytes()).value_or("");
    info["pvh"] = has_pvh_note(file->bytes()) ? "1" : "0";
    std::string_view plain = file->bytes();
    std::optional<mapped_file> unpacked;
    if (kind == image_kind::bzimage) {
        const std::filesystem::path vmlinux = directory / "vmlinux";
        if (auto done = extract_vmlinux(image, vmlinux); !done) {
            if (done.error().code == ENOSPC)
                return done;
            // It still boots through its own decompressor; look again when the tool is there.
            info["again"] = "1";
            plain = {};
            if (progress)
                progress("the kernel boots slower than it could: " + done.error().message());
        } else {
            auto mapped = mapped_file::open(vmlinux);
            if (!mapped)
                return mapped.error();
            unpacked.emplace(*std::move(mapped));
            plain = unpacked->bytes();
            info["pvh"] = has_pvh_note(plain) ? "1" : "0";
        }
    }
    if (kind == image_kind::vmlinux && info["pvh"] == "0" &&
        machine_architecture.elf_kernel_needs_pvh &&
        read_at<Elf64_Ehdr>(plain, 0).value_or(Elf64_Ehdr{}).e_machine ==
            machine_architecture.elf_machine)
        return plain_error("boot the kernel", image,
                           "it has no PVH note, which QEMU needs to start an ELF kernel",
                           "pass the bzImage instead, or build with CONFIG_PVH=y");
    auto embedded = kernel_config::embedded_in(plain);
    if (embedded && embedded->has_value())
        if (auto written = write_text(directory / "config", (*embedded)->text()); !written)
            return written;
    if (kind == image_kind::bzimage && info["pvh"] == "0") {
        std::error_code ignored;
        std::filesystem::remove(directory / "vmlinux", ignored);
    }
    return write_text(directory / "image.info", info_text(info));
}

/// The top of the build tree that an image belongs to, or nothing.
inline std::optional<std::filesystem::path> build_tree_of(const std::filesystem::path& image) {
    std::filesystem::path at = image.parent_path();
    for (int level = 0; level < 4 && at.has_relative_path(); ++level, at = at.parent_path())
        if (!if_there(at / "include/config/kernel.release").empty())
            return at;
    return std::nullopt;
}

inline std::filesystem::path modules_near(const std::filesystem::path& image,
                                          const std::string& release) {
    const std::filesystem::path here = image.parent_path();
    if (const auto tree = build_tree_of(image))
        return is_module_directory(*tree) ? *tree : std::filesystem::path();
    std::vector<std::filesystem::path> candidates;
    if (here.filename() == release)
        candidates.push_back(here);
    for (const auto& base : {here, here.parent_path()})
        for (const std::string_view lib : {"lib/modules", "usr/lib/modules"})
            candidates.push_back(base / lib / release);
    candidates.push_back(here / "modules");
    for (const std::filesystem::path& candidate : candidates)
        if (!release.empty() && is_module_directory(candidate))
            return candidate;
    return {};
}

inline std::filesystem::path config_near(const std::filesystem::path& image,
                                         const std::string& release,
                                         const std::filesystem::path& modules) {
    const std::filesystem::path here = image.parent_path();
    std::vector<std::filesystem::path> candidates;
    if (const auto tree = build_tree_of(image))
        candidates.push_back(*tree / ".config");
    if (!modules.empty())
        candidates.push_back(modules / "config");
    candidates.push_back(here / ("config-" + release));
    candidates.push_back(here.parent_path() / "boot" / ("config-" + release));
    if (!modules.empty())
        candidates.push_back(modules.parent_path().parent_path().parent_path() / "boot" /
                             ("config-" + release));
    candidates.push_back(here / "config");
    for (const std::filesystem::path& candidate : candidates)
        if (!if_there(candidate).empty())
            return candidate;
    return {};
}

inline result<kernel> kernel_of_image(const cache& in, const std::filesystem::path& given,
                                      const progress_callback& progress) {
    std::error_code failed;
    const std::filesystem::path image = std::filesystem::canonical(given, failed);
    if (failed)
        return system_error("find the kernel", given, "", failed.value());
    const auto identity = identity_of(image);
    if (!identity)
        return identity.error();
    content_hash key;
    key.add(std::string_view{image.native()});
    identity->add_to(key);
    cache::make_options options;
    options.what = "the kernel image " + image.string();
    options.progress = progress;
    bool made = false;
    const auto entry = in.obtain_if(
        images_kind, key.hex(), options,
        [&](const std::filesystem::path& directory) {
            made = true;
            return examine_image(image, directory, progress);
        },
        [](const cache_entry& there) {
            return !read_info(there.path / "image.info").contains("again");
        });
    if (!entry)
        return entry.error();
    if (made)  // every rebuild of a kernel leaves one behind
        in.evict(images_kind, std::uint64_t{1} << 30);
    const info_map info = read_info(entry->path / "image.info");
    kernel found;
    found.release = info_value(info, "release");
    if (found.release.empty())
        if (const std::string file = image.filename(); file.find('-') != std::string::npos)
            found.release = file.substr(file.find('-') + 1);
    found.pvh = info_value(info, "pvh") == "1";
    found.image = image;
    if (const auto unpacked = if_there(entry->path / "vmlinux"); !unpacked.empty()) {
        found.image = unpacked;
        found.bzimage = image;
    } else if (!found.pvh) {
        found.bzimage = image;
    }
    found.modules = modules_near(image, found.release);
    found.config = config_near(image, found.release, found.modules);
    if (found.config.empty())
        found.config = if_there(entry->path / "config");
    found.id = hash_text(info_value(info, "hash") + found.modules.native());
    found.source = given;
    found.in_use = entry->in_use;
    return found;
}

/// Images directly in a directory whose names start with one of the usual words.
inline void images_in(const std::filesystem::path& directory,
                      std::set<std::filesystem::path>& found) {
    std::error_code failed;
    for (std::filesystem::directory_iterator at(directory, failed), end; !failed && at != end;
         at.increment(failed)) {
        const std::string name = at->path().filename();
        std::error_code ignored;
        if (at->is_regular_file(ignored) &&
            (name == "vmlinuz" || name.starts_with("vmlinuz-") || name == "bzImage" ||
             name == "Image" || name == "vmlinux" || name.starts_with("vmlinux-")))
            found.insert(at->path());
    }
}

inline result<kernel> kernel_of_directory(const cache& in, const std::filesystem::path& directory,
                                          const progress_callback& progress) {
    // A build tree: the ELF at its top boots without a decompressor, if it can.
    if (!if_there(directory / "include/config/kernel.release").empty()) {
        const auto compressed = if_there(directory / machine_architecture.compressed_image);
        const auto vmlinux = if_there(directory / "vmlinux");
        if (!vmlinux.empty()) {
            auto direct = kernel_of_image(in, vmlinux, progress);
            if (direct) {
                direct->bzimage = compressed;
                return direct;
            }
        }
        if (!compressed.empty())
            return kernel_of_image(in, compressed, progress);
        return plain_error("use the kernel tree", directory, "it is configured but not built",
                           "run make there first");
    }
    std::set<std::filesystem::path> images;
    images_in(directory, images);
    images_in(directory / "boot", images);
    for (const std::string_view lib : {"lib/modules", "usr/lib/modules"}) {
        std::error_code failed;
        if (lib == "lib/modules" && std::filesystem::is_symlink(directory / "lib", failed))
            continue;  // merged /usr: the same files again
        for (std::filesystem::directory_iterator at(directory / lib, failed), end;
             !failed && at != end; at.increment(failed))
            images_in(at->path(), images);
    }
    if (images.empty() && is_module_directory(directory)) {
        // /lib/modules/VERSION or its like below another root: the image is in that root's /boot.
        const std::string name = "vmlinuz-" + directory.filename().string();
        for (std::filesystem::path root = directory.parent_path(); root.has_relative_path();) {
            root = root.parent_path();
            if (const auto image = if_there(root / "boot" / name); !image.empty())
                images.insert(image);
        }
    }
    if (images.empty())
        return plain_error("find a kernel in", directory,
                           "no vmlinuz, bzImage or vmlinux there, in boot/ or in lib/modules/",
                           "pass the image itself, or the top of a built kernel tree");
    std::optional<kernel> best;
    std::string releases;
    for (const std::filesystem::path& image : images) {
        auto one = kernel_of_image(in, image, progress);
        if (!one) {
            if (images.size() == 1)
                return one;
            continue;
        }
        if (!best || best->release != one->release)
            releases += (releases.empty() ? "" : ", ") + one->release;
        if (best && best->release != one->release)
            return plain_error("choose a kernel in", directory, "it holds several: " + releases,
                               "pass one image");
        // Of one release's images take the ELF that was given as such, else the one with modules.
        if (!best || (one->pvh && !best->pvh) || (best->modules.empty() && !one->modules.empty()))
            best = *std::move(one);
    }
    if (!best)
        return plain_error("find a kernel in", directory, "no image there can be booted");
    return *std::move(best);
}

inline result<kernel> kernel_of_host(const cache& in, const progress_callback& progress) {
    ::utsname names{};
    ::uname(&names);
    const std::string release = names.release;
    for (const std::filesystem::path& image :
         {std::filesystem::path("/boot/vmlinuz-" + release),
          std::filesystem::path("/lib/modules/" + release + "/vmlinuz"),
          std::filesystem::path("/boot/vmlinux-" + release)})
        if (!if_there(image).empty()) {
            auto found = kernel_of_image(in, image, progress);
            if (found)
                found->source = "host";
            return found;
        }
    return plain_error("find the image of the running kernel", release,
                       "neither /boot/vmlinuz-" + release + " nor /lib/modules/" + release +
                           "/vmlinuz is there (in a container it is the host's)",
                       "use --kernel distro, or pass the path of an image");
}

}  // namespace detail
}  // namespace ktstr::host

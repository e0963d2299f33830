// SPDX-License-Identifier: MIT
// What a test brings to a clone, as two read-only disks: the test program, and files such as its
// scheduler with the libraries that it alone needs. Those of the test program and the modules are in
// the template already; their identity is base_id. Packed once per set of inputs, as the initramfs is.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/initramfs/elf_closure.hpp>
#include <ktstr/host/initramfs/erofs_writer.hpp>
#include <ktstr/host/initramfs/initramfs.hpp>
#include <ktstr/host/vm/architecture.hpp>
#include <ktstr/wire/boot.hpp>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <unistd.h>

namespace ktstr::host {

struct payload {
    std::filesystem::path program;         ///< the image of the first disk
    std::filesystem::path files;           ///< and of the second
    std::array<std::uint64_t, 2> sizes{};  ///< theirs, bytes; as those of the template
    std::uint64_t unpacked =
        0;                 ///< bytes the whole guest tree takes, in steps; for the memory rule
    std::string files_id;  ///< content of the second disk
    std::string base_id;   ///< identity of the libraries and modules below it
    /// The test program, by content, where it is what loads the scheduler: that one is a BPF object. A machine that has
    /// it attached runs this program and has read its disk, so no other program may be on that disk. Else empty.
    std::string loader;
    std::shared_ptr<unique_fd> in_use;
};

/// A disk's size can't change under a guest that has seen it, so sizes come in few steps: a rebuilt
/// scheduler fits the disk that its template knows.
[[nodiscard]] constexpr std::uint64_t payload_disk_size(std::uint64_t image) {
    std::uint64_t size = std::uint64_t{16} << 20;
    while (size < image)
        size *= 2;
    return size;
}

/// The length of the program's file on its disk. The template's kernel has looked at that file, so it
/// has to be as long for every program; what is behind a program's bytes, nobody reads.
[[nodiscard]] constexpr std::uint64_t program_room(std::uint64_t program) {
    std::uint64_t room = std::uint64_t{8} << 20;
    while (room < program)
        room *= 2;
    return room;
}

namespace detail {

inline constexpr std::string_view payload_kind = "payload";
inline constexpr std::string_view payload_rule = "ktstr payload 2";

/// Writes one disk of a payload. Returns its size.
inline result<std::uint64_t> make_disk(const guest_tree& tree, const std::filesystem::path& path) {
    const unique_fd out = create_file(path);
    if (!out)
        return cache_error("create", path);
    const auto image = write_erofs(tree, tree_layer::top, out.get(), path.string());
    if (!image)
        return image.error();
    const auto size = payload_disk_size(*image);
    if (::ftruncate(out.get(), static_cast<off_t>(size)) != 0)
        return cache_error("write", path);
    return size;
}

inline result<void> make_payload(const initramfs_input& input, const std::string& key,
                                 const std::filesystem::path& directory) {
    auto planted = plant(input, base_for::init);
    if (!planted)
        return std::move(planted).error();
    const guest_tree& tree = *planted;
    if (auto made = make_disk(tree, directory / "files"); !made)
        return made.error();
    auto program = input.init.content();
    if (!program)
        return std::move(program).error();
    std::uint64_t unpacked = program->size();
    guest_tree first;
    if (auto added = first.add_text("/init", std::move(*program), 0755, tree_layer::top,
                                    program_room(unpacked));
        !added)
        return added;
    if (auto made = make_disk(first, directory / "program"); !made)
        return made.error();
    // In steps, so that a program that grows a little keeps its machine's size, and its template.
    for (const auto& [at, node] : tree.nodes())
        unpacked += node.identity.size;
    unpacked = (unpacked >> 25) + 1;
    if (auto same = require_unchanged(input, payload_rule, key, id_of(tree), base_for::init); !same)
        return same;
    if (auto written = write_text(directory / "unpacked", std::to_string(unpacked << 25)); !written)
        return written;
    if (auto written = write_text(directory / "base", tree.id(tree_layer::base)); !written)
        return written;
    if (auto written = write_text(directory / "about", about_input(input)); !written)
        return written;
    return write_text(directory / "tree", id_of(tree));
}

/// See payload.
inline result<std::string> loader_in(const initramfs_input& input) {
    for (const auto& program : input.programs)
        if (program.guest_path == wire::scheduler_path) {
            const auto facts =
                read_elf(program.opened ? program.opened->file->again() : program.host_path);
            if (!facts)
                return facts.error();
            if (facts->machine == bpf_machine)
                return input.init.id();
        }
    return std::string();
}

}  // namespace detail

/// The payload for these inputs, from the cache where possible.
inline result<payload> build_payload(const cache& in, const initramfs_input& input,
                                     const progress_callback& progress = {}) {
    const auto key = detail::key_of(input, detail::payload_rule);
    if (!key)
        return key.error();
    cache::make_options options;
    options.what = "the files of " + input.init.path().string();
    options.progress = progress;
    options.durable = false;
    bool made = false;
    const auto entry = in.obtain_if(
        detail::payload_kind, *key, options,
        [&](const std::filesystem::path& directory) {
            made = true;
            return detail::make_payload(input, *key, directory);
        },
        [&](const cache_entry& there) {
            return detail::is_current(there, input, detail::base_for::init);
        });
    if (!entry)
        return entry.error();
    if (made)
        in.evict(detail::payload_kind, input.cache_limit);
    auto base = detail::read_text(entry->path / "base");
    if (!base)
        return std::move(base).error();
    const auto unpacked = detail::read_text(entry->path / "unpacked");
    if (!unpacked)
        return unpacked.error();
    auto loader = detail::loader_in(input);
    if (!loader)
        return std::move(loader).error();
    payload ready;
    ready.loader = std::move(*loader);
    ready.unpacked = std::strtoull(unpacked->c_str(), nullptr, 10);
    ready.program = entry->path / "program";
    ready.files = entry->path / "files";
    ready.base_id = std::move(*base);
    ready.in_use = entry->in_use;
    for (const manifest_file& file : entry->content.files)
        if (file.path == "program" || file.path == "files")
            ready.sizes[file.path == "program" ? 0 : 1] = file.size;
    for (const manifest_file& file : entry->content.files)
        if (file.path == "files")
            ready.files_id = file.hash;
    return ready;
}

}  // namespace ktstr::host

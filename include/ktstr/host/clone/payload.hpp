// SPDX-License-Identifier: MIT
// What reaches a clone after it has started: the current test program and its files, as a read-only
// disk. The libraries and modules are in the template already; their identity is base_id. Packed
// once per set of inputs, as the initramfs is. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/initramfs/erofs_writer.hpp>
#include <ktstr/host/initramfs/initramfs.hpp>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include <unistd.h>

namespace ktstr::host {

struct payload {
    std::filesystem::path image;
    std::uint64_t unpacked =
        0;  ///< bytes the whole guest tree takes, in steps; for the memory rule
    std::uint64_t disk_size = 0;  ///< bytes; the same for a template and all of its clones
    std::string program_id;       ///< identity of the test program
    std::string base_id;          ///< identity of the libraries and modules below it
    std::shared_ptr<unique_fd> in_use;
};

/// A disk's size can't change under a guest that has seen it, so sizes come in few steps: a rebuilt
/// program fits the disk that its template knows.
[[nodiscard]] constexpr std::uint64_t payload_disk_size(std::uint64_t image) {
    std::uint64_t size = std::uint64_t{64} << 20;
    while (size < image)
        size *= 2;
    return size;
}

namespace detail {

inline constexpr std::string_view payload_kind = "payload";

inline result<void> make_payload(const initramfs_input& input,
                                 const std::filesystem::path& directory) {
    auto planted = plant(input);
    if (!planted)
        return std::move(planted).error();
    const guest_tree& tree = *planted;
    const auto path = directory / "image";
    const unique_fd out = create_file(path);
    if (!out)
        return cache_error("create", path);
    const auto size = write_erofs(tree, tree_layer::top, out.get(), path.string());
    if (!size)
        return size.error();
    if (::ftruncate(out.get(), static_cast<off_t>(payload_disk_size(*size))) != 0)
        return cache_error("write", path);
    // In steps, so that a program that grows a little keeps its machine's size, and its template.
    std::uint64_t unpacked = 0;
    for (const auto& [at, node] : tree.nodes())
        unpacked += node.identity.size;
    unpacked = (unpacked >> 25) + 1;
    if (auto written = write_text(directory / "unpacked", std::to_string(unpacked << 25)); !written)
        return written;
    if (auto written = write_text(directory / "base", tree.id(tree_layer::base)); !written)
        return written;
    if (auto written = write_text(directory / "about", about_input(input)); !written)
        return written;
    return write_text(directory / "libraries", library_record(tree));
}

}  // namespace detail

/// The payload for these inputs, from the cache where possible.
inline result<payload> build_payload(const cache& in, const initramfs_input& input,
                                     const progress_callback& progress = {}) {
    const auto key = detail::key_of(input);
    if (!key)
        return key.error();
    cache::make_options options;
    options.what = "the files of " + input.init_elf.string();
    options.progress = progress;
    options.durable = false;
    bool made = false;
    const auto entry = in.obtain_if(
        detail::payload_kind, *key, options,
        [&](const std::filesystem::path& directory) {
            made = true;
            return detail::make_payload(input, directory);
        },
        [](const cache_entry& there) { return detail::libraries_unchanged(there); });
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
    content_hash program;
    if (auto added = detail::add_identity(program, input.init_elf); !added)
        return added.error();
    payload ready;
    ready.program_id = program.hex();
    ready.unpacked = std::strtoull(unpacked->c_str(), nullptr, 10);
    ready.image = entry->path / "image";
    ready.base_id = std::move(*base);
    ready.in_use = entry->in_use;
    for (const manifest_file& file : entry->content.files)
        if (file.path == "image")
            ready.disk_size = file.size;
    return ready;
}

}  // namespace ktstr::host

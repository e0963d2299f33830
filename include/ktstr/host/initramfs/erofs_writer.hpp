// SPDX-License-Identifier: MIT
// Writes a read-only file system image that a guest mounts: EROFS, uncompressed, every file in whole
// blocks (Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h). A guest reads only the pages it
// touches, so a large test program costs no more than a small one. Equal input gives equal bytes.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/initramfs/cpio_writer.hpp>
#include <ktstr/host/initramfs/guest_tree.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ktstr::host {

namespace detail {

inline constexpr std::uint64_t erofs_block = 4096;

/// One file of the image; directories get their entries when all names are known.
struct erofs_node {
    mode_t mode = S_IFDIR | 0755;
    std::map<std::string, std::size_t> children;  ///< of a directory, without "." and ".."
    std::size_t parent = 0;                       ///< a directory's
    std::uint64_t size = 0;
    std::uint32_t first_block = 0;
    const tree_node* source = nullptr;  ///< where a file's bytes come from
    std::string bytes;                  ///< of a directory, a symlink, or a file given as text
};

class erofs_image {
public:
    erofs_image() { nodes_.emplace_back(); }

    /// Makes the directories on the way. `path` is absolute.
    std::size_t place(std::string_view path) {
        std::size_t at = 0;
        while (!path.empty()) {
            const auto slash = path.find('/');
            const std::string part(path.substr(0, slash));
            path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
            if (part.empty())
                continue;
            const auto [child, fresh] = nodes_[at].children.try_emplace(part, nodes_.size());
            const std::size_t next = child->second;
            if (fresh)
                nodes_.emplace_back().parent = at;
            at = next;
        }
        return at;
    }
    [[nodiscard]] erofs_node& node(std::size_t index) { return nodes_[index]; }
    [[nodiscard]] std::vector<erofs_node>& nodes() { return nodes_; }

    /// The number an inode is found by: its place in the table of 32-byte slots, whose first stays
    /// empty so that no inode has number 0.
    static std::uint64_t number_of(std::size_t index) { return index + 1; }

    /// The blocks of a directory: entries sorted by name, the names behind them.
    [[nodiscard]] std::string directory_bytes(std::size_t index) const {
        const auto& self = nodes_[index];
        std::vector<std::pair<std::string, std::size_t>> names(self.children.begin(),
                                                               self.children.end());
        names.emplace_back(".", index);
        names.emplace_back("..", self.parent);
        std::sort(names.begin(), names.end());
        std::string all;
        for (std::size_t begin = 0; begin < names.size();) {
            std::size_t end = begin, taken = 0;
            while (end < names.size() && taken + 12 + names[end].first.size() <= erofs_block)
                taken += 12 + names[end++].first.size();
            all.resize((all.size() + erofs_block - 1) / erofs_block * erofs_block);
            std::string heads, tails;
            for (std::size_t i = begin; i < end; ++i) {
                put(heads, number_of(names[i].second), 8);
                put(heads, (end - begin) * 12 + tails.size(), 2);
                put(heads, type_of(nodes_[names[i].second].mode), 1);
                put(heads, 0, 1);
                tails += names[i].first;
            }
            all += heads + tails;
            begin = end;
        }
        return all;
    }

    [[nodiscard]] std::string inode_bytes(std::size_t index) const {
        const auto& self = nodes_[index];
        std::uint64_t links = 1;
        if (S_ISDIR(self.mode)) {
            links = 2;
            for (const auto& [name, child] : self.children)
                links += S_ISDIR(nodes_[child].mode) ? 1 : 0;
        }
        std::string out;
        put(out, 0, 2);  // compact inode, its data in whole blocks
        put(out, 0, 2);
        put(out, self.mode, 2);
        put(out, links, 2);
        put(out, self.size, 4);
        put(out, 0, 4);
        put(out, self.first_block, 4);
        put(out, number_of(index), 4);
        put(out, 0, 8);  // owner root; reserved
        return out;
    }

    static void put(std::string& out, std::uint64_t value, int bytes) {
        for (int i = 0; i < bytes; ++i)
            out.push_back(static_cast<char>((value >> (8 * i)) & 0xffU));
    }

private:
    static std::uint64_t type_of(mode_t mode) { return S_ISDIR(mode) ? 2 : S_ISLNK(mode) ? 7 : 1; }

    std::vector<erofs_node> nodes_;
};

}  // namespace detail

/// Writes the layer's files as one image into the empty file `fd`, which `name` names in messages.
/// Returns the image's size in bytes. Device nodes are left out: a guest has its own.
inline result<std::uint64_t> write_erofs(const guest_tree& tree, tree_layer layer, int fd,
                                         const std::string& name) {
    using detail::erofs_block, detail::erofs_image;
    erofs_image image;
    for (const auto& [path, source] : tree.nodes()) {
        if (source.layer != layer || (!S_ISREG(source.mode) && !S_ISLNK(source.mode)))
            continue;
        const auto at = image.place(path);
        auto& node = image.node(at);
        node.mode = source.mode;
        node.source = &source;
        if (source.source.empty()) {
            node.bytes = source.content;
            node.size = std::max<std::uint64_t>(node.bytes.size(), source.room);
        } else {
            node.size = source.identity.size;
        }
        if (node.size > 0xffffffffU)
            return plain_error("pack", source.source, "it is larger than 4 GiB");
    }
    auto& nodes = image.nodes();
    for (std::size_t i = 0; i < nodes.size(); ++i)
        if (S_ISDIR(nodes[i].mode)) {
            nodes[i].bytes = image.directory_bytes(i);
            nodes[i].size = nodes[i].bytes.size();
        }
    // Block 0 holds the superblock, the inodes follow, then everything else.
    const auto blocks_of = [](std::uint64_t size) {
        return (size + erofs_block - 1) / erofs_block;
    };
    std::uint64_t next = 1 + blocks_of((nodes.size() + 1) * 32);
    for (auto& node : nodes) {
        node.first_block = static_cast<std::uint32_t>(next);
        next += blocks_of(node.size);
    }
    std::string head(1024, '\0');
    erofs_image::put(head, 0xE0F5E1E2U, 4);
    erofs_image::put(head, 0, 8);   // no checksum, no compatible features
    erofs_image::put(head, 12, 1);  // blocks of 4096 bytes
    erofs_image::put(head, 0, 1);
    erofs_image::put(head, erofs_image::number_of(0), 2);
    erofs_image::put(head, nodes.size(), 8);
    head.append(12, '\0');  // made at the epoch: equal input, equal bytes
    erofs_image::put(head, next, 4);
    erofs_image::put(head, 1, 4);  // where the inodes start
    head.resize(erofs_block);
    head.append(32, '\0');
    for (std::size_t i = 0; i < nodes.size(); ++i)
        head += image.inode_bytes(i);
    const auto write_at = [&](std::string_view bytes, std::uint64_t at) -> result<void> {
        while (!bytes.empty()) {
            const auto n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return cache_error("write", name);
            bytes.remove_prefix(static_cast<std::size_t>(n));
            at += static_cast<std::uint64_t>(n);
        }
        return {};
    };
    if (auto written = write_at(head, 0); !written)
        return written.error();
    for (const auto& node : nodes) {
        const auto at = node.first_block * erofs_block;
        if (node.source == nullptr || node.source->source.empty()) {
            if (auto written = write_at(node.bytes, at); !written)
                return written.error();
            continue;
        }
        const unique_fd from{::open(node.source->readable().c_str(), O_RDONLY | O_CLOEXEC)};
        if (!from)
            return system_error("open", node.source->source);
        if (::lseek(fd, static_cast<off_t>(at), SEEK_SET) < 0)
            return cache_error("write", name);
        if (auto copied = copy_bytes(from.get(), fd, node.size, name); !copied)
            return copied.error();
        struct ::stat after {};
        ::fstat(from.get(), &after);
        if (!node.source->is_unchanged(identity_of(after)))
            return plain_error("pack", node.source->source, "it changed meanwhile",
                               "wait for the build to end, then run again");
    }
    const std::uint64_t size = next * erofs_block;
    if (::ftruncate(fd, static_cast<off_t>(size)) != 0)
        return cache_error("write", name);
    return size;
}

}  // namespace ktstr::host

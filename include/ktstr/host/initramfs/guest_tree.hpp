// SPDX-License-Identifier: MIT
// The files of a guest before they are packed: what is where, in two layers. The base layer stays
// the same from build to build, the top layer holds what changes. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/content_hash.hpp>
#include <ktstr/host/initramfs/cpio_writer.hpp>
#include <ktstr/host/initramfs/opened_file.hpp>
#include <ktstr/host/kernel/modules.hpp>

#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ktstr::host {

enum class tree_layer { base, top };

struct tree_node {
    tree_layer layer = tree_layer::base;
    mode_t mode = 0;               ///< type and permissions
    std::string content;           ///< a file without `source`; a symlink's target
    std::filesystem::path source;  ///< a file's content on the host
    file_identity identity;        ///< of the source when it was added
    bool decompress = false;       ///< the source is a module that may be compressed
    std::uint64_t room = 0;        ///< in an image, the length of a file without `source`
    dev_t device = 0;
    std::shared_ptr<const opened_file> opened;  ///< the source, where a run has opened it

    /// What to open for the bytes of `source`.
    [[nodiscard]] std::filesystem::path readable() const {
        return opened ? opened->again() : source;
    }
    /// Whether they are still those that were added.
    [[nodiscard]] bool is_unchanged(const file_identity& now) const {
        return opened ? same_bytes(now, identity) : now == identity;
    }
};

class guest_tree {
public:
    /// A path that means the same on the host: symbolic links on the way to it (merged /usr) are
    /// made in the guest too, and the file gets the name it was asked for.
    std::string mirror_path(const std::filesystem::path& path, tree_layer layer) {
        return walk(path, layer, true);
    }

    result<void> add_directory(const std::string& path, mode_t mode, tree_layer layer) {
        tree_node node;
        node.layer = layer;
        node.mode = S_IFDIR | mode;
        return add(walk(path, layer, false), std::move(node));
    }
    result<void> add_device(const std::string& path, mode_t mode, dev_t number, tree_layer layer) {
        tree_node node;
        node.layer = layer;
        node.mode = mode;
        node.device = number;
        return add(walk(path, layer, false), std::move(node));
    }
    /// Does nothing when something is there already.
    void add_symlink(const std::string& path, const std::string& target, tree_layer layer) {
        tree_node node;
        node.layer = layer;
        node.mode = S_IFLNK | 0777;
        node.content = target;
        nodes_.try_emplace(walk(path, layer, false), std::move(node));
    }
    /// `room`: in an image the file is made this long, with zeros behind the content.
    result<void> add_text(const std::string& path, std::string content, mode_t mode,
                          tree_layer layer, std::uint64_t room = 0) {
        tree_node node;
        node.layer = layer;
        node.mode = S_IFREG | mode;
        node.content = std::move(content);
        node.room = room;
        return add(walk(path, layer, false), std::move(node));
    }
    /// `path` is a guest path, or the result of mirror_path().
    result<void> add_file(const std::string& path, const std::filesystem::path& source, mode_t mode,
                          tree_layer layer, bool decompress = false) {
        tree_node node;
        const auto identity = identity_of(source);
        if (!identity)
            return identity.error();
        node.layer = layer;
        node.mode = S_IFREG | mode;
        node.source = source;
        node.identity = *identity;
        node.decompress = decompress;
        return add(walk(path, layer, false), std::move(node));
    }
    /// The same of a file that is open, whatever its path leads to now.
    result<void> add_opened(const std::string& path, std::shared_ptr<const opened_file> source,
                            mode_t mode, tree_layer layer) {
        tree_node node;
        node.layer = layer;
        node.mode = S_IFREG | mode;
        node.source = source->path();
        node.identity = source->identity();
        node.opened = std::move(source);
        return add(walk(path, layer, false), std::move(node));
    }

    /// Identifies a layer without reading the files in it.
    [[nodiscard]] std::string id(tree_layer layer) const {
        content_hash hash;
        hash.add(std::string_view{"ktstr tree 2"});
        for (const auto& [path, node] : nodes_) {
            if (node.layer != layer)
                continue;
            hash.add(std::string_view{path}).add(node.mode).add(std::string_view{node.content});
            hash.add(std::string_view{node.source.native()}).add(node.device);
            node.identity.add_to(hash);
        }
        return hash.hex();
    }

    [[nodiscard]] const std::map<std::string, tree_node>& nodes() const { return nodes_; }

    /// Appends one layer to an archive file.
    result<void> pack(tree_layer layer, int fd, const std::string& name) const {
        cpio_writer archive(fd, name);
        for (const auto& [path, node] : nodes_) {
            if (node.layer != layer)
                continue;
            if (auto packed = pack_one(archive, path, node); !packed)
                return packed;
        }
        return archive.finish();
    }

private:
    result<void> pack_one(cpio_writer& archive, const std::string& path,
                          const tree_node& node) const {
        const mode_t permissions = node.mode & 07777U;
        if (S_ISDIR(node.mode))
            return archive.directory(path, permissions);
        if (S_ISLNK(node.mode))
            return archive.symlink(path, node.content);
        if (!S_ISREG(node.mode))
            return archive.device(path, node.mode, node.device);
        if (node.source.empty())
            return archive.file(path, permissions, node.content);
        if (node.decompress) {
            const auto plain = read_module(node.source);
            return plain ? archive.file(path, permissions, *plain) : plain.error();
        }
        const unique_fd from{::open(node.readable().c_str(), O_RDONLY | O_CLOEXEC)};
        if (!from)
            return system_error("open", node.source);
        struct ::stat before {
        }, after{};
        ::fstat(from.get(), &before);
        if (auto packed = archive.file(path, permissions, from.get(),
                                       static_cast<std::uint64_t>(before.st_size));
            !packed)
            return packed;
        ::fstat(from.get(), &after);
        if (!node.is_unchanged(identity_of(before)) || !node.is_unchanged(identity_of(after)))
            return plain_error("pack", node.source, "it changed meanwhile",
                               "wait for the build to end, then run again");
        return {};
    }

    /// Follows the tree's symlinks (and with `mirror` the host's, which it copies) along all but
    /// the last part of the path, and makes the directories on the way.
    std::string walk(const std::filesystem::path& path, tree_layer layer, bool mirror) {
        std::list<std::string> parts;
        for (const auto& part : path.lexically_normal())
            if (part != "/" && !part.empty())
                parts.push_back(part);
        std::string at;
        for (int links = 0; parts.size() > 1;) {
            const std::string next = at + '/' + parts.front();
            parts.pop_front();
            std::string target;
            if (const auto known = nodes_.find(next); known != nodes_.end()) {
                if (S_ISLNK(known->second.mode))
                    target = known->second.content;
            } else if (std::error_code failed;
                       mirror && std::filesystem::is_symlink(next, failed)) {
                target = std::filesystem::read_symlink(next, failed);
                add_symlink_node(next, target, layer);
            }
            if (target.empty() || ++links > 40) {
                tree_node directory;
                directory.layer = layer;
                directory.mode = S_IFDIR | 0755;
                nodes_.try_emplace(next, std::move(directory));
                at = next;
                continue;
            }
            const std::filesystem::path from =
                target.starts_with('/') ? std::filesystem::path(target)
                                        : std::filesystem::path(at.empty() ? "/" : at) / target;
            auto rest = parts.begin();
            for (const auto& part : from.lexically_normal())
                if (part != "/" && !part.empty())
                    parts.insert(rest, part);
            at.clear();
        }
        return parts.empty() ? at : at + '/' + parts.front();
    }

    void add_symlink_node(const std::string& path, const std::string& target, tree_layer layer) {
        tree_node node;
        node.layer = layer;
        node.mode = S_IFLNK | 0777;
        node.content = target;
        nodes_.try_emplace(path, std::move(node));
    }

    result<void> add(const std::string& path, tree_node node) {
        const auto [at, fresh] = nodes_.try_emplace(path, node);
        if (fresh)
            return {};
        const tree_node& there = at->second;
        const bool same = there.mode == node.mode && there.source == node.source &&
                          there.content == node.content && there.device == node.device;
        // One was opened before a build and the other is of it: what runs would be neither.
        if (same && (there.opened || node.opened) && !same_bytes(there.identity, node.identity))
            return plain_error("pack", node.source.string(), "it was rebuilt while the run goes on",
                               "run again");
        if (same || (S_ISDIR(there.mode) && S_ISDIR(node.mode)))
            return {};
        // One library under two of its names' directories is the same file; two files are not.
        if (!there.source.empty() && there.identity == node.identity)
            return {};
        return plain_error("pack", node.source.empty() ? path : node.source.string(),
                           "the guest already has another file as " + path,
                           "give one of them another path in the guest");
    }

    std::map<std::string, tree_node> nodes_;
};

}  // namespace ktstr::host

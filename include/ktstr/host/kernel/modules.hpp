// SPDX-License-Identifier: MIT
// Which module files a guest must load, and in which order. Reads modules.dep where there is one;
// else asks the modules themselves, so that nothing here needs depmod. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/manifest.hpp>
#include <ktstr/host/kernel/kernel.hpp>
#include <ktstr/host/kernel/kernel_image.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <elf.h>

namespace ktstr::host {

struct module_file {
    std::string name;            ///< "vmw_vsock_virtio_transport", always with underscores
    std::filesystem::path path;  ///< ".ko", or compressed ".ko.xz", ".ko.zst", ".ko.gz"
};

/// The module's name in a path: "kernel/a/b-c.ko.xz" is "b_c". Empty when it is no module.
[[nodiscard]] inline std::string module_name(std::string_view path) {
    std::string_view file = path.substr(path.rfind('/') + 1);
    const std::size_t suffix = file.find(".ko");
    if (suffix == std::string_view::npos || (file.size() != suffix + 3 && file[suffix + 3] != '.'))
        return {};
    std::string name(file.substr(0, suffix));
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

/// A module's plain content, decompressed if need be.
inline result<std::string> read_module(const std::filesystem::path& path) {
    auto content = detail::read_text(path);
    if (!content || content->starts_with("\177ELF"))
        return content;
    tool_command unpack;
    unpack.argv = detail::decompressor_of(*content);
    if (unpack.argv.empty())
        return plain_error("read the kernel module", path, "unknown compression");
    unpack.input = *content;
    auto plain = run_tool_ok(std::move(unpack), "decompress", path);
    if (!plain)
        return std::move(plain).error();
    return std::move(plain->out);
}

/// The names a module says it depends on ("depends=" in its .modinfo section).
[[nodiscard]] inline result<std::vector<std::string>> module_depends(std::string_view elf) {
    const auto damaged = plain_error("read", "a kernel module", "it is no sound ELF file");
    const auto header = detail::read_at<Elf64_Ehdr>(elf, 0);
    if (!header || !elf.starts_with("\177ELF"))
        return damaged;
    const auto section = [&](unsigned index) {
        return detail::read_at<Elf64_Shdr>(
            elf, header->e_shoff + std::uint64_t{index} * header->e_shentsize);
    };
    const auto names = section(header->e_shstrndx);
    if (!names)
        return damaged;
    std::vector<std::string> depends;
    for (unsigned i = 0; i < header->e_shnum; ++i) {
        const auto at = section(i);
        if (!at)
            return damaged;
        const std::string_view name = detail::slice(elf, names->sh_offset + at->sh_name, 9);
        if (name != std::string_view(".modinfo\0", 9))
            continue;
        constexpr std::string_view key("\0depends=", 9);
        std::string info(1, '\0');
        info += detail::slice(elf, at->sh_offset, at->sh_size);
        const std::size_t found = info.find(key);
        if (found == std::string::npos)
            continue;
        std::string_view list = info.c_str() + found + key.size();
        while (!list.empty()) {
            const std::size_t comma = list.find(',');
            depends.emplace_back(list.substr(0, comma));
            std::replace(depends.back().begin(), depends.back().end(), '-', '_');
            list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
        }
    }
    return depends;
}

namespace detail {

/// Calls visit(path relative to the modules directory, rest of the line) for each line of a file
/// such as modules.dep; false when there is no such file.
template <class Visit>
bool each_module_line(const std::filesystem::path& file, Visit visit) {
    const auto text = read_text(file);
    if (!text)
        return false;
    for (std::string_view rest = *text; !rest.empty();) {
        const std::size_t newline = rest.find('\n');
        const std::string_view line = rest.substr(0, newline);
        rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
        const std::size_t colon = line.find(':');
        visit(line.substr(0, colon),
              colon == std::string_view::npos ? std::string_view{} : line.substr(colon + 1));
    }
    return true;
}

/// Every module file below a directory that has no modules.dep, by name.
inline std::map<std::string, std::filesystem::path> scan_modules(
    const std::filesystem::path& directory) {
    std::map<std::string, std::filesystem::path> found;
    // A build tree lists its modules; walking all of it would take seconds.
    const bool build_tree = !std::filesystem::exists(directory / "kernel" / "fs") ||
                            std::filesystem::exists(directory / "Kbuild");
    if (build_tree)
        each_module_line(directory / "modules.order", [&](std::string_view path, auto) {
            if (path.ends_with(".o")) {
                const std::string ko = std::string(path.substr(0, path.size() - 2)) + ".ko";
                found.emplace(module_name(ko), directory / ko);
            } else {
                if (path.starts_with("kernel/") && !std::filesystem::exists(directory / path))
                    path.remove_prefix(7);
                found.emplace(module_name(path), directory / path);
            }
        });
    if (!found.empty())
        return found;
    std::error_code failed;
    for (std::filesystem::recursive_directory_iterator at(directory, failed), end;
         !failed && at != end; at.increment(failed)) {
        if (at.depth() == 0 &&
            (at->path().filename() == "build" || at->path().filename() == "source"))
            at.disable_recursion_pending();
        if (std::string name = module_name(at->path().string()); !name.empty())
            found.emplace(std::move(name), at->path());
    }
    return found;
}

/// Whether the path's module is `name` (which has underscores only), without allocating.
inline bool is_module(std::string_view path, std::string_view name) {
    const std::size_t slash = path.rfind('/');
    path.remove_prefix(slash == std::string_view::npos ? 0 : slash + 1);
    if (path.size() < name.size() + 3 || path.substr(name.size(), 3) != ".ko")
        return false;
    for (std::size_t i = 0; i < name.size(); ++i)
        if (path[i] != name[i] && !(path[i] == '-' && name[i] == '_'))
            return false;
    return true;
}

/// Answers where a module is and what it depends on. Searches the index files instead of taking
/// them apart: a thousand modules are listed and a handful is asked for.
class module_index {
public:
    explicit module_index(std::filesystem::path directory) : directory_(std::move(directory)) {
        if (auto text = read_text(directory_ / "modules.dep")) {
            dep_ = *std::move(text);
            indexed_ = true;
        } else {
            scanned_ = scan_modules(directory_);
        }
        builtin_ = read_text(directory_ / "modules.builtin").value_or("");
    }

    [[nodiscard]] bool is_builtin(std::string_view name) const {
        return !find_line(builtin_, name).empty();
    }
    [[nodiscard]] std::optional<std::filesystem::path> path_of(const std::string& name) const {
        if (indexed_) {
            const std::string_view line = find_line(dep_, name);
            if (line.empty())
                return std::nullopt;
            return directory_ / line.substr(0, line.find(':'));
        }
        const auto found = scanned_.find(name);
        return found == scanned_.end() ? std::nullopt : std::optional(found->second);
    }
    /// In loading order, as far as the index knows it.
    [[nodiscard]] result<std::vector<std::string>> depends_of(const std::string& name) const {
        if (!indexed_) {
            if (const auto known = asked_.find(name); known != asked_.end())
                return known->second;
            const std::filesystem::path& path = scanned_.at(name);
            const auto content = read_module(path);
            if (!content)
                return content.error();
            auto depends = module_depends(*content);
            if (!depends)
                return plain_error("read the kernel module", path, depends.error().reason);
            asked_.emplace(name, *depends);
            return depends;
        }
        std::vector<std::string> depends;
        std::string_view line = find_line(dep_, name);
        line.remove_prefix(std::min(line.find(':') + 1, line.size()));
        while (!line.empty()) {
            const std::size_t stop = std::min(line.find(' '), line.size());
            if (stop > 0)
                depends.push_back(module_name(line.substr(0, stop)));
            line.remove_prefix(std::min(stop + 1, line.size()));
        }
        std::reverse(depends.begin(), depends.end());  // the file has the last to load in front
        return depends;
    }
    [[nodiscard]] const std::map<std::string, std::filesystem::path>& scanned() const {
        return scanned_;
    }

private:
    /// The line whose first path is that of the module, or nothing.
    static std::string_view find_line(std::string_view text, std::string_view name) {
        while (!text.empty()) {
            const std::size_t newline = std::min(text.find('\n'), text.size());
            const std::string_view line = text.substr(0, newline);
            if (is_module(line.substr(0, line.find(':')), name))
                return line;
            text.remove_prefix(std::min(newline + 1, text.size()));
        }
        return {};
    }

    std::filesystem::path directory_;
    std::string dep_, builtin_;
    std::map<std::string, std::filesystem::path> scanned_;
    mutable std::map<std::string, std::vector<std::string>>
        asked_;  // reading one is a decompression
    bool indexed_ = false;
};

inline result<void> add_module(const module_index& index, const kernel& of, const std::string& name,
                               std::string_view wanted_by, std::set<std::string>& seen,
                               std::vector<module_file>& out) {
    if (index.is_builtin(name) || !seen.insert(name).second)
        return {};
    const auto path = index.path_of(name);
    if (!path)
        return plain_error("find the kernel module", name,
                           "kernel " + of.release + " has it neither as a module in " +
                               of.modules.string() + " nor built in" +
                               (wanted_by.empty() ? "" : "; needed by " + std::string(wanted_by)),
                           "use a kernel that has it, such as --kernel distro");
    const auto depends = index.depends_of(name);
    if (!depends)
        return depends.error();
    for (const std::string& below : *depends)
        if (auto added = add_module(index, of, below, name, seen, out); !added)
            return added;
    out.push_back({name, *path});
    return {};
}

}  // namespace detail

/// The files to load so that every wanted module is there: dependencies first, each once, without
/// what is built in. For who asks more than once, with the index of the kernel's modules.
inline result<std::vector<module_file>> modules_for(const kernel& of,
                                                    const detail::module_index& index,
                                                    std::span<const std::string_view> wanted) {
    std::vector<module_file> files;
    std::set<std::string> seen;
    for (const std::string_view name : wanted) {
        std::string plain(name);
        std::replace(plain.begin(), plain.end(), '-', '_');
        if (auto added = detail::add_module(index, of, plain, {}, seen, files); !added)
            return added.error();
    }
    return files;
}

/// The same for who asks once. A kernel without modules is taken to have everything built in.
inline result<std::vector<module_file>> modules_for(const kernel& of,
                                                    std::span<const std::string_view> wanted) {
    if (of.modules.empty() || wanted.empty())
        return std::vector<module_file>();
    return modules_for(of, detail::module_index(of.modules), wanted);
}

/// Writes modules.dep for a directory of modules that has none: what `depmod` does, as far as
/// loading in the right order goes.
inline result<void> write_modules_dep(const std::filesystem::path& directory) {
    const detail::module_index index(directory);
    kernel of;
    of.modules = directory;
    std::string text;
    for (const auto& [name, path] : index.scanned()) {
        std::set<std::string> seen;
        std::vector<module_file> order;
        if (auto added = detail::add_module(index, of, name, {}, seen, order); !added)
            return added;
        // Ours is the order of loading; the file's is the reverse, with the module itself in front.
        for (auto at = order.rbegin(); at != order.rend(); ++at)
            text += at->path.lexically_relative(directory).string() +
                    (at == order.rbegin() ? ":" : "") +
                    (std::next(at) == order.rend() ? "\n" : " ");
    }
    return detail::write_text(directory / "modules.dep", text);
}

}  // namespace ktstr::host

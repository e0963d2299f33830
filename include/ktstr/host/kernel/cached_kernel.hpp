// SPDX-License-Identifier: MIT
// Kernels in the cache: how an entry is laid out, written and read back. Where they come from is
// fetch_kernel.hpp's business. Host side.
//
//   kernels/RELEASE/  vmlinux bzImage config modules/{kernel/,modules.dep,...} kernel.info
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/kernel/kernel.hpp>
#include <ktstr/host/packages/version.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

inline constexpr std::string_view kernels_kind = "kernels";

namespace detail {

/// "name value" lines.
using info_map = std::map<std::string, std::string, std::less<>>;

inline info_map read_info(const std::filesystem::path& path) {
    info_map info;
    const auto text = read_text(path);
    if (!text)
        return info;
    for (std::string_view rest = *text; !rest.empty();) {
        const std::size_t newline = rest.find('\n');
        const std::string_view line = rest.substr(0, newline);
        rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
        const std::size_t space = line.find(' ');
        if (space != std::string_view::npos)
            info.emplace(line.substr(0, space), line.substr(space + 1));
    }
    return info;
}

inline std::string info_text(const info_map& info) {
    std::string text;
    for (const auto& [name, value] : info)
        text += name + ' ' + value + '\n';
    return text;
}

inline std::string info_value(const info_map& info, std::string_view name) {
    const auto found = info.find(name);
    return found == info.end() ? std::string() : found->second;
}

inline std::filesystem::path if_there(std::filesystem::path path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored) ? path : std::filesystem::path();
}

inline bool is_module_directory(const std::filesystem::path& path) {
    return !if_there(path / "modules.dep").empty() || !if_there(path / "modules.order").empty();
}

/// Looked at on every use: all but the modules, which are a thousand files.
inline bool is_kernel_file_checked(std::string_view path) {
    return !path.starts_with("modules/kernel/");
}

}  // namespace detail

[[nodiscard]] inline kernel kernel_of_entry(const cache_entry& entry) {
    const detail::info_map info = detail::read_info(entry.path / "kernel.info");
    kernel found;
    found.release = detail::info_value(info, "release");
    found.source = detail::info_value(info, "source");
    found.pvh = detail::info_value(info, "pvh") == "1";
    found.bzimage = detail::if_there(entry.path / "bzImage");
    found.image = found.pvh ? entry.path / "vmlinux" : found.bzimage;
    found.modules = detail::if_there(entry.path / "modules");
    found.config = detail::if_there(entry.path / "config");
    found.id = entry.content.id;
    found.in_use = entry.in_use;
    return found;
}

/// Whether a release is what somebody means who writes its beginning: "6.1" is 6.1 and 6.1.2, not
/// 6.12.
[[nodiscard]] inline bool release_starts_with(std::string_view release, std::string_view prefix) {
    return release.starts_with(prefix) &&
           (prefix.empty() || release.size() == prefix.size() || !detail::is_digit(prefix.back()) ||
            !detail::is_digit(release[prefix.size()]));
}

/// The releases in the cache, newest first.
[[nodiscard]] inline std::vector<std::string> cached_releases(const cache& in) {
    std::vector<std::string> found;
    std::error_code failed;
    for (std::filesystem::directory_iterator at(in.root() / kernels_kind, failed), end;
         !failed && at != end; at.increment(failed))
        found.push_back(at->path().filename().string());
    std::sort(found.begin(), found.end(),
              [](const std::string& a, const std::string& b) { return newer(a, b); });
    return found;
}

}  // namespace ktstr::host

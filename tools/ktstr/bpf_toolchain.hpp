// SPDX-License-Identifier: MIT
// What a BPF scheduler is built with: clang, bpftool and libbpf, on this machine or fetched into the cache.
// What is too old is passed over, and named with the remedy when nothing better is there. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/packages/fetched_program.hpp>
#include <ktstr/host/packages/version.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::tool {

/// clang before 16 loses the high half of 64-bit enumerators, such as SCX_DSQ_LOCAL_ON.
inline constexpr std::string_view oldest_clang = "16";
/// libbpf 1.1 passes over the section .struct_ops.link; between them none was tried.
inline constexpr std::string_view oldest_libbpf = "1.4";
/// None older was tried.
inline constexpr std::string_view oldest_bpftool = "7.1";
/// Skeletons of bpftool from 7.5 on set a member that libbpf has since 1.5.
inline constexpr std::string_view libbpf_with_links = "1.5";

struct found_tool {
    std::string path, version;
};

struct bpf_toolchain {
    found_tool clang, bpftool;
    std::string libbpf_version;
    std::filesystem::path include, library;               ///< libbpf's: a directory, a file
    std::vector<std::shared_ptr<unique_fd>> in_use = {};  ///< keeps fetched packages in the cache
};

namespace detail {

/// The first number with a dot or after "version" in what a tool says of itself: "7.5.0", "19.1.7".
inline std::string version_in(std::string_view text) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (!digit(text[at]) || (at > 0 && (digit(text[at - 1]) || text[at - 1] == '.')))
            continue;
        std::size_t end = at;
        while (end < text.size() && (digit(text[end]) || text[end] == '.'))
            ++end;
        if (text.substr(at, end - at).find('.') != std::string_view::npos)
            return std::string(text.substr(at, end - at));
        at = end;
    }
    return {};
}

inline std::string ask_version(const std::string& program) {
    const auto said =
        host::run_tool({.argv = {program, "--version"}, .timeout = std::chrono::seconds(30)});
    return said && said->exit_code == 0 ? version_in(said->out) : std::string();
}

inline bool too_old(const std::string& version, std::string_view oldest) {
    return host::newer(std::string(oldest), version);
}

/// The first candidate that is new enough. `variable` names one that is used whatever else is there.
inline result<found_tool> choose_tool(const char* variable, const std::string& name,
                                      std::string_view oldest,
                                      const std::vector<std::string>& candidates,
                                      const std::string& remedy) {
    std::string old;
    const auto look = [&](const std::string& path) -> found_tool {
        found_tool found{path, ask_version(path)};
        if (!found.version.empty() && !too_old(found.version, oldest))
            return found;
        old += (old.empty() ? "" : ", ") + path +
               (found.version.empty() ? " does not tell its version" : " is " + found.version);
        return {};
    };
    const std::string needed = " and " + std::string(oldest) + " or newer is needed";
    if (const char* const given = std::getenv(variable); given != nullptr && *given != '\0') {
        auto found = look(given);
        if (found.path.empty())
            return plain_error(std::string("use ") + variable, name, old + needed, remedy);
        return found;
    }
    for (const std::string& candidate : candidates)
        if (!candidate.empty())
            if (auto found = look(candidate); !found.path.empty())
                return found;
    return plain_error("find", name, old.empty() ? "there is none in PATH" + needed : old + needed,
                       remedy);
}

inline std::string in_path(std::string_view name) {
    const auto found = host::find_tool(name);
    return found ? found->string() : std::string();
}

inline std::string pkg_config(const std::vector<std::string>& asked) {
    std::vector<std::string> argv{"pkg-config"};
    argv.insert(argv.end(), asked.begin(), asked.end());
    argv.emplace_back("libbpf");
    const auto said =
        host::run_tool({.argv = std::move(argv), .timeout = std::chrono::seconds(30)});
    if (!said || said->exit_code != 0)
        return {};
    return said->out.substr(0, said->out.find('\n'));
}

/// The static library, so that the program travels without it, else the shared one.
inline std::filesystem::path library_in(const std::filesystem::path& directory) {
    std::error_code ignored;
    for (const char* name : {"libbpf.a", "libbpf.so"})
        if (std::filesystem::exists(directory / name, ignored))
            return directory / name;
    return {};
}

/// As pkg-config says (PKG_CONFIG_PATH), else the newest that was fetched into the cache.
inline result<void> find_libbpf(const host::cache& in, bpf_toolchain& into) {
    std::string old;
    const std::string version = pkg_config({"--modversion"});
    if (!version.empty()) {
        if (too_old(version, oldest_libbpf)) {
            old = "the system's is " + version;
        } else {
            into.include = pkg_config({"--variable=includedir"});
            into.library = library_in(pkg_config({"--variable=libdir"}));
            into.libbpf_version = version;
            if (!into.library.empty())
                return {};
            old = "pkg-config names a directory without libbpf.a or libbpf.so";
        }
    }
    std::vector<std::string> fetched;
    std::error_code failed;
    for (std::filesystem::directory_iterator at(in.root() / "packages/libbpf-dev", failed), end;
         !failed && at != end; at.increment(failed))
        fetched.push_back(at->path().filename().string());
    std::sort(fetched.begin(), fetched.end(), [](const std::string& a, const std::string& b) {
        const auto order = host::compare_versions(host::without_epoch(a), host::without_epoch(b));
        // Of the same one twice that of the folder without an epoch: make reads its name.
        return order != 0 ? order > 0 : a.size() < b.size();
    });
    for (const std::string& one : fetched) {
        // "1.4.6-1~bpo12+1" is 1.4.6
        std::string upstream(host::without_epoch(one));
        upstream = upstream.substr(0, upstream.find('-'));
        if (too_old(upstream, oldest_libbpf)) {
            old += (old.empty() ? "" : ", ") + std::string("a fetched one is ") + upstream;
            continue;
        }
        const auto usr = in.entry_path("packages/libbpf-dev", one) / "root/usr";
        std::filesystem::path library = library_in(usr / "lib");
        for (std::filesystem::directory_iterator at(usr / "lib", failed), end;
             library.empty() && !failed && at != end; at.increment(failed))
            library = library_in(at->path());
        if (library.empty())
            continue;
        into.include = usr / "include";
        into.library = std::move(library);
        into.libbpf_version = upstream;
        into.in_use.push_back(in.use("packages/libbpf-dev", one));
        return {};
    }
    return plain_error("find", "libbpf",
                       (old.empty() ? "neither pkg-config nor the cache has it" : old) + ", and " +
                           std::string(oldest_libbpf) + " or newer is needed",
                       "run `ktstr package fetch libbpf-dev/bookworm-backports`, or install "
                       "libbpf-dev and name its "
                       "folder in PKG_CONFIG_PATH");
}

}  // namespace detail

/// Only bpftool, for who wants vmlinux.h alone.
[[nodiscard]] inline result<found_tool> find_bpftool(
    const host::cache& in, std::vector<std::shared_ptr<unique_fd>>& in_use) {
    auto fetched = host::find_fetched(in.root(), "bpftool", "usr/sbin/bpftool");
    auto found = detail::choose_tool(
        "KTSTR_BPFTOOL", "bpftool", oldest_bpftool,
        {fetched.path.string(), detail::in_path("bpftool")},
        "run `ktstr package fetch bpftool/bookworm-backports`, or install bpftool");
    if (found && fetched.in_use)
        in_use.push_back(fetched.in_use);
    return found;
}

/// Only clang, for the kernel's own makefiles, which bring the rest.
[[nodiscard]] inline result<found_tool> find_clang() {
    std::vector<std::string> clangs;
    for (const char* name : {"clang-22", "clang-21", "clang-20", "clang-19", "clang-18", "clang-17",
                             "clang-16", "clang"})
        clangs.push_back(detail::in_path(name));
    // 19 is what ktstr's own suite builds with: newer ones first would make another program of the same source.
    std::stable_partition(clangs.begin(), clangs.end(),
                          [](const std::string& path) { return path.ends_with("clang-19"); });
    return detail::choose_tool("KTSTR_BPF_CLANG", "clang", oldest_clang, clangs,
                               "install clang-19 (Debian 12 has it)");
}

[[nodiscard]] inline result<bpf_toolchain> find_bpf_toolchain(const host::cache& in) {
    bpf_toolchain found;
    auto clang = find_clang();
    if (!clang)
        return clang.error();
    found.clang = *std::move(clang);
    auto bpftool = find_bpftool(in, found.in_use);
    if (!bpftool)
        return bpftool.error();
    found.bpftool = *std::move(bpftool);
    if (auto done = detail::find_libbpf(in, found); !done)
        return done.error();
    return found;
}

}  // namespace ktstr::tool

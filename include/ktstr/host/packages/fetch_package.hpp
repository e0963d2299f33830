// SPDX-License-Identifier: MIT
// Unpacks packages that are newer than this release into the cache, without installing them:
// "vhost-device-vsock", "catch2/trixie". Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/packages/private_apt.hpp>
#include <ktstr/host/packages/version.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

namespace detail {

struct dependency {
    std::string name, relation, version;
};

/// "libc6 (>= 2.34), a | b" is {libc6 >= 2.34}, {b}: of alternatives the last, which is enough to
/// find a library of the system that is too old.
inline std::vector<dependency> parse_depends(std::string_view text) {
    std::vector<dependency> found;
    while (!text.empty()) {
        const std::size_t comma = std::min(text.find(','), text.size());
        std::string clause(text.substr(0, comma));
        text.remove_prefix(std::min(comma + 1, text.size()));
        clause.erase(0, clause.rfind('|') + 1);
        for (char& c : clause)
            if (c == '(' || c == ')')
                c = ' ';
        const std::vector<std::string> words = words_of(clause);
        if (words.empty())
            continue;
        dependency one{words[0].substr(0, words[0].find(':')), {}, {}};
        if (words.size() >= 3) {
            one.relation = words[1];
            one.version = words[2];
        }
        found.push_back(std::move(one));
    }
    return found;
}

/// The versions of those packages that are installed.
inline std::map<std::string, std::string> installed_versions(const std::vector<dependency>& of) {
    std::map<std::string, std::string> versions;
    tool_command command;
    command.argv = {"dpkg-query", "-W", "-f=${db:Status-Status} ${Package} ${Version}\n"};
    for (const dependency& one : of)
        command.argv.push_back(one.name);
    if (of.empty())
        return versions;
    const auto output = run_tool(std::move(command));  // exit 1 just means that some are unknown
    if (output)
        for (const std::string_view line : lines_of(output->out))
            if (const auto words = words_of(line); words.size() == 3 && words[0] == "installed")
                versions[words[1]] = words[2];
    return versions;
}

/// Why the package cannot run here, if an installed package is too old for it; what is not
/// installed at all is only told in `absent`.
inline std::optional<std::string> too_new(const apt_package& package, std::string& absent) {
    const std::vector<dependency> depends = parse_depends(package.depends);
    const auto installed = installed_versions(depends);
    for (const dependency& one : depends) {
        const auto here = installed.find(one.name);
        if (here == installed.end())
            absent += (absent.empty() ? "" : ", ") + one.name;
        else if (one.relation == ">=" && newer(one.version, here->second))
            return "it needs " + one.name + ' ' + one.version + ", this system has " + here->second;
    }
    return std::nullopt;
}

/// A name that neither apt nor a path can take for something else.
inline bool is_package_name(std::string_view name) {
    return name.size() >= 2 && (is_digit(name[0]) || (name[0] >= 'a' && name[0] <= 'z')) &&
           std::all_of(name.begin(), name.end(), [](char c) {
               return is_digit(c) || (c >= 'a' && c <= 'z') || c == '+' || c == '-' || c == '.';
           });
}

}  // namespace detail

/// A package's files in the cache.
struct fetched_package {
    std::string name, version;
    std::filesystem::path root;         ///< holds usr/, ...
    std::shared_ptr<unique_fd> in_use;  ///< keeps them from being deleted
};

/// Fetches NAME, or NAME/SUITE. Without a suite the one nearest to this release that has the
/// package wins (what is built for it fits its compiler), and in it the newest version whose
/// dependencies this system's libraries satisfy.
inline result<fetched_package> fetch_package(const cache& in, private_apt& apt,
                                             const std::string& spec) {
    const std::string name = spec.substr(0, spec.find('/'));
    if (!detail::is_package_name(name))
        return plain_error("fetch the package", spec, "this is no package name",
                           "write NAME or NAME/SUITE");
    if (auto space = require_space(in.root(), std::uint64_t{64} << 20, "fetch a package"); !space)
        return space.error();
    std::vector<std::string> suites = later_suites(apt.codename());
    if (name.size() != spec.size()) {
        suites = {spec.substr(name.size() + 1)};
        if (!detail::is_package_name(suites.front()))
            return plain_error("fetch the package", spec, "this is no suite's name",
                               "write NAME/SUITE, such as " + name + "/sid");
    }
    std::string refused;
    std::optional<error> first_error;
    bool any_suite = false;
    for (const std::string& suite : suites) {
        auto offered = apt.packages(suite, [&](std::string_view one) { return one == name; });
        if (!offered) {
            if (suites.size() == 1 || offered.error().code == ENOSPC)
                return offered.error();
            if (!first_error)
                first_error = offered.error();
            continue;
        }
        any_suite = true;
        std::sort(offered->begin(), offered->end(),
                  [](const auto& a, const auto& b) { return newer(a.version, b.version); });
        for (const apt_package& package : *offered) {
            std::string absent;
            if (const auto reason = detail::too_new(package, absent)) {
                refused += (refused.empty() ? "" : "; ") + suite + " has " + package.version +
                           ", but " + *reason;
                continue;
            }
            cache::make_options options;
            options.what = "package " + name + ' ' + package.version;
            options.progress = [&apt](std::string_view line) { apt.say(std::string(line)); };
            auto entry = in.obtain(
                "packages/" + name, std::string(without_epoch(package.version)), options,
                [&](const std::filesystem::path& directory) -> result<void> {
                    auto files = apt.download({package}, directory / "deb");
                    if (!files)
                        return files.error();
                    for (const auto& file : *files)
                        if (auto done = private_apt::unpack(file, directory / "root"); !done)
                            return done;
                    std::error_code ignored;
                    std::filesystem::remove_all(directory / "deb", ignored);
                    if (!absent.empty())
                        apt.say(name +
                                " depends on what is not installed "
                                "here: " +
                                absent);
                    return {};
                });
            if (!entry)
                return entry.error();
            return fetched_package{name, package.version, entry->path / "root", entry->in_use};
        }
    }
    if (!any_suite && first_error)
        return *std::move(first_error);
    return plain_error("fetch the package", spec,
                       refused.empty() ? "no suite of this machine's mirror has it" : refused,
                       refused.empty() ? "check its name" : "name another suite as NAME/SUITE");
}

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// The sources of a kernel: a tree of the user's, a tarball, or the package of the distribution that a cached kernel was
// built from. What programs for a kernel are built from is a part of them, kept in the cache. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/cache/content_hash.hpp>
#include <ktstr/host/kernel/cached_kernel.hpp>
#include <ktstr/host/kernel/fetch_kernel.hpp>
#include <ktstr/host/kernel/resolve_kernel.hpp>
#include <ktstr/host/packages/fetch_package.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace ktstr::tool {

inline constexpr std::string_view sources_kind = "sources";

/// Where sources come from, before anything is unpacked.
struct source_origin {
    std::string name;                    ///< "linux-source-7.3 7.3.4-1~bpo13+1", a path
    std::filesystem::path tree = {};     ///< of the user's, or
    std::filesystem::path tarball = {};  ///< to be unpacked
    std::string id = {};                 ///< of a tarball: what it is, for keys
    std::shared_ptr<unique_fd> in_use = {};
};

struct kernel_source {
    std::string name;
    std::filesystem::path tree;
    std::string id;  ///< empty: the user's tree, which may change at any time
    std::vector<std::shared_ptr<unique_fd>> in_use = {};
};

namespace detail {

inline bool is_kernel_tree(const std::filesystem::path& tree) {
    std::error_code ignored;
    return std::filesystem::is_regular_file(tree / "Makefile", ignored) &&
           std::filesystem::is_directory(tree / "tools", ignored) &&
           std::filesystem::is_directory(tree / "include", ignored);
}

/// "7.3.4" of the top Makefile, with what localversion files add.
inline result<std::string> version_of_tree(const std::filesystem::path& tree) {
    const auto text = host::detail::read_text(tree / "Makefile");
    if (!text)
        return text.error();
    const auto field = [&](std::string_view name) {
        for (std::string_view line : host::detail::lines_of(*text))
            if (line.starts_with(name) && line.substr(name.size()).starts_with(" ="))
                return std::string(line.substr(
                    std::min(line.find_first_not_of(' ', name.size() + 2), line.size())));
        return std::string();
    };
    const std::string version = field("VERSION"), patch = field("PATCHLEVEL"),
                      sub = field("SUBLEVEL");
    if (version.empty() || patch.empty())
        return plain_error("find the version of", tree.string(),
                           "its Makefile has no VERSION and PATCHLEVEL");
    std::string all =
        version + '.' + patch + (sub.empty() ? "" : '.' + sub) + field("EXTRAVERSION");
    std::vector<std::filesystem::path> files;
    std::error_code failed;
    for (std::filesystem::directory_iterator at(tree, failed), end; !failed && at != end;
         at.increment(failed))
        if (const std::string name = at->path().filename();
            name.starts_with("localversion") && !name.ends_with('~'))
            files.push_back(at->path());
    std::sort(files.begin(), files.end());
    for (const auto& file : files)
        if (const auto added = host::detail::read_text(file))
            for (const char c : *added)
                if (c != '\n' && c != ' ')
                    all += c;
    return all;
}

inline std::filesystem::path tarball_in(const std::filesystem::path& package_root) {
    std::error_code failed;
    for (std::filesystem::directory_iterator at(package_root / "usr/src", failed), end;
         !failed && at != end; at.increment(failed))
        if (const std::string name = at->path().filename();
            name.starts_with("linux-source-") && name.find(".tar.") != std::string::npos)
            return at->path();
    return {};
}

inline result<source_origin> origin_of_package(const std::string& name, const std::string& version,
                                               const std::filesystem::path& root,
                                               std::shared_ptr<unique_fd> in_use) {
    source_origin found{.name = name + ' ' + version};
    found.tarball = tarball_in(root);
    found.id = name + '_' + version;
    found.in_use = std::move(in_use);
    if (found.tarball.empty())
        return plain_error("find the sources in", root.string(), "no linux-source-*.tar.* there");
    return found;
}

/// The package linux-source-X.Y of this version: in the cache, else of the suite.
inline result<source_origin> fetch_source_package(const host::cache& in, const std::string& name,
                                                  const std::string& version,
                                                  const std::string& suite,
                                                  const host::progress_callback& say) {
    const std::string kind = "packages/" + name;
    if (!version.empty())
        if (const auto there = in.find(kind, std::string(host::without_epoch(version))))
            return origin_of_package(name, version, there->path / "root", there->in_use);
    auto apt = host::private_apt::open(in, say);
    if (!apt)
        return apt.error();
    auto package = host::fetch_package(in, *apt, suite.empty() ? name : name + '/' + suite);
    if (!package)
        return package.error();
    if (!version.empty() && package->version != version)
        return plain_error(
            "get the sources of", name + ' ' + version,
            "the package sources have " + package->version + " by now",
            "run `ktstr kernel fetch distro` for that kernel, or name a source tree");
    return origin_of_package(name, package->version, package->root, package->in_use);
}

}  // namespace detail

/// What a kernel of the cache was built from: as ktstr has noted it, or the source package of its packages' version.
[[nodiscard]] inline result<source_origin> source_of_kernel(const host::cache& in,
                                                            const host::kernel& of,
                                                            const host::progress_callback& say) {
    const auto none = [&](std::string why) {
        return plain_error("find the sources of kernel", of.release, std::move(why),
                           "name a source tree or a tarball");
    };
    const auto entry = in.entry_path(host::kernels_kind, of.release);
    if (!of.image.native().starts_with(entry.native() + '/'))
        return none("it is not of the distribution's packages");
    const auto info = host::detail::read_info(entry / "kernel.info");
    std::string name = host::detail::info_value(info, "source-package");
    const std::string version = host::detail::info_value(info, "package-version");
    if (const auto path = host::detail::info_value(info, "source-path"); !path.empty()) {
        std::error_code ignored;
        if (std::filesystem::is_directory(path, ignored)) {
            const auto now = detail::version_of_tree(path);
            if (!now)
                return now.error();
            if (!of.release.starts_with(*now + "-ktstr-"))
                return none(path + ", which it was built from, is of " + *now + " by now");
            return source_origin{.name = path, .tree = path};
        }
        if (!std::filesystem::exists(path, ignored))
            return none("it was built from " + path + ", which is no more");
        auto hash = host::hash_file(path);
        if (!hash)
            return hash.error();
        return source_origin{.name = path, .tarball = path, .id = *hash};
    }
    if (name.empty())
        name = "linux-source-" + host::detail::series_of(of.release);
    if (version.empty())
        return none("the cache does not say of which package it is");
    return detail::fetch_source_package(in, name, version, host::detail::info_value(info, "suite"),
                                        say);
}

/// `spec`: a directory, a tarball, linux-source-X.Y[/SUITE]; linux-source, distro or a cached kernel's name for that kernel's.
[[nodiscard]] inline result<source_origin> find_source(const host::cache& in, std::string spec,
                                                       const host::progress_callback& say) {
    std::error_code ignored;
    if (std::filesystem::is_directory(spec, ignored)) {
        auto tree = std::filesystem::canonical(spec, ignored);
        if (!detail::is_kernel_tree(tree))
            return plain_error("use the sources", spec, "this is no tree of the kernel's",
                               "give the folder that holds its top Makefile");
        return source_origin{.name = tree.string(), .tree = tree};
    }
    if (std::filesystem::is_regular_file(spec, ignored)) {
        auto path = std::filesystem::canonical(spec, ignored);
        auto hash = host::hash_file(path);
        if (!hash)
            return hash.error();
        return source_origin{.name = path.string(), .tarball = path, .id = *hash};
    }
    if (spec.find('/') != std::string::npos && !spec.starts_with("linux-source-"))
        return system_error("find the sources", spec, {}, ENOENT);
    if (spec.starts_with("linux-source-")) {
        const auto slash = std::min(spec.find('/'), spec.size());
        return detail::fetch_source_package(
            in, spec.substr(0, slash), "", slash == spec.size() ? "" : spec.substr(slash + 1), say);
    }
    if (spec == "linux-source")
        spec = "distro";
    const auto kernel = host::resolve_kernel({spec, true, say});
    if (!kernel)
        return kernel.error();
    return source_of_kernel(in, *kernel, say);
}

/// Unpacks sources; `without`: folders of its top that are left out.
inline result<void> unpack_source(const std::filesystem::path& tarball,
                                  const std::filesystem::path& directory,
                                  const std::vector<std::string>& without) {
    host::tool_command command;
    command.argv = {"tar",
                    "-xf",
                    tarball,
                    "-C",
                    directory,
                    "--strip-components=1",
                    "--anchored",
                    "--no-wildcards-match-slash",
                    "--no-same-owner"};
    for (const auto& folder : without)
        command.argv.push_back("--exclude=*/" + folder);
    command.timeout = std::chrono::minutes(30);
    auto done = host::run_tool_ok(std::move(command), "unpack", tarball.string());
    if (!done)
        return done.error();
    if (!detail::is_kernel_tree(directory))
        return plain_error("use the sources", tarball.string(), "no tree of the kernel's is in it");
    return {};
}

/// What the programs of a kernel's sources are built from, tools/ above all: the user's tree, or a part of a tarball in
/// the cache.
[[nodiscard]] inline result<kernel_source> obtain_tools_source(const host::cache& in,
                                                               const source_origin& from,
                                                               const host::progress_callback& say) {
    if (!from.tree.empty())
        return kernel_source{.name = from.name, .tree = from.tree, .id = {}};
    if (auto space = host::require_space(in.root(), std::uint64_t{512} << 20, "unpack sources");
        !space)
        return space.error();
    host::cache::make_options options;
    options.what = "the sources " + from.name;
    options.progress = say;
    options.durable = false;
    options.check_every_time = [](std::string_view path) { return path == "Makefile"; };
    auto entry =
        in.obtain(sources_kind, from.id, options, [&](const std::filesystem::path& directory) {
            if (say)
                say("unpacking tools/ of " + from.name);
            return unpack_source(from.tarball, directory,
                                 {"arch",     "block", "certs",    "crypto", "Documentation",
                                  "drivers",  "fs",    "io_uring", "ipc",    "lib",
                                  "LICENSES", "mm",    "net",      "rust",   "samples",
                                  "security", "sound", "usr",      "virt",   "tools/perf"});
        });
    if (!entry)
        return entry.error();
    return kernel_source{.name = from.name,
                         .tree = entry->path,
                         .id = from.id,
                         .in_use = {entry->in_use, from.in_use}};
}

/// Names the content of these folders and files of a tree; one that is not there counts as that.
[[nodiscard]] inline result<std::string> hash_tree(const std::filesystem::path& tree,
                                                   const std::vector<std::string>& parts) {
    std::vector<std::filesystem::path> files;
    for (const auto& part : parts) {
        std::error_code failed;
        if (!std::filesystem::is_directory(tree / part, failed)) {
            if (std::filesystem::is_regular_file(tree / part, failed))
                files.push_back(tree / part);
            continue;
        }
        for (std::filesystem::recursive_directory_iterator at(tree / part, failed), end;
             !failed && at != end; at.increment(failed))
            if (std::error_code ignored; at->is_regular_file(ignored))
                files.push_back(at->path());
        // Half of them would be the same as another half.
        if (failed)
            return system_error("read", (tree / part).string(), {}, failed.value());
    }
    std::sort(files.begin(), files.end());
    host::content_hash hash;
    for (const auto& file : files) {
        if (host::stop_signal::received() != 0)
            return plain_error("read", tree.string(), "interrupted");
        const auto text = host::detail::read_text(file);
        if (!text)
            return text.error();
        hash.add(std::string_view{file.native()}.substr(tree.native().size())).add(*text);
    }
    return hash.hex();
}

/// Behind a build: what was built while somebody edited the tree is neither of what it was before nor of what it is now.
[[nodiscard]] inline result<void> require_unchanged(const std::string& what,
                                                    const std::string& before,
                                                    const result<std::string>& now) {
    if (!now)
        return now.error();
    if (*now != before)
        return plain_error("build", what, "its sources changed meanwhile", "run it again");
    return {};
}

}  // namespace ktstr::tool

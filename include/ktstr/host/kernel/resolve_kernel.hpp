// SPDX-License-Identifier: MIT
// From what the user wrote after --kernel to a kernel that is ready to boot. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/kernel/cached_kernel.hpp>
#include <ktstr/host/kernel/kernel.hpp>
#include <ktstr/host/kernel/local_kernel.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace ktstr::host {

namespace detail {

/// The newest sound cached kernel whose release starts with `prefix` and whose source is `source`
/// (any if empty). `damage` collects what was wrong with the others.
inline std::optional<kernel> newest_cached(const cache& in, std::string_view prefix,
                                           std::string_view source, std::string& damage) {
    for (const std::string& release : cached_releases(in)) {
        if (!release_starts_with(release, prefix))
            continue;
        std::string wrong;
        const auto entry = in.find(kernels_kind, release, &wrong);
        if (!entry) {
            damage += (damage.empty() ? "" : "; ") + wrong;
            continue;
        }
        kernel found = kernel_of_entry(*entry);
        if (source.empty() || found.source == source)
            return found;
    }
    return std::nullopt;
}

/// The installed `ktstr` command: beside this program, else in PATH.
inline std::optional<std::filesystem::path> find_command() {
    std::error_code failed;
    const auto beside =
        std::filesystem::read_symlink("/proc/self/exe", failed).replace_filename("ktstr");
    if (!failed && std::filesystem::is_regular_file(beside, failed) &&
        ::access(beside.c_str(), X_OK) == 0)
        return beside;
    return find_tool("ktstr");
}

/// Has the command fetch the distribution's kernel into the cache: how that is done is none of a test
/// program's business.
inline result<void> have_kernel_fetched(const cache& in, const kernel_request& request,
                                        const std::string& why) {
    const auto command = find_command();
    if (!command)
        return plain_error("find a kernel in", (in.root() / kernels_kind).string(),
                           why +
                               ", and the ktstr command that fetches one is neither beside this "
                               "program nor in PATH",
                           "run `ktstr kernel fetch distro`, or pass --kernel PATH");
    if (request.progress)
        request.progress(why + ": running `" + command->string() + " kernel fetch distro`");
    auto fetched = run_tool({.argv = {command->string(), "kernel", "fetch", "distro"},
                             .environment = {"KTSTR_CACHE_DIR=" + in.root().string()},
                             .timeout = std::chrono::minutes(30),
                             .grace = std::chrono::seconds(5)});  // it ends its own tools first
    if (!fetched)
        return fetched.error();
    if (fetched->exit_code == 0)
        return {};
    auto said = last_line(fetched->err);
    if (said.starts_with("ktstr: "))
        said.erase(0, 7);
    return plain_error("fetch", "the distribution's kernel",
                       said.empty()
                           ? command->string() + " ended with " + std::to_string(fetched->exit_code)
                           : said,
                       "pass a kernel with --kernel PATH");
}

}  // namespace detail

/// See kernel_request for what may be asked. Cheap when the kernel is known: file times are
/// compared, no content is read.
inline result<kernel> resolve_kernel(const kernel_request& request) {
    auto opened = cache::open();
    if (!opened)
        return opened.error();
    const cache& in = *opened;
    const std::string spec = request.spec.empty() ? "distro" : request.spec;
    std::string damage;
    if (spec == "distro") {
        auto cached = detail::newest_cached(in, "", "distro", damage);
        if (cached && (damage.empty() || !request.allow_fetch))
            return *std::move(cached);
        std::string why = damage.empty() ? "none was fetched yet" : damage;
        if (request.allow_fetch) {
            if (auto done = detail::have_kernel_fetched(in, request, why); !done)
                return done.error();
            damage.clear();
            if (auto now = detail::newest_cached(in, "", "distro", damage))
                return *std::move(now);
            why = damage.empty() ? "fetching left none there" : damage;
        }
        return plain_error("find a kernel in", (in.root() / kernels_kind).string(), why,
                           "run `ktstr kernel fetch distro`");
    }
    if (spec == "host")
        return detail::kernel_of_host(in, request.progress);
    std::error_code ignored;
    if (spec.find('/') != std::string::npos || std::filesystem::exists(spec, ignored)) {
        if (std::filesystem::is_directory(spec, ignored)) {
            auto found = detail::kernel_of_directory(in, std::filesystem::canonical(spec, ignored),
                                                     request.progress);
            if (found)
                found->source = spec;
            return found;
        }
        return detail::kernel_of_image(in, spec, request.progress);
    }
    if (auto cached = detail::newest_cached(in, spec, "", damage))
        return *std::move(cached);
    std::string have;
    for (const std::string& release : cached_releases(in))
        have += (have.empty() ? "the cache has " : ", ") + release;
    return plain_error("find the kernel", spec,
                       !damage.empty() ? damage
                       : have.empty()  ? "the cache has no kernel and there is no such file"
                                       : have + ", and there is no such file",
                       "run `ktstr kernel fetch " + spec + "`, or pass a path");
}

}  // namespace ktstr::host

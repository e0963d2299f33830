// SPDX-License-Identifier: MIT
// From what the user wrote after --kernel to a kernel that is ready to boot. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/kernel/cached_kernel.hpp>
#include <ktstr/host/kernel/fetch_kernel.hpp>
#include <ktstr/host/kernel/kernel.hpp>
#include <ktstr/host/kernel/local_kernel.hpp>

#include <filesystem>
#include <string>

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
        if (request.allow_fetch) {
            if (!damage.empty() && request.progress)
                request.progress("fetching the distribution's kernel again: " + damage);
            return fetch_distro_kernel(in, {}, request.progress);
        }
        return plain_error("find a kernel in", (in.root() / kernels_kind).string(),
                           damage.empty() ? "none was fetched yet" : damage,
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

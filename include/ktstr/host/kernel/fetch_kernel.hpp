// SPDX-License-Identifier: MIT
// Gets the distribution's newest kernel that can run sched_ext schedulers into the cache, without
// installing it. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/kernel/cached_kernel.hpp>
#include <ktstr/host/kernel/kernel.hpp>
#include <ktstr/host/kernel/kernel_config.hpp>
#include <ktstr/host/kernel/kernel_image.hpp>
#include <ktstr/host/kernel/modules.hpp>
#include <ktstr/host/packages/private_apt.hpp>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::host {

namespace detail {

/// The packages that make up one kernel release. Which ones exist has changed over time: all in
/// linux-image, or split into linux-binary, linux-modules and linux-base.
struct kernel_packages {
    std::string release, version;
    std::vector<apt_package> packages;

    [[nodiscard]] const apt_package* find(std::string_view prefix) const {
        for (const apt_package& package : packages)
            if (package.name.starts_with(prefix))
                return &package;
        return nullptr;
    }
};

/// "linux-binary-7.3.4+deb13-cloud-amd64" is ("linux-binary-", "7.3.4+deb13-cloud-amd64").
inline std::pair<std::string_view, std::string_view> split_kernel_package(
    std::string_view name, std::string_view flavour) {
    for (const std::string_view prefix :
         {"linux-image-", "linux-binary-", "linux-modules-", "linux-base-"})
        if (name.starts_with(prefix) && name.ends_with(flavour) &&
            name.size() > prefix.size() + flavour.size() && is_digit(name[prefix.size()]))
            return {prefix, name.substr(prefix.size())};
    return {};
}

/// Groups a suite's packages by release, newest first; the newest version of each package.
inline std::vector<kernel_packages> group_kernels(const std::vector<apt_package>& packages,
                                                  std::string_view flavour) {
    std::map<std::string, kernel_packages, std::less<>> by_release;
    for (const apt_package& package : packages) {
        const auto [prefix, release] = split_kernel_package(package.name, flavour);
        kernel_packages& kernel = by_release[std::string(release)];
        kernel.release = release;
        const auto same = std::find_if(kernel.packages.begin(), kernel.packages.end(),
                                       [&](const auto& one) { return one.name == package.name; });
        if (same == kernel.packages.end())
            kernel.packages.push_back(package);
        else if (newer(package.version, same->version))
            *same = package;
    }
    std::vector<kernel_packages> kernels;
    for (auto& [release, kernel] : by_release) {
        const apt_package* image = kernel.find("linux-binary-");
        if (image == nullptr)
            image = kernel.find("linux-image-");
        if (image == nullptr)
            continue;
        kernel.version = image->version;
        // Beside linux-binary, linux-image is an empty package that only depends on the others.
        if (kernel.find("linux-binary-") != nullptr)
            std::erase_if(kernel.packages,
                          [](const auto& one) { return one.name.starts_with("linux-image-"); });
        kernels.push_back(std::move(kernel));
    }
    std::sort(kernels.begin(), kernels.end(),
              [](const auto& a, const auto& b) { return newer(a.version, b.version); });
    return kernels;
}

/// "7.3" of "7.3.4+deb13-cloud-amd64".
inline std::string series_of(std::string_view release) {
    const std::size_t dot = release.find('.');
    std::size_t end = dot == std::string_view::npos ? release.size() : dot + 1;
    while (end < release.size() && is_digit(release[end]))
        ++end;
    return std::string(release.substr(0, end));
}

/// A kernel that was looked at and lacks what we want: the next one is tried.
inline constexpr int unsuitable = ENOTSUP;

inline std::filesystem::path unpacked(const std::filesystem::path& root, const std::string& release,
                                      std::string_view in_modules, const std::string& in_boot) {
    for (const std::filesystem::path& candidate :
         {root / "usr/lib/modules" / release / in_modules,
          root / "lib/modules" / release / in_modules, root / "boot" / in_boot})
        if (std::error_code ignored; std::filesystem::is_regular_file(candidate, ignored))
            return candidate;
    return {};
}

inline result<void> move_file(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::error_code failed;
    std::filesystem::rename(from, to, failed);
    if (failed)
        return cache_error("store", to, failed.value());
    return {};
}

inline result<void> make_kernel_entry(private_apt& apt, const kernel_packages& of,
                                      bool need_sched_ext, const std::filesystem::path& directory) {
    const std::filesystem::path root = directory / "root";
    std::vector<apt_package> rest = of.packages;
    const auto get = [&](const std::vector<apt_package>& packages) -> result<void> {
        auto files = apt.download(packages, directory / "packages");
        if (!files)
            return files.error();
        for (const std::filesystem::path& file : *files)
            if (auto done = private_apt::unpack(file, root); !done)
                return done;
        return {};
    };
    // Where the configuration has a small package of its own, look at it before the large ones.
    if (const apt_package* small = of.find("linux-base-"); small != nullptr) {
        if (auto done = get({*small}); !done)
            return done;
        std::erase_if(rest, [](const auto& one) { return one.name.starts_with("linux-base-"); });
    }
    const auto config_file = [&] {
        return unpacked(root, of.release, "config", "config-" + of.release);
    };
    std::filesystem::path config = config_file();
    const auto unfit = [&]() -> std::optional<error> {
        if (config.empty() || !need_sched_ext)
            return std::nullopt;
        const auto options = kernel_config::read(config);
        if (!options)
            return options.error();
        if (options->tristate("SCHED_CLASS_EXT") == 'y')
            return std::nullopt;
        error found =
            plain_error("use", "kernel " + of.release, "it has no CONFIG_SCHED_CLASS_EXT");
        found.code = unsuitable;
        return found;
    };
    if (auto wrong = unfit())
        return *std::move(wrong);
    if (auto done = get(rest); !done)
        return done;
    config = config_file();
    if (auto wrong = unfit())
        return *std::move(wrong);
    const std::filesystem::path image =
        unpacked(root, of.release, "vmlinuz", "vmlinuz-" + of.release);
    if (config.empty() || image.empty())
        return plain_error(
            "use", "kernel " + of.release,
            config.empty() ? "its packages hold no configuration" : "its packages hold no image");
    if (auto moved = move_file(image, directory / "bzImage"); !moved)
        return moved;
    if (auto moved = move_file(config, directory / "config"); !moved)
        return moved;
    for (const std::string_view lib : {"usr/lib/modules", "lib/modules"})
        if (const auto modules = if_there(root / lib / of.release); !modules.empty())
            if (auto moved = move_file(modules, directory / "modules"); !moved)
                return moved;
    std::error_code failed;
    std::filesystem::remove_all(root, failed);
    std::filesystem::remove_all(directory / "packages", failed);
    // Links to where the package's source or headers would be installed lead nowhere here.
    std::filesystem::remove(directory / "modules/build", failed);
    std::filesystem::remove(directory / "modules/source", failed);

    const auto options = kernel_config::read(directory / "config");
    if (!options)
        return options.error();
    // One that was asked for by its version may lack sched_ext: then it is not what "distro" means.
    const bool sched_ext = options->tristate("SCHED_CLASS_EXT") == 'y';
    info_map info{{"release", of.release},
                  {"source", sched_ext ? "distro" : "package"},
                  {"package-version", of.version},
                  {"suite", of.packages.front().suite},
                  {"pvh", "0"}};
    const auto whole = mapped_file::open(directory / "bzImage");
    if (!whole)
        return whole.error();
    if (kind_of_image(whole->bytes()) == image_kind::bzimage) {
        apt.say("unpacking the kernel image");
        if (auto done = extract_vmlinux(directory / "bzImage", directory / "vmlinux"); !done)
            return done;
        const auto elf = mapped_file::open(directory / "vmlinux");
        if (!elf)
            return elf.error();
        if (has_pvh_note(elf->bytes()))
            info["pvh"] = "1";
        else
            std::filesystem::remove(directory / "vmlinux", failed);
    }
    if (is_module_directory(directory / "modules") &&
        if_there(directory / "modules/modules.dep").empty()) {
        apt.say("ordering the kernel's modules");
        if (auto done = write_modules_dep(directory / "modules"); !done)
            return done;
    }
    return write_text(directory / "kernel.info", info_text(info));
}

}  // namespace detail

/// Fetches the newest kernel of the distribution with sched_ext, or with `version` ("7.2",
/// "6.19.14") the newest that starts so. Returns the cached one when that is already it.
inline result<kernel> fetch_distro_kernel(const cache& in, std::string_view version,
                                          const progress_callback& progress) {
    // Packages, what is in them, and the unpacked image lie side by side for a while.
    if (auto space = require_space(in.root(), std::uint64_t{256} << 20, "fetch a kernel"); !space)
        return space.error();
    auto apt = private_apt::open(in, progress);
    if (!apt)
        return apt.error();
    const std::string flavour = "-cloud-" + apt->architecture();
    const auto is_kernel = [&](std::string_view name) {
        return !detail::split_kernel_package(name, flavour).second.empty();
    };
    // Backports carry new kernels and have short lists; the large suites only if they must.
    std::vector<std::vector<std::string>> rounds(1);
    for (const std::string& suite : later_suites(apt->codename())) {
        if (suite.ends_with("-backports"))
            rounds.front().push_back(suite);
        else
            rounds.push_back({suite});
    }
    std::optional<error> first_error;
    bool any_suite = false;
    std::string looked_at;
    std::set<std::string> tried;
    for (const std::vector<std::string>& suites : rounds) {
        std::vector<apt_package> offered;
        for (const std::string& suite : suites) {
            auto packages = apt->packages(suite, is_kernel);
            if (packages) {
                any_suite = true;
                offered.insert(offered.end(), packages->begin(), packages->end());
                continue;
            }
            if (packages.error().code == ENOSPC)
                return packages.error();
            // Not every release has backports yet.
            if (!first_error)
                first_error = packages.error();
        }
        for (const detail::kernel_packages& candidate : detail::group_kernels(offered, flavour)) {
            if (!release_starts_with(candidate.release, version) ||
                newer("6.12", candidate.release))
                continue;  // sched_ext came with 6.12
            // Within a series the configuration stays: its newest kernel speaks for all.
            if (!tried
                     .insert(version.empty() ? detail::series_of(candidate.release)
                                             : candidate.release)
                     .second)
                continue;
            looked_at += (looked_at.empty() ? "" : ", ") + candidate.release;
            cache::make_options options;
            options.what = "kernel " + candidate.release;
            options.progress = progress;
            options.check_every_time = detail::is_kernel_file_checked;
            auto entry = in.obtain_if(
                kernels_kind, candidate.release, options,
                [&](const std::filesystem::path& directory) {
                    return detail::make_kernel_entry(*apt, candidate, version.empty(), directory);
                },
                [&](const cache_entry& there) {
                    const auto info = detail::read_info(there.path / "kernel.info");
                    return detail::info_value(info, "package-version") == candidate.version;
                });
            if (entry)
                return kernel_of_entry(*entry);
            if (entry.error().code != detail::unsuitable)
                return entry.error();
            if (progress)
                progress(entry.error().message());
        }
    }
    if (!any_suite && first_error)
        return *std::move(first_error);
    return plain_error(version.empty() ? "find a kernel with sched_ext in"
                                       : "find a kernel " + std::string(version) + " in",
                       "this machine's package sources",
                       looked_at.empty() ? "there is none" : "looked at " + looked_at,
                       "pass a kernel with --kernel PATH, or build one with the fragments in "
                       "guest-kernel-config/");
}

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// `ktstr kernel list|show|fetch|source|build|btf|clean`: the kernels in the cache, what one can do, and how to get one.
// Host side.
#pragma once

#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/kernel/fetch_kernel.hpp>
#include <ktstr/host/kernel/kernel_btf.hpp>
#include <ktstr/host/kernel/needs.hpp>
#include <ktstr/host/kernel/resolve_kernel.hpp>
#include <ktstr/host/process/stop_signal.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kernel_build.hpp"
#include "kernel_source.hpp"
#include "subcommand.hpp"
#include "vmlinux_header.hpp"

namespace ktstr::tool {

namespace detail {

inline std::string mib(std::uint64_t bytes) {
    return fmt::format("{} MiB", (bytes + 524288) >> 20);
}

/// The kernel's configuration: its file, or the copy in its image.
inline std::optional<host::kernel_config> config_of(const host::kernel& kernel) {
    if (!kernel.config.empty())
        if (auto read = host::kernel_config::read(kernel.config))
            return *std::move(read);
    return std::nullopt;
}

inline int list_kernels(bool json) {
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    auto entries = in->list(host::kernels_kind);
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return host::newer(a.key, b.key); });
    nlohmann::json array = nlohmann::json::array();
    if (!json && entries.empty())
        fmt::print(stderr, "ktstr: no kernel in {}; `ktstr kernel fetch` gets one\n",
                   (in->root() / host::kernels_kind).string());
    for (const host::cache_entry_facts& entry : entries) {
        const auto info =
            host::detail::read_info(in->entry_path(host::kernels_kind, entry.key) / "kernel.info");
        const std::string source = host::detail::info_value(info, "source");
        const std::string suite = host::detail::info_value(info, "suite");
        if (json)
            array.push_back({{"release", entry.key},
                             {"source", source},
                             {"suite", suite},
                             {"package_version", host::detail::info_value(info, "package-version")},
                             {"bytes", entry.size},
                             {"last_use_ns", entry.last_use_ns},
                             {"path", in->entry_path(host::kernels_kind, entry.key).string()},
                             {"damage", entry.damage ? nlohmann::json(*entry.damage)
                                                     : nlohmann::json(nullptr)}});
        else
            fmt::print("{:<32} {:<8} {:<20} {:>8}  {}{}\n", entry.key, source, suite,
                       mib(entry.size), minute(entry.last_use_ns),
                       entry.damage ? "  DAMAGED: " + *entry.damage : "");
    }
    if (json)
        fmt::print("{}\n", array.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return 0;
}

inline int show_kernel(const std::string& spec, bool verify) {
    const auto kernel = host::resolve_kernel({spec, false, say});
    if (!kernel)
        return cannot(kernel.error());
    const auto size = [](const std::filesystem::path& path) -> std::string {
        std::error_code failed;
        const std::uint64_t bytes = path.empty() ? 0 : std::filesystem::file_size(path, failed);
        return path.empty() || failed ? "none" : path.string() + " (" + mib(bytes) + ")";
    };
    fmt::print("release    {}\nsource     {}\nimage      {}\nbzImage    {}\n", kernel->release,
               kernel->source, size(kernel->image), size(kernel->bzimage));
    fmt::print("pvh        {}\nmodules    {}\nconfig     {}\nid         {}\n",
               kernel->pvh ? "yes: QEMU starts it directly" : "no: boots through its decompressor",
               kernel->modules.empty() ? "none" : kernel->modules.string(),
               kernel->config.empty() ? "none found" : kernel->config.string(), kernel->id);
    if (const auto config = config_of(*kernel)) {
        using enum host::kernel_need;
        const auto lacking = [&](host::kernel_need need) {
            std::string text;
            for (const host::missing_option& missing : host::check_config(*config, need))
                text += fmt::format("\n  {} is {}, wanted {}: {}", missing.option, missing.found,
                                    missing.wanted, missing.why);
            return text.empty() ? std::string("yes") : "no" + text;
        };
        fmt::print(
            "boots      {}\nsched_ext  {}\nBTF        {}\nvsock      {}\nserial     {}\n"
            "steal      {}\nnested     {}\n",
            lacking(host::native_needs), lacking(sched_ext),
            config->tristate("DEBUG_INFO_BTF") == 'y' ? "yes" : "no", lacking(vsock),
            lacking(virtio_serial), lacking(steal), lacking(nested));
    } else {
        fmt::print("boots      unknown: no configuration was found beside or in the image\n");
    }
    if (!verify)
        return 0;
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    const auto entry = in->entry_path(host::kernels_kind, kernel->release);
    if (!kernel->image.native().starts_with(entry.native())) {
        fmt::print("verified   not possible: this kernel is not in the cache\n");
        return 0;
    }
    const auto content = host::read_manifest(entry, host::check_depth::full);
    if (!content)
        return cannot(content.error());
    if (const auto damage = host::find_damage(entry, *content, host::check_depth::full))
        return cannot(plain_error("trust kernel", kernel->release, *damage,
                                  "run `ktstr kernel clean --corrupt-only` and fetch it again"));
    fmt::print("verified   {} files\n", content->files.size());
    return 0;
}

inline int fetch_kernel(const std::string& spec) {
    const host::stop_signal stop;  // ends what it waits for, in order
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    const auto kernel = host::fetch_distro_kernel(
        *in, spec == "distro" ? std::string_view{} : std::string_view{spec}, say);
    if (!kernel)
        return cannot(kernel.error());
    if (const auto config = config_of(*kernel);
        config && config->tristate("SCHED_CLASS_EXT") != 'y')
        say("kernel " + kernel->release + " has no sched_ext");
    fmt::print("{}\n", kernel->release);
    return 0;
}

/// Prints where the part of it lies that the programs of its tools/ are built from.
inline int kernel_sources(const std::string& spec) {
    const host::stop_signal stop;  // ends what it waits for, in order
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    const auto origin = find_source(*in, spec, say);
    if (!origin)
        return cannot(origin.error());
    const auto source = obtain_tools_source(*in, *origin, say);
    if (!source)
        return cannot(source.error());
    fmt::print("{}\n", source->tree.string());
    return 0;
}

inline int make_kernel(const kernel_build_order& order) {
    const host::stop_signal stop;  // ends what it waits for, in order
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    const auto kernel = build_kernel(*in, order);
    if (!kernel)
        return cannot(kernel.error());
    fmt::print("{}\n", kernel->release);
    return 0;
}

/// Prints where the cache keeps it, or writes a copy to `output`; "-" is standard output.
inline int kernel_btf(const std::string& spec, const std::string& format,
                      const std::string& output) {
    const host::stop_signal stop;  // ends what it waits for, in order
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    const auto kernel = host::resolve_kernel({spec, true, say});
    if (!kernel)
        return cannot(kernel.error());
    std::filesystem::path file;
    std::vector<std::shared_ptr<unique_fd>> in_use;
    if (format == "c") {
        const auto bpftool = find_bpftool(*in, in_use);
        if (!bpftool)
            return cannot(bpftool.error());
        const auto header = obtain_vmlinux_header(*in, *kernel, *bpftool, say);
        if (!header)
            return cannot(header.error());
        in_use.push_back(header->in_use);
        file = header->path / vmlinux_header_file;
    } else {
        const auto btf = host::obtain_btf(*in, *kernel, say);
        if (!btf)
            return cannot(btf.error());
        in_use.push_back(btf->in_use);
        file = btf->path / host::btf_file;
    }
    if (output.empty()) {
        fmt::print("{}\n", file.string());
        return 0;
    }
    const auto content = host::mapped_file::open(file);
    if (!content)
        return cannot(content.error());
    if (output != "-") {
        if (const auto done = host::detail::write_text(output, content->bytes()); !done)
            return cannot(done.error());
        return 0;
    }
    const std::string_view bytes = content->bytes();
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() ||
        std::fflush(stdout) != 0)
        return cannot(system_error("write", "standard output"));
    return 0;
}

inline int clean_kernels(int keep, bool corrupt_only) {
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    host::remove_stale_directories(in->temporary_parent());
    auto entries = in->list(host::kernels_kind,
                            corrupt_only ? host::check_depth::full : host::check_depth::quick);
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return host::newer(a.key, b.key); });
    int kept = 0, status = 0;
    const auto drop = [&](std::string_view kind, const host::cache_entry_facts& entry) {
        const auto gone = in->remove(kind, entry.key);
        if (!gone)
            status = cannot(gone.error());
        else if (*gone)
            fmt::print("removed {} {} ({})\n", kind, entry.key, mib(entry.size));
        else
            say(fmt::format("{} is in use: kept", entry.key));
    };
    for (const host::cache_entry_facts& entry : entries)
        if (entry.damage || (!corrupt_only && kept++ >= keep))
            drop(host::kernels_kind, entry);
    // What was made from kernels: unpacked images, and initramfs files with their modules.
    for (const std::string_view kind :
         {std::string_view("images"), host::btf_kind, std::string_view("initramfs")})
        for (const host::cache_entry_facts& entry :
             in->list(kind, corrupt_only ? host::check_depth::full : host::check_depth::quick))
            if (entry.damage || !corrupt_only)
                drop(kind, entry);
    return status;
}

}  // namespace detail

inline void add_kernel_command(CLI::App& app, int& status) {
    CLI::App* const kernel = app.add_subcommand("kernel", "Kernels to test with");
    kernel->require_subcommand(1);

    CLI::App* const list = kernel->add_subcommand("list", "The kernels in the cache");
    const auto json = std::make_shared<bool>(false);
    list->add_flag("--json", *json, "One JSON array");
    list->callback([=, &status] { status = detail::list_kernels(*json); });

    CLI::App* const show = kernel->add_subcommand("show", "What a kernel is and can do");
    const auto shown = std::make_shared<std::string>();
    const auto verify = std::make_shared<bool>(false);
    show->add_option("SPEC", *shown, "distro, host, a path, or a cached release")->required();
    show->add_flag("--verify", *verify, "Compare every file's content with what was stored");
    show->callback([=, &status] { status = detail::show_kernel(*shown, *verify); });

    CLI::App* const fetch =
        kernel->add_subcommand("fetch", "Get a kernel of the distribution; nothing is installed");
    const auto fetched = std::make_shared<std::string>("distro");
    fetch->add_option("SPEC", *fetched,
                      "distro: the newest with sched_ext; or how its version begins, such as 7.2");
    fetch->callback([=, &status] { status = detail::fetch_kernel(*fetched); });

    CLI::App* const source = kernel->add_subcommand(
        "source", "Where a kernel's sources are; unpacks those that its tools are built from");
    const auto source_of = std::make_shared<std::string>("distro");
    source->add_option("SPEC", *source_of,
                       "distro or a cached kernel: its source package; linux-source-X.Y[/SUITE], a "
                       "tarball, or a tree");
    source->callback([=, &status] { status = detail::kernel_sources(*source_of); });

    CLI::App* const build = kernel->add_subcommand(
        "build", "Build a kernel with what tests need and nothing else; prints what to call it");
    const auto order = std::make_shared<kernel_build_order>();
    build
        ->add_option("SOURCE", order->source,
                     "A source tree, a tarball, linux-source-X.Y[/SUITE]; linux-source or a cached "
                     "kernel: its source package")
        ->capture_default_str();
    build
        ->add_option("--config", order->fragments,
                     "A fragment of a configuration, after ktstr's own; repeatable")
        ->allow_extra_args(false)
        ->check(CLI::ExistingFile);
    build->add_option("--jobs", order->jobs, "Compilers at a time; 0: one for each CPU")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    build->callback([=, &status] { status = detail::make_kernel(*order); });

    CLI::App* const btf = kernel->add_subcommand(
        "btf", "A kernel's types, taken out of its image without booting it");
    const auto btf_of = std::make_shared<std::string>("distro");
    const auto format = std::make_shared<std::string>("raw");
    const auto output = std::make_shared<std::string>();
    btf->add_option("SPEC", *btf_of, "distro, host, a path, or a cached release");
    btf->add_option("--format", *format, "raw: the BTF itself; c: vmlinux.h, made by bpftool")
        ->check(CLI::IsMember({"raw", "c"}))
        ->capture_default_str();
    btf->add_option("-o,--output", *output,
                    "A file, or - for standard output; without, print where the cache keeps it");
    btf->callback([=, &status] { status = detail::kernel_btf(*btf_of, *format, *output); });

    CLI::App* const clean = kernel->add_subcommand("clean", "Delete kernels that nobody uses");
    const auto keep = std::make_shared<int>(1);
    const auto all = std::make_shared<bool>(false);
    const auto corrupt = std::make_shared<bool>(false);
    CLI::Option* const keep_option =
        clean->add_option("--keep", *keep, "How many of the newest stay")
            ->check(CLI::NonNegativeNumber)
            ->capture_default_str();
    CLI::Option* const all_option = clean->add_flag("--all", *all, "None stays");
    clean->add_flag("--corrupt-only", *corrupt, "Delete the damaged ones and no other")
        ->excludes(keep_option)
        ->excludes(all_option);
    all_option->excludes(keep_option);
    clean->callback([=, &status] { status = detail::clean_kernels(*all ? 0 : *keep, *corrupt); });
}

}  // namespace ktstr::tool

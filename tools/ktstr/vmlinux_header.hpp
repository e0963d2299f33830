// SPDX-License-Identifier: MIT
// vmlinux.h of a kernel: its types as C, made by bpftool of the BTF in its image, and kept in the cache by
// that BTF and that bpftool. Host side.
#pragma once

#include <ktstr/host/kernel/kernel_btf.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <filesystem>
#include <string>

#include <fcntl.h>

#include "bpf_toolchain.hpp"

namespace ktstr::tool {

inline constexpr std::string_view vmlinux_header_file = "vmlinux.h";

/// The entry holds it as vmlinux_header_file, and `about`, whose it is.
inline result<host::cache_entry> obtain_vmlinux_header(const host::cache& in,
                                                       const host::kernel& of,
                                                       const found_tool& bpftool,
                                                       const host::progress_callback& progress) {
    const auto btf = host::obtain_btf(in, of, progress);
    if (!btf)
        return btf.error();
    host::cache::make_options options;
    options.what = "vmlinux.h of kernel " + of.release;
    options.progress = progress;
    options.durable = false;
    return in.obtain(
        host::btf_kind, host::hash_text(btf->content.id + ' ' + bpftool.version), options,
        [&](const std::filesystem::path& directory) -> result<void> {
            const auto target = directory / vmlinux_header_file;
            const unique_fd out{
                ::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
            if (!out)
                return host::cache_error("create", target);
            host::tool_command command;
            command.argv = {bpftool.path, "btf", "dump", "file", btf->path / host::btf_file,
                            "format",     "c"};
            command.output_fd = out.get();
            if (auto done = host::run_tool_ok(std::move(command), "make vmlinux.h of", of.release);
                !done)
                return done.error();
            return host::detail::write_text(directory / "about", of.release + '\n');
        });
}

}  // namespace ktstr::tool

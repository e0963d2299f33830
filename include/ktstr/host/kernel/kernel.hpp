// SPDX-License-Identifier: MIT
// A kernel that is ready to boot, and what was asked for to get it. Host side.
#pragma once

#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/file_lock.hpp>

#include <filesystem>
#include <memory>
#include <string>

namespace ktstr::host {

struct kernel {
    std::string release;            ///< "7.3.4+deb13-cloud-amd64"
    std::filesystem::path image;    ///< best bootable file: an ELF with a PVH note where possible
    std::filesystem::path bzimage;  ///< the original compressed image; may be empty
    bool pvh = false;               ///< image is an uncompressed ELF with a PVH note
    std::filesystem::path modules;  ///< holds modules.dep or modules.order; empty: all built in
    std::filesystem::path config;   ///< build configuration; may be empty
    std::string id;                 ///< changes whenever the kernel does; for cache keys
    std::string source;  ///< "distro", "package" (no sched_ext), "host", or the path given
    std::shared_ptr<unique_fd> in_use;  ///< keeps the cache entry from being deleted
};

struct kernel_request {
    /// "distro", "host", a path to an image or a directory, or the name (or its beginning) of a
    /// cached kernel. Empty means "distro".
    std::string spec = "distro";
    bool allow_fetch = true;  ///< may have the ktstr command fetch "distro" into the cache
    progress_callback progress = {};
};

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// Loads the kernel modules the host packed, in the order it wrote down (dependencies first).
// Runs as PID 1 in the guest.
#pragma once

#include <ktstr/base/unique_fd.hpp>
#include <ktstr/linux/kernel_file.hpp>
#include <ktstr/wire/boot.hpp>

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ktstr::guest {

/// Loads them all. Returns one sentence for each that the kernel refused, empty if none.
[[nodiscard]] inline std::string load_modules() {
    std::string failures;
    const std::string list = read_kernel_file(wire::module_list_path).value_or("");
    for (std::size_t at = 0; at < list.size();) {
        auto end = list.find('\n', at);
        if (end == std::string::npos)
            end = list.size();
        const std::string path = list.substr(at, end - at);
        at = end + 1;
        if (path.empty())
            continue;
        unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (fd && (::syscall(SYS_finit_module, fd.get(), "", 0) == 0 || errno == EEXIST))
            continue;
        failures += "cannot load module " + path + ": " + std::strerror(errno) + "; ";
    }
    return failures;
}

}  // namespace ktstr::guest

// SPDX-License-Identifier: MIT
// Child processes of a worker, and what a worker says when the kernel refuses it something. Guest side.
#pragma once

#include <ktstr/base/error.hpp>

#include <cerrno>
#include <stdexcept>

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ktstr::guest {

/// The worker gives up, with this as its reason.
[[noreturn]] inline void throw_system_error(const char* what) {
    throw std::runtime_error(system_error(what, "this worker").message());
}

/// Waits for a child that ends by itself, whatever signals come meanwhile.
inline void reap(pid_t child) {
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
}

}  // namespace ktstr::guest

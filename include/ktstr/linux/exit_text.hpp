// SPDX-License-Identifier: MIT
// How a process ended, in words, from the status that waitpid() gave.
#pragma once

#include <csignal>
#include <cstring>
#include <string>

#include <sys/wait.h>

namespace ktstr {

/// "SIGSEGV", and "signal 35" for one without a name.
[[nodiscard]] inline std::string signal_text(int signal) {
    const char* name = ::sigabbrev_np(signal);
    return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

/// "exited with status 1" or "was killed by SIGSEGV".
[[nodiscard]] inline std::string exit_text(int wait_status) {
    return WIFSIGNALED(wait_status)
               ? "was killed by " + signal_text(WTERMSIG(wait_status))
               : "exited with status " + std::to_string(WEXITSTATUS(wait_status));
}

/// As a shell has it in $?.
[[nodiscard]] inline int shell_status(int wait_status) {
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

}  // namespace ktstr

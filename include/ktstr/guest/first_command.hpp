// SPDX-License-Identifier: MIT
// The one command that a template may run before it comes to rest, so that its clones find its work
// done: the machine around nested runs boots its own templates in it. Runs as PID 1 in the guest.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/linux/kernel_file.hpp>
#include <ktstr/wire/boot.hpp>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace ktstr::guest {

/// Runs it to its end, its words on the console. Nothing to run is no error.
[[nodiscard]] inline result<void> run_first_command() {
    if (::access(wire::first_command_path, F_OK) != 0)
        return {};
    const auto text = read_kernel_file(wire::first_command_path);
    if (!text)
        return text.error();
    auto [environment, arguments] = wire::parse_first_command(*text);
    if (arguments.empty())
        return plain_error("run", wire::first_command_path, "it names no command");
    const auto pointers = [](std::vector<std::string>& words) {
        std::vector<char*> list;
        for (auto& word : words)
            list.push_back(word.data());
        list.push_back(nullptr);
        return list;
    };
    const auto argv = pointers(arguments), envp = pointers(environment);
    const pid_t pid = ::fork();
    if (pid < 0)
        return system_error("fork", arguments.front());
    if (pid == 0) {
        ::setsid();
        sigset_t none;
        sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        ::signal(SIGPIPE, SIG_DFL);
        ::execve(argv.front(), argv.data(), envp.data());
        ::dprintf(2, "ktstr: cannot start %s: %s\n", argv.front(), std::strerror(errno));
        ::_exit(127);
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return system_error("wait for", arguments.front());
    // What it left running would be in every clone.
    ::kill(-pid, SIGKILL);
    while (::waitpid(-pid, nullptr, 0) > 0) {
    }
    if (status != 0)
        return plain_error("run", arguments.front(), "it " + exit_text(status));
    return {};
}

}  // namespace ktstr::guest

// SPDX-License-Identifier: MIT
// Runs one external program to its end: an argument vector (never a shell), output captured or
// sent to a descriptor, a time limit; the stop signal ends it. Not for programs that live on, such as
// QEMU. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/scope_exit.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/linux/find_program.hpp>
#include <ktstr/linux/write_all.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ktstr::host {

struct tool_command {
    std::vector<std::string> argv;         ///< argv[0] is looked up in PATH
    std::string_view input = {};           ///< given as standard input; empty: /dev/null
    int output_fd = -1;                    ///< where standard output goes; -1: tool_output::out
    std::filesystem::path directory = {};  ///< working directory; empty: ours
    std::vector<std::string> environment = {};   ///< "NAME=value", over ours
    std::chrono::milliseconds timeout{300'000};  ///< then the tool and its children are killed
    std::chrono::milliseconds grace{2'000};      ///< to end by itself after the stop signal
    std::size_t output_limit = std::size_t{256} << 20;  ///< more captured output is an error
};

struct tool_output {
    int exit_code = 0;     ///< 128 + signal when a signal ended it
    std::string out, err;  ///< err keeps its last 64 KiB
};

namespace detail {

/// A standard input that needs no writer: nothing can block or raise SIGPIPE.
inline result<unique_fd> tool_input(std::string_view input) {
    if (input.empty()) {
        unique_fd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
        if (!null)
            return system_error("open", "/dev/null");
        return null;
    }
    unique_fd memory{::memfd_create("ktstr-tool-input", MFD_CLOEXEC)};
    if (!memory)
        return system_error("create", "a memory file for a tool's input");
    if (!write_all(memory.get(), input))
        return system_error("write", "a tool's input");
    ::lseek(memory.get(), 0, SEEK_SET);
    return memory;
}

inline std::vector<std::string> tool_environment(const std::vector<std::string>& extra) {
    std::vector<std::string> all(extra);
    all.emplace_back("LC_ALL=C");  // messages and number formats that we can read
    for (char** variable = environ; *variable != nullptr; ++variable) {
        const std::string_view text = *variable;
        const std::string_view name = text.substr(0, text.find('=') + 1);
        if (std::none_of(all.begin(), all.end(),
                         [&](const std::string& own) { return own.starts_with(name); }))
            all.emplace_back(text);
    }
    return all;
}

inline std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    out.reserve(texts.size() + 1);
    for (std::string& text : texts)
        out.push_back(text.data());
    out.push_back(nullptr);
    return out;
}

/// The last line that says something: tools put the cause there.
inline std::string last_line(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\r'))
        text.remove_suffix(1);
    return std::string(text.substr(text.rfind('\n') + 1));
}

}  // namespace detail

/// Runs the tool and waits for its end. A tool that ran and failed is a value (see exit_code);
/// a tool that could not be started, or took too long, is an error.
inline result<tool_output> run_tool(tool_command command) {
    const std::string name = command.argv.empty() ? std::string("(nothing)") : command.argv.front();
    auto input = detail::tool_input(command.input);
    if (!input)
        return input.error();

    std::array<int, 2> out_pipe{-1, -1}, err_pipe{-1, -1};
    if (::pipe2(err_pipe.data(), O_CLOEXEC) != 0)
        return system_error("create a pipe for", name);
    unique_fd err_read{err_pipe[0]}, err_write{err_pipe[1]}, out_read, out_write;
    if (command.output_fd < 0) {
        if (::pipe2(out_pipe.data(), O_CLOEXEC) != 0)
            return system_error("create a pipe for", name);
        out_read.reset(out_pipe[0]);
        out_write.reset(out_pipe[1]);
    }

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    scope_exit free_actions([&] { posix_spawn_file_actions_destroy(&actions); });
    posix_spawn_file_actions_adddup2(&actions, input->get(), 0);
    posix_spawn_file_actions_adddup2(&actions, out_write ? out_write.get() : command.output_fd, 1);
    posix_spawn_file_actions_adddup2(&actions, err_write.get(), 2);
    if (!command.directory.empty())
        posix_spawn_file_actions_addchdir_np(&actions, command.directory.c_str());
#if defined(__GLIBC_PREREQ)
#    if __GLIBC_PREREQ(2, 34)
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
#    endif
#endif
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    scope_exit free_attributes([&] { posix_spawnattr_destroy(&attributes); });
    sigset_t none, reset;
    sigemptyset(&none);
    sigemptyset(&reset);
    sigaddset(&reset, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &reset);
    posix_spawnattr_setpgroup(&attributes, 0);  // so that a timeout reaches its children too
    posix_spawnattr_setflags(
        &attributes,
        static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP));

    std::vector<std::string> environment = detail::tool_environment(command.environment);
    std::vector<char*> argv = detail::pointers(command.argv);
    std::vector<char*> envp = detail::pointers(environment);
    pid_t child = -1;
    const int status =
        ::posix_spawnp(&child, name.c_str(), &actions, &attributes, argv.data(), envp.data());
    if (status != 0)
        return system_error("run", name,
                            status == ENOENT ? "install the package that provides it" : "", status);
    err_write.reset();
    out_write.reset();

    unique_fd process{static_cast<int>(::syscall(SYS_pidfd_open, child, 0))};
    const auto deadline = std::chrono::steady_clock::now() + command.timeout;
    tool_output output;
    std::optional<error> failure;
    if (!process)
        failure = system_error("watch", name);
    while (!failure && (out_read || err_read || process)) {
        std::array<pollfd, 4> watched{pollfd{out_read ? out_read.get() : -1, POLLIN, 0},
                                      pollfd{err_read ? err_read.get() : -1, POLLIN, 0},
                                      pollfd{process ? process.get() : -1, POLLIN, 0},
                                      pollfd{stop_signal::watched_fd(), POLLIN, 0}};
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        const int ready = ::poll(watched.data(), watched.size(),
                                 static_cast<int>(std::clamp<long long>(left.count(), 0, 1 << 30)));
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0) {
            failure = ready < 0 ? system_error("wait for", name)
                                : plain_error("run", name,
                                              "no end within " +
                                                  std::to_string(command.timeout.count()) + " ms");
            break;
        }
        if (watched[3].revents != 0) {
            // Its group is its own, so the terminal's signal has not reached it.
            failure = plain_error("run", name, "interrupted");
            ::kill(-child, SIGTERM);
            pollfd end{process.get(), POLLIN, 0};
            ::poll(&end, 1, static_cast<int>(command.grace.count()));
            break;
        }
        const auto take = [](unique_fd& from, std::string& into) {
            std::array<char, 65536> buffer;
            const ssize_t n = ::read(from.get(), buffer.data(), buffer.size());
            if (n < 0 && errno == EINTR)
                return;
            if (n <= 0)
                from.reset();
            else
                into.append(buffer.data(), static_cast<std::size_t>(n));
        };
        if (watched[0].revents != 0)
            take(out_read, output.out);
        if (watched[1].revents != 0)
            take(err_read, output.err);
        if (output.err.size() > 131072)
            output.err.erase(0, output.err.size() - 65536);
        if (output.out.size() > command.output_limit)
            failure = plain_error(
                "run", name,
                "more than " + std::to_string(command.output_limit) + " bytes of output");
        // The pipes may outlive the tool in a daemon it left behind: its end is the end.
        if (watched[2].revents != 0 && watched[0].revents == 0 && watched[1].revents == 0)
            break;
    }
    if (failure)
        ::kill(-child, SIGKILL);
    int ended = 0;
    while (::waitpid(child, &ended, 0) < 0 && errno == EINTR) {
    }
    if (failure)
        return *std::move(failure);
    output.exit_code = shell_status(ended);
    return output;
}

/// As run_tool, but a non-zero exit is an error too: `what` names the deed, `object` its object,
/// the reason is the last line the tool wrote to standard error.
inline result<tool_output> run_tool_ok(tool_command command, std::string what, std::string object) {
    const std::string name = command.argv.empty() ? std::string() : command.argv.front();
    auto output = run_tool(std::move(command));
    if (!output)
        return error{std::move(what), std::move(object), output.error().message(),
                     output.error().hint, output.error().code};
    if (output->exit_code != 0) {
        std::string said = detail::last_line(output->err);
        return plain_error(std::move(what), std::move(object),
                           name + " ended with " + std::to_string(output->exit_code) +
                               (said.empty() ? "" : ": " + said));
    }
    return output;
}

/// A program in PATH or where administrators' tools lie.
[[nodiscard]] inline std::optional<std::filesystem::path> find_tool(std::string_view name) {
    return find_program(name, administrator_directories);
}

}  // namespace ktstr::host

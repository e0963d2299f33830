// SPDX-License-Identifier: MIT
// Runs a build of the kernel's: all it says goes into a log, what it does becomes progress, the stop signal ends it with
// all of its children, and a failure is told in the build's own first words. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache_root.hpp>
#include <ktstr/host/process/child.hpp>
#include <ktstr/host/process/run_tool.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/linux/write_all.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

namespace ktstr::tool {

struct make_order {
    std::vector<std::string> arguments;         ///< of make, or of `program`
    std::vector<std::string> environment = {};  ///< NAME=value, added to ours
    std::filesystem::path log;                  ///< appended to
    std::string what;                           ///< "kernel 7.3.4", for messages
    std::string program = "make";
    std::filesystem::path directory = {};
    /// Hears how many files were made so far, and the last of them.
    std::function<void(std::size_t, std::string_view)> progress = {};
};

/// What the kernel's makefiles read of the environment and would build something else by, which no key in the cache knows:
/// another compiler, another architecture, another folder, flags, what a make above this one was told.
inline const std::vector<std::string>& withheld_of_make() {
    static const std::vector<std::string> names{"MAKEFLAGS",
                                                "MFLAGS",
                                                "MAKELEVEL",
                                                "GNUMAKEFLAGS",
                                                "MAKEFILES",
                                                "MAKEOVERRIDES",
                                                "O",
                                                "C",
                                                "M",
                                                "W",
                                                "V",
                                                "LLVM",
                                                "LLVM_IAS",
                                                "ARCH",
                                                "SUBARCH",
                                                "CROSS_COMPILE",
                                                "CC",
                                                "LD",
                                                "AR",
                                                "HOSTCC",
                                                "HOSTLD",
                                                "HOSTAR",
                                                "CLANG",
                                                "LLC",
                                                "OUTPUT",
                                                "BPFTOOL",
                                                "VMLINUX_BTF",
                                                "CFLAGS",
                                                "CPPFLAGS",
                                                "CXXFLAGS",
                                                "LDFLAGS",
                                                "LDLIBS",
                                                "EXTRA_CFLAGS",
                                                "EXTRA_LDFLAGS",
                                                "USERCFLAGS",
                                                "USERLDFLAGS",
                                                "HOSTCFLAGS",
                                                "HOSTLDFLAGS",
                                                "KHDR_INCLUDES",
                                                "KCFLAGS",
                                                "KAFLAGS",
                                                "KCPPFLAGS",
                                                "KRUSTFLAGS",
                                                "KCONFIG_CONFIG",
                                                "KCONFIG_ALLCONFIG",
                                                "KBUILD_OUTPUT",
                                                "KBUILD_EXTMOD",
                                                "KBUILD_EXTRA_SYMBOLS",
                                                "KBUILD_DEFCONFIG",
                                                "KBUILD_KCONFIG",
                                                "LOCALVERSION",
                                                "INSTALL_MOD_PATH",
                                                "INSTALL_MOD_DIR",
                                                "INSTALL_MOD_STRIP",
                                                "TARGETS",
                                                "DEBUG"};
    return names;
}

namespace detail {

/// "  CC      kernel/fork.o" is "kernel/fork.o"; what is no such line of kbuild's is nothing.
inline std::string_view made_file(std::string_view line) {
    if (!line.starts_with("  ") || line.size() < 4 || line[2] < 'A' || line[2] > 'Z')
        return {};
    const auto word_end = line.find(' ', 2);
    const auto start =
        word_end == std::string_view::npos ? word_end : line.find_first_not_of(' ', word_end);
    return start == std::string_view::npos ? std::string_view{} : line.substr(start);
}

/// The line that says why a build failed: the first error that a tool names, else what make stopped at.
inline std::string first_error(std::string_view log) {
    std::string stopped;
    for (std::string_view rest = log; !rest.empty();) {
        const auto end = std::min(rest.find('\n'), rest.size());
        const auto line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (line.find("error:") != std::string_view::npos ||
            line.find("undefined reference") != std::string_view::npos ||
            line.find("not found") != std::string_view::npos ||
            line.find("cannot find") != std::string_view::npos ||
            line.find("can't open") != std::string_view::npos)
            return host::one_line(line);
        if (stopped.empty() && line.find("*** ") != std::string_view::npos)
            stopped = host::one_line(line.substr(line.find("*** ") + 4));
    }
    return stopped.empty() ? host::one_line(host::detail::last_line(log)) : stopped;
}

}  // namespace detail

inline result<void> run_make(const make_order& order) {
    const auto program = host::find_tool(order.program);
    if (!program)
        return plain_error("build", order.what, order.program + " is not there",
                           "install it (Debian: apt-get install " + order.program + ")");
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        return system_error("create a pipe for", order.program);
    unique_fd read_end{ends[0]}, write_end{ends[1]};
    const unique_fd log{::open(order.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)};
    if (!log)
        return host::cache_error("create", order.log);
    host::child_request request;
    request.program = *program;
    request.arguments = order.arguments;
    request.environment = order.environment;
    request.environment.emplace_back("LC_ALL=C");
    request.withheld = withheld_of_make();
    request.directory = order.directory;
    request.standard_output = request.standard_error = write_end.get();
    auto started = host::start_child(request);
    if (!started)
        return started.error();
    write_end.reset();
    // It leads a session of its own. Whatever ends this, a make that is dead leaves no compilers behind.
    struct whole_build {
        pid_t group;
        bool is_over = false;
        ~whole_build() {
            if (!is_over)
                ::kill(-group, SIGKILL);
        }
    } whole{started->pid()};

    std::string said, line;
    std::size_t made = 0;
    for (;;) {
        std::array<pollfd, 2> watched{pollfd{read_end.get(), POLLIN, 0},
                                      pollfd{host::stop_signal::watched_fd(), POLLIN, 0}};
        if (::poll(watched.data(), watched.size(), -1) < 0) {
            if (errno == EINTR)
                continue;
            return system_error("wait for", order.program);
        }
        if (watched[1].revents != 0) {
            ::kill(-whole.group, SIGTERM);
            started->end_within(10'000);
            return plain_error("build", order.what, "interrupted");
        }
        std::array<char, 65536> buffer;
        const ssize_t n = ::read(read_end.get(), buffer.data(), buffer.size());
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        const std::string_view text(buffer.data(), static_cast<std::size_t>(n));
        if (!write_all(log.get(), text))
            return host::cache_error("write", order.log);
        said += text;
        for (const char c : text) {
            if (c != '\n') {
                line += c;
                continue;
            }
            if (const auto file = detail::made_file(line); !file.empty() && order.progress)
                order.progress(++made, file);
            line.clear();
        }
        if (said.size() > std::size_t{32} << 20)
            said.erase(0, said.size() / 2);
    }
    const int status = shell_status(started->end_within(-1));
    whole.is_over = true;
    if (status == 0)
        return {};
    return plain_error(
        "build", order.what,
        order.program + " ended with " + std::to_string(status) + ": " + detail::first_error(said),
        "all it said is in " + order.log.string());
}

}  // namespace ktstr::tool

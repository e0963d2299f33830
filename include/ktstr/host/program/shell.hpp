// SPDX-License-Identifier: MIT
// --shell: the selected test's machine with a shell in it, on this terminal. The shell and a handful
// of the usual tools are the host's own, packed with their libraries. Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/machine/machine_command.hpp>
#include <ktstr/host/report/exit_status.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/setup/build_machine.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/host/vm/qemu_binary.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/linux/find_program.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

namespace ktstr::host {

/// What a person looks around with. Those the host lacks are left out.
inline constexpr std::array<std::string_view, 34> shell_tools{
    "cat",   "chmod",   "chrt",  "cp",      "cut",    "date", "dd",  "dmesg", "echo",
    "free",  "grep",    "head",  "kill",    "less",   "ln",   "ls",  "lscpu", "mkdir",
    "mount", "mv",      "nproc", "numactl", "ps",     "rm",   "sed", "sleep", "sort",
    "tail",  "taskset", "top",   "uname",   "uptime", "vi",   "wc"};

namespace detail {

/// Keys go to the guest's terminal untouched; ours is put back whatever happens.
class raw_terminal {
public:
    raw_terminal() : active_(::tcgetattr(STDIN_FILENO, &before_) == 0) {
        if (!active_)
            return;
        termios raw = before_;
        ::cfmakeraw(&raw);
        ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    raw_terminal(const raw_terminal&) = delete;
    ~raw_terminal() {
        if (active_)
            ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    }

private:
    termios before_{};
    bool active_;
};

}  // namespace detail

[[nodiscard]] inline int give_shell(const options& wanted, const run_setup& setup, const cell& one,
                                    const std::filesystem::path& private_dir, int stop_fd) {
    const auto fail = [](const error& e) {
        std::fprintf(stderr, "ktstr: %s\n", printable(e.message()).c_str());
        return exit_run_impossible;
    };
    if (!one.has_machine())
        return fail(plain_error("give a shell in the machine of", one.name,
                                "it is host_only and has none"));
    std::vector<guest_program> programs;
    auto shell = find_program("bash");
    if (!shell)
        shell = find_program("sh");
    if (!shell)
        return fail(plain_error("find", "bash or sh", "neither is in PATH"));
    programs.push_back({.host_path = *shell, .guest_path = "/bin/sh"});
    for (const auto name : shell_tools)
        if (const auto found = find_program(name))
            programs.push_back(
                {.host_path = *found, .guest_path = "/usr/local/bin/" + std::string(name)});
    auto archive = initramfs_for(setup, one, {}, programs);
    if (!archive)
        return fail(archive.error());
    const auto& host = setup.host;
    const auto m = build_machine(setup, one,
                                 {.accel = host.accel,
                                  .verbose = wanted.verbose,
                                  .archive = archive->path,
                                  .archive_size = archive->size});
    const bool terminal = ::isatty(STDIN_FILENO) == 1;
    winsize size{24, 80, 0, 0};
    ::ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
    const char* kind = std::getenv("TERM");
    wire::run_command command{
        .argv = {"/bin/sh"},
        .environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root",
                        std::string("TERM=") + (kind != nullptr ? kind : "dumb"),
                        "PS1=" + one.name + "# "},
        .terminal = terminal,
        .rows = size.ws_row,
        .columns = size.ws_col};
    if (terminal)
        command.argv.emplace_back("-i");
    std::fprintf(stderr, "ktstr: booting %s for a shell in the machine of %s; `exit` leaves it\n",
                 setup.kernel_of(one).kernel.release.c_str(), one.name.c_str());
    machine_command run(
        {.machine = m,
         .qemu = host.qemu.path,
         .links = host.links,
         .private_dir = private_dir,
         .name = one.name,
         .placement = {.mask = one.spec().cpu_budget
                                   ? std::vector<int>(host.cpus.begin(),
                                                      host.cpus.begin() + *one.spec().cpu_budget)
                                   : std::vector<int>{}},
         .slowdown = host.slowdown},
        std::move(command), host.calibration_ns, stop_fd);
    std::optional<detail::raw_terminal> raw;
    const auto ended =
        run.run({.output =
                     [](wire::stream stream, std::string_view bytes) {
                         const int fd = stream == wire::stream::out ? STDOUT_FILENO : STDERR_FILENO;
                         (void)write_named(fd, bytes, "the terminal");
                     },
                 .started =
                     [&] {
                         if (terminal)
                             raw.emplace();
                     },
                 .input_fd = STDIN_FILENO,
                 .resized = [&]() -> std::optional<wire::window_size> {
                     winsize now{};
                     if (!terminal || ::ioctl(STDIN_FILENO, TIOCGWINSZ, &now) != 0 ||
                         (now.ws_row == size.ws_row && now.ws_col == size.ws_col))
                         return std::nullopt;
                     size = now;
                     return wire::window_size{now.ws_row, now.ws_col};
                 }});
    raw.reset();
    if (!ended) {
        std::fputs(printable(run.console_text()).c_str(), stderr);
        return fail(ended.error());
    }
    return shell_status(*ended);
}

}  // namespace ktstr::host

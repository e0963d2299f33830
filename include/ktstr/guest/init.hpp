// SPDX-License-Identifier: MIT
// The test program as PID 1: makes a bare kernel habitable, opens the link and serves it. Nothing
// escapes: whatever goes wrong is said on the console, which the host reads, and the machine powers
// off. Guest side.
#pragma once

#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/agent.hpp>
#include <ktstr/guest/first_command.hpp>
#include <ktstr/guest/kernel_file.hpp>
#include <ktstr/guest/link.hpp>
#include <ktstr/guest/modules.hpp>
#include <ktstr/guest/mounts.hpp>
#include <ktstr/guest/probe/topology.hpp>
#include <ktstr/guest/stand_by.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <ios>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/reboot.h>
#include <unistd.h>

namespace ktstr::guest {

/// Every line of the harness itself on the console starts with this; the host looks for it.
inline constexpr const char* console_prefix = "ktstr-guest: ";

inline void say(const std::string& text) {
    std::fprintf(stderr, "%s%s\n", console_prefix, text.c_str());
}

[[noreturn]] inline void power_off() {
    ::sync();
    ::reboot(RB_POWER_OFF);
    for (;;)
        ::pause();
}

/// True when this process is the first of a machine that ktstr built.
[[nodiscard]] inline bool is_guest_init() {
    return ::getpid() == 1 && ::access(module_list_path, F_OK) == 0;
}

/// Whether a template is the machine its command line says. Its clones are not asked again.
[[nodiscard]] inline wire::topology_proof prove_template(const std::string& command_line,
                                                         const observed_machine& machine) {
    const auto text = command_line_value(command_line, "ktstr.template");
    const auto wanted = text ? parse_topology(*text) : std::nullopt;
    if (!wanted)
        return {.difference = "ktstr.template= names no topology"};
    std::vector<std::uint32_t> distances;
    const auto list = command_line_value(command_line, "ktstr.distances").value_or("");
    for (const char* at = list.c_str(); *at != '\0';) {
        char* end = nullptr;
        distances.push_back(static_cast<std::uint32_t>(std::strtoul(at, &end, 10)));
        at = *end == ',' ? end + 1 : end;
        if (end == at && *end != '\0')
            break;
    }
    return prove(*wanted, distances, machine);
}

/// PID 1's whole life.
[[noreturn]] inline void run_as_init() {
    // Of the library, not of the program: made here, it costs the bodies nothing.
    static const std::ios_base::Init standard_streams;
    try {
        const auto failures = mount_all();
        unique_fd console(::open("/dev/console", O_RDWR | O_NOCTTY));
        if (console)
            for (int fd : {0, 1, 2})
                ::dup2(console.get(), fd);
        if (console.get() <= 2)
            (void)console.release();
        if (!failures.empty())
            say(failures);
        if (const auto refused = load_modules(); !refused.empty())
            say(refused);
        ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
        ::setenv("HOME", "/root", 1);
        ::chdir("/tmp");
        const auto command_line = read_kernel_file("/proc/cmdline");
        auto opened =
            command_line ? open_link(*command_line) : result<unique_fd>(command_line.error());
        if (opened && command_line_value(*command_line, "ktstr.template")) {
            agent ready(link(), {.is_init = true});
            ready.make_ready();
            const bool vsock = command_line->find("ktstr.link=vsock") != std::string::npos;
            if (auto woken =
                    stand_by(std::move(*opened), vsock,
                             prove_template(*command_line, ready.machine()), run_first_command,
                             [&ready](std::uint64_t size) { ready.change_program(size); }))
                ready.serve(std::move(*woken));
            else
                say(woken.error().message());
        } else if (opened) {
            agent(link(std::move(*opened)), {.is_init = true}).serve();
        } else {
            say(opened.error().message());
        }
    } catch (const std::exception& e) {
        say(std::string("the harness failed: ") + e.what());
    } catch (...) {
        say("the harness failed with an unknown exception");
    }
    power_off();
}

}  // namespace ktstr::guest

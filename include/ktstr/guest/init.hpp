// SPDX-License-Identifier: MIT
// The test program as PID 1: makes a bare kernel habitable, opens the link and serves it. Nothing
// escapes: whatever goes wrong is said on the console, which the host reads, and the machine powers
// off. Guest side.
#pragma once

#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/agent.hpp>
#include <ktstr/guest/console.hpp>
#include <ktstr/guest/files_disk.hpp>
#include <ktstr/guest/first_command.hpp>
#include <ktstr/guest/link.hpp>
#include <ktstr/guest/modules.hpp>
#include <ktstr/guest/mounts.hpp>
#include <ktstr/guest/probe/topology.hpp>
#include <ktstr/guest/stand_by.hpp>
#include <ktstr/linux/kernel_file.hpp>
#include <ktstr/wire/boot.hpp>
#include <ktstr/wire/message.hpp>

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

[[noreturn]] inline void power_off() {
    ::sync();
    ::reboot(RB_POWER_OFF);
    for (;;)
        ::pause();
}

/// True when this process is the first of a machine that ktstr built.
[[nodiscard]] inline bool is_guest_init() {
    return ::getpid() == 1 && ::access(wire::module_list_path, F_OK) == 0;
}

/// Whether a template is the machine its command line says. Its clones are not asked again.
[[nodiscard]] inline wire::topology_proof prove_template(const wire::boot_words& words,
                                                         const observed_machine& machine) {
    const auto wanted = parse_topology(words.template_of);
    if (!wanted)
        return {.difference = "the template of '" + words.template_of + "' is of no topology"};
    return prove(*wanted, words.distances, machine);
}

/// What the first word to a clone asks for.
[[nodiscard]] inline result<void> take_up(agent& ready, const wire::resume& order) {
    // Not before the machine drew entropy of its own: the kernel draws what it gives to the new program
    // (where it lies, its canary).
    if (order.program_size != 0)
        ready.change_program(order.program_size);
    return order.mount_files ? mount_files() : result<void>();
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
        const auto words = command_line ? wire::parse_boot_words(*command_line)
                                        : result<wire::boot_words>(command_line.error());
        auto opened = words ? open_link(*words) : result<unique_fd>(words.error());
        if (!opened) {
            say(opened.error().message());
        } else if (words->template_of.empty()) {
            agent(link(std::move(*opened)), {.is_init = true}).serve();
        } else {
            agent ready(link(), {.is_init = true});
            ready.make_ready();
            const bool vsock = words->vsock_port.has_value();
            auto clone = stand_by(std::move(*opened), vsock,
                                  prove_template(*words, ready.machine()), run_first_command);
            auto fit = clone ? take_up(ready, clone->order) : result<void>(clone.error());
            if (fit && clone->order.becomes_template) {
                clone->to_host.send(booted_as_template());
                const auto word = ready.attach_ahead(std::move(clone->to_host));
                clone = wait_while_saved(ready.leave_link(), vsock, word);
                fit = clone ? take_up(ready, clone->order) : result<void>(clone.error());
            }
            if (fit)
                ready.serve(std::move(clone->to_host));
            else
                say(fit.error().message());
        }
    } catch (const std::exception& e) {
        say(std::string("the harness failed: ") + e.what());
    } catch (...) {
        say("the harness failed with an unknown exception");
    }
    power_off();
}

}  // namespace ktstr::guest

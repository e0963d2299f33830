// SPDX-License-Identifier: MIT
// The heavy front door, for exactly one translation unit of a test program: host and guest, and the
// main() that tells which of them this process is. The build helper adds that translation unit; a
// second inclusion is a link error by name.
#pragma once

#include <ktstr/guest/agent.hpp>
#include <ktstr/guest/init.hpp>
#include <ktstr/guest/initialisers.hpp>
#include <ktstr/host/run/program.hpp>
#include <ktstr/ktstr.hpp>

#ifndef KTSTR_AGENT_IDENTITY  // by the build files; without it a template serves the program that booted it
#    define KTSTR_AGENT_IDENTITY ""
#endif

namespace ktstr::detail {

/// The third role: the process that keeps a host_only body, at the other end of descriptor `fd`.
inline int keep_host_only_body(int fd) {
    guest::agent(guest::link(unique_fd(fd)), {.is_init = false}).serve();
    return 0;
}

/// The first of the program's initialisers (100 and below are the implementation's own). PID 1 of a
/// machine goes no further: it needs none of the program's globals, see guest/initialisers.hpp.
[[gnu::constructor(101), gnu::used]] static void before_any_global() {
    if (guest::is_guest_init() && guest::initialisers::put_off(&before_any_global))
        guest::run_as_init();
}

}  // namespace ktstr::detail

int main(int argc, char** argv) {
    if (ktstr::guest::is_guest_init())
        ktstr::guest::run_as_init();
    ktstr::guest::continue_as_body();
    return ktstr::host::run_program(
        argc, argv,
        {.keep_body = &ktstr::detail::keep_host_only_body, .agent_identity = KTSTR_AGENT_IDENTITY});
}

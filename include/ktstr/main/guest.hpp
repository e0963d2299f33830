// SPDX-License-Identifier: MIT
// The guest's part of a test program's main. Not inline: a second inclusion is a link error by name.
#pragma once

#include <ktstr/guest/agent.hpp>
#include <ktstr/guest/init.hpp>
#include <ktstr/guest/initialisers.hpp>
#include <ktstr/guest/scheduler.hpp>
#include <ktstr/main/seam.hpp>

namespace ktstr::detail {

int keep_host_only_body(int fd) {
    guest::agent(guest::link(unique_fd(fd)), {.is_init = false}).serve();
    return 0;
}

void take_guest_side() {
    if (guest::is_guest_init())
        guest::run_as_init();
    guest::continue_as_body();
    guest::load_object_if_asked();
}

/// The first of the program's initialisers (100 and below are the implementation's own). PID 1 of a
/// machine goes no further: it needs none of the program's globals, see guest/initialisers.hpp. The
/// process of a body makes them when its test begins, also where it became another program before.
[[gnu::constructor(101), gnu::used]] static void before_any_global() {
    if ((guest::is_guest_init() || guest::is_body()) &&
        guest::initialisers::put_off(&before_any_global))
        take_guest_side();
}

}  // namespace ktstr::detail

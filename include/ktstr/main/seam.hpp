// SPDX-License-Identifier: MIT
// What the parts of a test program's main say to each other. Each part is a translation unit that the
// build files add, and defines what it declares here; <ktstr/main.hpp> is all of them in one.
#pragma once

namespace ktstr::detail {

/// PID 1 of a machine, or in one the body's process or that of a scheduler which is an object: does not return. Any other process: returns.
void take_guest_side();

/// The third role: the process that keeps a host_only body, at the other end of descriptor `fd`.
int keep_host_only_body(int fd);

/// A test program's main(), where it has none of its own.
int whole_life(int argc, char** argv);

}  // namespace ktstr::detail

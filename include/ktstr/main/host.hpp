// SPDX-License-Identifier: MIT
// The host's part of a test program's main, with main() itself.
#pragma once

#include <ktstr/host/program/program.hpp>
#include <ktstr/main/seam.hpp>

#ifndef KTSTR_AGENT_IDENTITY  // by the build files; without it a template serves the program that booted it
#    define KTSTR_AGENT_IDENTITY ""
#endif

int main(int argc, char** argv) {
    ktstr::detail::take_guest_side();
    return ktstr::host::run_program(
        argc, argv,
        {.keep_body = &ktstr::detail::keep_host_only_body, .agent_identity = KTSTR_AGENT_IDENTITY});
}

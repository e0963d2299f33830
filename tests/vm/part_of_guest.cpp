// SPDX-License-Identifier: MIT
// A part of the guest's side with a library of its own behind it, which has to travel into the machine.
#include <ktstr/guest/part_hooks.hpp>
#include <ktstr/test/context.hpp>
#include <ktstr/test/part.hpp>

#include <string>

void ktstr_part_remember(const char* value);  // of the library

namespace {

constexpr ktstr::guest::part_hooks hooks{.before_body = [](ktstr::context& ctx) {
    ktstr_part_remember(std::string(ctx.test_name()).c_str());
}};

constexpr ktstr::part of_guest{.name = "of_guest", .guest = &hooks};

KTSTR_ATTACH_PART(of_guest);

}  // namespace

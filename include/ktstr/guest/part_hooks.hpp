// SPDX-License-Identifier: MIT
// What an optional part may do on the guest's side, see test/part.hpp.
#pragma once

namespace ktstr {
class context;
}

namespace ktstr::guest {

struct part_hooks {
    /// In the process of every body, just before the body, with the program's globals alive. What it throws is as
    /// if the body had thrown it.
    void (*before_body)(context& ctx) = nullptr;
    /// The whole life of a scheduler's process that loads and attaches this BPF object; its exit status. `settings`:
    /// what is set before it is loaded, "NAME=NUMBER" each, a line each.
    int (*load_object)(const char* object, const char* settings) = nullptr;
};

}  // namespace ktstr::guest

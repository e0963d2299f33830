// SPDX-License-Identifier: MIT
// The harness's own words on the machine's console, which outlives the link. Guest side.
#pragma once

#include <cstdio>
#include <string>

namespace ktstr::guest {

/// Every line of the harness itself on the console starts with this; the host looks for it.
inline constexpr const char* console_prefix = "ktstr-guest: ";

inline void say(const std::string& text) {
    std::fprintf(stderr, "%s%s\n", console_prefix, text.c_str());
}

}  // namespace ktstr::guest

// SPDX-License-Identifier: MIT
// The version of these headers, for the preprocessor and for people. Both sides print it.
#pragma once

#define KTSTR_VERSION_MAJOR 0
#define KTSTR_VERSION_MINOR 1
#define KTSTR_VERSION_PATCH 0

/// One number to compare with: 0.1.0 is 100, 1.2.3 is 10203.
#define KTSTR_VERSION \
    (KTSTR_VERSION_MAJOR * 10000 + KTSTR_VERSION_MINOR * 100 + KTSTR_VERSION_PATCH)

namespace ktstr {

inline constexpr const char* version = "0.1.0";

}  // namespace ktstr

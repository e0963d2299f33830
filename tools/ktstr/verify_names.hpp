// SPDX-License-Identifier: MIT
// What both halves of `ktstr verify` call the files that one plants and the other finds.
#pragma once

#include <string_view>

namespace ktstr::tool {

inline constexpr std::string_view verifier_file = "ktstr-verifier", bundle_file = "ktstr-bundle";
inline constexpr std::string_view verifier_in_guest = "/ktstr-verify/verifier",
                                  bundle_in_guest = "/ktstr-verify/bundle";
/// How the body's only failed check begins when all is told.
inline constexpr std::string_view all_is_told = "ktstr verify: all is told";

}  // namespace ktstr::tool

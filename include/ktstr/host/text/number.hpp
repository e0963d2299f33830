// SPDX-License-Identifier: MIT
// Numbers as text. Host side.
#pragma once

#include <charconv>
#include <string>

namespace ktstr::host {

/// The shortest text that is read back as this number; never in a locale's own spelling.
[[nodiscard]] inline std::string number_text(double value) {
    char digits[32];
    return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

}  // namespace ktstr::host

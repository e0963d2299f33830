// SPDX-License-Identifier: MIT
// What the host put on the kernel command line for the guest's harness. Runs in PID 1.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ktstr::guest {

/// The value of the word `key=value` in a kernel command line, or nothing.
[[nodiscard]] inline std::optional<std::string> command_line_value(std::string_view line,
                                                                   std::string_view key) {
    while (!line.empty()) {
        const auto end = line.find_first_of(" \n");
        const auto word = line.substr(0, end);
        if (word.starts_with(key) && word.size() > key.size() && word[key.size()] == '=')
            return std::string(word.substr(key.size() + 1));
        line = end == std::string_view::npos ? std::string_view{} : line.substr(end + 1);
    }
    return std::nullopt;
}

}  // namespace ktstr::guest

// SPDX-License-Identifier: MIT
// Kernel releases compared by their numbers, whoever tells them: the cache of the host, or a guest that has
// booted. Pure. Both sides.
#pragma once

#include <optional>
#include <string_view>

namespace ktstr {

/// Whether a kernel's release is at least `wanted`, number by number: 7.3.4-cloud is at least 7.3 and 6.14. Nothing:
/// one of the two does not begin with a number, so nobody can tell.
[[nodiscard]] constexpr std::optional<bool> release_is_at_least(std::string_view release,
                                                                std::string_view wanted) {
    const auto is_number = [](std::string_view text) {
        return !text.empty() && text.front() >= '0' && text.front() <= '9';
    };
    if (wanted.empty())
        return true;
    if (!is_number(release) || !is_number(wanted))
        return std::nullopt;
    const auto take = [&](std::string_view& text) {
        unsigned long value = 0;
        while (is_number(text)) {
            value = value * 10 + static_cast<unsigned long>(text.front() - '0');
            text.remove_prefix(1);
        }
        if (!text.empty() && text.front() == '.')
            text.remove_prefix(1);
        else
            text = {};
        return value;
    };
    while (!wanted.empty()) {
        const auto have = take(release), want = take(wanted);
        if (have != want)
            return have > want;
    }
    return true;
}

}  // namespace ktstr

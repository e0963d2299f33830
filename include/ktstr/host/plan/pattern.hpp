// SPDX-License-Identifier: MIT
// Shell patterns with `*` and `?` only. Not fnmatch(3): it gives `[`, `\` and the locale a meaning
// that nobody asked for.
// Host side.
#pragma once

#include <cstddef>
#include <string_view>

namespace ktstr::host {

/// Whether the pattern matches the whole text. Linear in practice, never exponential.
[[nodiscard]] constexpr bool matches(std::string_view pattern, std::string_view text) {
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t after_star = std::string_view::npos;
    std::size_t star_text = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            after_star = ++p;
            star_text = t;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
            ++p;
            ++t;
        } else if (after_star != std::string_view::npos) {
            p = after_star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*')
        ++p;
    return p == pattern.size();
}

}  // namespace ktstr::host

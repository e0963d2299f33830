// SPDX-License-Identifier: MIT
// Which of two version texts is the newer, by Debian's rules (deb-version(7)); they also order
// kernel releases well. Host side.
#pragma once

#include <algorithm>
#include <compare>
#include <string>
#include <string_view>

namespace ktstr::host {

namespace detail {

constexpr bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// '~' sorts before the end of the text, letters before everything else.
constexpr int version_weight(char c) {
    if (c == '~')
        return -1;
    if (is_digit(c) || c == '\0')
        return 0;
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter ? c : c + 256;
}

constexpr int compare_version_part(std::string_view a, std::string_view b) {
    const auto at = [](std::string_view text, std::size_t i) {
        return i < text.size() ? text[i] : '\0';
    };
    std::size_t i = 0, j = 0;
    while (i < a.size() || j < b.size()) {
        while ((i < a.size() && !is_digit(a[i])) || (j < b.size() && !is_digit(b[j]))) {
            const int difference = version_weight(at(a, i)) - version_weight(at(b, j));
            if (difference != 0)
                return difference;
            i += i < a.size() ? 1 : 0;
            j += j < b.size() ? 1 : 0;
        }
        while (at(a, i) == '0')
            ++i;
        while (at(b, j) == '0')
            ++j;
        int difference = 0;
        while (is_digit(at(a, i)) && is_digit(at(b, j))) {
            if (difference == 0)
                difference = a[i] - b[j];
            ++i;
            ++j;
        }
        if (is_digit(at(a, i)))
            return 1;
        if (is_digit(at(b, j)))
            return -1;
        if (difference != 0)
            return difference;
    }
    return 0;
}

}  // namespace detail

/// "UPSTREAM-REVISION", as Debian's own file names have it: the name of a folder whose files stand in makefiles and in
/// lists such as PKG_CONFIG_PATH, where a colon ends a name.
[[nodiscard]] constexpr std::string_view without_epoch(std::string_view version) {
    const std::size_t colon = version.find(':');
    return colon == std::string_view::npos ? version : version.substr(colon + 1);
}

/// Orders "EPOCH:UPSTREAM-REVISION" as `dpkg --compare-versions` does.
[[nodiscard]] constexpr std::strong_ordering compare_versions(std::string_view a,
                                                              std::string_view b) {
    const auto cut_epoch = [](std::string_view& text) {
        const std::size_t colon = text.find(':');
        if (colon == std::string_view::npos)
            return std::string_view("0");
        const std::string_view epoch = text.substr(0, colon);
        text.remove_prefix(colon + 1);
        return epoch;
    };
    const auto cut_revision = [](std::string_view& text) {
        const std::size_t dash = text.rfind('-');
        if (dash == std::string_view::npos)
            return std::string_view();
        const std::string_view revision = text.substr(dash + 1);
        text = text.substr(0, dash);
        return revision;
    };
    int difference = detail::compare_version_part(cut_epoch(a), cut_epoch(b));
    const std::string_view revision_a = cut_revision(a), revision_b = cut_revision(b);
    if (difference == 0)
        difference = detail::compare_version_part(a, b);
    if (difference == 0)
        difference = detail::compare_version_part(revision_a, revision_b);
    return difference <=> 0;
}

[[nodiscard]] constexpr bool newer(std::string_view a, std::string_view b) {
    return compare_versions(a, b) > 0;
}

}  // namespace ktstr::host

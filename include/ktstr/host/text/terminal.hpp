// SPDX-License-Identifier: MIT
// Text from a guest is untrusted: it may hold half a UTF-8 sequence, escape sequences that would
// drive the reader's terminal, or ten megabytes of it. Here it becomes harmless for a terminal. Never
// throws on bad input. Host side.
#pragma once

#include <ktstr/host/text/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ktstr::host {

namespace detail {

/// Characters that change how the rest of a terminal line is shown: C0, DEL, C1, and the
/// bidirectional overrides that can make a line read differently from what it says.
[[nodiscard]] constexpr bool drives_a_terminal(std::uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

}  // namespace detail

/// One line that is safe to print on a terminal: whatever would drive it is spelled out (`\x1b`,
/// `\n`), a carriage return or line feed at the very end is dropped, tabs become spaces.
[[nodiscard]] inline std::string one_line(std::string_view text, std::size_t limit = text_limit) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
        text.remove_suffix(1);
    std::string out;
    while (!text.empty()) {
        const auto c = detail::decode_utf8(text);
        std::string piece;
        if (!c.valid) {
            piece = "\xef\xbf\xbd";
        } else if (c.value == '\t') {
            piece = "    ";
        } else if (c.value == '\n') {
            piece = "\\n";
        } else if (c.value == '\r') {
            piece = "\\r";
        } else if (detail::drives_a_terminal(c.value)) {
            piece = c.value < 0x100 ? "\\x" : "\\u";
            detail::append_hex(piece, c.value, c.value < 0x100 ? 2 : 4);
        } else {
            piece = text.substr(0, c.bytes);
        }
        if (out.size() + piece.size() > limit) {
            out += "\xe2\x80\xa6";
            break;
        }
        out += piece;
        text.remove_prefix(c.bytes);
    }
    return out;
}

/// Lines that are safe to print on a terminal, whole: each as one_line() makes it.
[[nodiscard]] inline std::string printable(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const auto end = text.find('\n');
        const auto line = text.substr(0, end);
        out += one_line(line, 6 * line.size());  // no cut: a character becomes six at most
        if (end == std::string_view::npos)
            break;
        out += '\n';
        text.remove_prefix(end + 1);
    }
    return out;
}

}  // namespace ktstr::host

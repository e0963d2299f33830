// SPDX-License-Identifier: MIT
// Text of unknown origin as what every report must hold: valid UTF-8, and a JSON string of it. What
// is no UTF-8 becomes U+FFFD; nothing here throws. Host side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ktstr::host {

/// The longest text a report carries in one string; what is beyond is cut, and the cut is shown.
inline constexpr std::size_t text_limit = 4096;

namespace detail {

struct code_point {
    std::uint32_t value = 0xfffd;
    std::size_t bytes = 1;
    bool valid = false;
};

/// The code point at the start of `text`; one invalid byte where there is none.
[[nodiscard]] inline code_point decode_utf8(std::string_view text) {
    auto at = [&](std::size_t i) -> std::uint32_t { return static_cast<unsigned char>(text[i]); };
    const std::uint32_t lead = at(0);
    if (lead < 0x80)
        return {lead, 1, true};
    std::size_t length = 0;
    std::uint32_t value = 0;
    std::uint32_t smallest = 0;
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2, value = lead & 0x1f, smallest = 0x80;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3, value = lead & 0x0f, smallest = 0x800;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4, value = lead & 0x07, smallest = 0x10000;
    } else {
        return {};
    }
    if (text.size() < length)
        return {};
    for (std::size_t i = 1; i < length; ++i) {
        if ((at(i) & 0xc0) != 0x80)
            return {};
        value = (value << 6) | (at(i) & 0x3f);
    }
    if (value < smallest || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return {};
    return {value, length, true};
}

inline void append_hex(std::string& out, std::uint32_t value, int digits) {
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
        out += "0123456789abcdef"[(value >> shift) & 0xf];
}

/// Printable ASCII that needs no escape in JSON. With bare pointers, because --list calls it for a
/// million characters in programs that are built without optimization.
[[nodiscard]] constexpr bool is_plain(const char* at, const char* end) {
    for (; at != end; ++at)
        if (*at < 0x20 || *at == 0x7f || *at == '"' || *at == '\\')
            return false;
    return true;
}

}  // namespace detail

/// Valid UTF-8 of at most `limit` bytes: bad bytes become U+FFFD, a cut is marked with U+2026.
[[nodiscard]] inline std::string valid_utf8(std::string_view text, std::size_t limit = text_limit) {
    std::string out;
    out.reserve(text.size() < limit ? text.size() : limit);
    while (!text.empty()) {
        const auto c = detail::decode_utf8(text);
        const auto piece = c.valid ? text.substr(0, c.bytes) : std::string_view("\xef\xbf\xbd");
        if (out.size() + piece.size() > limit) {
            out += "\xe2\x80\xa6";
            break;
        }
        out += piece;
        text.remove_prefix(c.bytes);
    }
    return out;
}

/// Appends the text as a JSON string, quotes included; it is a YAML double-quoted scalar as well.
inline void append_json_string(std::string& out, std::string_view text,
                               std::size_t limit = text_limit) {
    out += '"';
    if (text.size() <= limit && detail::is_plain(text.data(), text.data() + text.size())) {
        out.append(text.data(), text.size());
        out += '"';
        return;
    }
    for (char c : valid_utf8(text, limit)) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\t') {
            out += "\\t";
        } else if (byte < 0x20 || byte == 0x7f) {
            out += "\\u";
            detail::append_hex(out, byte, 4);
        } else {
            out += c;
        }
    }
    out += '"';
}

}  // namespace ktstr::host

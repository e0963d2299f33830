// SPDX-License-Identifier: MIT
// Text of unknown origin as XML, which cannot hold every character. Host side.
#pragma once

#include <ktstr/host/text/utf8.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace ktstr::host {

/// Text for XML content or a quoted attribute. XML 1.0 has no way at all to write most control
/// characters, so they are spelled out (`\x1b`) instead of being dropped silently.
[[nodiscard]] inline std::string xml_text(std::string_view text, std::size_t limit = text_limit) {
    const std::string checked = valid_utf8(text, limit);
    std::string_view rest = checked;
    std::string out;
    out.reserve(rest.size());
    while (!rest.empty()) {
        const auto c = detail::decode_utf8(rest);
        switch (c.value) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&apos;";
                break;
            default:
                if (c.value == '\r' || (c.value < 0x20 && c.value != '\n' && c.value != '\t') ||
                    (c.value >= 0x7f && c.value < 0xa0)) {
                    out += "\\x";
                    detail::append_hex(out, c.value, 2);
                } else if (c.value == 0xfffe || c.value == 0xffff) {
                    out += "\xef\xbf\xbd";
                } else {
                    out += rest.substr(0, c.bytes);
                }
        }
        rest.remove_prefix(c.bytes);
    }
    return out;
}

/// As xml_text, for an attribute: a line break there would be read back as a space.
[[nodiscard]] inline std::string xml_attribute(std::string_view text) {
    std::string out;
    for (char c : xml_text(text)) {
        if (c == '\n')
            out += "&#10;";
        else if (c == '\t')
            out += "&#9;";
        else
            out += c;
    }
    return out;
}

}  // namespace ktstr::host

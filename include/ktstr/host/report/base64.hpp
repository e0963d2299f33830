// SPDX-License-Identifier: MIT
// Bytes as base64 (RFC 4648, padded), for bytes of a guest that must cross in a JSON string whole and
// unchanged. What another end would not write is not read. Host side.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ktstr::host {

namespace detail {

inline constexpr std::string_view base64_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

inline constexpr std::array<std::int8_t, 256> base64_values = [] {
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    for (std::size_t i = 0; i < base64_digits.size(); ++i)
        values[static_cast<unsigned char>(base64_digits[i])] = static_cast<std::int8_t>(i);
    return values;
}();

}  // namespace detail

[[nodiscard]] inline std::string base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        const auto piece = bytes.substr(at, 3);
        std::uint32_t bits = 0;
        for (std::size_t i = 0; i < 3; ++i)
            bits = bits << 8 | (i < piece.size() ? static_cast<unsigned char>(piece[i]) : 0U);
        for (std::size_t i = 0; i < 4; ++i)
            text += i <= piece.size() ? detail::base64_digits[bits >> (18 - 6 * i) & 63] : '=';
    }
    return text;
}

/// The bytes of what base64() wrote; nothing for any other text.
[[nodiscard]] inline std::optional<std::string> from_base64(std::string_view text) {
    if (text.size() % 4 != 0)
        return std::nullopt;
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3);
    for (std::size_t at = 0; at < text.size(); at += 4) {
        std::size_t digits = 4;
        if (at + 4 == text.size())
            while (digits > 2 && text[at + digits - 1] == '=')
                --digits;
        std::uint32_t bits = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            const int value =
                i < digits ? detail::base64_values[static_cast<unsigned char>(text[at + i])] : 0;
            if (value < 0)
                return std::nullopt;
            bits = bits << 6 | static_cast<std::uint32_t>(value);
        }
        if ((bits & ((1U << (4 - digits) * 8) - 1)) != 0)
            return std::nullopt;  // digits that say more than there are bytes
        for (std::size_t i = 0; i + 1 < digits; ++i)
            bytes += static_cast<char>(bits >> (16 - 8 * i) & 0xff);
    }
    return bytes;
}

}  // namespace ktstr::host

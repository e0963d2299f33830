// SPDX-License-Identifier: MIT
// A number that was measured beside a test's verdict: its name, its unit and which way it is better,
// and what such a number must be like. It is judged by nobody here. Used on both sides.
#pragma once

#include <ktstr/check/verdict.hpp>

#include <array>
#include <cstdint>
#include <string_view>

namespace ktstr {

/// Which way a metric is better.
enum class better : std::uint8_t { neither, lower, higher };

/// One metric as it is told. The views live as long as the call that tells it.
struct metric_record {
    std::string_view name{};
    double value = 0;
    std::string_view unit{};  ///< empty: a plain number
    ktstr::better better = ktstr::better::neither;
};

namespace detail {

inline constexpr std::array<std::string_view, 3> better_names{"neither", "lower", "higher"};

constexpr bool all_between(std::string_view text, char least, char most) {
    for (const char c : text)
        if (c < least || c > most)
            return false;
    return true;
}

}  // namespace detail

[[nodiscard]] constexpr std::string_view to_text(better which) {
    return detail::name_of(which, detail::better_names);
}

/// Why this is no metric, or null if it is one.
[[nodiscard]] constexpr const char* metric_fault(const metric_record& metric) {
    if (metric.name.empty() || metric.name.size() > 64)
        return "its name has no character or more than 64";
    for (const char c : metric.name)
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '/'))
            return "its name has other characters than [a-z0-9_./]";
    if (metric.unit.size() > 16 || !detail::all_between(metric.unit, '!', '~'))
        return "its unit has more than 16 characters, or others than visible ASCII";
    // By its bits: a test file may be compiled with -ffast-math, for which there are only finite numbers.
    constexpr std::uint64_t exponent = std::uint64_t{0x7ff} << 52;
    if ((__builtin_bit_cast(std::uint64_t, metric.value) & exponent) == exponent)
        return "its value is not a finite number";
    return nullptr;
}

}  // namespace ktstr

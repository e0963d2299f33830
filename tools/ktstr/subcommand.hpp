// SPDX-License-Identifier: MIT
// How the subcommands of `ktstr` speak: results on standard output, everything else on standard
// error, and the exit codes 0 done, 3 could not be done, 5 bad usage. Host side.
#pragma once

#include <ktstr/base/error.hpp>

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <string_view>

namespace ktstr::tool {

inline constexpr int exit_cannot = 3;
inline constexpr int exit_usage = 5;

/// Progress: one line on standard error.
inline void say(std::string_view line) {
    fmt::print(stderr, "ktstr: {}\n", line);
    std::fflush(stderr);
}

/// "2026-11-22 10:55", or "-" for a time that is not known.
inline std::string minute(std::int64_t ns) {
    if (ns == 0)
        return "-";
    const std::time_t seconds = static_cast<std::time_t>(ns / 1'000'000'000);
    std::tm local{};
    localtime_r(&seconds, &local);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local);
    return text;
}

/// Tells why, and returns the exit code for it.
inline int cannot(const error& why) {
    say(why.message());
    return exit_cannot;
}

}  // namespace ktstr::tool

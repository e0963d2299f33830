// SPDX-License-Identifier: MIT
// A program's place, as a shell finds it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <sys/stat.h>
#include <unistd.h>

namespace ktstr {

/// Where an ordinary user's PATH often has no entry, and the tools of an administrator lie.
inline constexpr std::string_view administrator_directories = "/usr/sbin:/sbin";

/// The first executable file of that name in PATH, then in the directories `beyond`.
[[nodiscard]] inline std::optional<std::filesystem::path> find_program(
    std::string_view name, std::string_view beyond = {}) {
    const char* variable = std::getenv("PATH");
    std::string path =
        variable != nullptr && *variable != '\0' ? variable : "/usr/local/bin:/usr/bin:/bin";
    if (!beyond.empty())
        (path += ':') += beyond;
    for (std::string_view rest = path; !rest.empty();) {
        const auto colon = rest.find(':');
        const auto directory = rest.substr(0, colon);
        rest = colon == std::string_view::npos ? std::string_view{} : rest.substr(colon + 1);
        // An empty entry is the current directory.
        auto candidate = std::filesystem::path(directory.empty() ? "." : directory) / name;
        struct ::stat facts {};
        if (::stat(candidate.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) &&
            ::access(candidate.c_str(), X_OK) == 0)
            return candidate;
    }
    return std::nullopt;
}

}  // namespace ktstr

// SPDX-License-Identifier: MIT
// Remembers that KVM died under a guest on this host, so that `auto` does not try it again for every
// test. Forgotten at the next boot of the host: a module or a firmware switch may have changed.
// Host side.
#pragma once

#include <ktstr/host/cache/boot_id.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <unistd.h>

namespace ktstr::host {

/// QEMU's own words in the error of a machine that did not start, if it is KVM that they blame: where
/// hardware virtualization is only pretended, QEMU ends before a guest runs ("kvm_buf_set_msrs:
/// Assertion ... failed").
[[nodiscard]] inline std::optional<std::string> words_that_blame_kvm(std::string_view message) {
    const auto at = message.find("qemu-system");
    if (at == std::string_view::npos)
        return std::nullopt;
    // The words only: a test may have kvm in its name.
    auto words = message.substr(at, message.find('\n', at) - at);
    if (words.ends_with('.'))
        words.remove_suffix(1);
    constexpr std::string_view name = "kvm";
    const auto found = std::search(
        words.begin(), words.end(), name.begin(), name.end(),
        [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; });
    if (found == words.end())
        return std::nullopt;
    return std::string(words);
}

/// What QEMU said when KVM died here since the last boot; nothing if it did not.
[[nodiscard]] inline std::optional<std::string> remembered_kvm_failure(
    const std::filesystem::path& cache_root) {
    std::ifstream in(cache_root / "kvm-failed");
    std::string id, words;
    if (std::getline(in, id) && std::getline(in, words) && !id.empty() && id == boot_id())
        return words;
    return std::nullopt;
}

inline void remember_kvm_failure(const std::filesystem::path& cache_root, std::string_view words) {
    const auto note = cache_root / "kvm-failed";
    const auto fresh = note.string() + '.' + std::to_string(::getpid());
    std::error_code ignored;
    if (std::ofstream out(fresh); out << boot_id() << '\n' << words << '\n')
        std::filesystem::rename(fresh, note, ignored);
}

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// Remembers that KVM died under a guest on this host, so that `auto` does not try it again for every
// test. Forgotten at the next boot of the host: a module or a firmware switch may have changed.
// Host side.
#pragma once

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <unistd.h>

namespace ktstr::host {

namespace detail {

[[nodiscard]] inline std::string boot_id() {
    std::ifstream in("/proc/sys/kernel/random/boot_id");
    std::string id;
    std::getline(in, id);
    return id;
}

}  // namespace detail

/// What QEMU said when KVM died here since the last boot; nothing if it did not.
[[nodiscard]] inline std::optional<std::string> remembered_kvm_failure(
    const std::filesystem::path& cache_root) {
    std::ifstream in(cache_root / "kvm-failed");
    std::string id, words;
    if (std::getline(in, id) && std::getline(in, words) && !id.empty() && id == detail::boot_id())
        return words;
    return std::nullopt;
}

inline void remember_kvm_failure(const std::filesystem::path& cache_root, std::string_view words) {
    const auto note = cache_root / "kvm-failed";
    const auto fresh = note.string() + '.' + std::to_string(::getpid());
    std::error_code ignored;
    if (std::ofstream out(fresh); out << detail::boot_id() << '\n' << words << '\n')
        std::filesystem::rename(fresh, note, ignored);
}

}  // namespace ktstr::host

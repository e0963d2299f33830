// SPDX-License-Identifier: MIT
// What is under test: a scheduler's name, its binary, its arguments and the machine it likes.
// A constexpr value that tests refer to (`scheduler = my_sched`); starting it is guest/'s work.
#pragma once

#include <ktstr/base/small_list.hpp>

#include <optional>
#include <string_view>

namespace ktstr {

struct scheduler {
    std::string_view name;                    ///< how reports call it
    std::string_view binary;                  ///< a path on the host, or a name found in PATH;
                                              ///< empty: the kernel's own, which starts no process
    small_list<std::string_view, 16> args{};  ///< always given, before a test's scheduler_args

    // The default shape: a test inherits each dimension that it does not set itself.
    std::optional<int> numa_nodes{};
    std::optional<int> llcs{};
    std::optional<int> cores{};
    std::optional<int> threads{};

    /// Whether a process has to be started for it.
    [[nodiscard]] constexpr bool has_program() const { return !binary.empty(); }
};

/// The kernel's own class, which is always there: what a test runs under that names no scheduler, and
/// what `schedulers = {mine, eevdf}` compares with.
inline constexpr scheduler eevdf{.name = "eevdf", .binary = ""};

}  // namespace ktstr

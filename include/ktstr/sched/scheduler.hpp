// SPDX-License-Identifier: MIT
// What is under test: a scheduler's name, its binary, its arguments, its files and the machine it likes.
// A constexpr value that tests refer to (`scheduler = my_sched`); starting it is guest/'s work.
#pragma once

#include <ktstr/base/small_list.hpp>

#include <optional>
#include <string_view>

namespace ktstr {

/// A file that a scheduler finds in its machine: the text given here, or a file of the host's.
struct scheduler_file {
    std::string_view path;  ///< in the machine, from the root on: "/etc/mine.toml"
    std::string_view
        from{};  ///< on the host, as it is or beside the test program; empty: `text` counts
    std::string_view text{};
};

struct scheduler {
    std::string_view name;                    ///< how reports call it
    std::string_view binary;                  ///< a path on the host, or a name found in PATH, of
                                              ///< a program or, with ktstr::bpf, a BPF object;
                                              ///< empty: the kernel's own, which starts no process
    small_list<std::string_view, 16> args{};  ///< always given, before a test's scheduler_args

    // The default shape: a test inherits each dimension that it does not set itself.
    std::optional<int> numa_nodes{};
    std::optional<int> llcs{};
    std::optional<int> cores{};
    std::optional<int> threads{};

    small_list<scheduler_file, 8> files{};  ///< configuration, written before it starts
    small_list<std::string_view, 16>
        kernel_args{};                           ///< for the kernel's command line, before a test's
    small_list<std::string_view, 16> sysctls{};  ///< "kernel.NAME=VALUE", set before it starts
    /// Instead of a binary, for one that the kernel has built in: "PATH=TEXT" each, written to the kernel's files
    /// when it is attached, and when it is taken off. As in {"/sys/kernel/debug/sched/features=NO_RUN_TO_PARITY"}.
    small_list<std::string_view, 8> enable{};
    small_list<std::string_view, 8> disable{};
    std::string_view min_kernel{};  ///< "6.14": on an older one its tests are skipped; empty: any

    /// Whether a process has to be started for it.
    [[nodiscard]] constexpr bool has_program() const { return !binary.empty(); }
};

/// The kernel's own class, which is always there: what a test runs under that names no scheduler, and
/// what `schedulers = {mine, eevdf}` compares with.
inline constexpr scheduler eevdf{.name = "eevdf", .binary = ""};

}  // namespace ktstr

// SPDX-License-Identifier: MIT
// What workers do: one small struct for each kind of work, its parameters as members. Data only;
// a new kind is one struct and one alternative here and one file in guest/work/.
#pragma once

#include <optional>
#include <variant>

namespace ktstr {

/// Burns CPU without system calls: `spins` turns of an empty loop make one iteration.
struct spin_wait {
    int spins = 1024;

    friend bool operator==(const spin_wait&, const spin_wait&) = default;
};

using work_kind = std::variant<spin_wait>;

/// One group of workers that all do the same thing in the same way.
struct work_spec {
    work_kind kind{};
    std::optional<int> workers{};  ///< unset: what the cgroup says

    friend bool operator==(const work_spec&, const work_spec&) = default;
};

}  // namespace ktstr

// SPDX-License-Identifier: MIT
// From the word in a work_spec to the code that does it. A new kind is one alternative in
// scenario/work.hpp, one file here with `run` and `fault_of`, and one include below; without them
// this does not compile.
#pragma once

#include <ktstr/guest/work/spin_wait.hpp>

#include <string>
#include <variant>

namespace ktstr::guest {

/// Works until told to stop.
inline void run_work(const work_kind& kind, work_loop& loop) {
    std::visit([&](const auto& work) { run(work, loop); }, kind);
}

/// Why this work can't be done; empty when it can.
[[nodiscard]] inline std::string fault_of_work(const work_kind& kind) {
    return std::visit([](const auto& work) { return fault_of(work); }, kind);
}

}  // namespace ktstr::guest

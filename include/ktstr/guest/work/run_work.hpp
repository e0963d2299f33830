// SPDX-License-Identifier: MIT
// From the word in a work_spec to the code that does it. A new kind is one alternative in
// scenario/work.hpp, a rule in scenario/mistakes.hpp, one file here with `run`, and one include below;
// without them this does not compile.
#pragma once

#include <ktstr/guest/work/spin_wait.hpp>

#include <variant>

namespace ktstr::guest {

/// Works until told to stop.
inline void run_work(const work_kind& kind, work_loop& loop) {
    std::visit([&](const auto& work) { run(work, loop); }, kind);
}

}  // namespace ktstr::guest

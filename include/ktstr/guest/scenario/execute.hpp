// SPDX-License-Identifier: MIT
// execute_steps(), which scenario/execute.hpp declares for test bodies. Not inline: main.hpp
// includes this once. Runs in the body's process, on the guest or, for host_only tests, on the host.
#pragma once

#include <ktstr/guest/scenario/run_scenario.hpp>
#include <ktstr/scenario/execute.hpp>

#include <vector>

namespace ktstr {

scenario_result execute_steps(context& ctx, std::vector<step> steps) {
    return guest::run_scenario(ctx, steps);
}

}  // namespace ktstr

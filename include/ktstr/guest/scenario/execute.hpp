// SPDX-License-Identifier: MIT
// execute_steps(), which scenario/execute.hpp declares for test bodies, and what scenario/work.hpp declares for
// workers of their own. Not inline: main.hpp includes this once. Runs in the body's process and its workers', on
// the guest or, for host_only tests, on the host.
#pragma once

#include <ktstr/guest/scenario/run_scenario.hpp>
#include <ktstr/scenario/execute.hpp>

#include <vector>

namespace ktstr {

scenario_result execute_steps(context& ctx, std::vector<step> steps) {
    return guest::run_scenario(ctx, steps);
}

namespace work {

namespace detail {

inline guest::work_loop& loop_of(void* loop) {
    return *static_cast<guest::work_loop*>(loop);
}

}  // namespace detail

bool worker::goes_on() const {
    return detail::loop_of(loop_).goes_on();
}
void worker::count() {
    detail::loop_of(loop_).count();
}
void worker::wake_latency(std::chrono::nanoseconds late) {
    detail::loop_of(loop_).wake_latency(late.count() > 0 ? static_cast<std::uint64_t>(late.count())
                                                         : 0);
}
void worker::deadline(bool met) {
    detail::loop_of(loop_).deadline(met);
}
int worker::index() const {
    return detail::loop_of(loop_).index();
}

}  // namespace work

}  // namespace ktstr

// SPDX-License-Identifier: MIT
// From a kind of work to the code that does it. A new kind is one line of the list in scenario/work.hpp with its struct, a
// rule in scenario/mistakes.hpp, one file in types/ with `run`, and one include below; without them this does not compile.
// One whose members wait for each other has `prepare` as well, which is called before they are forked. Guest side.
#pragma once

#include <ktstr/guest/work/types/affinity_churn.hpp>
#include <ktstr/guest/work/types/barrier.hpp>
#include <ktstr/guest/work/types/bursty.hpp>
#include <ktstr/guest/work/types/compile_tree.hpp>
#include <ktstr/guest/work/types/custom.hpp>
#include <ktstr/guest/work/types/deadline_frames.hpp>
#include <ktstr/guest/work/types/epoll_storm.hpp>
#include <ktstr/guest/work/types/fork_exit.hpp>
#include <ktstr/guest/work/types/futex_fan_out.hpp>
#include <ktstr/guest/work/types/futex_ping_pong.hpp>
#include <ktstr/guest/work/types/idle_churn.hpp>
#include <ktstr/guest/work/types/io_uring.hpp>
#include <ktstr/guest/work/types/mixed.hpp>
#include <ktstr/guest/work/types/mutex_contention.hpp>
#include <ktstr/guest/work/types/nice_sweep.hpp>
#include <ktstr/guest/work/types/page_fault_churn.hpp>
#include <ktstr/guest/work/types/pipe_io.hpp>
#include <ktstr/guest/work/types/policy_churn.hpp>
#include <ktstr/guest/work/types/preempt_storm.hpp>
#include <ktstr/guest/work/types/priority_inversion.hpp>
#include <ktstr/guest/work/types/signal_storm.hpp>
#include <ktstr/guest/work/types/spin_wait.hpp>
#include <ktstr/guest/work/types/stop_the_world.hpp>
#include <ktstr/guest/work/types/thundering_herd.hpp>
#include <ktstr/guest/work/types/timer_latency.hpp>
#include <ktstr/guest/work/types/unix_socket.hpp>
#include <ktstr/guest/work/types/wake_chain.hpp>
#include <ktstr/guest/work/types/yield_heavy.hpp>

namespace ktstr::guest {

/// Most kinds need nothing.
template <class Kind>
[[nodiscard]] result<void> prepare(const Kind&, crew&) {
    return {};
}

/// Makes what the members of one crew share.
[[nodiscard]] inline result<void> prepare_work(const work_kind& kind, crew& crew) {
    switch (kind.id()) {
#define KTSTR_DETAIL_PREPARE(name) \
    case work_id::name:            \
        return prepare(kind.as<work::name>(), crew);
        KTSTR_DETAIL_WORK_KINDS(KTSTR_DETAIL_PREPARE)
#undef KTSTR_DETAIL_PREPARE
    }
    return {};
}

/// Works until told to stop.
inline void run_work(const work_kind& kind, work_loop& loop) {
    switch (kind.id()) {
#define KTSTR_DETAIL_RUN(name) \
    case work_id::name:        \
        return run(kind.as<work::name>(), loop);
        KTSTR_DETAIL_WORK_KINDS(KTSTR_DETAIL_RUN)
#undef KTSTR_DETAIL_RUN
    }
}

}  // namespace ktstr::guest

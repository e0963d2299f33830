// SPDX-License-Identifier: MIT
// Runs the selected cells: skips what the host can't do, repeats and retries as asked, side by side
// while the host carries it, and feeds the reports. Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/cli/replay.hpp>
#include <ktstr/host/plan/attempts.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/tally.hpp>
#include <ktstr/host/reserve/reservations.hpp>
#include <ktstr/host/run/artifacts.hpp>
#include <ktstr/host/run/cell_event.hpp>
#include <ktstr/host/run/machine_sources.hpp>
#include <ktstr/host/run/session.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/host/vm/kvm_memory.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace ktstr::host {

class runner {
public:
    runner(const options& wanted, const run_setup& setup, const cell_list& cells, fan_out& events,
           tally& totals, std::filesystem::path private_dir, int stop_fd, reservations& shares,
           progress_callback say)
        : wanted_(wanted),
          setup_(setup),
          cells_(cells),
          events_(events),
          totals_(totals),
          private_dir_(std::move(private_dir)),
          stop_fd_(stop_fd),
          shares_(shares),
          say_(std::move(say)),
          machines_(wanted, setup, private_dir_, stop_fd, say_),
          accel_(setup.host.accel) {
        machines_.expect(cells, attempts(attempt_policy::of(wanted)).repeats());
    }

    /// Runs them all. Returns why tests were left out, if some were.
    [[nodiscard]] std::optional<std::string> run() {
        const auto workers = std::min<std::size_t>(
            {cells_.size(),
             static_cast<std::size_t>(wanted_.jobs.value_or(std::numeric_limits<int>::max())),
             std::max<std::size_t>(setup_.host.cpus.size(), 1)});
        if (workers <= 1) {
            work();
        } else {
            // QEMU dies with the thread that started it, so each cell stays on one thread.
            std::vector<std::jthread> threads;
            for (std::size_t i = 0; i < workers; ++i)
                threads.emplace_back([this] { work(); });
        }
        if (stop_signal::received() != 0)
            return "interrupted by signal " + std::to_string(stop_signal::received());
        return std::nullopt;
    }

    /// Whether nothing could be said about the tests because the host itself failed.
    [[nodiscard]] bool run_impossible() const noexcept { return impossible_.load(); }

private:
    struct attempt_end {
        test_finished event;
        bool interrupted = false;
    };

    /// What an attempt leaves to the next machine of its thread.
    struct neighbours {
        next_machine& ahead;                     ///< started by the attempt before, for this one
        const std::function<void()>& meanwhile;  ///< starts that of the next
    };

    // ---- cells and attempts -------------------------------------------------------------------

    void work() {
        next_machine ahead;
        for (;;) {
            if (stop_signal::received() != 0)
                return;
            const auto i = next_.fetch_add(1);
            if (i >= cells_.size())
                return;
            run_cell(cells_[i], ahead);
        }
    }

    void run_cell(const cell& one, next_machine& ahead) {
        attempts plan(attempt_policy::of(wanted_));
        const std::function<void()> prepare_next = [&] {
            const auto i = next_.load();
            if (plan.repeats())
                prepare(one, ahead);
            else if (i < cells_.size())
                prepare(cells_[i], ahead);
        };
        for (;;) {
            auto finished = run_attempt(one, plan.current(), {ahead, prepare_next});
            if (finished.interrupted)
                return;
            auto& event = finished.event;
            event.outcome = plan.record(event.result, event.why);
            const bool last = event.outcome.has_value();
            publish(std::move(event));
            if (last)
                return;
        }
    }

    /// Starts the machine of the cell that this thread probably runs next.
    void prepare(const cell& one, next_machine& ahead) {
        if (!one.has_machine() || unmet_requirement(setup_, one, accel_))
            return;
        if (auto source = machines_.ready_clone(one, accel_)) {
            const auto request = machine_of(request_for(one, 1, *source, {}));
            ahead.prepare(request, std::make_shared<machine_source>(std::move(*source)));
        }
    }

    /// `cold`: why the machine must not be a clone; nullptr: it may be.
    [[nodiscard]] attempt_end run_attempt(const cell& one, int attempt, const neighbours& beside,
                                          const std::string* cold = nullptr) {
        if (const auto lacking = unmet_requirement(setup_, one, accel_))
            return {not_run(one, attempt, reason::requirement, *lacking)};
        if (one.has_machine() && kernel_replaced(setup_.kernel_of(one)))
            return {not_run(one, attempt, reason::infrastructure,
                            setup_.kernel_of(one).kernel.image.string() +
                                " was rebuilt while this run goes on, and the kernel that the run "
                                "began with is gone; run again")};
        auto source = machines_.plan(one, accel_, cold);
        if (!source)
            return no_machine(one, attempt, source.error());
        auto entered = shares_.enter(reserve_for(one, *source));
        if (!entered)
            return {not_run(one, attempt, reason::infrastructure, entered.error().message())};
        if (!*entered)
            return {{}, true};
        reservation share = std::move(**entered);
        std::vector<std::string> notes;
        if (auto made = machines_.complete(one, share, *source, notes); !made)
            return no_machine(one, attempt, made.error());
        const auto request = request_for(one, attempt, *source, placement_on(one, share));
        auto done = run_session(request, source->is_clone(), beside);
        const auto cpus = share.cpus();
        share.release();
        if (done.remains.interrupted)
            return {std::move(done.event), true};
        if (source->is_clone() && !done.remains.said_hello &&
            done.event.why != reason::requirement) {
            // The cell gets a machine that boots: its body has not begun. A template that does not wake
            // is not believed again; one whose clone this host could not even start is as good as
            // before.
            const auto what = done.event.message;
            const auto why =
                done.remains.blames_template
                    ? "the clone did not come up (" + what + "); " +
                          machines_.distrust(*source, what)
                    : "the clone could not be started (" + what + "); " + machines_.trust(*source);
            return run_attempt(one, attempt, beside, &why);
        }
        if (done.remains.lost_before_body)
            notes.push_back(
                "the scheduler was attached in the machine's template and had ended when "
                "the body was to begin; " +
                machines_.distrust_attached(*source, done.event.message));
        else if (source->is_clone() && done.remains.attached)
            machines_.was_attached(*source);
        if (source->is_clone() && !source->clone.why_attaches.empty())
            notes.push_back("the scheduler was attached by the test itself: " +
                            source->clone.why_attaches);
        blame_kvm(request, done);
        if (done.remains.kvm_died) {
            remember_kvm_failure(setup_.host.cache_root, done.event.message);
            if (wanted_.accel == accel_wish::automatic)
                return again_under_emulation(one, attempt, beside, done.event);
            impossible_ = true;
        }
        if (request.machine && !source->clone.why_cold.empty())
            notes.push_back("booted cold: " + source->clone.why_cold);
        note_cpus(one, cpus, done.event, notes);
        done.event.notes.insert(done.event.notes.end(), notes.begin(), notes.end());
        keep_files(done);
        done.event.replay = replay_command(wanted_, one.name);
        return {std::move(done.event)};
    }

    [[nodiscard]] session_result run_session(const session_request& request, bool is_clone,
                                             const neighbours& beside) {
        next_machine::started prepared;
        if (is_clone)
            prepared = beside.ahead.take(machine_of(request));
        else
            beside.ahead.drop();  // of another kind, or of a template that is not believed any more
        const tests_under_way::one counted(under_way_);
        return session(request, events_).run(std::move(prepared), [&] {
            under_way_.if_alone(beside.meanwhile);
        });
    }

    /// auto promises a machine that works: KVM that died is remembered and the cell gets another
    /// machine, said aloud. This is not a retry of the test; its body may not even have begun.
    [[nodiscard]] attempt_end again_under_emulation(const cell& one, int attempt,
                                                    const neighbours& beside,
                                                    const test_finished& died) {
        accel_ = accelerator::tcg;
        const std::function<void()> nothing;
        auto end = run_attempt(one, attempt, {beside.ahead, nothing});
        end.event.notes.push_back("run again under emulation (tcg): " + died.message);
        return end;
    }

    // ---- machines -----------------------------------------------------------------------------

    /// Host CPUs that all of the cell's threads may keep busy.
    [[nodiscard]] static std::size_t cpus_of(const cell& one) {
        return static_cast<std::size_t>(
            one.spec().cpu_budget.value_or(one.has_machine() ? one.topology.total_cpus() : 1));
    }

    [[nodiscard]] static reserve_request reserve_for(const cell& one,
                                                     const machine_source& source) {
        reserve_request wanted;
        wanted.test = one.name;
        wanted.cpus = cpus_of(one);
        if (source.machine) {
            wanted.memory_mib = source.machine->memory_mib;
            if (one.spec().performance_mode)
                wanted.dedicated = one.topology;
        }
        return wanted;
    }

    /// Where the machine's threads belong.
    [[nodiscard]] placement placement_on(const cell& one, const reservation& share) {
        if (!one.has_machine() || wanted_.internal.no_mask)
            return {};
        if (one.spec().performance_mode)
            return {.pins = share.plan().pins, .service_cpu = share.plan().service_cpu};
        if (one.spec().cpu_budget || wanted_.cpu_cap)
            return {.mask = share.cpus(),
                    .nodes = setup_.host.topology.nodes_of(share.cpus()),
                    .cpuset_name =
                        private_dir_.filename().string() + '-' + std::to_string(++placements_)};
        return {};
    }

    /// All that a session is told, put together here and nowhere else.
    [[nodiscard]] session_request request_for(const cell& one, int attempt,
                                              const machine_source& source,
                                              host::placement placement) const {
        const auto& host = setup_.host;
        session_request request{.cell = one,
                                .attempt = attempt,
                                .machine = source.machine,
                                .placement = std::move(placement),
                                .own_program = host.program.path(),
                                .private_dir = private_dir_,
                                .host_calibration_ns = host.calibration_ns,
                                .slowdown = host.slowdown,
                                .stop_fd = stop_fd_,
                                .faults = wanted_.internal.faults};
        if (one.has_machine()) {
            request.qemu = host.qemu.path;
            request.links = host.links;
            request.kernel_release = setup_.kernel_of(one).kernel.release;
        }
        if (source.is_clone()) {
            request.clone_state = source.clone.source.state;
            request.clone_directory = source.clone.source.directory;
            request.program_size = source.clone.program_size;
            request.scheduler_attached = source.clone.attached;
        }
        return request;
    }

    // ---- what an attempt leaves ---------------------------------------------------------------

    /// An error of QEMU's that only KVM can be the cause of counts as KVM's death.
    static void blame_kvm(const session_request& request, session_result& done) {
        if (!request.machine || request.machine->accel != accelerator::kvm ||
            done.event.why != reason::infrastructure || done.remains.kvm_died)
            return;
        if (const auto words = words_that_blame_kvm(done.event.message)) {
            done.remains.kvm_died = true;
            done.event.message = "QEMU does not run under this host's KVM: " + *words +
                                 "; use --accel tcg or --accel nested";
        }
    }

    void note_cpus(const cell& one, const std::vector<int>& cpus, const test_finished& event,
                   std::vector<std::string>& notes) const {
        const auto wanted = cpus_of(one);
        if (cpus.size() < wanted && !one.spec().cpu_budget)
            notes.push_back("the machine has " + std::to_string(wanted) + " vCPUs and this run " +
                            std::to_string(cpus.size()) + " host CPUs");
        if (event.mask && one.spec().cpu_budget && wanted_.verbose)
            notes.push_back("the vCPUs were kept on host CPUs " + number_list(cpus) + " by " +
                            *event.mask);
    }

    void keep_files(session_result& done) {
        auto& event = done.event;
        if (!wanted_.keep && event.result != verdict::fail && event.result != verdict::inconclusive)
            return;
        const auto files = files_of(done);
        if (wanted_.internal.relay) {
            for (const auto& file : files)
                events_(file);
        } else if (auto kept =
                       write_artifacts(artifacts_root(wanted_), event.name, event.attempt, files)) {
            event.artifacts = kept->string();
        } else {
            event.notes.push_back(kept.error().message());
        }
    }

    /// A cell that can't have one; or it is the stop signal that ended the wait for it.
    [[nodiscard]] attempt_end no_machine(const cell& one, int attempt, const error& why) {
        if (stop_signal::received() != 0)
            return {{}, true};
        return {not_run(one, attempt, reason::infrastructure, why.message())};
    }

    [[nodiscard]] test_finished not_run(const cell& one, int attempt, reason why,
                                        std::string message) {
        events_(started_event(one, attempt));
        test_finished e;
        describe(one, attempt, e);
        e.result = verdict_of(why);
        e.why = why;
        e.message = std::move(message);
        if (one.has_machine()) {
            e.accel = std::string(to_text(accel_.load()));
            e.kernel = setup_.kernel_of(one).kernel.release;
        }
        e.replay = replay_command(wanted_, one.name);
        return e;
    }

    void publish(test_finished event) {
        const auto& program = setup_.host.program;
        if (program.replaced() && !told_of_rebuild_.exchange(true) && say_)
            say_(rebuilt_meanwhile(program));
        for (const auto& file : setup_.host.schedulers->newly_replaced())
            if (say_)
                say_(rebuilt_meanwhile(file));
        {
            const std::lock_guard lock(mutex_);
            totals_.add(event);
        }
        events_(event);
    }

    const options& wanted_;
    const run_setup& setup_;
    const cell_list& cells_;
    fan_out& events_;
    tally& totals_;
    std::filesystem::path private_dir_;
    int stop_fd_;
    reservations& shares_;
    progress_callback say_;
    machine_sources machines_;
    tests_under_way under_way_;
    std::mutex mutex_;
    std::atomic<accelerator> accel_;  ///< the host's, until KVM dies under automatic
    std::atomic<std::size_t> next_{0};
    std::atomic<bool> impossible_{false};
    std::atomic<bool> told_of_rebuild_{false};
    std::atomic<int> placements_{0};
};

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// Runs the selected cells: skips what the host can't do, repeats and retries as asked, side by side
// while the host carries it, and feeds the reports. Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/cli/replay.hpp>
#include <ktstr/host/clone/clone_sources.hpp>
#include <ktstr/host/plan/attempts.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/tally.hpp>
#include <ktstr/host/reserve/reservations.hpp>
#include <ktstr/host/run/artifacts.hpp>
#include <ktstr/host/run/cell_event.hpp>
#include <ktstr/host/run/host_setup.hpp>
#include <ktstr/host/run/performance.hpp>
#include <ktstr/host/run/session.hpp>
#include <ktstr/host/vm/kvm_memory.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace ktstr::host {

class runner {
public:
    runner(const options& wanted, host_setup& setup, const cell_list& cells, fan_out& events,
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
          clones_(setup, private_dir_, stop_fd, say_, wanted.internal.faults) {}

    /// Runs them all. Returns why tests were left out, if some were.
    [[nodiscard]] std::optional<std::string> run() {
        const auto workers = std::min<std::size_t>(
            {cells_.size(),
             static_cast<std::size_t>(wanted_.jobs.value_or(std::numeric_limits<int>::max())),
             std::max<std::size_t>(setup_.cpus.size(), 1)});
        if (workers <= 1) {
            work();
        } else {
            // QEMU dies with the thread that started it, so each test stays on one thread.
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
        for (;;) {
            const auto prepare_next = [&] {
                const auto i = next_.load();
                if (plan.repeats())
                    prepare(one, ahead);
                else if (i < cells_.size())
                    prepare(cells_[i], ahead);
            };
            auto finished = run_attempt(one, plan.current(), ahead, prepare_next);
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

    struct attempt_end {
        test_finished event;
        bool interrupted = false;
    };

    [[nodiscard]] session_request request_for(const cell& one, int attempt) const {
        session_request request;
        request.cell = one;
        request.attempt = attempt;
        request.own_program = setup_.program.path();
        request.private_dir = private_dir_;
        request.host_calibration_ns = setup_.calibration_ns;
        request.slowdown = setup_.slowdown;
        request.stop_fd = stop_fd_;
        request.faults = wanted_.internal.faults;
        if (one.has_machine()) {
            request.qemu = setup_.qemu.path;
            request.links = setup_.links;
            request.kernel_release = setup_.kernel.release;
        }
        return request;
    }

    static void put(const clone_sources::clone& cloned, session_request& request) {
        request.machine = *cloned.machine;
        request.clone_state = cloned.source.state;
        request.clone_directory = cloned.source.directory;
        request.program_size = cloned.program_size;
    }

    /// Starts the machine of the test that this thread probably runs next.
    void prepare(const cell& one, next_machine& ahead) {
        if (!one.has_machine() || unmet_requirement(setup_, one))
            return;
        auto cloned = clones_.plan_for(one);
        if (!cloned.machine || !clones_.attach_known(cloned))
            return;
        auto request = request_for(one, 1);
        put(cloned, request);
        ahead.prepare(machine_of(request),
                      std::make_shared<clone_sources::clone>(std::move(cloned)));
    }

    /// `cold`: why the machine must not be a clone; nullptr: it may be.
    [[nodiscard]] attempt_end run_attempt(const cell& one, int attempt, next_machine& ahead,
                                          const std::function<void()>& meanwhile,
                                          const std::string* cold = nullptr) {
        if (const auto lacking = unmet_requirement(setup_, one))
            return {not_run(one, attempt, reason::requirement, *lacking)};
        clone_sources::clone cloned;
        auto request = request_for(one, attempt);
        if (one.has_machine()) {
            if (cold == nullptr)
                cloned = clones_.plan_for(one);
            if (cloned.machine)
                request.machine = *cloned.machine;
            else if (auto booting = cold_machine(request); !booting)
                return no_machine(one, attempt, booting.error());
        }
        const auto cpus = static_cast<std::size_t>(
            one.spec().cpu_budget.value_or(!one.has_machine() ? 1 : one.topology.total_cpus()));
        auto entered = shares_.enter(reserve_for(request, cpus));
        if (!entered)
            return {not_run(one, attempt, reason::infrastructure, entered.error().message())};
        if (!*entered)
            return {{}, true};
        reservation share = std::move(**entered);
        if (cloned.machine) {
            if (clones_.attach(cloned)) {
                put(cloned, request);
            } else if (stop_signal::received() != 0) {
                return {{}, true};
            } else if (auto booting = cold_machine(request); !booting) {
                return no_machine(one, attempt, booting.error());
            }
        }
        std::vector<std::string> notes = place(request, one.spec(), share);
        next_machine::started prepared;
        if (cloned.machine)
            prepared = ahead.take(machine_of(request));
        else
            ahead.drop();  // of another kind, or of a template that is not believed any more
        auto done = [&] {
            const tests_under_way::one counted(under_way_);
            return session(request, events_).run(std::move(prepared), [&] {
                under_way_.if_alone(meanwhile);
            });
        }();
        done.event.notes.insert(done.event.notes.end(), notes.begin(), notes.end());
        share.release();
        if (cloned.machine && !done.remains.said_hello && !done.remains.interrupted) {
            // A template that does not wake is not believed again, and the test gets a machine that
            // boots: its body has not begun.
            const auto what = done.event.message;
            const auto why =
                "the clone did not come up (" + what + "); " + clones_.distrust(cloned, what);
            return run_attempt(one, attempt, ahead, meanwhile, &why);
        }
        if (request.machine && !cloned.machine)
            if (const auto why = cold != nullptr ? *cold : cloned.why_cold; !why.empty())
                done.event.notes.push_back("booted cold: " + why);
        if (done.remains.interrupted)
            return {std::move(done.event), true};
        if (request.machine && request.machine->accel == accelerator::kvm &&
            done.event.why == reason::infrastructure && !done.remains.kvm_died)
            if (const auto words = words_that_blame_kvm(done.event.message)) {
                done.remains.kvm_died = true;
                done.event.message = "QEMU does not run under this host's KVM: " + *words +
                                     "; use --accel tcg or --accel nested";
            }
        if (done.remains.kvm_died) {
            remember_kvm_failure(setup_.cache_root, done.event.message);
            if (wanted_.accel == accel_wish::automatic)
                return again_under_emulation(one, attempt, ahead, std::move(done.event));
            impossible_ = true;
        }
        if (share.cpus().size() < cpus && !one.spec().cpu_budget)
            done.event.notes.push_back("the machine has " + std::to_string(cpus) +
                                       " vCPUs and this run " +
                                       std::to_string(share.cpus().size()) + " host CPUs");
        if (done.event.mask && one.spec().cpu_budget && wanted_.verbose)
            done.event.notes.push_back("the vCPUs were kept on host CPUs " +
                                       number_list(share.cpus()) + " by " + *done.event.mask);
        done.event.replay = replay_command(wanted_, one.name);
        const bool keep = wanted_.keep || done.event.result == verdict::fail ||
                          done.event.result == verdict::inconclusive;
        if (keep && wanted_.internal.relay) {
            for (const auto& file : files_of(done))
                events_(file);
        } else if (keep) {
            if (auto kept = write_artifacts(artifacts_root(wanted_), done.event.name, attempt,
                                            files_of(done)))
                done.event.artifacts = kept->string();
            else
                done.event.notes.push_back(kept.error().message());
        }
        return {std::move(done.event)};
    }

    /// A test that can't have one; or it is the stop signal that ended the wait for it.
    [[nodiscard]] attempt_end no_machine(const cell& one, int attempt, const error& why) {
        if (stop_signal::received() != 0)
            return {{}, true};
        return {not_run(one, attempt, reason::infrastructure, why.message())};
    }

    /// The machine of a test that boots.
    [[nodiscard]] result<void> cold_machine(session_request& request) {
        auto archive = initramfs_for(setup_, request.cell, {});
        if (!archive)
            return std::move(archive).error();
        archive_in_use_.hold(*archive);
        request.machine = machine_for(setup_, request.cell, *archive, wanted_.verbose);
        return {};
    }

    [[nodiscard]] static reserve_request reserve_for(const session_request& request,
                                                     std::size_t cpus) {
        reserve_request wanted;
        wanted.test = request.cell.name;
        wanted.cpus = cpus;
        if (request.cell.spec().performance_mode && request.machine)
            wanted.dedicated = request.cell.topology;
        if (request.machine)
            wanted.memory_mib = request.machine->memory_mib;
        return wanted;
    }

    /// Puts a reservation's CPUs into the request. Returns what the report should say of them.
    [[nodiscard]] std::vector<std::string> place(session_request& request, const test_spec& spec,
                                                 const reservation& share) {
        if (!request.machine || wanted_.internal.no_mask)
            return {};
        if (spec.performance_mode) {
            request.placement.pins = share.plan().pins;
            request.placement.service_cpu = share.plan().service_cpu;
            return dedicate(*request.machine, share.plan().nodes);
        }
        if (spec.cpu_budget || wanted_.cpu_cap) {
            request.placement.mask = share.cpus();
            request.placement.nodes = setup_.host.nodes_of(share.cpus());
            request.placement.cpuset_name =
                private_dir_.filename().string() + '-' + std::to_string(++placements_);
        }
        return {};
    }

    /// auto promises a machine that works: KVM that died is remembered and the test gets another
    /// machine, said aloud. This is not a retry of the test; its body may not even have begun.
    [[nodiscard]] attempt_end again_under_emulation(const cell& one, int attempt,
                                                    next_machine& ahead, test_finished died) {
        {
            const std::lock_guard lock(mutex_);
            setup_.accel = accelerator::tcg;
        }
        auto end = run_attempt(one, attempt, ahead, {});
        end.event.notes.push_back("run again under emulation (tcg): " + died.message);
        return end;
    }

    [[nodiscard]] test_finished not_run(const cell& one, int attempt, reason why,
                                        std::string message) {
        events_(started_event(one, attempt));
        test_finished e;
        describe(one, attempt, e);
        e.result = verdict_of(why);
        e.why = why;
        e.message = std::move(message);
        e.accel = std::string(to_text(setup_.accel));
        e.kernel = setup_.kernel.release;
        e.replay = replay_command(wanted_, one.name);
        return e;
    }

    void publish(test_finished event) {
        if (setup_.program.replaced() && !told_of_rebuild_.exchange(true) && say_)
            say_(rebuilt_meanwhile(setup_.program));
        {
            const std::lock_guard lock(mutex_);
            totals_.add(event);
        }
        events_(event);
    }

    /// Keeps the archives of this run from being evicted by another run.
    class archives_in_use {
    public:
        void hold(const initramfs& archive) {
            const std::lock_guard lock(mutex_);
            held_.push_back(archive);
        }

    private:
        std::mutex mutex_;
        std::vector<initramfs> held_;
    };

    const options& wanted_;
    host_setup& setup_;
    const cell_list& cells_;
    fan_out& events_;
    tally& totals_;
    std::filesystem::path private_dir_;
    int stop_fd_;
    reservations& shares_;
    progress_callback say_;
    clone_sources clones_;
    archives_in_use archive_in_use_;
    tests_under_way under_way_;
    std::mutex mutex_;
    std::atomic<std::size_t> next_{0};
    std::atomic<bool> impossible_{false};
    std::atomic<bool> told_of_rebuild_{false};
    std::atomic<int> placements_{0};
};

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// Runs the selected tests: skips what the host can't do, repeats and retries as asked, side by side
// while the host carries it, and feeds the reports. Host side.
#pragma once

#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/cli/replay.hpp>
#include <ktstr/host/plan/attempts.hpp>
#include <ktstr/host/plan/list.hpp>
#include <ktstr/host/plan/select.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/tally.hpp>
#include <ktstr/host/run/artifacts.hpp>
#include <ktstr/host/run/cpu_admission.hpp>
#include <ktstr/host/run/host_setup.hpp>
#include <ktstr/host/run/kvm_memory.hpp>
#include <ktstr/host/run/session.hpp>
#include <ktstr/host/run/stop_signal.hpp>

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace ktstr::host {

class runner {
public:
    runner(const options& wanted, host_setup& setup, const test_list& tests, fan_out& events,
           tally& totals, std::filesystem::path private_dir, int stop_fd)
        : wanted_(wanted),
          setup_(setup),
          tests_(tests),
          events_(events),
          totals_(totals),
          private_dir_(std::move(private_dir)),
          stop_fd_(stop_fd),
          admission_(setup.cpus, wanted.jobs.value_or(std::numeric_limits<int>::max())) {}

    /// Runs them all. Returns why tests were left out, if some were.
    [[nodiscard]] std::optional<std::string> run() {
        const auto workers = std::min<std::size_t>(
            {tests_.size(),
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
        for (;;) {
            if (stop_signal::received() != 0)
                return;
            const auto i = next_.fetch_add(1);
            if (i >= tests_.size())
                return;
            run_test(*tests_[i]);
        }
    }

    void run_test(const test_case& test) {
        attempts plan(attempt_policy::of(wanted_));
        for (;;) {
            auto finished = run_attempt(test, plan.current());
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

    [[nodiscard]] attempt_end run_attempt(const test_case& test, int attempt) {
        const auto shape = machine_shape(test.spec, wanted_.topology);
        if (const auto lacking = unmet_requirement(setup_, test.spec))
            return {not_run(test, attempt, shape, reason::requirement, *lacking)};
        session_request request;
        request.test = &test;
        request.topology = shape;
        request.attempt = attempt;
        request.seed = wanted_.seed;
        request.own_program = setup_.own_program;
        request.private_dir = private_dir_;
        request.host_calibration_ns = setup_.calibration_ns;
        request.slowdown = setup_.slowdown;
        request.stop_fd = stop_fd_;
        request.faults = wanted_.internal.faults;
        if (!test.spec.host_only) {
            auto archive = initramfs_for(setup_, test, {});
            if (!archive)
                return {not_run(test, attempt, shape, reason::infrastructure,
                                archive.error().message())};
            archive_in_use_.hold(*archive);
            request.machine = machine_for(setup_, test.spec, shape, *archive, wanted_.verbose);
            request.qemu = setup_.qemu.path;
            request.links = setup_.links;
            request.kernel_release = setup_.kernel.release;
        }
        const auto cpus = static_cast<std::size_t>(
            test.spec.cpu_budget.value_or(test.spec.host_only ? 1 : shape.total_cpus()));
        const auto share = admission_.enter(cpus);
        if (!test.spec.host_only && !wanted_.internal.no_mask &&
            (test.spec.cpu_budget || wanted_.cpu_cap))
            request.mask = share.cpus;
        auto done = session(request, events_).run();
        std::vector<std::string> lost;
        while (lost_by_the_emulator(done) && lost.size() < 2) {
            lost.push_back("the machine was started again: " + done.event.message +
                           "; see docs/machines.md, nested runs");
            done = session(request, events_).run();
        }
        done.event.notes.insert(done.event.notes.begin(), lost.begin(), lost.end());
        admission_.leave(share);
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
                return again_under_emulation(test, attempt, std::move(done.event));
            impossible_ = true;
        }
        if (share.cpus.size() < cpus && !test.spec.cpu_budget)
            done.event.notes.push_back("the machine has " + std::to_string(cpus) +
                                       " vCPUs and this run " + std::to_string(share.cpus.size()) +
                                       " host CPUs");
        done.event.replay = replay_command(wanted_, test.name);
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

    /// In a nested run a machine sometimes stops during its boot and waits for ever, for a reason not yet
    /// established: nothing is known of the test, whose body has not begun. It gets another
    /// machine, said aloud, and only there: under real KVM and plain emulation a guest that does not
    /// come up is a finding. docs/machines.md, "Nested runs".
    [[nodiscard]] bool lost_by_the_emulator(const session_result& done) const {
        return setup_.slowdown > 1 && wanted_.internal.relay && wanted_.internal.faults.empty() &&
               done.event.why == reason::boot_timeout && !done.remains.interrupted;
    }

    /// auto promises a machine that works: KVM that died is remembered and the test gets another
    /// machine, said aloud. This is not a retry of the test; its body may not even have begun.
    [[nodiscard]] attempt_end again_under_emulation(const test_case& test, int attempt,
                                                    test_finished died) {
        {
            const std::lock_guard lock(mutex_);
            setup_.accel = accelerator::tcg;
        }
        auto end = run_attempt(test, attempt);
        end.event.notes.push_back("run again under emulation (tcg): " + died.message);
        return end;
    }

    [[nodiscard]] test_finished not_run(const test_case& test, int attempt, const topology& shape,
                                        reason why, std::string message) {
        events_(test_started{.name = std::string(test.name),
                             .file = std::string(test.file),
                             .line = test.line,
                             .topology = std::string(ktstr::to_text(shape)),
                             .attempt = attempt,
                             .timeout = test.spec.body_limit(),
                             .at = event_clock::now()});
        test_finished e;
        e.name = test.name;
        e.file = test.file;
        e.line = test.line;
        e.attempt = attempt;
        e.result = verdict_of(why);
        e.why = why;
        e.message = std::move(message);
        e.accel = std::string(to_text(setup_.accel));
        e.kernel = setup_.kernel.release;
        e.topology = std::string(ktstr::to_text(shape));
        e.seed = wanted_.seed;
        e.replay = replay_command(wanted_, test.name);
        return e;
    }

    void publish(test_finished event) {
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
    const test_list& tests_;
    fan_out& events_;
    tally& totals_;
    std::filesystem::path private_dir_;
    int stop_fd_;
    cpu_admission admission_;
    archives_in_use archive_in_use_;
    std::mutex mutex_;
    std::atomic<std::size_t> next_{0};
    std::atomic<bool> impossible_{false};
};

}  // namespace ktstr::host

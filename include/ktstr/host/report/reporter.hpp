// SPDX-License-Identifier: MIT
// The interface of a report, and the one place that feeds all of them. Tests run side by side, so
// fan_out takes a mutex and a reporter never has to.
// Host side.
#pragma once

#include <ktstr/base/error.hpp>
#include <ktstr/host/report/event.hpp>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace ktstr::host {

class reporter {
public:
    reporter() = default;
    reporter(const reporter&) = delete;
    reporter& operator=(const reporter&) = delete;
    virtual ~reporter() = default;

    virtual void on(const run_started&) {}
    virtual void on(const test_waiting&) {}
    virtual void on(const test_started&) {}
    virtual void on(const stage_changed&) {}
    virtual void on(const test_output&) {}
    virtual void on(const check_failed&) {}
    virtual void on(const metric_measured&) {}
    virtual void on(const attempt_file&) {}
    virtual void on(const test_finished&) {}
    virtual void on(const run_finished&) {}

    /// Time went by; only a report that shows the present cares.
    virtual void on_tick(event_clock::time_point) {}

    /// What kept this report from being complete, if anything did: a full disk, a closed pipe.
    [[nodiscard]] virtual std::optional<error> problem() const { return std::nullopt; }
};

/// Hands every event to every reporter, one event at a time, from any thread.
class fan_out {
public:
    fan_out() = default;
    fan_out(const fan_out&) = delete;
    fan_out& operator=(const fan_out&) = delete;
    ~fan_out() { stop_ticking(); }

    void add(std::unique_ptr<reporter> r) {
        const std::lock_guard lock(mutex_);
        reporters_.push_back(std::move(r));
    }

    template <class Event>
    void operator()(const Event& event) {
        const std::lock_guard lock(mutex_);
        for (auto& r : reporters_)
            r->on(event);
    }

    void tick(event_clock::time_point now) {
        const std::lock_guard lock(mutex_);
        for (auto& r : reporters_)
            r->on_tick(now);
    }

    /// Calls tick() every `period` from a thread of its own until stop_ticking().
    void start_ticking(std::chrono::milliseconds period) {
        stop_ticking();
        stopping_ = false;
        ticker_ = std::thread([this, period] {
            std::unique_lock lock(ticker_mutex_);
            while (!ticker_wakes_.wait_for(lock, period, [this] { return stopping_; })) {
                lock.unlock();
                tick(event_clock::now());
                lock.lock();
            }
        });
    }

    void stop_ticking() {
        if (!ticker_.joinable())
            return;
        {
            const std::lock_guard lock(ticker_mutex_);
            stopping_ = true;
        }
        ticker_wakes_.notify_one();
        ticker_.join();
    }

    /// The first problem a reporter had.
    [[nodiscard]] std::optional<error> problem() const {
        const std::lock_guard lock(mutex_);
        for (const auto& r : reporters_)
            if (auto found = r->problem())
                return found;
        return std::nullopt;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<reporter>> reporters_;
    std::mutex ticker_mutex_;
    std::condition_variable ticker_wakes_;
    bool stopping_ = false;
    std::thread ticker_;
};

}  // namespace ktstr::host

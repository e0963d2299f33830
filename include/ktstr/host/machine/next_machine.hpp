// SPDX-License-Identifier: MIT
// A machine that was started ahead of its turn: while one test's machine wakes up, the next one's QEMU
// starts and loads its state, so that it needs only to be let go. Never while a body of this run is
// under way, which would feel it. Host side.
#pragma once

#include <ktstr/host/machine/running_machine.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace ktstr::host {

/// The tests of a run that have a machine now. Each may be in its body, but for the one that asks whether
/// it is alone, which knows that its own is not.
class tests_under_way {
public:
    /// Counts a test in until the end of its life. Waits for a machine that is just being started ahead.
    class one {
    public:
        explicit one(tests_under_way& all) : all_(all) {
            const std::lock_guard lock(all_.mutex_);
            ++all_.count_;
        }
        one(const one&) = delete;
        ~one() {
            const std::lock_guard lock(all_.mutex_);
            --all_.count_;
        }

    private:
        tests_under_way& all_;
    };

    /// Called by a test that counts: does it if no other one does, and no other one begins before it is
    /// done.
    void if_alone(const std::function<void()>& what) {
        const std::lock_guard lock(mutex_);
        if (count_ == 1 && what)
            what();
    }

private:
    std::mutex mutex_;
    int count_ = 0;
};

class next_machine {
public:
    struct started {
        std::unique_ptr<running_machine> vm;
        std::string command_line;
    };

    /// Starts it. `in_use` keeps what it is made from. What fails here is said when its turn comes.
    void prepare(const machine_request& request, std::shared_ptr<void> in_use) {
        drop();
        auto made = running_machine::prepare(request, ready_.command_line);
        if (!made)
            return;
        ready_.vm = std::move(*made);
        name_ = request.name;
        machine_ = request.machine;
        in_use_ = std::move(in_use);
    }

    /// The machine that `request` describes, if it is the one that was prepared and still there. Any
    /// other is given up.
    [[nodiscard]] started take(const machine_request& request) {
        if (!ready_.vm || name_ != request.name || machine_ != request.machine ||
            ready_.vm->process().try_wait())
            drop();
        in_use_.reset();  // the caller holds what it is made from
        return std::exchange(ready_, {});
    }

    /// Gives it up.
    void drop() {
        ready_ = {};
        in_use_.reset();
    }

private:
    // Before the machine, which goes first.
    std::shared_ptr<void> in_use_;
    started ready_;
    std::string name_;
    machine machine_;
};

}  // namespace ktstr::host

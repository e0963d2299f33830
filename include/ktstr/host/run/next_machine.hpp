// SPDX-License-Identifier: MIT
// A machine that was started ahead of its turn: while one test's machine wakes up, the next one's QEMU
// starts and loads its state, so that it needs only to be let go. Never while a body runs, which would
// feel it. Host side.
#pragma once

#include <ktstr/host/run/running_machine.hpp>

#include <memory>
#include <string>
#include <utility>

namespace ktstr::host {

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
        return std::exchange(ready_, {});
    }

private:
    void drop() { ready_ = {}; }

    // Before the machine, which goes first.
    std::shared_ptr<void> in_use_;
    started ready_;
    std::string name_;
    machine machine_;
};

}  // namespace ktstr::host

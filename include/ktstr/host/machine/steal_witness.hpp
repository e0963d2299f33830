// SPDX-License-Identifier: MIT
// The host's own witness of a guest's steal time: how long its vCPU threads waited for a host CPU while the body ran.
// Host side.
#pragma once

#include <ktstr/host/machine/machine_observer.hpp>
#include <ktstr/host/machine/vcpu_threads.hpp>

#include <cstdint>
#include <optional>

namespace ktstr::host {

class steal_witness final : public machine_observer {
public:
    void started(const start& machine) override { machine_ = machine; }
    void stage(wire::guest_stage entered) override {
        if (entered == wire::guest_stage::body)
            before_ = waited_ns(machine_.vcpus, machine_.process);
        else if (entered == wire::guest_stage::collecting)
            after_ = waited_ns(machine_.vcpus, machine_.process);
    }

    /// Nothing where it could not be seen from the body's begin to its end.
    [[nodiscard]] std::optional<std::uint64_t> waited() const {
        return before_ && after_ ? std::optional(*after_ - *before_) : std::nullopt;
    }

private:
    start machine_;
    std::optional<std::uint64_t> before_, after_;
};

}  // namespace ktstr::host

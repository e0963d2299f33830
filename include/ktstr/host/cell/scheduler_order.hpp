// SPDX-License-Identifier: MIT
// What a guest is told of a cell's scheduler. A template that has it attached and a test that runs under
// it are told the same. Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/wire/boot.hpp>
#include <ktstr/wire/message.hpp>

#include <string>

namespace ktstr::host {

inline void order_scheduler(const cell& one, wire::run_test& order) {
    if (one.has_machine()) {
        for (const auto& sysctl : one.scheduler->sysctls)
            order.sysctls.emplace_back(sysctl);
        order.enable.assign(one.scheduler->enable.begin(), one.scheduler->enable.end());
        order.disable.assign(one.scheduler->disable.begin(), one.scheduler->disable.end());
    }
    if (!one.scheduler->has_program())
        return;
    order.scheduler = wire::scheduler_path;
    order.scheduler_name = one.scheduler->name;
    for (const auto& a : one.scheduler->args)
        order.scheduler_args.emplace_back(a);
    for (const auto& a : one.spec().scheduler_args)
        order.scheduler_args.emplace_back(a);
    for (const scheduler* other : one.spec().staged)
        order.staged.push_back({.name = std::string(other->name),
                                .path = wire::staged_root + std::to_string(order.staged.size()),
                                .args = {other->args.begin(), other->args.end()}});
}

}  // namespace ktstr::host

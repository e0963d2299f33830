// SPDX-License-Identifier: MIT
// Which of the variables KTSTR_SCHEDULER_<NAME> change anything: one that would be passed over in silence leaves
// another scheduler under test than its author believes. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/setup/scheduler_program.hpp>
#include <ktstr/sched/scheduler.hpp>
#include <ktstr/test/registry.hpp>

#include <map>
#include <span>
#include <string>
#include <utility>

namespace ktstr::host {

/// Keeps of the options' variables those of the schedulers that these tests name. One of a scheduler without a
/// program is a usage error (exit 5). Any other is a note: one environment may serve several test programs.
[[nodiscard]] inline result<void> settle_scheduler_variables(
    std::span<const test_case* const> tests, options& wanted) {
    const auto given = std::exchange(wanted.scheduler_variables, {});
    if (given.empty())
        return {};
    // By variable; two definitions may share one, and then that with a program is meant.
    std::map<std::string, const scheduler*> known;
    const auto define = [&](const scheduler& one) {
        const auto [its, fresh] = known.emplace(scheduler_variable(one.name), &one);
        if (!fresh && one.has_program())
            its->second = &one;
    };
    for (const test_case* test : tests) {
        for (const auto& list : {test->spec.schedulers, test->spec.staged})
            for (const scheduler* one : list)
                define(*one);
        if (test->spec.schedulers.empty())
            define(test->spec.scheduler != nullptr ? *test->spec.scheduler : eevdf);
    }
    std::string names;
    for (const auto& [name, one] : known)
        if (one->has_program())
            names += (names.empty() ? "; theirs: " : ", ") + name;
    for (const auto& [name, program] : given) {
        const auto its = known.find(name);
        if (its == known.end())
            wanted.notes.push_back(
                name +
                " changes nothing: no test of this program names a scheduler of this variable" +
                names);
        else if (!its->second->has_program())
            return plain_error("use " + name, program,
                               "the scheduler " + std::string(its->second->name) +
                                   " starts no program that another could replace",
                               "unset it, or give the definition a .binary");
        else
            wanted.scheduler_variables.emplace_back(name, program);
    }
    return {};
}

}  // namespace ktstr::host

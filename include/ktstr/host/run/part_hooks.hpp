// SPDX-License-Identifier: MIT
// What an optional part may do on the host's side, see test/part.hpp.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/report/reporter.hpp>

namespace ktstr::host {

struct part_hooks {
    /// Adds reports to a run that a person has started, after the run's own; an error is exit code 3.
    result<void> (*open_reports)(fan_out& reports, const options& wanted,
                                 const environment& variables) = nullptr;
};

}  // namespace ktstr::host

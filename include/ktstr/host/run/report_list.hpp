// SPDX-License-Identifier: MIT
// The seam between a run and its reports: what a run calls, without any kind of report behind it.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/report/reporter.hpp>

#include <chrono>

#include <unistd.h>

namespace ktstr::host {

/// Adds the reports that the arguments ask for. open_reports.hpp has its body.
[[nodiscard]] result<void> open_reports(fan_out& reports, const options& wanted,
                                        const environment& variables);

/// How often the console wants to know the time.
[[nodiscard]] inline std::chrono::milliseconds tick_period(const options& wanted) {
    const int fd = wanted.stdout_is_report() ? STDERR_FILENO : STDOUT_FILENO;
    return std::chrono::milliseconds(::isatty(fd) == 1 ? 100 : 1000);
}

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// From options to the reporters they ask for. Every file is opened here, before any test runs: an
// hour of tests must not end in "cannot write". An error is exit code 3.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/report/console.hpp>
#include <ktstr/host/report/json.hpp>
#include <ktstr/host/report/junit.hpp>
#include <ktstr/host/report/relay.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/report/tap.hpp>
#include <ktstr/host/run/part_hooks.hpp>
#include <ktstr/host/run/report_list.hpp>
#include <ktstr/test/part.hpp>

#include <memory>
#include <string>
#include <utility>

#include <sys/ioctl.h>
#include <unistd.h>

namespace ktstr::host {

/// How to talk to people on descriptor `fd`.
[[nodiscard]] inline console_style style_for(int fd, const options& wanted,
                                             const environment& variables) {
    const bool terminal = ::isatty(fd) == 1;
    const std::string kind = variables.get("TERM").value_or("dumb");
    console_style style;
    style.live = terminal && kind != "dumb" && !wanted.quiet;
    style.color = wanted.color == color_wish::always ||
                  (wanted.color == color_wish::automatic && terminal && kind != "dumb");
    style.verbose = wanted.verbose;
    style.quiet = wanted.quiet;
    style.width = [fd] {
        ::winsize size{};
        return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? int{size.ws_col} : 80;
    };
    return style;
}

/// Adds the reporters that the options ask for. People get standard output, or standard error when
/// a report wants the former.
// Not inline: see report_list.hpp.
result<void> open_reports(fan_out& reports, const options& wanted, const environment& variables) {
    if (wanted.internal.relay) {
        reports.add(std::make_unique<relay_reporter>(
            std::make_unique<fd_sink>(STDOUT_FILENO, "the relay")));
        return {};
    }
    if (wanted.json == "-") {
        reports.add(std::make_unique<json_reporter>(
            std::make_unique<fd_sink>(STDOUT_FILENO, "standard output")));
    } else if (wanted.json) {
        auto file = create_file_sink("the JSON report", *wanted.json);
        if (!file)
            return std::move(file).error();
        reports.add(std::make_unique<json_reporter>(std::move(*file)));
    }
    if (wanted.junit) {
        auto file = atomic_file::prepare("the JUnit report", *wanted.junit);
        if (!file)
            return std::move(file).error();
        reports.add(std::make_unique<junit_reporter>(std::move(*file)));
    }
    if (wanted.tap)
        reports.add(std::make_unique<tap_reporter>(
            std::make_unique<fd_sink>(STDOUT_FILENO, "standard output")));
    const int fd = wanted.stdout_is_report() ? STDERR_FILENO : STDOUT_FILENO;
    reports.add(std::make_unique<console_reporter>(
        std::make_unique<fd_sink>(fd, fd == STDOUT_FILENO ? "standard output" : "standard error"),
        style_for(fd, wanted, variables)));
    for (const part* one : attached_parts())
        if (one->host != nullptr && one->host->open_reports != nullptr)
            if (auto opened = one->host->open_reports(reports, wanted, variables); !opened)
                return opened;
    return {};
}

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// An optional part: where a workflow runs that takes commands from its output (GITHUB_ACTIONS is true), every
// cell that did not pass becomes an annotation at its place in the source. One translation unit, which
// ktstr::annotations adds to a program. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/run/part_hooks.hpp>
#include <ktstr/test/part.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

namespace ktstr::parts {

/// Text that can't end a command's field, or the command.
[[nodiscard]] inline std::string escaped(std::string_view text, bool is_property) {
    std::string safe;
    for (const char c : text)
        if (c == '%')
            safe += "%25";
        else if (c == '\r')
            safe += "%0D";
        else if (c == '\n')
            safe += "%0A";
        else if (is_property && c == ':')
            safe += "%3A";
        else if (is_property && c == ',')
            safe += "%2C";
        else
            safe += c;
    return safe;
}

class annotations_reporter final : public host::reporter {
public:
    void on(const host::test_finished& e) override {
        if (!e.outcome)
            return;
        if (e.outcome->result == verdict::fail)
            say("error", e);
        else if (e.outcome->result == verdict::inconclusive)
            say("warning", e);
    }

private:
    static void say(std::string_view kind, const host::test_finished& e) {
        const bool at_check = !e.failed_checks.empty();
        const auto& file = at_check ? e.failed_checks.front().file : e.file;
        const int line = at_check ? e.failed_checks.front().line : e.line;
        (void)host::write_named(STDERR_FILENO,
                                "::" + std::string(kind) + " file=" + escaped(file, true) +
                                    ",line=" + std::to_string(line) + ",title=" +
                                    escaped(e.name, true) + "::" + escaped(e.message, false) + '\n',
                                "standard error");
    }
};

inline constexpr host::part_hooks annotations_hooks{
    .open_reports = [](host::fan_out& reports, const host::options&,
                       const host::environment& variables) -> result<void> {
        if (variables.get("GITHUB_ACTIONS") == "true")
            reports.add(std::make_unique<annotations_reporter>());
        return {};
    }};

inline constexpr part annotations{.name = "annotations", .host = &annotations_hooks};

KTSTR_ATTACH_PART(annotations);

}  // namespace ktstr::parts

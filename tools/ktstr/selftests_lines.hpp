// SPDX-License-Identifier: MIT
// What the runner of the kernel's sched_ext selftests says, line by line, and what that means for the one case that was
// asked for. Its exit code is not enough: older ones return 0 whatever failed. Both sides.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace ktstr::tool {

/// Where the command has what the body gets: a test's definition holds constants only.
inline constexpr std::string_view runner_descriptor = "/proc/self/fd/700";
inline constexpr std::string_view cases_descriptor = "/proc/self/fd/701";

struct selftest_outcome {
    enum class kind { passed, skipped, failed, untold };
    kind what = kind::untold;
    std::string why{};
};

class selftest_lines {
public:
    explicit selftest_lines(std::string name) : name_(std::move(name)) {}

    void add(std::string_view line) {
        if (verdict_) {
            another_ = another_ || line.starts_with("TEST: ");
            return;
        }
        if (line.starts_with("TEST: ")) {
            current_ = line.substr(6);
            inside_ = false;
            if (current_ != name_ && other_.empty())
                other_ = current_;
            return;
        }
        if (line == "OUTPUT:") {
            inside_ = true;
            return;
        }
        if (take_result(line) || !inside_)
            return;
        // "ERR: file.c:12" and its text are two lines, and the first of them is the cause.
        if (wants_text_) {
            error_ += ": " + std::string(line);
            wants_text_ = false;
        } else if (line.starts_with("ERR: ") && error_.empty()) {
            error_ = line.substr(5);
            wants_text_ = true;
        }
        if (line.find_first_not_of(" \t") != std::string_view::npos)
            last_ = line;
    }

    /// Whether the case's own result has come.
    [[nodiscard]] std::optional<selftest_outcome::kind> verdict() const { return verdict_; }

    /// Whether the runner went on with another one: how it ends says nothing of this one then.
    [[nodiscard]] bool another_began() const { return another_; }

    [[nodiscard]] selftest_outcome conclude() const {
        using enum selftest_outcome::kind;
        if (!verdict_)
            return {untold, "no result of " + name_ + " came" +
                                (current_.empty()    ? std::string(", and it did not begin")
                                 : current_ != name_ ? ", " + current_ + " ran in its place"
                                                     : after(": "))};
        if (!other_.empty())
            return {untold, other_ + " ran in one machine with " + name_ + ", before it"};
        if (*verdict_ == passed)
            return {passed, {}};
        if (*verdict_ == skipped) {
            std::string why = after("");
            for (const std::string_view word : {"SKIP: ", "Skipping: "})
                if (why.starts_with(word))
                    why.erase(0, word.size());
            return {skipped, why.empty() ? "it does not say why" : why};
        }
        return {failed,
                error_.empty() && last_.empty() ? "not ok, and it does not say why" : after("")};
    }

private:
    [[nodiscard]] std::string after(std::string_view before) const {
        const auto& text = error_.empty() ? last_ : error_;
        return text.empty() ? std::string() : std::string(before) + text;
    }

    /// "ok 1 hotplug # ", "ok 1 nohz_tick # SKIP ", "not ok 1 numa # ".
    bool take_result(std::string_view line) {
        const bool is_ok = line.starts_with("ok ");
        if (!is_ok && !line.starts_with("not ok "))
            return false;
        auto rest = line.substr(is_ok ? 3 : 7);
        const auto number = rest.find_first_not_of("0123456789");
        if (number == 0 || number == std::string_view::npos || rest[number] != ' ')
            return false;
        rest.remove_prefix(number + 1);
        const auto end = rest.find(" #");
        if (end == std::string_view::npos || rest.substr(0, end) != name_ || current_ != name_)
            return false;
        using enum selftest_outcome::kind;
        verdict_ = !is_ok                                             ? failed
                   : rest.find("SKIP", end) != std::string_view::npos ? skipped
                                                                      : passed;
        return true;
    }

    std::string name_, current_, other_, error_, last_;
    bool inside_ = false, wants_text_ = false, another_ = false;
    std::optional<selftest_outcome::kind> verdict_;
};

}  // namespace ktstr::tool

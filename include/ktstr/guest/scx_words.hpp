// SPDX-License-Identifier: MIT
// Reads what the kernel says of its BPF schedulers: trace events as text, lines of its log, uevents. Out
// comes what happened, in order: attached, leaving, ended with the kernel's record. Pure: no descriptor
// and no clock, so every kernel's words can be tried. Guest side.
#pragma once

#include <ktstr/sched/exit_record.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::guest {

/// The kernel has a BPF scheduler in charge from now on.
struct scx_attached {
    std::string name;
};
/// Its end is decided; the tasks are on their way back.
struct scx_leaving {};
/// It is gone, and all tasks are back with the kernel's own.
struct scx_ended {
    scx_exit_record record;
    std::optional<std::uint64_t> fell_back_ns{};  ///< from the decision to the last task's return
};

struct scx_news {
    enum class kind : std::uint8_t { attached, leaving, ended } what;
    std::string name{};  ///< of attached
    scx_ended end{};     ///< of ended
};

/// Which of the kernel's events can be had; an older kernel has fewer.
struct scx_sources {
    bool claim = false;   ///< event sched_ext:sched_ext_exit
    bool record = false;  ///< probe on scx_log_sched_disable()
    bool down = false;    ///< probe on the end of scx_disable_workfn()
};

namespace detail {

/// The number at the front of a text, which it is taken off from.
template <class Number>
[[nodiscard]] std::optional<Number> take_integer(std::string_view& text) {
    Number value{};
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (read.ec != std::errc())
        return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
    return value;
}

/// What stands behind `key`, as a number.
template <class Number>
[[nodiscard]] std::optional<Number> number_behind(std::string_view text, std::string_view key) {
    const auto at = text.find(key);
    if (at == std::string_view::npos)
        return std::nullopt;
    text.remove_prefix(at + key.size());
    return take_integer<Number>(text);
}

struct trace_line {
    std::uint64_t ns = 0;
    std::string_view event{};
    std::string_view text{};
};

/// "           comm-101     [000] ...1.     4.774614: sched_ext_exit: sched simple level 0 ...". Nothing:
/// the line goes on with the event before it.
[[nodiscard]] inline std::optional<trace_line> parse_trace_line(std::string_view line) {
    // The name of the task may hold anything; its column has a fixed width.
    constexpr std::size_t comm = 16;
    if (line.size() <= comm || line[comm] != '-')
        return std::nullopt;
    auto rest = line.substr(comm + 1);
    if (!take_integer<std::uint32_t>(rest))
        return std::nullopt;
    const auto cpu = rest.find_first_not_of(' ');
    if (cpu == std::string_view::npos || rest[cpu] != '[')
        return std::nullopt;
    const auto flags = rest.find("] ");
    if (flags == std::string_view::npos)
        return std::nullopt;
    rest.remove_prefix(flags + 2);
    const auto behind_flags = rest.find(' ');
    if (behind_flags == std::string_view::npos)
        return std::nullopt;
    rest.remove_prefix(behind_flags);
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const auto seconds = take_integer<std::uint64_t>(rest);
    if (!seconds || !rest.starts_with('.'))
        return std::nullopt;
    rest.remove_prefix(1);
    const auto micros = take_integer<std::uint64_t>(rest);
    if (!micros || !rest.starts_with(": "))
        return std::nullopt;
    rest.remove_prefix(2);
    const auto name_end = rest.find(": ");
    trace_line parsed;
    parsed.ns = *seconds * 1'000'000'000U + *micros * 1'000U;
    // An event without a text has nothing behind its colon.
    parsed.event = rest.substr(0, name_end);
    if (name_end == std::string_view::npos) {
        if (!parsed.event.ends_with(':'))
            return std::nullopt;
        parsed.event.remove_suffix(1);
    } else {
        parsed.text = rest.substr(name_end + 2);
    }
    return parsed;
}

/// The kernel's words for its kinds, for a kernel that says nothing but those.
[[nodiscard]] inline scx_exit_kind kind_of_reason(std::string_view reason) {
    constexpr std::array<std::pair<std::string_view, scx_exit_kind>, 9> words{{
        {"unregistered from user space", scx_exit_kind::unregistered},
        {"Scheduler unregistered from user space", scx_exit_kind::unregistered},
        {"unregistered from BPF", scx_exit_kind::unregistered_bpf},
        {"unregistered from the main kernel", scx_exit_kind::unregistered_kern},
        {"disabled by sysrq-S", scx_exit_kind::sysrq},
        {"runtime error", scx_exit_kind::error},
        {"scx_bpf_error", scx_exit_kind::error_bpf},
        {"runnable task stall", scx_exit_kind::error_stall},
        {"parent exiting", scx_exit_kind::other},
    }};
    for (const auto& [text, kind] : words)
        if (text == reason)
            return kind;
    return scx_exit_kind::other;
}

}  // namespace detail

class scx_words {
public:
    static constexpr std::size_t longest_dump = std::size_t{40} << 10;

    explicit scx_words(scx_sources sources = {}) : sources_(sources) {}

    /// What a read of the trace gave. `drained`: there is no more for now, so the last event is whole. Whatever the
    /// dump's own trace holds comes first.
    void trace(std::string_view bytes, bool drained) { read(events_, bytes, drained); }
    /// The same for the trace that holds dumps alone.
    void dump(std::string_view bytes, bool drained) { read(dumps_, bytes, drained); }

    /// A uevent: "add@/kernel/sched_ext/root\0ACTION=add\0...\0SCXOPS=simple\0". Called when the trace was
    /// read, as far as it goes: the kernel sends `remove` before the last event of an end, so an `add` that no
    /// `remove` follows is newer than every end that is known.
    void uevent(std::string_view message) {
        constexpr std::string_view root = "@/kernel/sched_ext/root";
        const auto head = message.substr(0, message.find('\0'));
        if (!head.ends_with(root))
            return;
        const auto action = head.substr(0, head.size() - root.size());
        if (action == "remove" && attached_ && coming_.empty()) {
            removed_ = true;
            return;
        }
        if (action == "remove")
            return coming_.push_back({});
        if (action != "add")
            return;
        std::string name;
        constexpr std::string_view key = "SCXOPS=";
        for (auto rest = message; !rest.empty();) {
            const auto field = rest.substr(0, rest.find('\0'));
            if (field.starts_with(key))
                name = field.substr(key.size());
            rest.remove_prefix(std::min(field.size() + 1, rest.size()));
        }
        coming_.push_back({std::move(name)});
    }

    /// A line of the kernel's log, without its stamp. Counts where the probe on the record is missing.
    void log(std::string_view line) {
        constexpr std::string_view begin = "sched_ext: ";
        if (sources_.record || !line.starts_with(begin))
            return;
        line.remove_prefix(begin.size());
        constexpr std::string_view which = "BPF scheduler \"";
        const auto disabled = line.find("\" disabled (");
        if (line.starts_with(which) && disabled != std::string_view::npos && line.ends_with(')')) {
            leave(std::nullopt);
            log_name_ = std::string(line.substr(which.size(), disabled - which.size())) + ": ";
            const auto from = disabled + std::string_view("\" disabled (").size();
            record_.reason = line.substr(from, line.size() - from - 1);
            record_.kind = detail::kind_of_reason(record_.reason);
            has_record_ = true;
        } else if (has_record_ && !log_name_.empty() && line.starts_with(log_name_)) {
            record_.message = line.substr(log_name_.size());
            log_name_.clear();
        }
    }

    /// What happened since the last call.
    [[nodiscard]] std::vector<scx_news> take() {
        take_uevents();
        begun_at_.reset();
        short_lived_.reset();
        return std::exchange(news_, {});
    }

    /// Whether an end is on its way and no event will say that it has come: the state has to be looked at.
    [[nodiscard]] bool must_look() const {
        return leaving_ && has_record_ && !sources_.down && (!attached_ || removed_);
    }
    /// The kernel's state is "disabled": there is nothing more to come.
    void looked_disabled() {
        if (must_look())
            finish();
    }

private:
    /// A trace that is read, and its event that may still go on.
    struct stream {
        std::string line{}, event{}, text{};
        std::uint64_t ns = 0;
    };

    void read(stream& from, std::string_view bytes, bool drained) {
        while (!bytes.empty()) {
            const auto end = std::min(bytes.find('\n'), bytes.size());
            from.line += bytes.substr(0, end);
            if (end == bytes.size())
                break;
            bytes.remove_prefix(end + 1);
            end_of_line(from);
        }
        if (drained) {
            if (!from.line.empty())
                end_of_line(from);
            take_event(from);
        }
    }

    void end_of_line(stream& from) {
        if (const auto parsed = detail::parse_trace_line(from.line)) {
            const auto ns = parsed->ns;
            std::string event(parsed->event), text(parsed->text);
            take_event(from);
            from.ns = ns;
            from.event = std::move(event);
            from.text = std::move(text);
        } else if (!from.event.empty()) {
            from.text += '\n';
            from.text += from.line;
        }
        from.line.clear();
    }

    /// Puts attaches where they belong among the ends that the trace has told.
    void take_uevents() {
        while (!coming_.empty()) {
            const bool add = coming_.front().has_value();
            const bool gone_again = add && coming_.size() > 1 && !coming_[1];
            if (!add) {
                removed_ = attached_;
            } else if (attached_) {
                if (leaving_ || removed_)
                    return;  // the next one; the end of this one is not told yet
                tell_attached(news_.size());
            } else if (leaving_) {
                // It came and is leaving before anybody looked. Whoever knows that already needs no more.
                if (const auto at = std::exchange(begun_at_, std::nullopt))
                    tell_attached(*at);
                attached_ = true;
            } else if (gone_again && short_lived_) {
                // Its whole life is told, but for its beginning.
                if (*short_lived_ < news_.size())
                    news_.insert(news_.begin() + static_cast<std::ptrdiff_t>(*short_lived_),
                                 {.what = scx_news::kind::attached, .name = *coming_.front()});
                short_lived_.reset();
                coming_.pop_front();  // and its `remove`
            } else {
                tell_attached(news_.size());
            }
            coming_.pop_front();
        }
    }
    void tell_attached(std::size_t at) {
        attached_ = true;
        removed_ = false;
        news_.insert(news_.begin() + static_cast<std::ptrdiff_t>(at),
                     {.what = scx_news::kind::attached, .name = *coming_.front()});
    }

    void take_event(stream& from) {
        if (from.event.empty())
            return;
        const auto name = std::exchange(from.event, {});
        const auto text = std::exchange(from.text, {});
        if (name == "sched_ext_exit") {
            // A sub-scheduler's end is its parent's business.
            if (const auto level = detail::number_behind<std::int32_t>(text, " level ");
                level && *level != 0)
                return;
            const auto kind = detail::number_behind<std::uint32_t>(text, " kind ");
            if (!kind)
                return;
            leave(from.ns);
            record_.kind = scx_kind_of(*kind);
            number_ = kind;
        } else if (name == "sched_ext_dump") {
            if (dump_.size() < longest_dump)
                dump_ += text + '\n';
            else
                dump_cut_ = true;
        } else if (name == "scx_end") {
            take_record(text);
        } else if (name == "scx_down" && leaving_ && has_record_) {
            down_ns_ = from.ns;
            down_ = true;
            settle();
        }
    }

    /// ` (scx_log_sched_disable+0x4/0x9b) level=0 kind=64 code=0 reason="..." msg="..."`; an older kernel
    /// has no levels.
    void take_record(std::string_view text) {
        // A sub-scheduler's end is its parent's business.
        if (const auto level =
                detail::number_behind<std::int32_t>(text.substr(0, text.find(" kind=")), " level=");
            level && *level != 0)
            return;
        const auto number = detail::number_behind<std::uint32_t>(text, " kind=");
        const auto code = detail::number_behind<std::int64_t>(text, " code=");
        constexpr std::string_view reason_key = " reason=\"", message_key = "\" msg=\"";
        const auto reason = text.find(reason_key);
        const auto message = text.find(message_key, reason == text.npos ? 0 : reason);
        const auto end = text.rfind('"');
        if (!number || reason == text.npos || message == text.npos ||
            end < message + message_key.size())
            return;
        if (leaving_ && number_ && *number_ != *number)
            return;
        leave(std::nullopt);
        record_.kind = scx_kind_of(*number);
        record_.code = code.value_or(0);
        const auto from = reason + reason_key.size();
        record_.reason = text.substr(from, message - from);
        record_.message =
            text.substr(message + message_key.size(), end - message - message_key.size());
        has_record_ = true;
        settle();
    }

    void leave(std::optional<std::uint64_t> ns) {
        if (std::exchange(leaving_, true))
            return;
        claim_ns_ = ns;
        begun_at_ = news_.size();
        news_.push_back({.what = scx_news::kind::leaving});
    }

    void settle() {
        if (leaving_ && has_record_ && down_)
            finish();
    }

    void finish() {
        scx_news end{.what = scx_news::kind::ended};
        // Only an error has a dump of its own; others may have been asked for with SysRq-D.
        if (record_.kind >= scx_exit_kind::error) {
            record_.dump = std::move(dump_);
            if (dump_cut_)
                record_.dump += "(cut here)\n";
        }
        end.end.record = std::move(record_);
        if (claim_ns_ && down_ns_ && *down_ns_ >= *claim_ns_)
            end.end.fell_back_ns = *down_ns_ - *claim_ns_;
        news_.push_back(std::move(end));
        scx_words next(sources_);
        next.news_ = std::move(news_);
        next.coming_ = std::move(coming_);
        // What is read of its trace beyond this event is the next one's.
        next.events_ = std::move(events_);
        if (!attached_)
            next.short_lived_ = begun_at_ ? begun_at_ : next.news_.size();
        *this = std::move(next);
    }

    scx_sources sources_;
    std::vector<scx_news> news_;
    std::deque<std::optional<std::string>> coming_;  ///< uevents: the name of an add, or a remove
    // Of this round, in news_: where the end under way was told, and a whole end without an attach.
    std::optional<std::size_t> begun_at_, short_lived_;
    stream events_, dumps_;
    // The end that is under way.
    scx_exit_record record_;
    std::string dump_, log_name_;
    std::optional<std::uint64_t> claim_ns_, down_ns_;
    std::optional<std::uint32_t> number_;
    bool attached_ = false, leaving_ = false, has_record_ = false, removed_ = false, down_ = false,
         dump_cut_ = false;
};

// ---- a scheduler's own words -----------------------------------------------------------------

namespace detail {

[[nodiscard]] inline bool contains_word_of_failure(std::string_view line) {
    std::string lower(line);
    for (char& c : lower)
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    for (const std::string_view word :
         {"error", "fail", "invalid", "unrecognized", "unknown", "cannot", "can't", "unable",
          "no such", "not found", "not supported", "denied", "ktstr: "})
        if (lower.find(word) != std::string::npos)
            return true;
    return false;
}

/// What the verifier stumbled over, out of libbpf's output: "prog 'x': -- BEGIN PROG LOAD LOG --", the
/// verifier's steps between lines of the source ("; TEXT @ FILE:LINE"), what it refused, and the end of the
/// log. Newer verifiers explain it behind "Verification failed:". Empty: it is no verifier's log.
[[nodiscard]] inline std::string verifiers_words(const std::vector<std::string_view>& lines) {
    const auto trimmed = [](std::string_view line) {
        line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
        return line;
    };
    std::string_view program, source, refused, reason, at;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto line = lines[i];
        if (line.find("-- BEGIN PROG LOAD LOG --") != line.npos) {
            const auto name = line.find("prog '");
            if (name == line.npos || !program.empty())
                continue;
            program = line.substr(name + 6);
            program = program.substr(0, program.find('\''));
            continue;
        }
        if (program.empty() || i == 0)
            continue;
        if (line.find("-- END PROG LOAD LOG --") != line.npos)
            break;
        const auto place = line.rfind(" @ ");
        if (line.starts_with("; ") && place != line.npos)
            source = line.substr(place + 3);
        else if (line.starts_with("Verification failed") || line.starts_with("processed "))
            refused = refused.empty() ? lines[i - 1] : refused;
        else if (lines[i - 1] == "Reason:" && reason.empty())
            reason = trimmed(line);
        else if (lines[i - 1] == "At:" && at.empty() && place != line.npos)
            at = line.substr(place + 3);
    }
    if (program.empty() || refused.empty())
        return {};
    std::string said = "the verifier refuses " + std::string(program) + ": " + std::string(refused);
    if (const auto where = at.empty() ? source : at; !where.empty())
        said += " at " + std::string(where);
    if (!reason.empty())
        said += ": " + std::string(reason);
    return said;
}

}  // namespace detail

/// The line of a scheduler's output that says best why it did not come up: what the verifier stumbled
/// over, else the first that speaks of a failure, else the last. Empty: it said nothing.
[[nodiscard]] inline std::string last_words(std::string_view output) {
    std::vector<std::string_view> lines;
    while (!output.empty()) {
        const auto end = std::min(output.find('\n'), output.size());
        auto line = output.substr(0, end);
        while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
            line.remove_suffix(1);
        if (!line.empty())
            lines.push_back(line);
        output.remove_prefix(std::min(end + 1, output.size()));
    }
    if (auto refused = detail::verifiers_words(lines); !refused.empty())
        return refused;
    for (const auto line : lines)
        if (detail::contains_word_of_failure(line))
            return std::string(line);
    return lines.empty() ? std::string() : std::string(lines.back());
}

}  // namespace ktstr::guest

// SPDX-License-Identifier: MIT
// Events as lines, for the run around this one: a nested run happens inside an emulated machine, and
// its events are told outside as if they had happened there. Both ends are the same program, so the
// form is private and may change freely; it is not the public --json. The end outside believes
// nothing: a line has the fields, types and sizes that the end inside writes, or is refused.
// Host side, on both ends.
#pragma once

#include <ktstr/host/json/read.hpp>
#include <ktstr/host/json/value.hpp>
#include <ktstr/host/report/base64.hpp>
#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/event_json.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/text/utf8.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ktstr::host {

/// The longest line: a finished test with all of its texts. Whoever reads lines reads no longer ones.
inline constexpr std::size_t relay_line_limit = std::size_t{16} << 20;
/// Bytes of output or of a file in one line; more are more lines.
inline constexpr std::size_t relay_piece = std::size_t{48} << 10;

namespace detail {

/// Takes an event's fields out of a line, each of its type and within its bounds. The first that is
/// not so is the fault, and what was taken then means nothing.
class relay_fields {
public:
    explicit relay_fields(const json::value& line) : line_(line) {}

    template <class T>
    void operator()(const field& spec, T& value) {
        if (!spec.has(in_relay))
            return;
        const auto* const given = line_.find(spec.name);
        if (given == nullptr)
            refuse(spec.name, "is missing");
        else if (const char* const fault = taken(spec, *given, value); fault != nullptr)
            refuse(spec.name, fault);
    }

    void refuse(const char* key, const char* why) {
        if (fault_.empty())
            fault_ = std::string(key) + ' ' + why;
    }
    [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

private:
    // Each takes the value, or says what it is not.

    static const char* taken(const field& spec, const json::value& given, std::string& text) {
        if (given.is != json::kind::string)
            return "is no text";
        if (spec.has(as_bytes)) {
            auto decoded = from_base64(given.text);
            if (!decoded || decoded->size() > relay_piece)
                return "holds no bytes";
            text = *std::move(decoded);
            return nullptr;
        }
        // The other end cuts at text_limit and adds a mark of three bytes.
        if (given.text.size() > text_limit + 3)
            return "is too long a text";
        text = given.text;
        return nullptr;
    }
    template <std::integral T>
    static const char* taken(const field& spec, const json::value& given, T& number) {
        if (!take(given, number) || number < T{} || (spec.has(positive) && number == T{}))
            return "is no number, or one that can't be";
        return nullptr;
    }
    static const char* taken(const field&, const json::value& given, bool& truth) {
        return take(given, truth) ? nullptr : "is neither true nor false";
    }
    static const char* taken(const field&, const json::value& given, double& number) {
        return take(given, number) ? nullptr : "is no number";
    }
    static const char* taken(const field&, const json::value& given,
                             std::optional<double>& measured) {
        if (!take(given, measured) || (measured && !(*measured >= 0 && *measured < 1e12)))
            return "is no measured value";
        return nullptr;
    }
    template <class T>
    static const char* taken(const field& spec, const json::value& given, std::optional<T>& known) {
        if (given.is == json::kind::null)
            return nullptr;
        return taken(spec, given, known.emplace());
    }
    template <class T>
    requires std::is_enum_v<T>
    static const char* taken(const field&, const json::value& given, T& one) {
        // Names stand in order, and what no name has is "?".
        for (int i = 0; to_text(static_cast<T>(i)) != "?"; ++i)
            if (given.is == json::kind::string && given.text == to_text(static_cast<T>(i))) {
                one = static_cast<T>(i);
                return nullptr;
            }
        return "is none of the words it may be";
    }
    template <class T>
    static const char* taken(const field& spec, const json::value& given, std::vector<T>& list) {
        if (given.is != json::kind::array || given.items.size() > relay_list_limit)
            return "is no list, or too long a one";
        for (const auto& item : given.items) {
            T& one = list.emplace_back();
            if constexpr (requires { T::event; }) {
                relay_fields its(item);
                T::fields(one, its);
                if (!its.fault().empty())
                    return "holds something else than it should";
            } else if (const char* const fault = taken(spec, item, one); fault != nullptr) {
                return fault;
            }
        }
        return nullptr;
    }

    const json::value& line_;
    std::string fault_;
};

}  // namespace detail

/// The end inside: one line an event. What the end outside knows by itself (where a test stands in
/// the sources, how it came out of all its attempts) is not sent.
class relay_reporter final : public reporter {
public:
    using reporter::on;

    explicit relay_reporter(std::unique_ptr<sink> out) : out_(std::move(out)) {}

    void on(const test_started& e) override { write(e); }
    void on(const test_waiting& e) override { write(e); }
    void on(const stage_changed& e) override { write(e); }
    void on(const test_output& e) override { write_pieces(e, &test_output::bytes); }
    void on(const check_failed& e) override { write(e); }
    void on(const metric_measured& e) override { write(e); }
    void on(const attempt_file& e) override { write_pieces(e, &attempt_file::content); }
    void on(const test_finished& e) override { write(e); }
    void on(const run_finished& e) override { write(e); }

    [[nodiscard]] std::optional<error> problem() const override { return out_->problem(); }

private:
    template <class Event>
    void write(const Event& e) {
        out_->write(event_line(e, in_relay));
    }
    template <class Event>
    void write_pieces(const Event& e, std::string Event::*bytes) {
        Event piece = e;
        for (std::size_t at = 0; at < (e.*bytes).size(); at += relay_piece) {
            piece.*bytes = (e.*bytes).substr(at, relay_piece);
            write(piece);
        }
    }

    std::unique_ptr<sink> out_;
};

/// The end outside: lines in, events out.
class relay_reader {
public:
    enum class line {
        event,
        other,   ///< not an event at all: something else wrote to the same stream
        refused  ///< said to be an event, and is none that the end inside writes; see fault()
    };

    /// Takes one line and calls `on` with the event it holds.
    template <class On>
    [[nodiscard]] line read(std::string_view text, const On& on) {
        const auto parsed = json::read(text, {.bytes = relay_line_limit});
        if (!parsed || !parsed->contains("event"))
            return line::other;
        fault_.clear();
        const auto kind = (*parsed)["event"].text_or("?");
        if (!one_of<test_started, test_waiting, stage_changed, test_output, check_failed,
                    metric_measured, attempt_file, test_finished, run_finished>(kind, *parsed, on))
            fault_ = "there is no such event";
        if (fault_.empty())
            return line::event;
        fault_.insert(0, "an event '" + kind.substr(0, 40) + "': ");
        return line::refused;
    }

    /// Why the last line was refused. May hold bytes of a guest.
    [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

private:
    template <class... Events, class On>
    bool one_of(const std::string& kind, const json::value& from, const On& on) {
        return ((Events::event == kind && (take<Events>(from, on), true)) || ...);
    }
    template <class Event, class On>
    void take(const json::value& from, const On& on) {
        Event e;
        detail::relay_fields fields(from);
        Event::fields(e, fields);
        if constexpr (requires { e.at; })
            e.at = event_clock::now();
        if constexpr (std::is_same_v<Event, test_finished>) {
            if (verdict_of(e.why) != e.result)
                fields.refuse("verdict", "and reason do not belong together");
            if (e.boot && *e.boot != "clone" && *e.boot != "cold")
                fields.refuse("boot", "is neither clone nor cold");
            if (e.attach && *e.attach != "template" && *e.attach != "test")
                fields.refuse("attach", "is neither template nor test");
        }
        if constexpr (std::is_same_v<Event, metric_measured>)
            if (metric_fault({e.name, e.value, e.unit, e.better}) != nullptr)
                fields.refuse("metric", "is none");
        fault_ = fields.fault();
        if (fault_.empty())
            on(std::move(e));
    }

    std::string fault_;
};

}  // namespace ktstr::host

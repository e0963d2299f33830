// SPDX-License-Identifier: MIT
// Events as lines, for the run around this one: a nested run happens inside an emulated machine, and
// its events are told outside as if they had happened there. Both ends are the same program, so the
// form is private and may change freely; it is not the public --json. The end outside believes
// nothing: a line has exactly the fields, types and sizes that the end inside writes, or is refused.
// Host side, on both ends.
#pragma once

#include <ktstr/host/json/read.hpp>
#include <ktstr/host/json/value.hpp>
#include <ktstr/host/json/write.hpp>
#include <ktstr/host/report/base64.hpp>
#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/text/utf8.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

/// The longest line: a finished test with all of its texts. Whoever reads lines reads no longer ones.
inline constexpr std::size_t relay_line_limit = std::size_t{16} << 20;
/// Bytes of output or of a file in one line; more are more lines.
inline constexpr std::size_t relay_piece = std::size_t{48} << 10;
/// Entries in one list of an event.
inline constexpr std::size_t relay_list_limit = 256;

namespace detail {

inline void relay_texts(json::writer& to, std::string_view name,
                        const std::vector<std::string>& texts) {
    to.name(name);
    to.begin_array();
    for (std::size_t i = 0; i < std::min(texts.size(), relay_list_limit); ++i)
        to.add(texts[i]);
    to.end_array();
}

/// Takes an event's fields out of a line, each of its type and within its bounds. The first that is
/// not so is the fault, and what was taken then means nothing.
class relay_fields {
public:
    explicit relay_fields(const json::value& line) : line_(line) {}

    [[nodiscard]] std::string text(const char* key) {
        const auto* value = line_.find(key);
        if (value == nullptr || !fits(*value))
            return refuse(key, "is no text");
        return value->text;
    }
    [[nodiscard]] std::string bytes(const char* key) {
        const auto* value = line_.find(key);
        auto decoded = value != nullptr && value->is == json::kind::string
                           ? from_base64(value->text)
                           : std::nullopt;
        if (!decoded || decoded->size() > relay_piece)
            return refuse(key, "holds no bytes");
        return *std::move(decoded);
    }
    template <std::integral T>
    [[nodiscard]] T number(const char* key, T least = 0, T most = std::numeric_limits<T>::max()) {
        T number{};
        if (take(line_[key], number) && number >= least && number <= most)
            return number;
        (void)refuse(key, "is no number, or one that can't be");
        return least;
    }
    [[nodiscard]] double measure(const char* key) {
        double n = -1;
        if (take(line_[key], n) && n >= 0 && n < 1e12)
            return n;
        (void)refuse(key, "is no measured value");
        return 0;
    }
    [[nodiscard]] bool truth(const char* key) {
        bool truth = false;
        if (!take(line_[key], truth))
            (void)refuse(key, "is neither true nor false");
        return truth;
    }
    /// What `take` makes of a field that may be unknown, which is null.
    template <class Take>
    [[nodiscard]] auto known(const char* key, const Take& take)
        -> std::optional<decltype(take(key))> {
        if (const auto* value = line_.find(key); value != nullptr && value->is == json::kind::null)
            return std::nullopt;
        return take(key);
    }
    [[nodiscard]] std::vector<std::string> texts(const char* key) {
        std::vector<std::string> list;
        for (const auto& entry : array(key)) {
            if (!fits(entry)) {
                (void)refuse(key, "holds something else than texts");
                return {};
            }
            list.push_back(entry.text);
        }
        return list;
    }
    [[nodiscard]] const std::vector<json::value>& array(const char* key) {
        static const std::vector<json::value> none;
        const auto& value = line_[key];
        if (value.is == json::kind::array && value.items.size() <= relay_list_limit)
            return value.items;
        (void)refuse(key, "is no list, or too long a one");
        return none;
    }

    std::string refuse(const char* key, const char* why) {
        if (fault_.empty())
            fault_ = std::string(key) + ' ' + why;
        return {};
    }
    [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

private:
    // The other end cuts at text_limit and adds a mark of three bytes.
    [[nodiscard]] static bool fits(const json::value& value) {
        return value.is == json::kind::string && value.text.size() <= text_limit + 3;
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

    void on(const test_started& e) override {
        auto to = line("started", e.name);
        to.field("attempt", e.attempt);
        write(to);
    }
    void on(const test_waiting& e) override {
        auto to = line("waiting", e.test);
        to.field("why", e.why);
        write(to);
    }
    void on(const stage_changed& e) override {
        auto to = line("stage", e.test);
        to.field("stage", e.stage);
        write(to);
    }
    void on(const test_output& e) override {
        in_pieces(e.bytes, [&](const std::string& piece) {
            auto to = line("output", e.test);
            to.field("err", e.stream == output_stream::err);
            bytes(to, piece);
            write(to);
        });
    }
    void on(const check_failed& e) override {
        auto to = line("check", e.test);
        check(to, e);
        write(to);
    }
    void on(const test_finished& e) override {
        auto to = line("finished", e.name);
        to.field("verdict", to_text(e.result));
        to.field("reason", to_text(e.why));
        to.field("message", e.message);
        to.field("attempt", e.attempt);
        to.field("dilation", e.dilation);
        to.field("kernel", e.kernel);
        to.field("boot", e.boot);
        to.field("start_s", e.start_s);
        to.field("body_s", e.body_s);
        to.field("total_s", e.total_s);
        to.field("checks", e.checks);
        to.field("steal_guest_ticks", e.steal_guest_ticks);
        to.field("steal_host_ns", e.steal_host_ns);
        to.field("mask", e.mask);
        to.name("failed_checks");
        to.begin_array();
        for (std::size_t i = 0; i < std::min(e.failed_checks.size(), relay_list_limit); ++i) {
            to.begin_object();
            to.field("test", e.failed_checks[i].test);
            check(to, e.failed_checks[i]);
            to.end_object();
        }
        to.end_array();
        to.field("failed_check_count", e.failed_check_count);
        detail::relay_texts(to, "evidence", e.evidence);
        detail::relay_texts(to, "notes", e.notes);
        detail::relay_texts(to, "output_tail", e.output_tail);
        to.field("output_lines", e.output_lines);
        detail::relay_texts(to, "console_tail", e.console_tail);
        write(to);
    }
    void on(const run_finished& e) override {
        json::writer to;
        to.begin_object();
        to.field("event", "end");
        to.field("aborted", e.aborted);
        write(to);
    }
    void on(const attempt_file& e) override {
        in_pieces(e.content, [&](const std::string& piece) {
            auto to = line("file", e.test);
            to.field("attempt", e.attempt);
            to.field("name", to_text(e.file));
            bytes(to, piece);
            write(to);
        });
    }

    [[nodiscard]] std::optional<error> problem() const override { return out_->problem(); }

private:
    static json::writer line(std::string_view event, std::string_view test) {
        json::writer to;
        to.begin_object();
        to.field("event", event);
        to.field("test", test);
        return to;
    }
    static void check(json::writer& to, const check_failed& e) {
        to.field("attempt", e.attempt);
        to.field("file", e.file);
        to.field("line", e.line);
        to.field("kind", e.kind);
        to.field("expression", e.expression);
        to.field("expansion", e.expansion);
        to.field("message", e.message);
        detail::relay_texts(to, "info", e.info);
    }
    static void bytes(json::writer& to, const std::string& piece) {
        to.name("bytes");
        to.add(piece, piece.size());
    }
    template <class Write>
    static void in_pieces(std::string_view bytes, const Write& write) {
        for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), relay_piece)))
            write(base64(bytes.substr(0, relay_piece)));
    }
    void write(json::writer& to) {
        to.end_object();
        to.raw("\n");
        out_->write(to.take());
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
        detail::relay_fields fields(*parsed);
        const auto kind = fields.text("event");
        const auto told = [&](auto event) {
            if (!fields.fault().empty())
                return refuse(kind, fields.fault());
            on(std::move(event));
            return line::event;
        };
        if (kind == "started") {
            test_started e;
            e.name = fields.text("test");
            e.attempt = fields.number<int>("attempt", 1);
            e.at = event_clock::now();
            return told(std::move(e));
        }
        if (kind == "waiting")
            return told(test_waiting{fields.text("test"), fields.text("why")});
        if (kind == "stage")
            return told(
                stage_changed{fields.text("test"), fields.text("stage"), event_clock::now()});
        if (kind == "output") {
            const auto stream = fields.truth("err") ? output_stream::err : output_stream::out;
            return told(test_output{fields.text("test"), stream, fields.bytes("bytes")});
        }
        if (kind == "check")
            return told(check(fields));
        if (kind == "finished")
            return told(finished(fields));
        if (kind == "file") {
            attempt_file e{
                fields.text("test"), fields.number<int>("attempt", 1), {}, fields.bytes("bytes")};
            if (const auto file = parse_artifact(fields.text("name")))
                e.file = *file;
            else
                (void)fields.refuse("name", "is none of an attempt's files");
            return told(std::move(e));
        }
        if (kind == "end") {
            run_finished e;
            e.aborted = fields.known("aborted", [&](const char* key) { return fields.text(key); });
            return told(std::move(e));
        }
        return refuse(kind, "there is no such event");
    }

    /// Why the last line was refused. May hold bytes of a guest.
    [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

private:
    line refuse(const std::string& kind, const std::string& why) {
        fault_ = "an event '" + kind.substr(0, 40) + "': " + why;
        return line::refused;
    }
    static check_failed check(detail::relay_fields& fields) {
        return {fields.text("test"),      fields.number<int>("attempt", 1),
                fields.text("file"),      fields.number<int>("line"),
                fields.text("kind"),      fields.text("expression"),
                fields.text("expansion"), fields.text("message"),
                fields.texts("info")};
    }
    static test_finished finished(detail::relay_fields& fields) {
        const auto measure = [&](const char* key) { return fields.measure(key); };
        const auto count = [&](const char* key) { return fields.number<std::uint64_t>(key); };
        const auto text = [&](const char* key) { return fields.text(key); };
        test_finished e;
        e.name = fields.text("test");
        const auto result = parse_verdict(fields.text("verdict"));
        const auto why = parse_reason(fields.text("reason"));
        if (!result || !why || verdict_of(*why) != *result) {
            (void)fields.refuse("verdict", "and reason are none, or do not belong together");
        } else {
            e.result = *result;
            e.why = *why;
        }
        e.message = fields.text("message");
        e.attempt = fields.number<int>("attempt", 1);
        e.dilation = fields.known("dilation", measure);
        e.kernel = fields.known("kernel", text);
        e.boot = fields.known("boot", text);
        if (e.boot && *e.boot != "clone" && *e.boot != "cold")
            (void)fields.refuse("boot", "is neither clone nor cold");
        e.start_s = fields.known("start_s", measure);
        e.body_s = fields.known("body_s", measure);
        e.total_s = fields.known("total_s", measure);
        e.checks = fields.known("checks", count);
        e.steal_guest_ticks = fields.known("steal_guest_ticks", count);
        e.steal_host_ns = fields.known("steal_host_ns", count);
        e.mask = fields.known("mask", text);
        for (const auto& one : fields.array("failed_checks")) {
            detail::relay_fields its(one);
            e.failed_checks.push_back(check(its));
            if (!its.fault().empty())
                (void)fields.refuse("failed_checks", "holds something else than checks");
        }
        e.failed_check_count = count("failed_check_count");
        e.evidence = fields.texts("evidence");
        e.notes = fields.texts("notes");
        e.output_tail = fields.texts("output_tail");
        e.output_lines = count("output_lines");
        e.console_tail = fields.texts("console_tail");
        return e;
    }

    std::string fault_;
};

}  // namespace ktstr::host

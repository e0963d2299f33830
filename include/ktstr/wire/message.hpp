// SPDX-License-Identifier: MIT
// What crosses the link, as plain structs, and their bytes. Each struct lists its fields once, in
// wire order; encode() and decode() both walk that list, so they can't disagree. Integers are
// little-endian of their own width, booleans and enums one byte, text and lists are a u32 count and
// the items, an optional is a presence byte and the value. A message must use its payload to the
// last byte.
#pragma once

#include <ktstr/check/metric.hpp>
#include <ktstr/check/verdict.hpp>
#include <ktstr/wire/frame.hpp>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ktstr::wire {

/// Where a guest is. The host's clock runs on every one of them.
enum class guest_stage : std::uint8_t {
    started,
    proving_topology,
    starting_scheduler,
    body,
    collecting,
    done
};

// ---- guest to host ---------------------------------------------------------------------------

struct hello {
    static constexpr auto type = message_type::hello;
    std::uint32_t version = protocol_version;
    std::string ktstr_version{};
    std::string kernel_release{};
    std::uint64_t boot_ns = 0;         ///< CLOCK_BOOTTIME when the agent started
    std::uint64_t calibration_ns = 0;  ///< best time of the calibration loop, see calibration.hpp
    auto fields(auto& f) {
        return f(version, ktstr_version, kernel_release, boot_ns, calibration_ns);
    }
};

/// What the guest found in its own sysfs, compared with the topology the test asked for.
struct topology_proof {
    static constexpr auto type = message_type::topology_proof;
    bool matches = false;
    std::string observed{};    ///< in the notation 1n2l4c1t where the machine is regular
    std::string difference{};  ///< first difference found, empty when it matches
    auto fields(auto& f) { return f(matches, observed, difference); }
};

struct stage {
    static constexpr auto type = message_type::stage;
    guest_stage at{};
    std::uint64_t guest_ns = 0;  ///< CLOCK_BOOTTIME
    auto fields(auto& f) { return f(at, guest_ns); }
};

enum class stream : std::uint8_t { out = 1, err = 2 };

struct output {
    static constexpr auto type = message_type::output;
    wire::stream stream{};
    std::string bytes{};
    auto fields(auto& f) { return f(stream, bytes); }
};

/// One failed check. Passed checks are only counted.
struct check {
    static constexpr auto type = message_type::check;
    std::string kind{};  ///< CHECK, REQUIRE or FAIL
    std::string file{};
    std::uint32_t line = 0;
    std::string expression{};
    std::string expansion{};
    std::string message{};            ///< the check's own text
    std::vector<std::string> info{};  ///< the lines of KTSTR_INFO around it
    auto fields(auto& f) { return f(kind, file, line, expression, expansion, message, info); }
};

/// A number that the body measured, or a scenario of its workers.
struct metric {
    static constexpr auto type = message_type::metric;
    std::string name{};
    double value = 0;
    std::string unit{};
    ktstr::better better{};
    bool of_workers = false;
    auto fields(auto& f) { return f(name, value, unit, better, of_workers); }
    [[nodiscard]] const char* fault() const { return metric_fault({name, value, unit, better}); }
};

/// What one worker of a scenario did.
struct worker {
    static constexpr auto type = message_type::worker;
    std::uint32_t step = 0;
    std::string cgroup{};
    std::uint32_t index = 0;
    std::uint32_t pid = 0;
    std::uint64_t iterations = 0;
    std::uint64_t wall_ns = 0;
    std::uint64_t cpu_ns = 0;
    bool completed = false;
    std::string exit_text{};
    std::string fault{};  ///< why it fails its test; empty: it does not
    auto fields(auto& f) {
        return f(step, cgroup, index, pid, iterations, wall_ns, cpu_ns, completed, exit_text,
                 fault);
    }
};

/// How the body ended, as the guest saw it. The host may know worse (a panic, a lockup).
struct outcome {
    static constexpr auto type = message_type::outcome;
    ktstr::verdict verdict{};
    ktstr::reason reason{};
    std::string message{};
    std::uint64_t checks = 0;
    std::uint64_t failed_checks = 0;
    std::uint64_t body_ns = 0;
    std::optional<std::uint64_t>
        steal_ticks{};  ///< USER_HZ over the body; absent where the kernel has no steal clock
    std::uint64_t output_dropped = 0;  ///< bytes of output beyond max_output_per_test
    std::string metrics_lost{};        ///< which of its metrics were not sent, and why; empty: none
    auto fields(auto& f) {
        return f(verdict, reason, message, checks, failed_checks, body_ns, steal_ticks,
                 output_dropped, metrics_lost);
    }
};

/// What became of the test's scheduler, by the kernel's word. Comes before the outcome.
struct scheduler_facts {
    static constexpr auto type = message_type::scheduler_facts;
    std::string ops{};                         ///< its name for itself; empty: never attached
    std::optional<std::uint64_t> attach_ns{};  ///< from the start of its process to its attach
    std::optional<bool> partial{};             ///< only the tasks that ask for it were its own
    bool ended = false;                        ///< the rest but the counters is about its end
    std::string kind{};                        ///< see scx_exit_kind
    std::string reason{}, message{}, dump{};
    std::int64_t code = 0;
    std::optional<std::uint64_t> fell_back_ns{};  ///< until all tasks were the kernel's own again
    std::string state_after{};                    ///< what the kernel's state was then
    /// What the kernel counted since the attach, "SCX_EV_BYPASS_ACTIVATE 1"; what stood still is left out.
    std::vector<std::string> counters{};
    std::uint64_t output_dropped = 0;  ///< bytes of its output beyond max_scheduler_output
    auto fields(auto& f) {
        return f(ops, attach_ns, partial, ended, kind, reason, message, dump, code, fell_back_ns,
                 state_after, counters, output_dropped);
    }
};

/// A sentence from the guest's harness itself.
struct log {
    static constexpr auto type = message_type::log;
    std::string text{};
    auto fields(auto& f) { return f(text); }
};

struct pong {
    static constexpr auto type = message_type::pong;
    std::uint64_t token = 0;
    auto fields(auto& f) { return f(token); }
};

/// The command of run_command ended; a wait status as waitpid gives it.
struct exited {
    static constexpr auto type = message_type::exited;
    std::int32_t wait_status = 0;
    auto fields(auto& f) { return f(wait_status); }
};

/// The first word of a template. It is measured by nobody: its clones say hello, each for itself.
struct template_booted {
    static constexpr auto type = message_type::template_booted;
    std::uint32_t version = protocol_version;
    std::string ktstr_version{};
    std::string kernel_release{};
    auto fields(auto& f) { return f(version, ktstr_version, kernel_release); }
};

/// A template has come to rest and may be saved.
struct settled {
    static constexpr auto type = message_type::settled;
    std::string busy{};   ///< who still wanted a CPU when its time was over; empty: nobody
    std::string fault{};  ///< why it is no template; empty: it is one
    auto fields(auto& f) { return f(busy, fault); }
};

// ---- host to guest ---------------------------------------------------------------------------

struct welcome {
    static constexpr auto type = message_type::welcome;
    std::uint32_t version = protocol_version;
    /// CLOCK_REALTIME of the host; 0: the guest is a clone and has it already.
    std::uint64_t wall_clock_ns = 0;
    auto fields(auto& f) { return f(version, wall_clock_ns); }
};

/// The first word to a clone, read by the agent of its template: makes the machine one of its own.
struct resume {
    static constexpr auto type = message_type::resume;
    std::uint64_t wall_clock_ns = 0;  ///< CLOCK_REALTIME of the host
    std::string entropy{};            ///< fresh random bytes, for this clone alone
    bool mount_files = false;         ///< the test needs files of the clone's second disk
    /// Bytes of the program on the clone's first disk, in which bodies run; 0: they run in the one that
    /// booted the template.
    std::uint64_t program_size = 0;
    /// It is to be a template itself: it says that it is up, takes an order of which it only starts the
    /// scheduler, comes to rest and waits again.
    bool becomes_template = false;
    auto fields(auto& f) {
        return f(wall_clock_ns, entropy, mount_files, program_size, becomes_template);
    }
};

/// A scheduler that a body may attach instead of the test's.
struct staged_scheduler {
    std::string name{};  ///< what its definition calls it
    std::string path{};  ///< in the guest
    std::vector<std::string> args{};
    auto fields(auto& f) { return f(name, path, args); }
};

struct run_test {
    static constexpr auto type = message_type::run_test;
    std::string name{};
    std::string topology{};                  ///< what the guest must find, 1n2l4c1t
    std::vector<std::uint32_t> distances{};  ///< nodes x nodes, row by row; empty: not checked
    std::uint64_t seed = 0;
    std::uint64_t duration_ms = 0;
    std::uint64_t timeout_ms = 0;  ///< already scaled by dilation
    double dilation = 1.0;
    bool prove_topology = true;
    std::string scheduler{};  ///< path in the guest, empty: the kernel's own
    std::vector<std::string> scheduler_args{};
    std::string scheduler_name{};  ///< what its definition calls it
    std::vector<staged_scheduler> staged{};
    /// Of a scheduler that the kernel has built in: "PATH=TEXT" each.
    std::vector<std::string> enable{}, disable{};
    std::vector<std::string> sysctls{};  ///< "kernel.NAME=VALUE", set before it or the body starts
    bool attached = false;  ///< the scheduler runs since the template, with just these arguments
    auto fields(auto& f) {
        return f(name, topology, distances, seed, duration_ms, timeout_ms, dilation, prove_topology,
                 scheduler, scheduler_args, scheduler_name, staged, enable, disable, sysctls,
                 attached);
    }
};

struct run_command {
    static constexpr auto type = message_type::run_command;
    std::vector<std::string> argv{};
    std::vector<std::string> environment{};  ///< NAME=value
    bool terminal = false;                   ///< give it a pty
    std::uint16_t rows = 24, columns = 80;
    auto fields(auto& f) { return f(argv, environment, terminal, rows, columns); }
};

/// Bytes for the command's standard input; empty means end of input.
struct input {
    static constexpr auto type = message_type::input;
    std::string bytes{};
    auto fields(auto& f) { return f(bytes); }
};

struct ping {
    static constexpr auto type = message_type::ping;
    std::uint64_t token = 0;
    auto fields(auto& f) { return f(token); }
};

struct power_off {
    static constexpr auto type = message_type::power_off;
    bool unused = false;
    auto fields(auto& f) { return f(unused); }
};

struct window_size {
    static constexpr auto type = message_type::window_size;
    std::uint16_t rows = 24, columns = 80;
    auto fields(auto& f) { return f(rows, columns); }
};

// ---- codec -----------------------------------------------------------------------------------

namespace detail {

class writer {
public:
    explicit writer(std::string& out) : out_(out) {}
    bool operator()(auto&... fields) { return (put(fields), ..., true); }

private:
    template <std::integral T>
    void put(T value) {
        put_le(out_, static_cast<std::make_unsigned_t<T>>(value));
    }
    void put(bool value) { out_.push_back(value ? 1 : 0); }
    template <class T>
    requires std::is_enum_v<T>
    void put(T value) { put_le(out_, static_cast<std::uint8_t>(value)); }
    void put(double value) { put_le(out_, std::bit_cast<std::uint64_t>(value)); }
    void put(const std::string& text) {
        put_le(out_, static_cast<std::uint32_t>(text.size()));
        out_.append(text);
    }
    void put(const staged_scheduler& part) {
        auto copy = part;
        copy.fields(*this);
    }
    template <class T>
    void put(const std::vector<T>& items) {
        put_le(out_, static_cast<std::uint32_t>(items.size()));
        for (const auto& item : items)
            put(item);
    }
    template <class T>
    void put(const std::optional<T>& value) {
        put(value.has_value());
        if (value)
            put(*value);
    }
    std::string& out_;
};

class reader {
public:
    explicit reader(std::string_view in) : in_(in) {}
    bool operator()(auto&... fields) { return (get(fields) && ...); }
    [[nodiscard]] bool at_end() const { return in_.empty(); }

private:
    template <std::integral T>
    bool get(T& value) {
        if (in_.size() < sizeof(T))
            return false;
        value = static_cast<T>(get_le<std::make_unsigned_t<T>>(in_.data()));
        in_.remove_prefix(sizeof(T));
        return true;
    }
    bool get(bool& value) {
        std::uint8_t byte = 0;
        if (!get(byte) || byte > 1)
            return false;
        value = byte == 1;
        return true;
    }
    // The last enumerator of each enum is the bound; an unknown value is a broken message.
    static constexpr std::uint8_t last_of(guest_stage) {
        return static_cast<std::uint8_t>(guest_stage::done);
    }
    static constexpr std::uint8_t last_of(stream) { return static_cast<std::uint8_t>(stream::err); }
    static constexpr std::uint8_t last_of(verdict) {
        return static_cast<std::uint8_t>(verdict::fail);
    }
    static constexpr std::uint8_t last_of(better) {
        return static_cast<std::uint8_t>(better::higher);
    }
    static constexpr std::uint8_t last_of(reason) {
        return static_cast<std::uint8_t>(reason::skipped);
    }
    template <class T>
    requires std::is_enum_v<T>
    bool get(T& value) {
        std::uint8_t byte = 0;
        if (!get(byte) || byte > last_of(T{}))
            return false;
        value = static_cast<T>(byte);
        return true;
    }
    bool get(double& value) {
        std::uint64_t bits = 0;
        if (!get(bits))
            return false;
        value = std::bit_cast<double>(bits);
        return true;
    }
    bool get(std::string& text) {
        std::uint32_t size = 0;
        if (!get(size) || size > in_.size())
            return false;
        text.assign(in_.substr(0, size));
        in_.remove_prefix(size);
        return true;
    }
    template <class T>
    bool get(std::vector<T>& items) {
        std::uint32_t count = 0;
        // Every item takes at least one byte, so a count beyond the rest is a lie; without this
        // check it would be an allocation of the sender's choosing.
        if (!get(count) || count > in_.size())
            return false;
        items.clear();
        for (std::uint32_t i = 0; i < count; ++i)
            if (!get(items.emplace_back()))
                return false;
        return true;
    }
    bool get(staged_scheduler& part) { return part.fields(*this); }
    template <class T>
    bool get(std::optional<T>& value) {
        bool present = false;
        if (!get(present))
            return false;
        value.reset();
        return !present || get(value.emplace());
    }
    std::string_view in_;
};

}  // namespace detail

/// Cuts a text at `max_text`, between two characters of UTF-8, and shows that it did.
inline void bound(std::string& text) {
    if (text.size() <= max_text)
        return;
    std::size_t end = max_text - 3;
    for (int i = 0; i < 3 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U; ++i)
        --end;
    text.resize(end);
    text += "...";
}

/// As many lines as together are no longer than a text may be, each counted as at least 64 bytes.
inline void bound(std::vector<std::string>& lines) {
    std::size_t room = max_text;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto needs = std::max<std::size_t>(lines[i].size(), 64);
        if (needs > room) {
            lines[i].resize(std::min(lines[i].size(), room));
            lines[i] += "...";
            lines.resize(i + 1);
            return;
        }
        room -= needs;
    }
}

/// The message with every text of it bounded.
template <class Message>
[[nodiscard]] Message bounded(Message message) {
    const auto one = []<class Field>(Field& field) {
        if constexpr (std::is_same_v<Field, std::string> ||
                      std::is_same_v<Field, std::vector<std::string>>)
            bound(field);
    };
    auto all = [&one](auto&... fields) {
        (one(fields), ...);
        return true;
    };
    message.fields(all);
    return message;
}

/// The payload of a message.
template <class Message>
[[nodiscard]] std::string encode(Message message) {
    std::string out{};
    detail::writer write(out);
    message.fields(write);
    return out;
}

/// The message in a payload, or nothing when the bytes are not exactly one.
template <class Message>
[[nodiscard]] std::optional<Message> decode(std::string_view payload) {
    Message message;
    detail::reader read(payload);
    if (!message.fields(read) || !read.at_end())
        return std::nullopt;
    return message;
}

/// Counts the frames of one direction and turns messages into bytes.
class encoder {
public:
    template <class Message>
    [[nodiscard]] std::string operator()(const Message& message) {
        std::string out;
        append_frame(out, Message::type, sequence_++, encode(message));
        return out;
    }
    /// A frame that arrived on another link, passed on unread.
    [[nodiscard]] std::string operator()(const frame& f) {
        std::string out;
        append_frame(out, f.type, sequence_++, f.payload);
        return out;
    }

private:
    std::uint32_t sequence_ = 0;
};

}  // namespace ktstr::wire

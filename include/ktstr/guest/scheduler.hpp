// SPDX-License-Identifier: MIT
// The scheduler under test as a process: started before the body, watched to its end. Attached means
// what the kernel says, not what the process prints. Guest side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/attach_gate.hpp>
#include <ktstr/guest/part_hooks.hpp>
#include <ktstr/guest/scheduler_core.hpp>
#include <ktstr/guest/scx_words.hpp>
#include <ktstr/linux/kernel_file.hpp>
#include <ktstr/test/part.hpp>
#include <ktstr/wire/message.hpp>
#include <ktstr/wire/protocol.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ktstr::guest {

inline constexpr const char* sched_ext_name_path = "/sys/kernel/sched_ext/root/ops";
inline constexpr const char* sched_ext_switch_path = "/sys/kernel/sched_ext/switch_all";
inline constexpr const char* sched_ext_events_path = "/sys/kernel/sched_ext/root/events";
inline constexpr const char* sched_ext_rejected_path = "/sys/kernel/sched_ext/nr_rejected";

/// Sets "kernel.NAME=VALUE": in a name each '.' parts directories, and each '/' is a dot, as sysctl(8) has it.
[[nodiscard]] inline result<void> set_sysctl(std::string_view assignment,
                                             const std::string& root = "/proc/sys/") {
    const auto equals = assignment.find('=');
    if (equals == 0 || equals == assignment.npos || assignment.find("..") < equals)
        return plain_error("set the sysctl", std::string(assignment), "it is not NAME=VALUE");
    std::string path(assignment.substr(0, equals));
    for (char& c : path)
        c = c == '.' ? '/' : c == '/' ? '.' : c;
    return write_kernel_file(root + path, assignment.substr(equals + 1));
}

/// "PATH=TEXT" to a file of the kernel's, which has to be there.
[[nodiscard]] inline result<void> write_setting(std::string_view assignment) {
    const auto equals = assignment.find('=');
    if (equals == assignment.npos || !assignment.starts_with('/'))
        return plain_error("set", std::string(assignment), "it is not PATH=TEXT");
    return write_kernel_file(std::string(assignment.substr(0, equals)),
                             assignment.substr(equals + 1));
}

/// Set for the test program's process that is to load a BPF object instead of anything else: its path.
inline constexpr const char* object_variable = "KTSTR_OBJECT";
/// And the arguments of its definition, a line each.
inline constexpr const char* object_settings_variable = "KTSTR_OBJECT_SETTINGS";

/// Whether the file is a BPF object and no program.
[[nodiscard]] inline bool is_bpf_object(const std::string& path) {
    constexpr unsigned char bpf_machine = 247;
    unsigned char head[20]{};
    const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return file && ::read(file.get(), head, sizeof head) == sizeof head && head[0] == 0x7f &&
           head[1] == 'E' && head[18] == bpf_machine && head[19] == 0;
}

/// Ends this process as the scheduler's, when it was started to load an object. Otherwise it returns.
inline void load_object_if_asked() {
    const char* const object = std::getenv(object_variable);
    if (object == nullptr)
        return;
    for (const part* one : attached_parts())
        if (one->guest != nullptr && one->guest->load_object != nullptr) {
            const char* const settings = std::getenv(object_settings_variable);
            std::exit(one->guest->load_object(object, settings == nullptr ? "" : settings));
        }
    ::dprintf(
        2,
        "ktstr: cannot load %s: this program has nothing that loads BPF objects; link ktstr::bpf\n",
        object);
    ::_exit(127);
}

class scheduler_process {
public:
    /// `held`: not attached before its gate is opened.
    [[nodiscard]] static result<scheduler_process> start(const std::string& path,
                                                         const std::vector<std::string>& arguments,
                                                         bool held = false) {
        scheduler_process scheduler;
        const bool is_object = is_bpf_object(path);
        if (is_object)
            for (const auto& one : arguments)
                if (one.find('\n') != one.npos)
                    return plain_error(
                        "start the scheduler", path,
                        "an argument of a BPF object is one line, and '" + one + "' is not");
        if (held) {
            auto gate = attach_gate::make();
            if (!gate)
                return std::move(gate).error();
            scheduler.gate_.emplace(std::move(*gate));
        }
        int output[2];
        if (::pipe2(output, O_CLOEXEC) != 0)
            return system_error("make a pipe for", path);
        scheduler.output_ = unique_fd(output[0]);
        unique_fd write_end(output[1]);
        std::vector<char*> argv{const_cast<char*>(path.c_str())};
        for (const auto& a : arguments)
            argv.push_back(const_cast<char*>(a.c_str()));
        argv.push_back(nullptr);
        scheduler.pid_ = ::fork();
        if (scheduler.pid_ < 0)
            return system_error("fork", path);
        if (scheduler.pid_ == 0) {
            ::setsid();
            sigset_t none;
            sigemptyset(&none);
            ::sigprocmask(SIG_SETMASK, &none, nullptr);
            ::dup2(write_end.get(), 1);
            ::dup2(write_end.get(), 2);
            if (held && !scheduler.gate_->stand_in_front()) {
                ::dprintf(2,
                          "ktstr: cannot hold a scheduler before its attach: %s; the kernel needs "
                          "CONFIG_SECCOMP_FILTER\n",
                          std::strerror(errno));
                ::_exit(127);
            }
            if (is_object) {
                // The test program has the part that loads it: the current one, in a clone not this process's own.
                ::setenv(object_variable, path.c_str(), 1);
                std::string settings;
                for (const auto& one : arguments)
                    settings += one + '\n';
                ::setenv(object_settings_variable, settings.c_str(), 1);
                const char* const current =
                    ::access(wire::program_path, X_OK) == 0 ? wire::program_path : "/init";
                ::execv(current, argv.data());
            } else {
                ::execv(path.c_str(), argv.data());
            }
            ::dprintf(2, "ktstr: cannot start %s: %s\n", path.c_str(), std::strerror(errno));
            ::_exit(127);
        }
        if (held)
            scheduler.gate_->child_has_its_end();
        ::fcntl(scheduler.output_.get(), F_SETFL, O_NONBLOCK);
        return scheduler;
    }

    scheduler_process(scheduler_process&& other) noexcept
        : pid_(std::exchange(other.pid_, -1)),
          output_(std::move(other.output_)),
          gate_(std::move(other.gate_)),
          tail_(std::move(other.tail_)),
          sent_(other.sent_),
          dropped_(other.dropped_) {}
    scheduler_process& operator=(scheduler_process&&) = delete;
    ~scheduler_process() = default;

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] int output_fd() const noexcept { return output_.get(); }
    /// Readable when pump_gate() has something to do; below 0: it has no gate.
    [[nodiscard]] int gate_fd() const noexcept { return gate_ ? gate_->fd() : -1; }
    /// True: it waits at its gate.
    bool pump_gate() { return gate_ && gate_->pump(); }
    void open_gate() {
        if (gate_)
            gate_->open();
    }

    /// The kernel's word for where sched_ext is; empty when it has none.
    [[nodiscard]] static std::string state() {
        return std::string(without_newline(read_kernel_file(sched_ext_state_path).value_or("")));
    }
    /// The name of the BPF scheduler that is attached; empty when none is.
    [[nodiscard]] static std::string name() {
        return std::string(without_newline(read_kernel_file(sched_ext_name_path).value_or("")));
    }

    /// Whether only the tasks that ask for SCHED_EXT are the attached one's; nothing when none is attached,
    /// or the kernel does not say.
    [[nodiscard]] static std::optional<bool> partial() {
        const auto all = read_kernel_file(sched_ext_switch_path);
        if (!all || name().empty())
            return std::nullopt;
        return without_newline(*all) == "0";
    }

    /// The kernel's counters: those of the attached scheduler, which go with it, and of all.
    [[nodiscard]] static std::vector<std::string> counters() {
        std::vector<std::string> all;
        const auto events = read_kernel_file(sched_ext_events_path);
        for (std::string_view rest = events ? std::string_view(*events) : std::string_view{};
             !rest.empty();) {
            const auto end = std::min(rest.find('\n'), rest.size());
            if (end > 0 && all.size() < 64)
                all.emplace_back(rest.substr(0, end));
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
        if (const auto rejected = read_kernel_file(sched_ext_rejected_path))
            all.push_back("nr_rejected " + std::string(without_newline(*rejected)));
        return all;
    }

    /// What it said last that explains something.
    [[nodiscard]] std::string words() const { return last_words(tail_); }

    /// Bytes of its output beyond the limit.
    [[nodiscard]] std::uint64_t output_dropped() const noexcept { return dropped_; }

    /// Passes its output on, within the limit; at most as much as a pipe holds, so that one that floods
    /// can't keep the agent from its other descriptors. What it says at its end is remembered anyway.
    template <class Send>
    void pump_output(const Send& send) {
        char chunk[wire::output_chunk];
        for (int reads = 0; output_ && reads < 32; ++reads) {
            const auto n = ::read(output_.get(), chunk, sizeof chunk);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return;
            if (n == 0) {
                output_.reset();
                return;
            }
            const std::string_view bytes(chunk, static_cast<std::size_t>(n));
            tail_ += bytes;
            if (tail_.size() > 2 * longest_tail)
                tail_.erase(0, tail_.size() - longest_tail);
            const auto kept =
                std::min<std::uint64_t>(bytes.size(), wire::max_scheduler_output - sent_);
            if (kept > 0)
                send(wire::output{wire::stream::err, std::string(bytes.substr(0, kept))});
            sent_ += kept;
            dropped_ += bytes.size() - kept;
        }
    }

private:
    static constexpr std::size_t longest_tail = std::size_t{32} << 10;

    scheduler_process() = default;

    pid_t pid_ = -1;
    unique_fd output_;
    std::optional<attach_gate> gate_;
    std::string tail_;  ///< of its output
    std::uint64_t sent_ = 0, dropped_ = 0;
};

}  // namespace ktstr::guest

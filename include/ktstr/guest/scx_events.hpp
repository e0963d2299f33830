// SPDX-License-Identifier: MIT
// Hears what the kernel says of BPF schedulers, so that nobody has to poll and no scheduler has to
// cooperate: a uevent says that one is attached, events of a tracefs instance of its own how one ends, and
// another one holds the dumps, which may be long: they can't push out the record that comes behind them.
// The kernel's log is the second witness, for a kernel without those events. Guest side.
//
// Attached: the kernel sends the uevent add@/kernel/sched_ext/root as the last step of an enable, after
// the state has become "enabled"; it has done so since 6.12. Ends: sched_ext:sched_ext_exit when the end
// is decided, sched_ext:sched_ext_dump line by line, a probe on scx_log_sched_disable(), which is called
// with the finished record in every end, and one on the return of the work that takes a scheduler down.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/scx_words.hpp>
#include <ktstr/linux/kernel_file.hpp>

#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ktstr::guest {

inline constexpr const char* sched_ext_root = "/sys/kernel/sched_ext";

class scx_events {
public:
    /// Listens from now on. Nothing where the kernel has no sched_ext. Called before a template is saved,
    /// because it takes a third of a second under emulation.
    void arm() {
        if (uevents_ || ::access(sched_ext_root, F_OK) != 0)
            return;
        listen_for_uevents();
        scx_sources sources;
        // Woken by a single event of an end; a dump is read with it.
        trace_ = open_instance(end_instance, "64", "0");
        if (trace_) {
            sources.claim = turn_on(end_instance, "sched_ext/sched_ext_exit");
            const std::string end = "f:ktstr/scx_end scx_log_sched_disable ";
            const std::string facts =
                "kind=sch->exit_info->kind code=sch->exit_info->exit_code "
                "reason=+0(sch->exit_info->reason):string msg=+0(sch->exit_info->msg):string";
            // Kernels with sub-schedulers call the same for each of them; others have no levels.
            sources.record = (probe(end + "level=sch->level " + facts) || probe(end + facts)) &&
                             turn_on(end_instance, "ktstr/scx_end");
            sources.down = (probe("f:ktstr/scx_down scx_root_disable%return") ||
                            probe("f:ktstr/scx_down scx_disable_workfn%return")) &&
                           turn_on(end_instance, "ktstr/scx_down");
            dump_ = open_instance(dump_instance, "256", "50");
            if (dump_)
                (void)turn_on(dump_instance, "sched_ext/sched_ext_dump");
        }
        if (!trace_)
            sources = {};
        if (!sources.record) {
            log_ = unique_fd(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
            if (log_)
                ::lseek(log_.get(), 0, SEEK_END);
        }
        words_ = scx_words(sources);
    }

    [[nodiscard]] bool armed() const { return static_cast<bool>(uevents_); }
    [[nodiscard]] int uevent_fd() const noexcept { return uevents_.get(); }
    [[nodiscard]] int trace_fd() const noexcept { return trace_.get(); }
    [[nodiscard]] int dump_fd() const noexcept { return dump_.get(); }
    [[nodiscard]] int log_fd() const noexcept { return log_.get(); }

    /// Reads all there is and calls `on` with each piece of news.
    template <class On>
    void pump(const On& on) {
        // The witnesses of an end before the word that it is over.
        read_log();
        read_trace();
        read_uevents();
        look();
        for (const auto& one : words_.take())
            on(one);
    }
    /// Whether pump() has to be called again soon, because no event will say that an end has come.
    [[nodiscard]] bool must_look() const { return words_.must_look(); }

private:
    static constexpr const char* end_instance = "/sys/kernel/tracing/instances/ktstr-sched-ext";
    static constexpr const char* dump_instance =
        "/sys/kernel/tracing/instances/ktstr-sched-ext-dump";

    /// A trace of its own, to be read; none where that can't be.
    static unique_fd open_instance(const std::string& root, std::string_view kib_per_cpu,
                                   std::string_view wakes_at_percent) {
        if (::mkdir(root.c_str(), 0700) != 0 && errno != EEXIST)
            return {};
        // Keep the first events of a flood, which name the cause.
        (void)write_kernel_file(root + "/buffer_percent", wakes_at_percent);
        (void)write_kernel_file(root + "/buffer_size_kb", kib_per_cpu);
        (void)write_kernel_file(root + "/options/overwrite", "0");
        (void)write_kernel_file(root + "/trace_clock", "mono");
        return unique_fd(::open((root + "/trace_pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    }

    void listen_for_uevents() {
        uevents_ = unique_fd(
            ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
        sockaddr_nl address{};
        address.nl_family = AF_NETLINK;
        address.nl_groups = 1;  // the kernel's own
        if (uevents_ && ::bind(uevents_.get(), reinterpret_cast<const sockaddr*>(&address),
                               sizeof address) != 0)
            uevents_.reset();
        // All devices of a machine that come and go at once must not push out the word that is waited for.
        const int room = 4 << 20;
        (void)::setsockopt(uevents_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    }

    static bool probe(const std::string& definition) {
        const unique_fd fd(
            ::open("/sys/kernel/tracing/dynamic_events", O_WRONLY | O_APPEND | O_CLOEXEC));
        const auto line = definition + '\n';
        return fd &&
               ::write(fd.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size());
    }
    static bool turn_on(const std::string& instance, const std::string& event) {
        return static_cast<bool>(write_kernel_file(instance + "/events/" + event + "/enable", "1"));
    }

    /// Calls `on` with all that there is to read.
    template <class On>
    static void drain(const unique_fd& from, const On& on) {
        char bytes[16384];
        for (int reads = 0; from && reads < 256; ++reads) {
            const auto n = ::read(from.get(), bytes, sizeof bytes);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                break;
            on(std::string_view(bytes, static_cast<std::size_t>(n)));
        }
    }

    void read_trace() {
        // A dump comes before the record of its end: what is read of it after that record is whole.
        std::string ends;
        drain(trace_, [&ends](std::string_view bytes) { ends += bytes; });
        drain(dump_, [this](std::string_view bytes) { words_.dump(bytes, false); });
        words_.dump({}, true);
        words_.trace(ends, true);
    }

    void read_uevents() {
        char bytes[8192];
        for (int reads = 0; uevents_ && reads < 256; ++reads) {
            sockaddr_nl from{};
            socklen_t size = sizeof from;
            const auto n = ::recvfrom(uevents_.get(), bytes, sizeof bytes, 0,
                                      reinterpret_cast<sockaddr*>(&from), &size);
            if (n < 0 && (errno == EINTR || errno == ENOBUFS))
                continue;
            if (n <= 0)
                return;
            if (from.nl_pid == 0)  // anybody with the right may send here; only the kernel counts
                words_.uevent({bytes, static_cast<std::size_t>(n)});
        }
    }

    void read_log() {
        char record[8192];
        for (int records = 0; log_ && records < 4096; ++records) {
            const auto n = ::read(log_.get(), record, sizeof record);
            if (n < 0 && (errno == EPIPE || errno == EINTR))
                continue;  // overwritten by newer ones
            if (n <= 0)
                return;
            // "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS...;TEXT\n", then lines of a dictionary.
            const std::string_view all(record, static_cast<std::size_t>(n));
            const auto text = all.find(';');
            if (text != all.npos)
                words_.log(all.substr(text + 1, all.find('\n', text) - text - 1));
        }
    }

    void look() {
        if (!words_.must_look())
            return;
        const auto state = read_kernel_file(std::string(sched_ext_root) + "/state");
        if (state && without_newline(*state) == "disabled")
            words_.looked_disabled();
    }

    unique_fd uevents_, trace_, dump_, log_;
    scx_words words_;
};

}  // namespace ktstr::guest

// SPDX-License-Identifier: MIT
// Counts a kernel event on all CPUs, by perf's counters of tracepoints: what a kind of work says that it makes the kernel
// do. For bodies in a guest.
#pragma once

#include <ktstr/ktstr.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

class event_counter {
public:
    /// `event`: "sched/sched_wakeup". `filter` as in tracefs; COMM is the running task's name.
    explicit event_counter(const std::string& event, const std::string& filter = "") {
        int id = 0;
        if (!(std::ifstream("/sys/kernel/tracing/events/" + event + "/id") >> id))
            throw std::runtime_error("this kernel has no event " + event);
        for (long cpu = 0; cpu < ::sysconf(_SC_NPROCESSORS_ONLN); ++cpu) {
            perf_event_attr attr{};
            attr.type = PERF_TYPE_TRACEPOINT;
            attr.size = sizeof attr;
            attr.config = static_cast<std::uint64_t>(id);
            const int fd = static_cast<int>(
                ::syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC));
            if (fd < 0)
                throw std::runtime_error("cannot count " + event + ": " + std::strerror(errno));
            fds_.push_back(fd);
            if (!filter.empty() && ::ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter.c_str()) != 0)
                throw std::runtime_error("filter " + filter + ": " + std::strerror(errno));
        }
    }
    /// Calls of a function: `probe` as in kprobe_events, without its name: "p:%s try_to_wake_up flags=$arg3:u32".
    [[nodiscard]] static event_counter of_function(const std::string& name,
                                                   const std::string& probe,
                                                   const std::string& filter = "") {
        const std::string line = "p:ktstr/" + name + ' ' + probe;
        const int fd = ::open("/sys/kernel/tracing/kprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
        const bool made =
            ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
        const int why = errno;
        ::close(fd);
        if (!made) {
            std::ifstream log("/sys/kernel/tracing/error_log");
            throw std::runtime_error(line + ": " + std::strerror(why) + '\n' +
                                     std::string(std::istreambuf_iterator<char>(log), {}));
        }
        return event_counter("ktstr/" + name, filter);
    }
    event_counter(event_counter&& other) noexcept : fds_(std::exchange(other.fds_, {})) {}
    event_counter& operator=(event_counter&&) = delete;
    ~event_counter() {
        for (const int fd : fds_)
            ::close(fd);
    }

    [[nodiscard]] std::uint64_t count() const {
        std::uint64_t all = 0;
        for (const int fd : fds_) {
            std::uint64_t one = 0;
            if (::read(fd, &one, sizeof one) != sizeof one)
                throw std::runtime_error("cannot read a counter");
            all += one;
        }
        return all;
    }

private:
    std::vector<int> fds_;
};

inline const std::string by_a_worker = "COMM == \"ktstr-worker\"";

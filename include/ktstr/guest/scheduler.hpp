// SPDX-License-Identifier: MIT
// The scheduler under test as a process: started before the body, watched to its end. Attached means
// what the kernel says, not what the process prints. Guest side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/agent_core.hpp>
#include <ktstr/linux/kernel_file.hpp>
#include <ktstr/wire/message.hpp>

#include <csignal>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ktstr::guest {

inline constexpr const char* sched_ext_name_path = "/sys/kernel/sched_ext/root/ops";

class scheduler_process {
public:
    [[nodiscard]] static result<scheduler_process> start(
        const std::string& path, const std::vector<std::string>& arguments) {
        scheduler_process scheduler;
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
            ::execv(path.c_str(), argv.data());
            ::dprintf(2, "ktstr: cannot start %s: %s\n", path.c_str(), std::strerror(errno));
            ::_exit(127);
        }
        ::fcntl(scheduler.output_.get(), F_SETFL, O_NONBLOCK);
        return scheduler;
    }

    scheduler_process(scheduler_process&& other) noexcept
        : pid_(std::exchange(other.pid_, -1)), output_(std::move(other.output_)) {}
    scheduler_process& operator=(scheduler_process&&) = delete;
    ~scheduler_process() = default;

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] int output_fd() const noexcept { return output_.get(); }

    /// The kernel's word for where sched_ext is; empty when it has none.
    [[nodiscard]] static std::string state() {
        return std::string(without_newline(read_kernel_file(sched_ext_state_path).value_or("")));
    }
    /// The name of the BPF scheduler that is attached; empty when none is.
    [[nodiscard]] static std::string name() {
        return std::string(without_newline(read_kernel_file(sched_ext_name_path).value_or("")));
    }

    template <class Send>
    void pump_output(const Send& send) {
        char chunk[wire::output_chunk];
        for (int reads = 0; output_ && reads < 32; ++reads) {
            const auto n = ::read(output_.get(), chunk, sizeof chunk);
            if (n > 0) {
                send(wire::output{wire::stream::err,
                                  std::string(chunk, static_cast<std::size_t>(n))});
                continue;
            }
            if (n == 0)
                output_.reset();
            return;
        }
    }

private:
    scheduler_process() = default;

    pid_t pid_ = -1;
    unique_fd output_;
};

}  // namespace ktstr::guest

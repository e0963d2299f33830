// SPDX-License-Identifier: MIT
// QEMU's machine protocol over an inherited socket: thread ids, the truth about steal time, stop
// and quit. Blocking, with a limit on every answer; the stop signal ends each wait. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/json/read.hpp>
#include <ktstr/host/json/value.hpp>
#include <ktstr/host/json/write.hpp>
#include <ktstr/host/process/stop_signal.hpp>

#include <chrono>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ktstr::host {

/// One vCPU as QEMU names it.
struct vcpu_thread {
    int index = 0;
    int thread_id = 0;
    std::string qom_path;
};

class qmp {
public:
    qmp() = default;
    /// `patience`: how long QEMU may take to answer anything at all.
    qmp(unique_fd fd, std::chrono::milliseconds patience)
        : fd_(std::move(fd)), patience_(patience) {}

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    /// Whether QEMU has closed the connection, as its end does.
    [[nodiscard]] bool closed() const noexcept { return closed_; }

    /// Reads the greeting and leaves negotiation mode.
    [[nodiscard]] result<void> open() {
        auto greeting = read_object(patience_);
        if (!greeting)
            return std::move(greeting).error();
        if (!greeting->contains("QMP"))
            return plain_error("talk to QEMU", "over QMP", "its first line is not a greeting");
        auto answer = ask("qmp_capabilities");
        if (!answer)
            return std::move(answer).error();
        return {};
    }

    /// Runs one command and returns its "return" value. Of events that arrive meanwhile only RESUME and
    /// MIGRATION are kept: what the others announce (shutdown, panic) is also seen as the end of the
    /// process.
    [[nodiscard]] result<json::value> ask(
        std::string_view command,
        std::initializer_list<std::pair<std::string_view, std::string_view>> arguments = {}) {
        json::writer to;
        begin(to, command);
        for (const auto& [name, text] : arguments)
            to.field(name, text);
        return ask(command, end(to));
    }

    /// Waits until the guest runs, with its devices: a clone does when its state has been loaded.
    [[nodiscard]] result<void> wait_until_running() {
        if (auto waited = read_events([this] { return resumed_; }); !waited)
            return waited;
        // The event comes first and the devices follow; a command is carried out after both.
        if (auto status = ask("query-status"); !status)
            return std::move(status).error();
        return {};
    }

    /// Waits until a save that was begun has ended.
    [[nodiscard]] result<void> wait_until_saved() {
        auto waited = read_events([this] {
            return migration_ == "completed" || migration_ == "failed" || migration_ == "cancelled";
        });
        if (!waited || migration_ == "completed")
            return waited;
        auto said = ask("query-migrate");
        const auto why = "QEMU says: " + migration_;
        return plain_error("save", "a template", said ? (*said)["error-desc"].text_or(why) : why);
    }

    /// The answer to the command sent last.
    [[nodiscard]] result<json::value> answer_to(std::string_view command) {
        for (;;) {
            auto answer = read_object(patience_);
            if (!answer)
                return std::move(answer).error();
            note_event(*answer);
            if (const auto* const returned = answer->find("return"))
                return *returned;
            if (const auto* const wrong = answer->find("error"))
                return plain_error("ask QEMU for", std::string(command),
                                   (*wrong)["desc"].text_or("no reason given"));
        }
    }

    /// Gives QEMU a descriptor under a name that later commands use ("fd:NAME").
    [[nodiscard]] result<void> pass_fd(std::string_view name, int fd) {
        json::writer to;
        begin(to, "getfd");
        to.field("fdname", name);
        const auto line = end(to);
        iovec bytes{const_cast<char*>(line.data()), line.size()};
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
        msghdr message{};
        message.msg_iov = &bytes;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        cmsghdr* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof fd);
        std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
        if (::sendmsg(fd_.get(), &message, MSG_NOSIGNAL) != static_cast<ssize_t>(line.size()))
            return system_error("pass QEMU a descriptor for", std::string(name));
        if (auto answer = answer_to("getfd"); !answer)
            return std::move(answer).error();
        return {};
    }

    /// Memory that lives in a file stays there: a saved state is then only that of the devices. And asks
    /// for events about saving.
    [[nodiscard]] result<void> leave_memory_out() {
        json::writer to;
        begin(to, "migrate-set-capabilities");
        to.name("capabilities");
        to.begin_array();
        for (const std::string_view capability : {"x-ignore-shared", "events"}) {
            to.begin_object();
            to.field("capability", capability);
            to.field("state", true);
            to.end_object();
        }
        to.end_array();
        auto answer = ask("migrate-set-capabilities", end(to));
        if (!answer)
            return std::move(answer).error();
        return {};
    }

    /// The vCPU threads, in CPU order.
    [[nodiscard]] result<std::vector<vcpu_thread>> vcpus() {
        auto answer = ask("query-cpus-fast");
        if (!answer)
            return std::move(answer).error();
        const auto odd = [] {
            return plain_error("ask QEMU for", "its vCPU threads",
                               "its answer is no list of CPUs with their threads");
        };
        if (answer->is != json::kind::array)
            return odd();
        std::vector<vcpu_thread> threads;
        for (const auto& cpu : answer->items) {
            vcpu_thread one;
            // Thread 0 would be this very thread to whoever sets its CPUs.
            if (!take(cpu["cpu-index"], one.index) || !take(cpu["thread-id"], one.thread_id) ||
                !take(cpu["qom-path"], one.qom_path) || one.index < 0 || one.thread_id <= 0)
                return odd();
            threads.push_back(std::move(one));
        }
        return threads;
    }

    /// Whether a vCPU really has a steal clock. Under TCG the option is accepted and silently false,
    /// so only QEMU's own object tells.
    [[nodiscard]] bool has_steal_clock(const vcpu_thread& vcpu) {
        auto answer = ask("qom-get", {{"path", vcpu.qom_path}, {"property", "kvm-steal-time"}});
        bool has = false;
        return answer && take(*answer, has) && has;
    }

private:
    /// The start of a request, up to its arguments.
    static void begin(json::writer& to, std::string_view command) {
        to.begin_object();
        to.field("execute", command);
        to.name("arguments");
        to.begin_object();
    }
    static std::string end(json::writer& to) {
        to.end_object();
        to.end_object();
        to.raw("\n");
        return to.take();
    }

    [[nodiscard]] result<json::value> ask(std::string_view command, const std::string& request) {
        std::string_view rest = request;
        while (!rest.empty()) {
            const auto n = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return system_error("ask QEMU for", std::string(command));
            rest.remove_prefix(static_cast<std::size_t>(n));
        }
        return answer_to(command);
    }

    template <class Done>
    [[nodiscard]] result<void> read_events(const Done& done) {
        while (!done()) {
            auto event = read_object(patience_);
            if (!event)
                return std::move(event).error();
            note_event(*event);
        }
        return {};
    }

    void note_event(const json::value& object) {
        const auto name = object["event"].text_or("");
        resumed_ = resumed_ || name == "RESUME";
        if (name == "MIGRATION" && object.contains("data"))
            migration_ = object["data"]["status"].text_or("");
    }

    /// The most that one line of QEMU's may hold; the answer for 252 vCPUs takes 50 kB.
    static constexpr std::size_t longest_line = std::size_t{4} << 20;

    [[nodiscard]] result<json::value> read_object(std::chrono::milliseconds limit) {
        const auto end = std::chrono::steady_clock::now() + limit;
        for (;;) {
            if (const auto newline = buffer_.find('\n'); newline != std::string::npos) {
                auto parsed = json::read(std::string_view(buffer_).substr(0, newline));
                buffer_.erase(0, newline + 1);
                if (!parsed || parsed->is != json::kind::object)
                    return plain_error("talk to QEMU", "over QMP", "its answer is no JSON object");
                return parsed;
            }
            if (buffer_.size() > longest_line)
                return plain_error("talk to QEMU", "over QMP", "its answer has no end");
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                end - std::chrono::steady_clock::now());
            pollfd p[2] = {{fd_.get(), POLLIN, 0}, {stop_signal::watched_fd(), POLLIN, 0}};
            const int ready = left.count() > 0 ? ::poll(p, 2, static_cast<int>(left.count())) : 0;
            if (ready < 0 && errno == EINTR)
                continue;
            // What it has said already is still worth hearing.
            if (ready > 0 && p[0].revents == 0)
                return plain_error("talk to QEMU", "over QMP", "interrupted");
            if (ready <= 0)
                return plain_error("talk to QEMU", "over QMP",
                                   "no answer in " + std::to_string(limit.count()) + " ms");
            char chunk[4096];
            const auto n = ::read(fd_.get(), chunk, sizeof chunk);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0) {
                closed_ = true;
                return plain_error("talk to QEMU", "over QMP", "it closed the connection");
            }
            buffer_.append(chunk, static_cast<std::size_t>(n));
        }
    }

    unique_fd fd_;
    std::chrono::milliseconds patience_{};
    std::string buffer_;
    bool resumed_ = false;
    bool closed_ = false;
    std::string migration_;  ///< where a save or a load is, in QEMU's words
};

}  // namespace ktstr::host

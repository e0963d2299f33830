// SPDX-License-Identifier: MIT
// QEMU's machine protocol over an inherited socket: thread ids, the truth about steal time, stop
// and quit. Blocking, with a limit on every answer. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ktstr::host {

namespace detail {

/// A member of an object, when it is there and a text. What QEMU sends is read by its type: a value of
/// another kind is a missing one, never an exception.
[[nodiscard]] inline std::optional<std::string> text_member(const nlohmann::json& object,
                                                            const char* name) {
    const auto at = object.is_object() ? object.find(name) : object.end();
    if (at == object.end() || !at->is_string())
        return std::nullopt;
    return at->get<std::string>();
}
[[nodiscard]] inline std::optional<int> int_member(const nlohmann::json& object, const char* name) {
    const auto at = object.is_object() ? object.find(name) : object.end();
    if (at == object.end() || !at->is_number_integer())
        return std::nullopt;
    const auto number = at->get<std::int64_t>();
    if (number < 0 || number > std::numeric_limits<int>::max())
        return std::nullopt;
    return static_cast<int>(number);
}

}  // namespace detail

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
    [[nodiscard]] result<nlohmann::json> ask(std::string_view command,
                                             nlohmann::json arguments = nlohmann::json::object()) {
        nlohmann::json request = {{"execute", command}};
        if (!arguments.empty())
            request["arguments"] = std::move(arguments);
        const auto line = request.dump() + '\n';
        std::string_view rest = line;
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
        return plain_error("save", "a template",
                           said ? detail::text_member(*said, "error-desc").value_or(why) : why);
    }

    /// The answer to the command sent last.
    [[nodiscard]] result<nlohmann::json> answer_to(std::string_view command) {
        for (;;) {
            auto answer = read_object(patience_);
            if (!answer)
                return std::move(answer).error();
            note_event(*answer);
            if (answer->contains("return"))
                return (*answer)["return"];
            if (answer->contains("error"))
                return plain_error(
                    "ask QEMU for", std::string(command),
                    detail::text_member((*answer)["error"], "desc").value_or("no reason given"));
        }
    }

    /// Gives QEMU a descriptor under a name that later commands use ("fd:NAME").
    [[nodiscard]] result<void> pass_fd(std::string_view name, int fd) {
        const auto line =
            nlohmann::json{{"execute", "getfd"}, {"arguments", {{"fdname", name}}}}.dump() + '\n';
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
        auto answer =
            ask("migrate-set-capabilities",
                {{"capabilities",
                  nlohmann::json::array({{{"capability", "x-ignore-shared"}, {"state", true}},
                                         {{"capability", "events"}, {"state", true}}})}});
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
        if (!answer->is_array())
            return odd();
        std::vector<vcpu_thread> threads;
        for (const auto& cpu : *answer) {
            const auto index = detail::int_member(cpu, "cpu-index");
            const auto thread = detail::int_member(cpu, "thread-id");
            const auto path = detail::text_member(cpu, "qom-path");
            // Thread 0 would be this very thread to whoever sets its CPUs.
            if (!index || !thread || *thread == 0 || !path)
                return odd();
            threads.push_back({*index, *thread, *path});
        }
        return threads;
    }

    /// Whether a vCPU really has a steal clock. Under TCG the option is accepted and silently false,
    /// so only QEMU's own object tells.
    [[nodiscard]] bool has_steal_clock(const vcpu_thread& vcpu) {
        auto answer = ask("qom-get", {{"path", vcpu.qom_path}, {"property", "kvm-steal-time"}});
        return answer && answer->is_boolean() && answer->get<bool>();
    }

private:
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

    void note_event(const nlohmann::json& object) {
        const auto name = detail::text_member(object, "event");
        resumed_ = resumed_ || name == "RESUME";
        if (name == "MIGRATION" && object.contains("data"))
            migration_ = detail::text_member(object["data"], "status").value_or("");
    }

    /// The most that one line of QEMU's may hold; the answer for 252 vCPUs takes 50 kB.
    static constexpr std::size_t longest_line = std::size_t{4} << 20;

    [[nodiscard]] result<nlohmann::json> read_object(std::chrono::milliseconds limit) {
        const auto end = std::chrono::steady_clock::now() + limit;
        for (;;) {
            if (const auto newline = buffer_.find('\n'); newline != std::string::npos) {
                auto parsed = nlohmann::json::parse(buffer_.substr(0, newline), nullptr, false);
                buffer_.erase(0, newline + 1);
                if (!parsed.is_object())
                    return plain_error("talk to QEMU", "over QMP", "its answer is no JSON object");
                return parsed;
            }
            if (buffer_.size() > longest_line)
                return plain_error("talk to QEMU", "over QMP", "its answer has no end");
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                end - std::chrono::steady_clock::now());
            pollfd p{fd_.get(), POLLIN, 0};
            const int ready = left.count() > 0 ? ::poll(&p, 1, static_cast<int>(left.count())) : 0;
            if (ready < 0 && errno == EINTR)
                continue;
            if (ready <= 0)
                return plain_error("talk to QEMU", "over QMP",
                                   "no answer in " + std::to_string(limit.count()) + " ms");
            char chunk[4096];
            const auto n = ::read(fd_.get(), chunk, sizeof chunk);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return plain_error("talk to QEMU", "over QMP", "it closed the connection");
            buffer_.append(chunk, static_cast<std::size_t>(n));
        }
    }

    unique_fd fd_;
    std::chrono::milliseconds patience_{};
    std::string buffer_;
    bool resumed_ = false;
    std::string migration_;  ///< where a save or a load is, in QEMU's words
};

}  // namespace ktstr::host

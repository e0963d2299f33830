// SPDX-License-Identifier: MIT
// A test's body in a process of its own, so that whatever it does is a verdict and not the end of
// the harness: the child's side (run the function, report checks) and the parent's (watch it, turn
// its end into an outcome). Checks travel as datagrams, so that threads and forked children may
// report too; their number lives in shared memory and survives a crash. Guest side, also used for
// host_only bodies.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/check/check.hpp>
#include <ktstr/check/metric.hpp>
#include <ktstr/check/verdict.hpp>
#include <ktstr/guest/datagram.hpp>
#include <ktstr/guest/initialisers.hpp>
#include <ktstr/guest/part_hooks.hpp>
#include <ktstr/guest/probe/steal.hpp>
#include <ktstr/guest/scenario/execute.hpp>
#include <ktstr/linux/clock.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/test/context.hpp>
#include <ktstr/test/part.hpp>
#include <ktstr/test/registry.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#include <cxxabi.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace ktstr::guest {

/// What the body's processes count together.
struct body_counters {
    std::atomic<std::uint64_t> checks{0};
    std::atomic<std::uint64_t> failed{0};
    std::atomic<std::uint64_t> forked_ends{0};  ///< of forked processes that ended by an exception
    std::atomic<std::uint64_t> metrics{0};
};

namespace detail {

/// What the body's process knows of its report; set once before the body runs.
struct body_report {
    int fd = -1;
    body_counters* counters = nullptr;
};

inline body_report& current_report() {
    static body_report report;
    return report;
}

/// Every text of a body's goes through here.
template <class Message>
void send_report(const Message& message) {
    const auto bytes = to_datagram(wire::bounded(message));
    // Blocking: a body that fails a million checks waits for the agent, it does not lose them.
    while (::send(current_report().fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0 &&
           errno == EINTR) {
    }
}

inline std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

inline std::string demangled(const std::type_info& type) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> name(
        abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), std::free);
    return status == 0 && name ? name.get() : type.name();
}

/// How a body says that it has ended early.
struct body_failed {};
struct body_skipped {
    std::string why;
};

/// Runs the body and says how it ended. In a process that the body forked, a skip is an exception too:
/// what one process of several would rather not do is no reason not to have run the test.
inline wire::outcome call_body(const test_case& test, context& ctx) {
    wire::outcome end{.verdict = verdict::pass, .reason = reason::none};
    const auto thrown = [&end](std::string what) {
        end.verdict = verdict::fail;
        end.reason = reason::exception;
        end.message = std::move(what);
    };
    const pid_t self = ::getpid();
    try {
        for (const part* one : attached_parts())
            if (one->guest != nullptr && one->guest->before_body != nullptr)
                one->guest->before_body(ctx);
        test.body(ctx);
    } catch (const body_failed&) {
        // The failed check is counted; the parent says so.
    } catch (const body_skipped& skip) {
        if (::getpid() != self) {
            thrown("KTSTR_SKIP: " + skip.why);
            return end;
        }
        end.verdict = verdict::skip;
        end.reason = reason::skipped;
        end.message = skip.why;
    } catch (const scenario_error& e) {
        thrown(std::string("scenario: ") + e.what());
        if (e.why() == scenario_error::cause::infrastructure) {
            end.verdict = verdict::inconclusive;
            end.reason = reason::infrastructure;
        }
    } catch (const scheduler_error& e) {
        thrown(e.what());
        if (e.why() == scheduler_error::cause::unreachable) {
            end.verdict = verdict::inconclusive;
            end.reason = reason::infrastructure;
        } else if (e.why() == scheduler_error::cause::attach) {
            end.reason = reason::scheduler_attach;
        }
    } catch (const std::exception& e) {
        thrown(demangled(typeid(e)) + ": " + e.what());
    } catch (...) {
        const std::type_info* type = abi::__cxa_current_exception_type();
        thrown("an exception of type " +
               (type != nullptr ? demangled(*type) : std::string("unknown")));
    }
    return end;
}

/// Fresh bytes where the kernel put random ones for this program when it was executed.
inline void renew_random_bytes() {
    if (auto* const bytes = reinterpret_cast<void*>(::getauxval(AT_RANDOM)))
        (void)::getrandom(bytes, 16, GRND_NONBLOCK);
}

/// Gives this thread another stack canary. Only where no function that has begun will ever return: it
/// would take its own canary for a smashed stack. Elsewhere than on x86-64 the canary is read-only memory.
[[gnu::always_inline]] inline void renew_stack_canary() {
#if defined(__x86_64__) && defined(__GLIBC__)
    std::uint64_t canary = 0;
    if (::getrandom(&canary, sizeof canary, GRND_NONBLOCK) == sizeof canary)
        asm volatile("movq %0, %%fs:0x28" : : "r"(canary & ~std::uint64_t{0xff}));
#endif
}

}  // namespace detail

/// The child's whole life. Never returns.
[[noreturn]] inline void run_body_child(const test_case& test, const context_data& data,
                                        int report_fd, body_counters& counters) {
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
    // Before the program's globals come to life: a check in one of them counts.
    detail::current_report() = {report_fd, &counters};
    // The image of this process is its template's, which all clones share.
    if (initialisers::run()) {
        detail::renew_random_bytes();
        detail::renew_stack_canary();
    }
    worker_sink() = [](const wire::worker& w) { detail::send_report(w); };
    worker_metric_sink() = [](const wire::metric& m) { detail::send_report(m); };
    context ctx(data);
    const pid_t self = ::getpid();
    const auto begin = now_ns(CLOCK_MONOTONIC);
    auto end = detail::call_body(test, ctx);
    // A process that the body forked has come back instead of exiting. The body has not ended.
    if (::getpid() != self) {
        if (end.verdict == verdict::pass)
            ::_exit(0);
        end.message += " (in a process that the body forked)";
        // It may have closed the way of its report.
        counters.forked_ends.fetch_add(1);
        detail::send_report(forked_end{std::move(end)});
        ::_exit(1);
    }
    end.body_ns = now_ns(CLOCK_MONOTONIC) - begin;
    std::fflush(nullptr);
    detail::send_report(end);
    // No destructors of globals: they belong to the parent's image of this process.
    ::_exit(0);
}

/// Set for a body's process that has become another program: the descriptors of its reports and of
/// its counters, "REPORT,COUNTERS".
inline constexpr const char* body_variable = "KTSTR_BODY";

/// The memory behind a body's counters, seen by its process and by the agent.
[[nodiscard]] inline body_counters* map_counters(int fd) {
    void* page = ::mmap(nullptr, sizeof(body_counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return page == MAP_FAILED ? nullptr : static_cast<body_counters*>(page);
}

namespace detail {

/// The child's life from its fork to its body: waits to be told which it is, here or in the program on
/// a clone's disk.
[[noreturn]] inline void wait_for_body(int report_fd, int counters_fd, body_counters& counters) {
    const auto refuse = [report_fd](std::string why) {
        current_report() = {report_fd, nullptr};
        send_report(wire::outcome{.verdict = verdict::inconclusive,
                                  .reason = reason::infrastructure,
                                  .message = std::move(why)});
        ::_exit(0);
    };
    std::string room;
    datagram told;
    if (receive(report_fd, room, told) == received::closed)
        ::_exit(0);  // nobody needs this body
    if (const auto program_to_be = told.as<become_program>()) {
        // All of it in one request: page by page, each fault would wait for a disk.
        const unique_fd program(::open(wire::program_path, O_RDONLY | O_CLOEXEC));
        constexpr std::uint64_t piece = std::uint64_t{1} << 20;
        for (std::uint64_t at = 0; at < program_to_be->size; at += piece)
            ::readahead(program.get(), static_cast<off64_t>(at), piece);
        for (const int fd : {report_fd, counters_fd})
            ::fcntl(fd, F_SETFD, 0);
        const auto held = std::to_string(report_fd) + ',' + std::to_string(counters_fd);
        ::setenv(body_variable, held.c_str(), 1);
        char name[] = "/init";
        char* const argv[] = {name, nullptr};
        ::execve(wire::program_path, argv, environ);
        refuse(system_error("start", "the current test program").message());
    }
    const auto order = told.as<wire::run_test>();
    if (!order)
        refuse("the body's process was sent a message of type " +
               std::to_string(static_cast<unsigned>(told.type)) +
               " that is malformed or unknown to it");
    const auto shape = parse_topology(order->topology);
    const test_case* test = nullptr;
    for (const test_case* t : registered_tests())
        if (t->name == order->name)
            test = t;
    if (test == nullptr || !shape)
        refuse("the guest was asked for test '" + order->name + "' on topology '" +
               order->topology + "', which its program does not have");
    context_data data;
    data.topology = *shape;
    data.duration = std::chrono::milliseconds(order->duration_ms);
    data.seed = order->seed;
    data.test_name = order->name;
    data.dilation = order->dilation;
    run_body_child(*test, data, report_fd, counters);
}

}  // namespace detail

/// Whether this process is a body's that has become another program.
[[nodiscard]] inline bool is_body() {
    return std::getenv(body_variable) != nullptr;
}

/// Goes on as the body's process in the program that it has become. Returns when this process is none.
inline void continue_as_body() {
    const char* const where = std::getenv(body_variable);
    if (where == nullptr)
        return;
    char* comma = nullptr;
    const int report = static_cast<int>(std::strtol(where, &comma, 10));
    const int memory = *comma == ',' ? std::atoi(comma + 1) : -1;
    body_counters* const counters = map_counters(memory);
    if (counters == nullptr)
        return;
    ::unsetenv(body_variable);
    for (const int fd : {report, memory})
        ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    detail::current_report() = {report, counters};
    detail::send_report(program_arrived{now_ns(CLOCK_BOOTTIME)});
    detail::wait_for_body(report, memory, *counters);
}

/// Which of a body's metrics its agent passes on. A body may say anything.
class metric_gate {
public:
    [[nodiscard]] bool take(const wire::metric& metric) {
        if (const char* const fault = metric.fault(); fault != nullptr) {
            if (refused_++ == 0)
                why_ = "metric '" + metric.name.substr(0, 80) + "' was refused: " + fault;
            return false;
        }
        if (metric.of_workers)
            return of_workers_++ < wire::max_worker_metrics;
        return passed_ < wire::max_metrics && ++passed_ > 0;
    }

    /// What was not passed on of so many that the body told.
    [[nodiscard]] std::string lost(std::uint64_t told) const {
        std::string text = why_;
        if (refused_ > 1)
            text += " (and " + std::to_string(refused_ - 1) + " more)";
        if (told > wire::max_metrics)
            text += (text.empty() ? "" : "; ") + std::to_string(told - wire::max_metrics) +
                    " metrics beyond the " + std::to_string(wire::max_metrics) +
                    " of one test were dropped";
        if (of_workers_ > wire::max_worker_metrics)
            text += (text.empty() ? "" : "; ") +
                    std::to_string(of_workers_ - wire::max_worker_metrics) +
                    " metrics of workers beyond the " + std::to_string(wire::max_worker_metrics) +
                    " of one test were dropped";
        return text;
    }

private:
    std::uint64_t passed_ = 0;
    std::uint64_t of_workers_ = 0;
    std::uint64_t refused_ = 0;
    std::string why_;  // of the first
};

/// The parent's hold on a running body.
class body_process {
public:
    /// Forks the process of a body that is not known yet. It waits for begin(), so that a template can
    /// hold it ready; without one it ends with its parent.
    [[nodiscard]] static result<body_process> prepare() {
        body_process body;
        const unique_fd memory(::memfd_create("ktstr-counters", MFD_CLOEXEC));
        if (!memory || ::ftruncate(memory.get(), sizeof(body_counters)) != 0)
            return system_error("make memory for", "the body's counters");
        body.counters_ = map_counters(memory.get());
        if (body.counters_ == nullptr)
            return system_error("map memory for", "the body's counters");
        new (body.counters_) body_counters;
        body.oom_kills_before_ = read_oom_kills();
        int out[2], err[2], report[2];
        if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0 ||
            ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) != 0)
            return system_error("make pipes for", "the body");
        body.out_ = unique_fd(out[0]);
        body.err_ = unique_fd(err[0]);
        body.report_ = unique_fd(report[0]);
        unique_fd out_write(out[1]), err_write(err[1]), report_write(report[1]);
        const pid_t parent = ::getpid();
        body.pid_ = ::fork();
        if (body.pid_ < 0)
            return system_error("fork", "the body");
        if (body.pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent)
                ::_exit(127);
            ::setsid();
            sigset_t none;
            sigemptyset(&none);
            ::sigprocmask(SIG_SETMASK, &none, nullptr);
            unique_fd null_fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
            ::dup2(null_fd.get(), 0);
            ::dup2(out_write.get(), 1);
            ::dup2(err_write.get(), 2);
            // Held open here, the parent's end would hide the parent's end.
            for (unique_fd* theirs : {&body.out_, &body.err_, &body.report_})
                theirs->reset();
            detail::wait_for_body(report_write.get(), memory.get(), *body.counters_);
        }
        for (int fd : {body.out_.get(), body.err_.get(), body.report_.get()})
            ::fcntl(fd, F_SETFL, O_NONBLOCK);
        return body;
    }

    /// Makes the waiting process another program. Should that fail, it reports so.
    void change_program(std::uint64_t size) {
        arrived_ = false;
        (void)tell(become_program{size});
    }

    /// Lets the body begin.
    [[nodiscard]] result<void> begin(const wire::run_test& order) {
        // Reading a clock that is not there costs an emulator as much as starting the body.
        if (has_steal_clock().value_or(true))
            steal_before_ = read_steal_ticks();
        started_ns_ = now_ns(CLOCK_MONOTONIC);
        if (!tell(order))
            return system_error("start", "the body's process");
        return {};
    }

    body_process(body_process&& other) noexcept
        : pid_(std::exchange(other.pid_, -1)),
          out_(std::move(other.out_)),
          err_(std::move(other.err_)),
          report_(std::move(other.report_)),
          counters_(std::exchange(other.counters_, nullptr)),
          outcome_(std::move(other.outcome_)),
          forked_end_(std::move(other.forked_end_)),
          steal_before_(other.steal_before_),
          oom_kills_before_(other.oom_kills_before_),
          started_ns_(other.started_ns_),
          failed_sent_(other.failed_sent_),
          output_sent_(other.output_sent_),
          output_dropped_(other.output_dropped_),
          worker_faults_(other.worker_faults_),
          forked_ends_(other.forked_ends_),
          worker_fault_(std::move(other.worker_fault_)),
          metrics_(std::move(other.metrics_)),
          arrived_(other.arrived_) {}
    body_process& operator=(body_process&&) = delete;
    ~body_process() {
        if (counters_ != nullptr)
            ::munmap(counters_, sizeof(body_counters));
    }

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] int out_fd() const noexcept { return out_.get(); }
    [[nodiscard]] int err_fd() const noexcept { return err_.get(); }
    [[nodiscard]] int report_fd() const noexcept { return report_.get(); }

    [[nodiscard]] std::uint64_t output_dropped() const noexcept { return output_dropped_; }

    /// Whether the process is the program that its body belongs to.
    [[nodiscard]] bool is_program() const noexcept { return arrived_; }

    /// Whether it was told which body it is.
    [[nodiscard]] bool begun() const noexcept { return started_ns_ != 0; }

    /// Whether the body has said how it ended. Its process has nothing left to do then.
    [[nodiscard]] bool reported() const noexcept { return outcome_.has_value(); }

    /// Reads what the body wrote and passes it on, within the limit. `send` takes a wire message.
    /// At most as much as a pipe holds, so that a body that never stops writing can't keep the
    /// agent from its other descriptors.
    template <class Send>
    void pump_output(wire::stream stream, const Send& send) {
        unique_fd& fd = stream == wire::stream::out ? out_ : err_;
        char chunk[wire::output_chunk];
        for (int reads = 0; fd && reads < 32; ++reads) {
            const auto n = ::read(fd.get(), chunk, sizeof chunk);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return;
            if (n == 0) {
                fd.reset();
                return;
            }
            const auto size = static_cast<std::uint64_t>(n);
            const auto room = wire::max_output_per_test - output_sent_;
            const auto kept = size < room ? size : room;
            if (kept > 0)
                send(wire::output{stream, std::string(chunk, static_cast<std::size_t>(kept))});
            output_sent_ += kept;
            output_dropped_ += size - kept;
        }
    }

    /// Reads what the body's processes say: passes checks, metrics and workers on with `send`, and has
    /// each question answered by `agent`.
    template <class Send, class Agent>
    void pump_reports(const Send& send, Agent& agent) {
        std::string room;
        for (int reads = 0; report_ && reads < 4096; ++reads) {
            datagram said;
            switch (receive(report_.get(), room, said)) {
                case received::message:
                    break;
                case received::nonsense:
                    continue;
                case received::closed:
                    report_.reset();
                    return;
                case received::nothing:
                    return;
            }
            if (said.reply)
                agent.asked(std::move(said));
            else
                take_report(said, send);
        }
    }

    /// The outcome, once the body has reported or its process has ended with `wait_status`. Call after
    /// the last pump.
    [[nodiscard]] wire::outcome finish(int wait_status) const {
        wire::outcome end;
        const auto failed = [&end](reason why, std::string text) {
            end.verdict = verdict::fail;
            end.reason = why;
            end.message = std::move(text);
        };
        if (outcome_) {
            end = *outcome_;
        } else if (WIFSIGNALED(wait_status)) {
            const int signal = WTERMSIG(wait_status);
            const auto oom = read_oom_kills();
            if (signal == SIGKILL && oom && oom_kills_before_ && *oom > *oom_kills_before_)
                failed(reason::oom, "the body was killed because the guest ran out of memory");
            else
                failed(reason::signal, "the body " + exit_text(wait_status));
        } else {
            failed(reason::exit, "the body's process ended by itself with status " +
                                     std::to_string(WEXITSTATUS(wait_status)) +
                                     " instead of returning");
        }
        const auto lost =
            counters_->forked_ends.load() - std::min(forked_ends_, counters_->forked_ends.load());
        if (lost > 0 && end.verdict != verdict::fail)
            failed(reason::exception,
                   "a process that the body forked ended by an exception, and its report is lost");
        if (forked_end_ && forked_end_->verdict > end.verdict) {
            end.verdict = forked_end_->verdict;
            end.reason = forked_end_->reason;
            end.message = forked_end_->message;
        }
        end.checks = counters_->checks.load();
        end.failed_checks = counters_->failed.load();
        // A failed check outranks it: those are the test's own words.
        if (worker_faults_ > 0 && end.failed_checks == 0 && end.verdict != verdict::fail)
            failed(reason::worker,
                   worker_fault_ + (worker_faults_ == 1
                                        ? ""
                                        : "; and " + std::to_string(worker_faults_ - 1) +
                                              " more of the workers"));
        end.output_dropped = output_dropped_;
        end.metrics_lost = metrics_.lost(counters_->metrics.load());
        if (end.body_ns == 0 && begun())
            end.body_ns = now_ns(CLOCK_MONOTONIC) - started_ns_;
        if (steal_before_)
            if (const auto after = read_steal_ticks(); after && *after >= *steal_before_)
                end.steal_ticks = *after - *steal_before_;
        return end;
    }

private:
    body_process() = default;

    template <class Send>
    void take_report(const datagram& said, const Send& send) {
        if (said.type == datagram_type::check) {
            if (auto check = said.as<wire::check>();
                check && failed_sent_ < wire::max_failed_checks_sent) {
                ++failed_sent_;
                send(*check);
            }
        } else if (const auto metric = said.as<wire::metric>()) {
            if (metrics_.take(*metric))
                send(*metric);
        } else if (auto worker = said.as<wire::worker>()) {
            if (!worker->fault.empty() && worker_faults_++ == 0)
                worker_fault_ = "worker " + std::to_string(worker->index) + " of cgroup " +
                                worker->cgroup + " in step " + std::to_string(worker->step) + ": " +
                                worker->fault;
            send(*worker);
        } else if (said.as<program_arrived>()) {
            arrived_ = true;
        } else if (auto end = said.as<wire::outcome>()) {
            outcome_ = std::move(end);
        } else if (auto other = said.as<forked_end>()) {
            ++forked_ends_;
            if (!forked_end_ || other->end.verdict > forked_end_->verdict)
                forked_end_ = std::move(other->end);
        }
    }

    template <class Message>
    [[nodiscard]] bool tell(const Message& message) {
        const auto bytes = detail::to_datagram(message);
        return ::send(report_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(bytes.size());
    }

    pid_t pid_ = -1;
    unique_fd out_, err_, report_;
    body_counters* counters_ = nullptr;
    std::optional<wire::outcome> outcome_;
    std::optional<wire::outcome> forked_end_;  ///< the worst of the processes that the body forked
    std::optional<std::uint64_t> steal_before_;
    std::optional<std::uint64_t> oom_kills_before_;
    std::uint64_t started_ns_ = 0;
    std::uint64_t failed_sent_ = 0;
    std::uint64_t output_sent_ = 0;
    std::uint64_t output_dropped_ = 0;
    std::uint64_t worker_faults_ = 0;
    std::uint64_t forked_ends_ = 0;  // that were reported
    std::string worker_fault_;       // the first
    metric_gate metrics_;
    bool arrived_ = true;
};

}  // namespace ktstr::guest

// What check/ declares for the light side. Not inline on purpose: main.hpp is included once.
namespace ktstr::detail {

void report_check(const check_record& record) {
    auto& report = guest::detail::current_report();
    if (report.counters == nullptr) {
        std::fprintf(stderr, "ktstr: a check outside a test's body: %.*s\n",
                     static_cast<int>(record.expression.size()), record.expression.data());
        return;
    }
    report.counters->checks.fetch_add(1, std::memory_order_relaxed);
    if (record.passed)
        return;
    report.counters->failed.fetch_add(1, std::memory_order_relaxed);
    guest::detail::send_report(wire::check{.kind = std::string(record.kind),
                                           .file = std::string(record.file),
                                           .line = static_cast<std::uint32_t>(record.line),
                                           .expression = std::string(record.expression),
                                           .expansion = std::string(record.expansion),
                                           .message = std::string(record.message),
                                           .info = guest::detail::lines_of(record.info)});
}

void report_metric(const metric_record& metric) {
    auto& report = guest::detail::current_report();
    if (report.counters == nullptr) {
        std::fprintf(stderr, "ktstr: a metric outside a test's body: %.*s\n",
                     static_cast<int>(metric.name.size()), metric.name.data());
        return;
    }
    // Those beyond are only counted, so that no loop can make a body wait for its agent.
    if (report.counters->metrics.fetch_add(1, std::memory_order_relaxed) >= wire::max_metrics)
        return;
    guest::detail::send_report(wire::metric{.name = std::string(metric.name),
                                            .value = metric.value,
                                            .unit = std::string(metric.unit),
                                            .better = metric.better});
}

result<scheduler_state> ask_scheduler_state(std::chrono::milliseconds limit) {
    auto answer = guest::ask<guest::scheduler_answer>(guest::detail::current_report().fd,
                                                      guest::ask_scheduler{},
                                                      "the state of the scheduler", limit);
    if (!answer)
        return std::move(answer).error();
    return scheduler_state{std::move(answer->state), std::move(answer->name), answer->pid,
                           answer->partial};
}

scheduler_state require_scheduler_state(std::chrono::milliseconds limit) {
    auto state = ask_scheduler_state(limit);
    if (!state)
        throw scheduler_error(state.error().message(), scheduler_error::cause::unreachable);
    return *std::move(state);
}

std::chrono::nanoseconds do_to_scheduler(scheduler_deed deed, int signal, std::string_view staged,
                                         std::chrono::milliseconds limit) {
    constexpr std::array names{"detach", "attach", "restart", "replace", "send a signal to"};
    const auto number = static_cast<std::uint8_t>(deed);
    const auto answer = guest::ask<guest::deed_answer>(
        guest::detail::current_report().fd, guest::ask_deed{number, signal, std::string(staged)},
        "its scheduler", limit);
    if (!answer)
        throw scheduler_error(answer.error().message(), scheduler_error::cause::unreachable);
    if (!answer->fault.empty())
        throw scheduler_error(
            plain_error(names[number], "the scheduler", answer->fault).message(),
            answer->cause <= static_cast<std::uint8_t>(scheduler_error::cause::mistake_in_test)
                ? static_cast<scheduler_error::cause>(answer->cause)
                : scheduler_error::cause::unreachable);
    return std::chrono::nanoseconds(static_cast<long>(answer->gap_ns));
}

std::optional<scx_exit_record> wait_for_scheduler_exit(std::chrono::milliseconds limit,
                                                       std::chrono::milliseconds patience) {
    const auto asked = std::max(limit, std::chrono::milliseconds(0));
    auto answer =
        guest::ask<guest::exit_answer>(guest::detail::current_report().fd,
                                       guest::ask_exit{static_cast<std::uint64_t>(asked.count())},
                                       "the end of its scheduler", asked + patience);
    if (!answer)
        throw scheduler_error(answer.error().message(), scheduler_error::cause::unreachable);
    if (!answer->ended)
        return std::nullopt;
    return scx_exit_record{.kind = answer->kind < static_cast<std::uint8_t>(scx_exit_kind::other)
                                       ? static_cast<scx_exit_kind>(answer->kind)
                                       : scx_exit_kind::other,
                           .reason = std::move(answer->reason),
                           .message = std::move(answer->message),
                           .dump = std::move(answer->dump),
                           .code = answer->code};
}

void end_body_failed() {
    throw guest::detail::body_failed{};
}

void end_body_skipped(std::string_view why, std::string_view file, int line) {
    throw guest::detail::body_skipped{std::string(file) + ':' + std::to_string(line) + ": " +
                                      std::string(why)};
}

}  // namespace ktstr::detail

// SPDX-License-Identifier: MIT
// What the agent knows of the scheduler under test and does with it, as a state machine: the kernel's
// news, the end of the scheduler's process and a body's wishes go in, deeds come out. No descriptor, no
// process and no clock of its own. agent_core owns it and decides what an end means for the test. Guest side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/guest/scx_words.hpp>
#include <ktstr/sched/exit_record.hpp>
#include <ktstr/test/scheduler_handle.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::guest {

inline constexpr const char* sched_ext_state_path = "/sys/kernel/sched_ext/state";
inline constexpr std::string_view attached_state = "enabled";

/// What can be done to a scheduler. The real one is `agent`.
class scheduler_deeds {
public:
    virtual ~scheduler_deeds() = default;

    [[nodiscard]] virtual result<void> start_scheduler(const std::string& path,
                                                       const std::vector<std::string>& args) = 0;
    /// The same of another one beside it, which is held before its attach.
    [[nodiscard]] virtual result<void> start_newcomer(const std::string& path,
                                                      const std::vector<std::string>& args) = 0;
    /// The newcomer is the scheduler now, and free to attach; the process of the one before is asked to end,
    /// and its end is no news.
    virtual void hand_over() = 0;
    virtual void drop_newcomer() = 0;  ///< kills its process and forgets it
    virtual void drop_retired() = 0;   ///< the same of what hand_over() left behind
    /// Writes a text to one of the kernel's files: "PATH=TEXT".
    [[nodiscard]] virtual result<void> write_setting(const std::string& assignment) = 0;
    virtual void signal_scheduler(int signal) = 0;  ///< its process
    virtual void drop_scheduler() = 0;              ///< kills its process and forgets it
    /// The kernel's word for where sched_ext is; nothing where it can't be asked.
    [[nodiscard]] virtual std::optional<std::string> scheduler_state() const = 0;
    /// The attached one's name for itself; empty: none is.
    [[nodiscard]] virtual std::string scheduler_ops() const = 0;
    /// Whether the kernel gives it only the tasks that ask for it; nothing where it does not say.
    [[nodiscard]] virtual std::optional<bool> scheduler_is_partial() const = 0;
    /// What its process said last that explains something; empty: nothing.
    [[nodiscard]] virtual std::string scheduler_words() const = 0;
    [[nodiscard]] virtual std::string newcomer_words() const = 0;  ///< the same of a newcomer
    /// The kernel's counters of it, "NAME VALUE" each; empty where there are none any more.
    [[nodiscard]] virtual std::vector<std::string> scheduler_counters() const = 0;

    /// Bytes of its output that were too many to be passed on.
    [[nodiscard]] virtual std::uint64_t scheduler_output_dropped() const = 0;

    // Answers to a body; `asker` is the number that its question came with.
    virtual void answer_exit(std::uint64_t asker, const std::optional<scx_exit_record>& end) = 0;
    virtual void answer_done(std::uint64_t asker, std::uint64_t gap_ns) = 0;
    virtual void refuse(std::uint64_t asker, scheduler_error::cause why,
                        const std::string& words) = 0;
};

class scheduler_core {
public:
    enum class phase : std::uint8_t {
        none,      ///< the test has none, or it was not started yet
        starting,  ///< its process runs, and the kernel has not said that it is attached
        attached,
        leaving,  ///< the kernel is taking it off
        ended
    };
    // On a machine as fast as its host; a slower one gets as much more.
    /// How long an end may be nobody's business.
    static constexpr std::uint64_t grace_ns = 1'000'000'000U;
    /// How long the kernel may take to take one off. A starved task is in its way until then.
    static constexpr std::uint64_t leave_ns = 10'000'000'000U;
    /// How long a process has to follow a signal.
    static constexpr std::uint64_t obedience_ns = 2'000'000'000U;
    /// Of ends that nobody waited for the first says what went wrong; a loop of them fills no memory.
    static constexpr std::size_t most_buried = 16;

    explicit scheduler_core(scheduler_deeds& deeds) : deeds_(deeds) {}

    [[nodiscard]] phase at() const noexcept { return at_; }
    [[nodiscard]] bool attached() const noexcept { return at_ == phase::attached; }
    /// Whether an end has begun of which the record is not there yet.
    [[nodiscard]] bool record_is_due() const noexcept {
        return at_ == phase::leaving || (at_ == phase::attached && !process_ && ordered_);
    }

    // ---- what happens ----

    [[nodiscard]] result<void> start(const wire::run_test& order, std::uint64_t now) {
        order_ = order;
        ordered_ = true;
        its_ = {order.scheduler_name, order.scheduler, order.scheduler_args};
        return begin(now);
    }

    /// Attaches one that the kernel has built in, if the order is for such a one. The kernel tells no news of it:
    /// it is attached when all was written.
    [[nodiscard]] result<void> use_built_in(const wire::run_test& order) {
        enable_ = order.enable;
        disable_ = order.disable;
        auto written = write_all(enable_);
        built_in_is_on_ = written.has_value() && !enable_.empty();
        return written;
    }

    /// The machine has been saved since the attach and is a clone now, in which `order` is to run under the
    /// scheduler that it finds. What the attach took and what the kernel counted before are no facts
    /// of this test's.
    void woke(const wire::run_test& order) {
        order_ = order;
        its_ = {order.scheduler_name, order.scheduler, order.scheduler_args};
        woken_ = true;
        attach_ns_.reset();
        // Those of one that ended before were counted in the template, all of them.
        at_attach_ = at_ == phase::attached ? deeds_.scheduler_counters() : at_end_;
    }
    /// Why it is not the one that the template had attached; nothing: it is, and its process lives.
    [[nodiscard]] std::optional<std::string> not_as_saved() const {
        if (auto words = unwanted_end())
            return words;
        if (const auto name = deeds_.scheduler_ops(); name != ops_ || at_ != phase::attached)
            return named() + " was attached in this machine's template, and in the machine '" +
                   name + "' is";
        return std::nullopt;
    }

    /// True: the scheduler that was started is attached now.
    bool on_attached(const std::string& name, std::uint64_t now) {
        if (!ordered_ || is_foreign(name)) {
            foreign_ = ordered_;
            return false;  // a body attached one of its own
        }
        bury();
        ops_ = name;
        const bool awaited = at_ == phase::starting;
        at_ = phase::attached;
        last_.reset();
        if (awaited && !attach_ns_ && !woken_)
            attach_ns_ = now - started_ns_;
        partial_ = deeds_.scheduler_is_partial();
        at_attach_ = deeds_.scheduler_counters();
        if (job_ && job_->what != scheduler_deed::detach && awaited)
            end_job(job_->what == scheduler_deed::replace ? now - leaving_ns_ : 0);
        return awaited;
    }

    /// Nobody heard the kernel's word for the attach that is awaited, and its state says that it is there.
    bool on_attached_unheard(std::uint64_t now) {
        if (at_ != phase::starting || foreign_ || deeds_.scheduler_state() != attached_state)
            return false;
        const auto name = deeds_.scheduler_ops();
        return !name.empty() && on_attached(name, now);
    }

    void on_leaving(std::uint64_t now) {
        if (!ordered_ || foreign_ || at_ == phase::none)
            return;
        // They vanish with the scheduler.
        at_end_ = deeds_.scheduler_counters();
        if (at_ == phase::starting)
            failed_start_ = true;
        at_ = phase::leaving;
        leaving_ns_ = now;
        judge_at_ = now + leave_limit();
    }

    void on_ended(scx_ended end, std::uint64_t now) {
        if (std::exchange(foreign_, false) || !ordered_ || at_ == phase::none)
            return;
        at_ = phase::ended;
        last_ = past_end{
            std::move(end.record), end.fell_back_ns, deeds_.scheduler_state().value_or(""), {}};
        // Who takes it off wanted that, and not an error of it.
        const bool taken_off = std::exchange(making_room_, false) || (job_ && takes_off(*job_));
        business_ = !waiters_.empty() || (taken_off && !is_error(last_->record.kind));
        for (const auto& one : std::exchange(waiters_, {}))
            deeds_.answer_exit(one.asker, last_->record);
        judge_at_ = 0;
        if (!business_)
            judge_after(now);
        if (job_ && !business_ && (taken_off || is_replacing())) {
            forget_newcomer();
            return deeds_.refuse(std::exchange(job_, std::nullopt)->asker,
                                 scheduler_error::cause::mistake_in_test, words_of_end());
        }
        if (job_ && failed_start_ && job_->what != scheduler_deed::detach)
            return fail_job(why_not_attached());
        if (is_replacing())
            return take_over(now);
        go_on(now);
    }

    /// The newcomer waits before its attach.
    void on_newcomer_held(std::uint64_t now) {
        if (!is_replacing() || newcomer_held_)
            return;
        newcomer_held_ = true;
        if (at_ != phase::attached)
            return;  // it goes by itself, and nobody has wanted that
        making_room_ = true;
        business_ = false;
        ask_to_end(now);
    }
    void on_newcomer_end(const std::string& how) {
        if (!is_replacing())
            return;
        newcomer_ = false;
        // What the old one was asked for can't be taken back.
        if (newcomer_held_)
            return fail_job("its process " + how + " while it waited for its turn; " +
                            newcomer_is_not_there());
        fail_job(newcomer_failed("its process " + how));
    }
    /// What hand_over() left behind is gone.
    void on_retired_end() { retired_until_ns_ = 0; }

    void on_process_end(const std::string& how, std::uint64_t now) {
        process_ = false;
        process_end_ = how;
        if (at_ == phase::starting) {
            at_ = phase::none;
            failed_start_ = true;
            if (job_)
                fail_job(why_not_attached());
            return;
        }
        if (at_ == phase::attached && waiters_.empty())
            judge_after(now);
        go_on(now);
    }

    /// Something may be due; see next().
    void on_time(std::uint64_t now) {
        for (std::size_t i = 0; i < waiters_.size();) {
            if (waiters_[i].until_ns > now) {
                ++i;
                continue;
            }
            const auto asker = waiters_[i].asker;
            waiters_.erase(waiters_.begin() + static_cast<std::ptrdiff_t>(i));
            deeds_.answer_exit(asker, std::nullopt);
            if (waiters_.empty() && unwanted_end())
                judge_after(now);
        }
        if (job_ && job_->until_ns <= now)
            job_is_late(now);
        if (judge_at_ <= now && !unwanted_end())
            judge_at_ = 0;
        if (retired_until_ns_ != 0 && retired_until_ns_ <= now) {
            retired_until_ns_ = 0;
            deeds_.drop_retired();
        }
    }
    /// When on_time() is wanted; 0: never. An end is judged while there is a body for it.
    [[nodiscard]] std::uint64_t next(bool judging) const {
        std::uint64_t first = judging ? judge_at_ : 0;
        const auto consider = [&first](std::uint64_t ns) {
            if (ns != 0 && (first == 0 || ns < first))
                first = ns;
        };
        for (const auto& one : waiters_)
            consider(one.until_ns);
        if (job_)
            consider(job_->until_ns);
        consider(retired_until_ns_);
        return first;
    }

    // ---- what a body wants ----

    void ask_exit(std::uint64_t asker, std::uint64_t limit_ns, std::uint64_t now) {
        if (!buried_.empty()) {
            deeds_.answer_exit(asker, buried_.front().record);
            buried_.erase(buried_.begin());
            judge_at_ = 0;
            if (unwanted_end())
                judge_after(now);
            return;
        }
        if (!ordered_ || at_ == phase::ended || at_ == phase::none) {
            business_ = true;
            judge_at_ = 0;
            return deeds_.answer_exit(asker, last_ ? std::optional(last_->record) : std::nullopt);
        }
        judge_at_ = 0;
        waiters_.push_back({asker, now + limit_ns});
    }

    /// `staged`: the name of the one to do it with; empty: the test's own.
    void ask_deed(std::uint64_t asker, scheduler_deed what, int signal, const std::string& staged,
                  std::uint64_t now) {
        const auto mistake = [&](const std::string& words) {
            deeds_.refuse(asker, scheduler_error::cause::mistake_in_test, words);
        };
        if (!enable_.empty() && what != scheduler_deed::signal)
            return switch_built_in(asker, what);
        if (!ordered_)
            return mistake("this test has no scheduler with a program");
        if (what == scheduler_deed::signal) {
            if (!process_)
                return mistake("the scheduler's process is gone");
            deeds_.signal_scheduler(signal);
            return deeds_.answer_done(asker, 0);
        }
        const auto with =
            what == scheduler_deed::restart || what == scheduler_deed::detach ? its_ : find(staged);
        if (with.path.empty())
            return mistake("the test has no scheduler " + staged + ", neither its own nor staged");
        if (job_)
            return mistake("another thread is attaching or detaching it");
        if (what == scheduler_deed::attach ? at_ == phase::attached || at_ == phase::starting
                                           : at_ != phase::attached)
            return mistake(what == scheduler_deed::attach ? "it is attached already"
                                                          : "it is not attached");
        job_ = job{what, asker, 0, 0, with};
        if (what == scheduler_deed::replace)
            return call_newcomer(now);
        if (what == scheduler_deed::attach)
            return process_ || at_ == phase::leaving ? ask_to_end(now) : start_again(now);
        business_ = false;
        ask_to_end(now);
    }

    /// The body is over: nobody waits any more, and no end is its business that was not before.
    void body_is_gone() {
        waiters_.clear();
        job_.reset();
        forget_newcomer();
    }

    // ---- what it amounts to ----

    /// Whether an end that nobody wanted has to be judged now.
    [[nodiscard]] bool to_be_judged(std::uint64_t now) const {
        return judge_at_ != 0 && judge_at_ <= now && unwanted_end().has_value();
    }
    void judged() { judge_at_ = 0; }
    /// How long a record may be due.
    [[nodiscard]] std::uint64_t leave_limit() const { return scaled(leave_ns); }

    /// Why the test fails, when its scheduler has ended and nobody wanted that.
    [[nodiscard]] std::optional<std::string> unwanted_end() const {
        if (const auto* const end = first_unasked()) {
            auto words = end->words + "; it was attached again after that";
            // Those of the others are told one by one, as the body asks for them.
            if (buried_.empty() && dropped_ > 1)
                words += ", and ended " + std::to_string(dropped_ - 1) + " more time" +
                         (dropped_ > 2 ? "s" : "");
            return words;
        }
        if (!ordered_ || !waiters_.empty() || job_)
            return std::nullopt;
        if (at_ == phase::ended && !business_)
            return words_of_end();
        if (at_ == phase::leaving)
            return named() + " is being ended by the kernel, which has not said why" + process();
        if (at_ == phase::attached && !process_)
            return named() + " lost its user-space half, which " + process_end_ +
                   ", and the kernel still has it attached";
        if (at_ == phase::attached)
            if (const auto state = deeds_.scheduler_state(); state && *state != attached_state)
                return named() + " did not stay attached (" + std::string(sched_ext_state_path) +
                       " is '" + *state + "')" + process();
        return std::nullopt;
    }

    /// The scheduler's last words first, then what is known of its end.
    [[nodiscard]] std::string why_not_attached() const {
        std::string words;
        if (last_ && failed_start_)
            words = last_->record.reason +
                    (last_->record.message.empty() ? "" : ": " + last_->record.message);
        if (const auto said = deeds_.scheduler_words(); words.empty() && !said.empty())
            words = said;
        words += words.empty() ? "" : "; ";
        words +=
            "the scheduler " + (its_.name.empty() ? its_.path : its_.name) + " was not attached";
        if (!process_ && !process_end_.empty())
            words += ", and its process " + process_end_;
        // Whatever it left behind is nobody's child.
        if (process_end_ == "exited with status 0" && !last_)
            words += "; one that goes into the background can't be watched";
        return words;
    }

    /// Facts for the report; nothing when the test has no scheduler of its own.
    [[nodiscard]] std::optional<wire::scheduler_facts> facts() const {
        if (!ordered_)
            return std::nullopt;
        wire::scheduler_facts all;
        all.ops = ops_;
        all.attach_ns = attach_ns_;
        all.partial = partial_;
        // One that nobody waited for says more than what came after it.
        const auto* end = first_unasked();
        if (end == nullptr && last_)
            end = &*last_;
        if (end != nullptr) {
            all.ended = true;
            all.kind = std::string(to_text(end->record.kind));
            all.reason = end->record.reason;
            all.message = end->record.message;
            all.dump = end->record.dump;
            all.code = end->record.code;
            all.fell_back_ns = end->fell_back_ns;
            all.state_after = end->state_after;
        }
        all.output_dropped = deeds_.scheduler_output_dropped();
        all.counters =
            difference(at_ == phase::attached ? deeds_.scheduler_counters() : at_end_, at_attach_);
        return all;
    }

private:
    struct waiter {
        std::uint64_t asker;
        std::uint64_t until_ns;
    };
    struct job {
        scheduler_deed what;
        std::uint64_t asker;
        std::uint64_t until_ns;
        int step;                     ///< of the signals that were sent
        wire::staged_scheduler with;  ///< which one
    };

    /// An end, and what was seen of it.
    struct past_end {
        scx_exit_record record{};
        std::optional<std::uint64_t> fell_back_ns{};
        std::string state_after{};  ///< the kernel's word right behind it
        std::string words{};        ///< of one that was buried
    };

    /// Whether the one that the kernel calls `name` is none of the test's: its process is gone and nobody
    /// started it again, or it is known under another name.
    [[nodiscard]] bool is_foreign(const std::string& name) const {
        return (!process_ && at_ != phase::attached && at_ != phase::starting) ||
               (at_ != phase::attached && !ops_.empty() && name != ops_);
    }

    /// An end that is nobody's business stays what it is, whatever comes after it.
    void bury() {
        if (!last_ || business_)
            return;
        last_->words = words_of_end();
        auto end = *std::exchange(last_, std::nullopt);
        if (buried_.size() < most_buried)
            return buried_.push_back(std::move(end));
        if (dropped_++ == 0)
            first_dropped_ = std::move(end);
    }

    /// The first of the ends that nobody waited for or asked for; nullptr: there is none.
    [[nodiscard]] const past_end* first_unasked() const {
        if (!buried_.empty())
            return &buried_.front();
        return first_dropped_ ? &*first_dropped_ : nullptr;
    }

    [[nodiscard]] std::uint64_t scaled(std::uint64_t ns) const {
        return static_cast<std::uint64_t>(static_cast<double>(ns) * std::max(order_.dilation, 1.0));
    }
    [[nodiscard]] static bool takes_off(const job& j) {
        return j.what == scheduler_deed::detach || j.what == scheduler_deed::restart;
    }

    [[nodiscard]] result<void> write_all(const std::vector<std::string>& settings) {
        for (const auto& one : settings)
            if (auto written = deeds_.write_setting(one); !written)
                return written;
        return {};
    }
    void switch_built_in(std::uint64_t asker, scheduler_deed what) {
        const bool on = what == scheduler_deed::attach;
        if (what == scheduler_deed::replace || on == built_in_is_on_)
            return deeds_.refuse(asker, scheduler_error::cause::mistake_in_test,
                                 what == scheduler_deed::replace
                                     ? "one that the kernel has built in is not replaced"
                                 : on ? "it is attached already"
                                      : "it is not attached");
        result<void> written;
        if (!on) {
            written = write_all(disable_);
            built_in_is_on_ = !written;
        }
        if (written && what != scheduler_deed::detach) {
            written = write_all(enable_);
            built_in_is_on_ = written.has_value();
        }
        if (!written)
            return deeds_.refuse(asker, scheduler_error::cause::attach, written.error().message());
        deeds_.answer_done(asker, 0);
    }

    [[nodiscard]] wire::staged_scheduler find(const std::string& name) const {
        if (name.empty() || name == order_.scheduler_name)
            return {order_.scheduler_name, order_.scheduler, order_.scheduler_args};
        for (const auto& one : order_.staged)
            if (one.name == name)
                return one;
        return {};
    }

    // ---- one in the place of another ----

    [[nodiscard]] bool is_replacing() const {
        return job_ && job_->what == scheduler_deed::replace && newcomer_;
    }
    void call_newcomer(std::uint64_t now) {
        job_->until_ns = now + order_.timeout_ms * 1'000'000U;
        newcomer_held_ = false;
        newcomer_ = true;
        if (auto started = deeds_.start_newcomer(job_->with.path, job_->with.args); !started) {
            newcomer_ = false;
            fail_job(started.error().message());
        }
    }
    void take_over(std::uint64_t now) {
        newcomer_ = newcomer_held_ = false;
        become(job_->with);
        at_ = phase::starting;
        failed_start_ = false;
        process_end_.clear();
        process_ = true;
        started_ns_ = now;
        retired_until_ns_ = now + scaled(obedience_ns);
        job_->until_ns = now + order_.timeout_ms * 1'000'000U;
        deeds_.hand_over();
    }
    void forget_newcomer() {
        if (std::exchange(newcomer_, false))
            deeds_.drop_newcomer();
        newcomer_held_ = false;
    }
    [[nodiscard]] std::string newcomer_is_not_there() const {
        return "the scheduler " + job_->with.name + " was not attached";
    }
    [[nodiscard]] std::string newcomer_failed(const std::string& how) const {
        auto words = deeds_.newcomer_words();
        words += words.empty() ? "" : "; ";
        return words + newcomer_is_not_there() + ": " + how +
               " before it came to attach a struct_ops link; " +
               (at_ == phase::attached ? named() + " still is" : "nor is any other");
    }
    /// What is started next, if it is another one.
    void become(const wire::staged_scheduler& next) {
        if (next.name != its_.name || next.path != its_.path)
            ops_.clear();
        its_ = next;
    }

    [[nodiscard]] result<void> begin(std::uint64_t now) {
        started_ns_ = now;
        failed_start_ = false;
        process_end_.clear();
        at_ = phase::starting;
        process_ = true;
        auto started = deeds_.start_scheduler(its_.path, its_.args);
        if (!started) {
            process_ = false;
            at_ = phase::none;
        }
        return started;
    }

    void start_again(std::uint64_t now) {
        bury();
        last_.reset();
        business_ = false;
        judge_at_ = 0;
        if (first_unasked() != nullptr)
            judge_after(now);
        job_->until_ns = now + order_.timeout_ms * 1'000'000U;
        become(job_->with);
        if (auto started = begin(now); !started)
            fail_job(started.error().message());
    }

    void ask_to_end(std::uint64_t now) {
        constexpr std::array signals{SIGINT, SIGTERM, SIGKILL};
        job_->until_ns = now + scaled(obedience_ns);
        if (process_ && job_->step < static_cast<int>(signals.size()))
            deeds_.signal_scheduler(signals[static_cast<std::size_t>(job_->step)]);
    }

    void job_is_late(std::uint64_t now) {
        if (at_ == phase::starting) {
            if (on_attached_unheard(now))
                return;
            failed_start_ = true;
            at_ = phase::none;
            return fail_job("it did not attach in " + std::to_string(order_.timeout_ms) + " ms; " +
                            why_not_attached());
        }
        if (is_replacing() && !newcomer_held_)
            return fail_job(newcomer_failed("it did not in " + std::to_string(order_.timeout_ms) +
                                            " ms, nor end"));
        if (++job_->step < 3)
            return ask_to_end(now);
        forget_newcomer();
        const auto asker = std::exchange(job_, std::nullopt)->asker;
        deeds_.refuse(asker, scheduler_error::cause::mistake_in_test,
                      "it is still attached after its process was killed: something else holds it");
    }

    /// The next step of a job, when what it waited for is there.
    void go_on(std::uint64_t now) {
        if (!job_ || process_ || is_replacing() || (at_ != phase::ended && at_ != phase::none))
            return;
        if (job_->what == scheduler_deed::detach)
            return end_job();
        start_again(now);
    }
    void end_job(std::uint64_t gap_ns = 0) {
        deeds_.answer_done(std::exchange(job_, std::nullopt)->asker, gap_ns);
    }
    void fail_job(const std::string& words) {
        business_ = true;  // the body hears of it, and fails by that
        if (job_->what == scheduler_deed::replace && at_ != phase::starting && at_ != phase::none) {
            // The newcomer's failure alone.
            forget_newcomer();
            return deeds_.refuse(std::exchange(job_, std::nullopt)->asker,
                                 scheduler_error::cause::attach, words);
        }
        if (first_unasked() == nullptr)
            judge_at_ = 0;
        if (std::exchange(process_, false))
            deeds_.drop_scheduler();
        deeds_.refuse(std::exchange(job_, std::nullopt)->asker, scheduler_error::cause::attach,
                      words);
    }

    void judge_after(std::uint64_t now) {
        if (judge_at_ == 0)
            judge_at_ = now + scaled(grace_ns);
    }

    [[nodiscard]] std::string named() const {
        return "the scheduler " + (ops_.empty() ? its_.name : ops_);
    }
    [[nodiscard]] std::string process() const {
        return process_ || process_end_.empty() ? "" : "; its process " + process_end_;
    }
    [[nodiscard]] std::string words_of_end() const {
        const auto& end = last_->record;
        std::string words = named() + " ended: " + end.reason;
        if (!end.message.empty())
            words += ": " + end.message;
        if (end.code != 0)
            words += " (code " + std::to_string(end.code) + ')';
        if (end.kind == scx_exit_kind::unregistered)
            words += process();
        return words;
    }

    /// What the counters counted since the attach; those that stand where they stood are left out.
    [[nodiscard]] static std::vector<std::string> difference(const std::vector<std::string>& now,
                                                             const std::vector<std::string>& then) {
        const auto split = [](std::string_view line) {
            const auto space = std::min(line.find(' '), line.size());
            auto number = line.substr(std::min(space + 1, line.size()));
            return std::pair(line.substr(0, space), detail::take_integer<std::uint64_t>(number));
        };
        std::vector<std::string> changed;
        for (const auto& line : now) {
            const auto [name, value] = split(line);
            std::uint64_t before = 0;
            for (const auto& other : then)
                if (const auto [same, old] = split(other); same == name && old)
                    before = *old;
            if (value && *value > before)
                changed.push_back(std::string(name) + ' ' + std::to_string(*value - before));
        }
        return changed;
    }

    scheduler_deeds& deeds_;
    wire::run_test order_{};
    std::vector<std::string> enable_{}, disable_{};  ///< of one that the kernel has built in
    bool built_in_is_on_ = false;
    wire::staged_scheduler its_{};  ///< the one that was started last
    phase at_ = phase::none;
    bool ordered_ = false;        ///< the test has a scheduler with a process
    bool woken_ = false;          ///< and that was attached before the machine was saved
    bool process_ = false;        ///< and that lives
    std::string process_end_{};   ///< how it ended otherwise: "was killed by SIGKILL"
    bool failed_start_ = false;   ///< the kernel or the process gave up before it was attached
    bool business_ = false;       ///< the last end was wanted by the test
    std::string ops_{};           ///< the scheduler's name for itself
    bool newcomer_ = false;       ///< another process is to take its place
    bool newcomer_held_ = false;  ///< and waits for that
    bool making_room_ = false;    ///< and the one before was asked to end
    std::uint64_t started_ns_ = 0;
    std::uint64_t leaving_ns_ = 0;
    std::uint64_t retired_until_ns_ =
        0;  ///< how long a process that was replaced may take; 0: none
    std::optional<std::uint64_t>
        attach_ns_{};                 ///< what the first attach took, if that was the test's
    std::optional<past_end> last_{};  ///< the last one, until it is attached again
    std::vector<past_end>
        buried_{};  ///< before it was attached again, and nobody has asked for them
    std::optional<past_end>
        first_dropped_{};  ///< of those after most_buried: they can't be asked for
    std::uint64_t dropped_ = 0;
    std::optional<bool> partial_{};                    ///< only tasks that ask for it are its own
    bool foreign_ = false;                             ///< the attached one is none of the test's
    std::vector<std::string> at_attach_{}, at_end_{};  ///< the kernel's counters
    std::vector<waiter> waiters_{};
    std::optional<job> job_{};
    std::uint64_t judge_at_ =
        0;  ///< when an end has been nobody's business for long enough; 0: none is
};

}  // namespace ktstr::guest

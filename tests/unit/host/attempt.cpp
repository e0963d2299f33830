// SPDX-License-Identifier: MIT
// An attempt without a machine: every order in which a guest, its kernel and its process can speak their
// last words, everything that may not be said, and every clock that runs out.
#include <ktstr/host/attempt/attempt.hpp>
#include <ktstr/host/attempt/judge.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <variant>
#include <vector>

using namespace ktstr;
using namespace ktstr::host;
using namespace std::chrono_literals;

namespace {

constexpr std::array all_stages{wire::guest_stage::started,
                                wire::guest_stage::proving_topology,
                                wire::guest_stage::starting_scheduler,
                                wire::guest_stage::body,
                                wire::guest_stage::collecting,
                                wire::guest_stage::done};
constexpr std::array said_of_a_body{reason::none,    reason::check,   reason::exception,
                                    reason::signal,  reason::exit,    reason::oom,
                                    reason::timeout, reason::no_data, reason::skipped};
constexpr std::array said_without_a_body{reason::scheduler_attach, reason::scheduler_exit,
                                         reason::topology_mismatch, reason::infrastructure};
constexpr std::array never_said{reason::panic,      reason::oops,         reason::lockup,
                                reason::hang,       reason::boot_timeout, reason::guest_exit,
                                reason::requirement};

/// One attempt, and the clock that it is told.
class trial {
public:
    static constexpr auto boot_limit = 60s;
    static constexpr auto body_limit = 20s;

    explicit trial(bool expect_fail = false, bool has_machine = true, bool with_scheduler = true)
        : attempt_({.name = "t/a/1n1l1c1t",
                    .has_machine = has_machine,
                    .expect_fail = expect_fail,
                    .test = {.name = "t", .scheduler = with_scheduler ? "/s" : ""},
                    .body_limit = body_limit,
                    .boot_limit = boot_limit,
                    .host_calibration_ns = 100,
                    .cpus = 2}) {}

    attempt_effects tell(const happened::anything& what) { return last = attempt_.on(what, now); }
    template <class Message>
    attempt_effects say(const Message& message) {
        return tell(wire::frame{Message::type, wire::encode(message)});
    }
    attempt_effects enter(wire::guest_stage at) { return say(wire::stage{at, 0}); }
    attempt_effects end(reason why, std::uint64_t failed = 0) {
        return say(wire::outcome{verdict_of(why), why, {}, failed, failed, 0, {}, 0});
    }
    attempt_effects console(std::optional<reason> sign, std::string harness = {}) {
        return tell(happened::console{sign, sign ? "the kernel's line" : "", std::move(harness)});
    }
    attempt_effects ends(int status = 0) { return tell(happened::process_ended{.status = status}); }

    trial& boots() {
        tell(happened::let_go{});
        return *this;
    }
    trial& says_hello(std::uint64_t dilation = 1) {
        boots();
        say(wire::hello{.kernel_release = "7.0", .calibration_ns = 100 * dilation});
        return *this;
    }
    trial& begins_body(std::uint64_t dilation = 1) {
        says_hello(dilation);
        enter(wire::guest_stage::body);
        return *this;
    }
    trial& collects() {
        begins_body();
        if (!last.settled && attempt_.seen().scheduler_ordered)
            say(wire::scheduler_facts{.ops = "simple"});
        enter(wire::guest_stage::collecting);
        return *this;
    }
    trial& reaches(attempt_phase phase) {
        switch (phase) {
            case attempt_phase::boot:
                return boots();
            case attempt_phase::preparing:
                return says_hello();
            case attempt_phase::body:
                return begins_body();
            case attempt_phase::collecting:
                break;
        }
        return collects();
    }
    /// Lets time pass until nothing more is waited for. How long that took.
    std::chrono::nanoseconds waits(bool answering = false) {
        const auto begun = now;
        for (int ticks = 0; !last.settled; ++ticks) {
            REQUIRE(ticks < 10'000);
            now = std::max(now, last.wake);
            tell(happened::tick{});
            for (const auto& message : last.send)
                if (const auto* ping = std::get_if<wire::ping>(&message); ping && answering)
                    say(wire::pong{ping->token});
        }
        return now - begun;
    }

    [[nodiscard]] judgement verdict() const { return judge(attempt_.seen()); }
    [[nodiscard]] reason why() const { return verdict().why; }
    [[nodiscard]] bool broke_the_link() const {
        return attempt_.settled() && attempt_.seen().end == attempt_end::broken_link;
    }
    [[nodiscard]] const attempt& state() const { return attempt_; }

    attempt::time_point now{1h};
    attempt_effects last;

private:
    attempt attempt_;
};

constexpr std::array phases{attempt_phase::boot, attempt_phase::preparing, attempt_phase::body,
                            attempt_phase::collecting};

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("events have the cell's name, and the guest is told its test", "[attempt]") {
    trial t;
    t.begins_body();
    const auto& said = t.say(wire::output{wire::stream::out, "x"});
    REQUIRE(said.publish.size() == 1);
    CHECK(std::get<test_output>(said.publish[0]).test == "t/a/1n1l1c1t");
    const auto& checked = t.say(wire::check{});
    REQUIRE(checked.publish.size() == 1);
    CHECK(std::get<check_failed>(checked.publish[0]).test == "t/a/1n1l1c1t");
}

TEST_CASE("a guest that does all in turn is believed", "[attempt]") {
    trial t;
    t.boots();
    CHECK(t.last.wake == t.now + trial::boot_limit);
    t.say(wire::hello{.kernel_release = "7.0", .calibration_ns = 900});
    REQUIRE(t.last.send.size() == 1);
    const auto& order = std::get<wire::run_test>(t.last.send.front());
    CHECK(order.name == "t");
    CHECK(order.timeout_ms == 180'000);
    CHECK(order.dilation == 9.0);
    CHECK(t.state().kernel_release() == "7.0");
    t.enter(wire::guest_stage::proving_topology);
    t.say(wire::topology_proof{.matches = true});
    t.enter(wire::guest_stage::starting_scheduler);
    t.enter(wire::guest_stage::body);
    CHECK(t.last.entered == wire::guest_stage::body);
    t.say(wire::output{wire::stream::out, "hello\n"});
    CHECK(std::get<test_output>(t.last.publish.at(0)).bytes == "hello\n");
    t.say(wire::log{"a remark"});
    t.say(wire::scheduler_facts{.ops = "simple"});
    t.enter(wire::guest_stage::collecting);
    CHECK_FALSE(t.last.settled);
    t.end(reason::none);
    CHECK(t.last.settled);
    CHECK(t.verdict().result == verdict::pass);
    CHECK(t.state().remarks() == std::vector<std::string>{"a remark"});
}

TEST_CASE("a kernel's own word for its release decides whether it is new enough", "[attempt]") {
    const auto why = [](const char* release, const char* wanted) {
        attempt one({.name = "t", .scheduler = "mine", .min_kernel = wanted});
        (void)one.on(happened::let_go{}, attempt::time_point{1h});
        const wire::hello hello{.kernel_release = release, .calibration_ns = 100};
        const auto out =
            one.on(wire::frame{wire::hello::type, wire::encode(hello)}, attempt::time_point{1h});
        CHECK(out.send.empty() == out.settled);
        return out.settled ? judge(one.seen()).why : reason::none;
    };
    CHECK(why("7.3.4", "") == reason::none);
    CHECK(why("7.3.4", "6.12") == reason::none);
    CHECK(why("6.1.0", "6.12") == reason::requirement);
    CHECK(why("odd", "6.12") == reason::infrastructure);
    CHECK(why("7.3.4", "six") == reason::infrastructure);
}

TEST_CASE("a scheduler that the kernel has built in can fail to be switched on", "[attempt]") {
    for (const bool ordered : {false, true}) {
        attempt_order order{.name = "t", .has_machine = true, .test = {.name = "t"}};
        if (ordered)
            order.test.enable = {"/a=1"};
        attempt one(std::move(order));
        const attempt::time_point now{1h};
        (void)one.on(happened::let_go{}, now);
        const auto say = [&](const auto& message) {
            (void)one.on(wire::frame{std::decay_t<decltype(message)>::type, wire::encode(message)},
                         now);
        };
        say(wire::hello{.kernel_release = "7.0", .calibration_ns = 100});
        say(wire::stage{wire::guest_stage::collecting, 0});
        say(wire::outcome{verdict::fail, reason::scheduler_attach, "no such file", 0, 0, 0, {}, 0});
        (void)one.on(happened::process_ended{.status = 0}, now);
        CHECK(judge(one.seen()).why ==
              (ordered ? reason::scheduler_attach : reason::infrastructure));
    }
}

TEST_CASE("every order of the last words of guest, kernel and process", "[attempt]") {
    std::vector<reason> ends(said_of_a_body.begin(), said_of_a_body.end());
    ends.insert(ends.end(), said_without_a_body.begin(), said_without_a_body.end());
    int cases = 0;
    for (const reason end : ends)
        for (const auto sign : {std::optional<reason>{}, std::optional(reason::panic),
                                std::optional(reason::oops), std::optional(reason::lockup)})
            for (const int status : {0, SIGKILL})
                for (const bool expect_fail : {false, true}) {
                    std::array order{0, 1, 2};
                    do {
                        trial t(expect_fail);
                        t.collects();
                        for (const int which : order)
                            which == 0 ? t.end(end) : which == 1 ? t.console(sign) : t.ends(status);
                        const bool heard = std::find(order.begin(), order.end(), 0) <
                                           std::find(order.begin(), order.end(), 2);
                        // The kernel's word outranks all, whenever it comes. A process that is gone
                        // says no more, so what is told after its end was never said.
                        const reason cause = sign     ? *sign
                                             : heard  ? end
                                             : status ? reason::infrastructure
                                                      : reason::guest_exit;
                        const auto j = t.verdict();
                        INFO(to_text(end)
                             << ' ' << (sign ? to_text(*sign) : "none") << ' ' << status << ' '
                             << expect_fail << ' ' << order[0] << order[1] << order[2]);
                        if (expect_fail && cause == reason::check) {
                            CHECK(j.result == verdict::pass);
                            CHECK(j.why == reason::none);
                        } else if (expect_fail && cause == reason::none) {
                            CHECK(j.result == verdict::fail);
                            CHECK(j.why == reason::check);
                        } else {
                            CHECK(j.result == verdict_of(cause));
                            CHECK(j.why == cause);
                        }
                        ++cases;
                    } while (std::next_permutation(order.begin(), order.end()));
                }
    CHECK(cases == 13 * 4 * 2 * 2 * 6);
}

TEST_CASE("what a guest may say of an end depends on how far it came", "[attempt]") {
    for (const reason why : said_of_a_body) {
        INFO(to_text(why));
        trial early;
        early.says_hello().enter(wire::guest_stage::collecting);
        early.end(why);
        CHECK(early.broke_the_link());
    }
    for (const reason why : said_without_a_body) {
        INFO(to_text(why));
        trial early;
        early.says_hello().enter(wire::guest_stage::collecting);
        early.end(why);
        CHECK(early.why() == why);
        CHECK(early.state().seen().end == attempt_end::outcome);
    }
    for (const reason why : never_said) {
        INFO(to_text(why));
        trial t;
        t.collects().end(why);
        CHECK(t.broke_the_link());
    }
    for (const auto phase : {attempt_phase::boot, attempt_phase::preparing, attempt_phase::body}) {
        trial t;
        t.reaches(phase).end(reason::none);
        CHECK(t.broke_the_link());
        CHECK(t.verdict().result == verdict::inconclusive);
    }
    trial t;
    t.collects().say(wire::outcome{.verdict = verdict::pass, .reason = reason::timeout});
    CHECK(t.broke_the_link());
}

TEST_CASE("a stage begins once and none before an earlier one", "[attempt]") {
    for (const auto first : all_stages)
        for (const auto second : all_stages) {
            INFO(static_cast<int>(first) << ' ' << static_cast<int>(second));
            trial t;
            t.says_hello().enter(first);
            CHECK_FALSE(t.last.settled);
            t.enter(second);
            CHECK(t.broke_the_link() == (second <= first));
        }
    trial early;
    early.boots().enter(wire::guest_stage::body);
    CHECK(early.broke_the_link());
}

TEST_CASE("nothing but a hello comes first, and only one", "[attempt]") {
    const std::vector<happened::anything> others{
        wire::frame{wire::message_type::topology_proof, wire::encode(wire::topology_proof{})},
        wire::frame{wire::message_type::output, wire::encode(wire::output{wire::stream::out, "x"})},
        wire::frame{wire::message_type::check, wire::encode(wire::check{})},
        wire::frame{wire::message_type::metric, wire::encode(wire::metric{.name = "m"})},
        wire::frame{wire::message_type::worker, wire::encode(wire::worker{})},
        wire::frame{wire::message_type::log, wire::encode(wire::log{})},
        wire::frame{wire::message_type::pong, wire::encode(wire::pong{})}};
    for (const auto& message : others) {
        trial t;
        t.boots().tell(message);
        CHECK(t.broke_the_link());
    }
    for (const auto phase :
         {attempt_phase::preparing, attempt_phase::body, attempt_phase::collecting}) {
        trial t;
        t.reaches(phase).say(wire::hello{});
        CHECK(t.broke_the_link());
    }
    trial t;
    t.says_hello().say(wire::check{});
    CHECK(t.broke_the_link());
    trial other;
    other.boots().say(wire::hello{.version = wire::protocol_version + 1});
    CHECK(other.state().seen().end == attempt_end::other_version);
    CHECK(other.last.send.empty());
    CHECK(contains(other.verdict().message, std::to_string(wire::protocol_version + 1)));
}

TEST_CASE("no message may be malformed, or one that only a host sends", "[attempt]") {
    for (int type = 0; type < 80; ++type)
        for (const auto phase : phases) {
            INFO(type << ' ' << static_cast<int>(phase));
            trial t;
            t.reaches(phase).tell(wire::frame{static_cast<wire::message_type>(type), "\xff"});
            CHECK(t.broke_the_link());
            CHECK(t.why() == reason::infrastructure);
        }
}

TEST_CASE("each phase has its clock", "[attempt]") {
    constexpr std::array expected{reason::boot_timeout, reason::hang, reason::timeout,
                                  reason::hang};
    constexpr std::array words{"did not say hello", "did not start the body", "did not return",
                               "did not deliver"};
    for (const auto phase : phases) {
        const auto i = static_cast<std::size_t>(phase);
        trial t;
        t.reaches(phase).waits(true);
        INFO(i << ' ' << t.verdict().message);
        CHECK(t.why() == expected[i]);
        CHECK(t.verdict().result == verdict_of(expected[i]));
        CHECK(contains(t.verdict().message, words[i]));
    }
    // A body's end, and what the kernel may take to say why it ended a scheduler.
    trial slow;
    CHECK(slow.begins_body(10).waits(true) == (trial::body_limit + 15s) * 10);
    trial plain(false, true, false);
    CHECK(plain.begins_body(10).waits(true) == (trial::body_limit + 5s) * 10);
}

TEST_CASE("a guest that does not answer while its body runs hangs", "[attempt]") {
    trial t;
    const auto waited = t.begins_body(3).waits();
    CHECK(t.why() == reason::hang);
    CHECK(t.state().seen().end == attempt_end::unanswered);
    CHECK(waited >= 30s);
    CHECK(waited <= 33s);
    // One that answers until its body's time is over and then never again is no late body.
    trial late;
    late.begins_body();
    const auto begun = late.now;
    while (!late.last.settled) {
        late.now = late.last.wake;
        const bool over = late.now - begun >= trial::body_limit + 15s;
        late.tell(happened::tick{});
        for (const auto& message : late.last.send)
            if (!over)
                late.say(wire::pong{std::get<wire::ping>(message).token});
    }
    CHECK(late.why() == reason::hang);
    CHECK(late.state().seen().end == attempt_end::late);
    // The answer to another question is none.
    trial wrong;
    wrong.begins_body();
    for (int i = 0; i < 100 && !wrong.last.settled; ++i) {
        wrong.now += 1s;
        wrong.tell(happened::tick{});
        wrong.say(wire::pong{77});
    }
    CHECK(wrong.why() == reason::hang);
}

TEST_CASE("a panic or a closed link shortens every phase", "[attempt]") {
    for (const auto phase : phases) {
        trial panicked;
        panicked.reaches(phase).console(reason::panic);
        CHECK(panicked.waits() <= 3s);
        CHECK(panicked.why() == reason::panic);
        // Told again and again, it does not begin again.
        trial talking;
        talking.reaches(phase);
        const auto begun = talking.now;
        for (int i = 0; i < 100 && !talking.last.settled; ++i) {
            talking.console(reason::panic);
            talking.now += 100ms;
            talking.tell(happened::tick{});
        }
        CHECK(talking.now - begun <= 3s + 100ms);

        trial closed;
        closed.reaches(phase).tell(happened::link_closed{"reset"});
        CHECK(closed.waits() <= 5s);
        CHECK(closed.why() == (phase == attempt_phase::boot ? reason::boot_timeout : reason::hang));
        CHECK(contains(closed.verdict().message, "closed its link"));

        trial ended;
        ended.reaches(phase).tell(happened::link_closed{});
        ended.ends(SIGKILL);
        CHECK(ended.why() == reason::infrastructure);
        CHECK(contains(ended.verdict().message, "killed by SIGKILL"));
    }
}

TEST_CASE("what ends a machine from outside", "[attempt]") {
    for (const auto phase : phases) {
        trial device, kvm, stopped, quiet, harness, refused;
        device.reaches(phase).tell(happened::device_ended{});
        CHECK(device.why() == reason::infrastructure);
        kvm.reaches(phase).tell(happened::kvm_died{"KVM internal error"});
        CHECK(kvm.why() == reason::infrastructure);
        CHECK(contains(kvm.verdict().message, "--accel tcg or --accel nested"));
        stopped.reaches(phase).tell(happened::stopped{});
        CHECK(stopped.verdict().message == "interrupted");
        quiet.reaches(phase).ends(0);
        CHECK(quiet.why() == reason::guest_exit);
        harness.reaches(phase).console({}, "cannot open the link");
        harness.ends(0);
        CHECK(harness.why() ==
              (phase == attempt_phase::boot ? reason::infrastructure : reason::guest_exit));
        CHECK(contains(harness.verdict().message, "cannot open the link"));
        refused.reaches(phase).tell(
            happened::process_ended{.status = 1 << 8, .refusal = "no memory"});
        CHECK(refused.why() == reason::infrastructure);
        CHECK(refused.verdict().message ==
              (phase == attempt_phase::boot ? "no memory" : "QEMU exited with status 1"));
    }
    trial keeper(false, false);
    keeper.begins_body().tell(happened::link_closed{});
    CHECK(keeper.last.settled);
    CHECK(keeper.why() == reason::infrastructure);
    trial never;
    never.tell(happened::not_begun{reason::requirement, "no steal clock"});
    CHECK(never.verdict().result == verdict::skip);
    CHECK(never.why() == reason::requirement);
}

TEST_CASE("a failed check that arrived is not talked away", "[attempt]") {
    const wire::check six{
        .kind = "CHECK", .file = "a.cpp", .line = 7, .expression = "a == b", .expansion = "6 == 7"};
    for (const reason why : {reason::none, reason::skipped, reason::infrastructure}) {
        INFO(to_text(why));
        trial t;
        t.begins_body().say(six);
        CHECK(std::get<check_failed>(t.last.publish.at(0)).line == 7);
        t.enter(wire::guest_stage::collecting);
        t.end(why);
        CHECK(t.verdict().result == verdict::fail);
        CHECK(t.why() == reason::check);
        CHECK(t.verdict().message == "a.cpp:7: a == b (6 == 7)");
    }
    trial killed;
    killed.begins_body().say(six);
    killed.ends(SIGKILL);
    CHECK(killed.why() == reason::check);
    CHECK(contains(killed.verdict().notes.at(0), "killed by SIGKILL"));
    trial thrown;
    thrown.begins_body().say(six);
    thrown.enter(wire::guest_stage::collecting);
    thrown.end(reason::exception, 1);
    CHECK(thrown.why() == reason::exception);
}

TEST_CASE("a guest's metrics are told, bounded, and sound or the end of belief",
          "[attempt][metric]") {
    trial t;
    t.begins_body();
    const wire::metric sound{.name = "m", .value = 1.5, .unit = "s", .better = better::lower};
    std::size_t published = 0;
    for (int i = 0; i < 300; ++i)
        for (const auto& e : t.say(sound).publish) {
            const auto& metric = std::get<metric_measured>(e);
            published += metric.name == "m" && metric.value == 1.5 && metric.unit == "s" &&
                         metric.better == better::lower && metric.test == "t/a/1n1l1c1t";
        }
    CHECK(published == wire::max_metrics);
    CHECK_FALSE(t.state().settled());
    for (const wire::metric& none :
         {wire::metric{}, wire::metric{.name = "M"}, wire::metric{.name = "m", .unit = "\x1b"},
          wire::metric{.name = "m", .value = std::numeric_limits<double>::quiet_NaN()},
          wire::metric{.name = "m", .value = -std::numeric_limits<double>::infinity()}}) {
        trial hostile;
        hostile.begins_body().say(none);
        CHECK(hostile.last.publish.empty());
        CHECK(hostile.why() == reason::infrastructure);
    }
    trial early;
    early.says_hello().say(sound);
    CHECK(early.why() == reason::infrastructure);
}

TEST_CASE("what a guest can repeat without end is bounded", "[attempt]") {
    trial t;
    t.begins_body();
    const wire::output block{wire::stream::out, std::string(wire::output_chunk, 'x')};
    std::size_t published = 0;
    for (int i = 0; i < 1200; ++i)
        for (const auto& e : t.say(block).publish)
            published += std::get<test_output>(e).bytes.size();
    CHECK(published <=
          wire::max_output_per_test + wire::max_scheduler_output + 2 * wire::output_chunk);
    published = 0;
    for (int i = 0; i < 300; ++i) {
        published += t.say(wire::check{}).publish.size();
        t.say(wire::log{"again"});
        t.say(wire::worker{.completed = false});
    }
    CHECK(published == wire::max_failed_checks_sent);
    CHECK(t.state().seen().failed_checks == 300);
    CHECK(t.state().remarks().size() <= 32);
}

// Whatever comes in whatever order: it settles once, its verdict stays, and the clock alone is enough.
TEST_CASE("hundreds of disorderly lives all end", "[attempt]") {
    std::mt19937 random(20);
    const auto below = [&random](unsigned n) { return random() % n; };
    for (int life = 0; life < 800; ++life) {
        INFO("life " << life);
        trial t(below(2) == 0, below(8) != 0);
        t.boots();
        bool settled = false;
        for (int i = 0; i < 60; ++i) {
            t.now += std::chrono::milliseconds(below(400));
            const auto before = t.verdict();
            // Mostly what a guest would do next, so that some lives get far.
            switch (below(14)) {
                case 0:
                    t.say(wire::hello{.calibration_ns = 100});
                    break;
                case 1:
                case 2:
                    t.enter(all_stages[below(6)]);
                    break;
                case 3:
                    t.end(static_cast<reason>(below(19)), below(2));
                    break;
                case 4:
                    t.say(wire::check{});
                    break;
                case 5:
                    t.console(below(3) == 0 ? std::optional<reason>(reason::oops) : std::nullopt);
                    break;
                case 6:
                    if (below(8) == 0)
                        t.ends(static_cast<int>(below(2) * 9));
                    break;
                case 7:
                    if (below(8) == 0)
                        t.tell(happened::link_closed{});
                    break;
                case 8:
                    t.say(wire::pong{below(3)});
                    break;
                case 9:
                    t.say(wire::log{"x"});
                    break;
                default:
                    t.tell(happened::tick{});
            }
            REQUIRE((!settled || t.last.settled));
            if (settled && !t.state().seen().sign)
                CHECK(t.verdict().why == before.why);
            settled = t.last.settled;
            CHECK(t.last.wake <= t.now + 60s);
        }
        CHECK(t.waits() <= 120s);
        const auto j = t.verdict();
        CHECK((j.result == verdict_of(j.why)));
    }
}

TEST_CASE("facts of a scheduler are told once, and of a scheduler that the test has", "[attempt]") {
    trial t, twice;
    t.begins_body();
    const wire::scheduler_facts facts{.ops = "simple", .ended = true, .message = "why"};
    t.say(facts);
    CHECK(t.state().scheduler().value().message == "why");
    CHECK_FALSE(t.last.settled);
    twice.begins_body();
    twice.say(facts);
    twice.say(facts);
    CHECK(twice.broke_the_link());

    // A pass without a word of the attach is none.
    for (const bool with_facts : {false, true}) {
        trial unproved;
        unproved.begins_body();
        if (with_facts)
            unproved.say(wire::scheduler_facts{});
        unproved.enter(wire::guest_stage::collecting);
        unproved.end(reason::none);
        CHECK(unproved.why() == reason::infrastructure);
    }

    trial without(false, true, false);
    without.begins_body();
    without.say(facts);
    CHECK(without.broke_the_link());
    trial liar(false, true, false);
    liar.begins_body();
    liar.enter(wire::guest_stage::collecting);
    liar.end(reason::scheduler_exit);
    CHECK(liar.broke_the_link());
}

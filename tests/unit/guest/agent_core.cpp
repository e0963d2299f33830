// SPDX-License-Identifier: MIT
// Every order in which a host's frames and the ends of processes can reach an agent, on fakes.
#include <ktstr/guest/agent_core.hpp>

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

using namespace ktstr;
using namespace ktstr::guest;

namespace {

constexpr const char* one_cpu = "1n1l1c1t";

struct fake : agent_deeds {
    std::vector<wire::frame> sent;
    std::vector<std::string> complaints;
    std::vector<std::string> did;
    std::uint64_t now = 1;
    std::uint64_t timer_ns = 0;
    std::optional<std::string> state;  ///< of the scheduler, while it runs
    std::string ops = "simple";        ///< its name, while it is attached
    std::optional<bool> partial;
    std::string words;  ///< its last ones
    std::string newcomers_words;
    std::string started;  ///< the program and its arguments
    std::vector<std::string> counters, answers;
    std::optional<int> cpus = 1;
    bool elsewhere = false;
    bool startable = true;
    bool provable = true;

    void send(const std::vector<wire::frame>& frames) override {
        sent.insert(sent.end(), frames.begin(), frames.end());
    }
    void complain(const std::string& why) override { complaints.push_back(why); }
    [[nodiscard]] std::uint64_t boot_ns() const override { return now; }
    void set_timer(std::uint64_t first, std::uint64_t) override { timer_ns = first; }
    void set_wall_clock(std::uint64_t) override { did.emplace_back("clock"); }
    [[nodiscard]] wire::topology_proof prove(const topology&, const wire::run_test&) override {
        return {.matches = provable, .observed = one_cpu, .difference = "a difference"};
    }
    [[nodiscard]] std::optional<int> online_cpus() override { return cpus; }
    [[nodiscard]] result<void> start(const char* what) {
        did.emplace_back(what);
        return startable ? result<void>() : result<void>(plain_error("start", what, "a fault"));
    }
    [[nodiscard]] result<void> start_scheduler(const std::string& path,
                                               const std::vector<std::string>& args) override {
        state = "disabled";
        started = path;
        for (const auto& one : args)
            started += ' ' + one;
        return start("scheduler");
    }
    [[nodiscard]] result<void> start_newcomer(const std::string& path,
                                              const std::vector<std::string>&) override {
        started = path;
        return start("newcomer");
    }
    void hand_over() override { did.emplace_back("hand over"); }
    void drop_newcomer() override { did.emplace_back("drop newcomer"); }
    void drop_retired() override { did.emplace_back("drop retired"); }
    [[nodiscard]] std::string newcomer_words() const override { return newcomers_words; }
    [[nodiscard]] result<void> write_setting(const std::string& one) override {
        return start(("write " + one).c_str());
    }
    void signal_scheduler(int signal) override {
        did.push_back("signal " + std::to_string(signal));
    }
    void drop_scheduler() override {
        did.emplace_back("drop scheduler");
        state.reset();
    }
    [[nodiscard]] std::optional<std::string> scheduler_state() const override { return state; }
    [[nodiscard]] std::string scheduler_ops() const override { return ops; }
    [[nodiscard]] std::optional<bool> scheduler_is_partial() const override { return partial; }
    [[nodiscard]] std::string scheduler_words() const override { return words; }
    [[nodiscard]] std::vector<std::string> scheduler_counters() const override { return counters; }
    [[nodiscard]] std::uint64_t scheduler_output_dropped() const override { return 7; }
    void answer_exit(std::uint64_t asker, const std::optional<scx_exit_record>& end) override {
        answers.push_back(std::to_string(asker) + ' ' + (end ? end->message : "nothing"));
    }
    void answer_done(std::uint64_t asker, std::uint64_t gap_ns) override {
        answers.push_back(std::to_string(asker) + " done" +
                          (gap_ns == 0 ? "" : " in " + std::to_string(gap_ns)));
    }
    void refuse(std::uint64_t asker, scheduler_error::cause why, const std::string& what) override {
        answers.push_back(
            std::to_string(asker) +
            (why == scheduler_error::cause::attach ? " not attached: " : " mistake: ") + what);
    }
    [[nodiscard]] result<void> set_sysctl(const std::string& one) override {
        return start(("sysctl " + one).c_str());
    }
    [[nodiscard]] bool body_is_elsewhere() const override { return elsewhere; }
    [[nodiscard]] result<void> begin_body(const wire::run_test&) override { return start("body"); }
    void kill_body() override { did.emplace_back("kill body"); }
    void repeat_first_words() override { did.emplace_back("first words"); }
    void end_children() override { did.emplace_back("end children"); }
    [[nodiscard]] result<void> start_command(const wire::run_command&) override {
        return start("command");
    }
    void write_input(const std::string&) override { did.emplace_back("input"); }
    void resize(const wire::window_size&) override { did.emplace_back("resize"); }
};

struct trial {
    fake deeds;
    agent_core core{deeds};

    template <class Message>
    trial& hears(const Message& message) {
        core.on_frame({Message::type, wire::encode(message)});
        return *this;
    }
    trial& welcomed() { return hears(wire::welcome{}); }
    trial& ordered(std::string scheduler = {}) {
        return hears(wire::run_test{.name = "t",
                                    .topology = one_cpu,
                                    .timeout_ms = 100'000,
                                    .scheduler = std::move(scheduler)});
    }
    /// A test whose body runs.
    trial& runs(std::string scheduler = {}) {
        const bool with = !scheduler.empty();
        welcomed().ordered(std::move(scheduler));
        if (with)
            attaches();
        REQUIRE(core.phase() == agent_phase::body);
        return *this;
    }
    trial& attaches(std::string name = "simple") {
        deeds.state = "enabled";
        core.on_scheduler_news({.what = scx_news::kind::attached, .name = std::move(name)});
        return *this;
    }
    /// A template with the scheduler attached, which takes 5 ns.
    trial& becomes_template() {
        core.become_template();
        ordered("/s");
        deeds.now += 5;
        return attaches();
    }
    /// Its clone, with an order like the template's.
    trial& wakes(std::vector<std::string> arguments = {}, bool attached = true) {
        core.wake();
        return hears(wire::welcome{})
            .hears(wire::run_test{.name = "t",
                                  .topology = one_cpu,
                                  .timeout_ms = 100'000,
                                  .prove_topology = false,
                                  .scheduler = "/s",
                                  .scheduler_args = std::move(arguments),
                                  .attached = attached});
    }
    trial& is_leaving() {
        core.on_scheduler_news({.what = scx_news::kind::leaving});
        return *this;
    }
    /// The kernel's record of its end.
    trial& ends(scx_exit_kind kind, std::string reason, std::string message = {}) {
        deeds.state = "disabled";
        core.on_scheduler_news({.what = scx_news::kind::ended,
                                .end = {.record = {.kind = kind,
                                                   .reason = std::move(reason),
                                                   .message = std::move(message)},
                                        .fell_back_ns = 5}});
        return *this;
    }
    trial& unregisters() {
        return is_leaving().ends(scx_exit_kind::unregistered, "unregistered from user space");
    }
    /// The timer rings when it was asked to.
    trial& rings() {
        REQUIRE(deeds.timer_ns != 0);
        deeds.now += deeds.timer_ns;
        core.on_timer();
        return *this;
    }
    trial& reaches(agent_phase phase) {
        switch (phase) {
            case agent_phase::greeting:
                break;
            case agent_phase::idle:
                welcomed();
                break;
            case agent_phase::command:
                welcomed().hears(wire::run_command{.argv = {"sh"}});
                break;
            case agent_phase::attaching:
                welcomed().ordered("/s");
                break;
            case agent_phase::resting:
                becomes_template();
                break;
            case agent_phase::doubting:
                becomes_template().core.on_scheduler_end("was killed by SIGKILL");
                wakes();
                break;
            case agent_phase::arriving:
                deeds.elsewhere = true;
                welcomed().ordered();
                break;
            case agent_phase::body:
                runs();
                break;
            case agent_phase::cutting:
                runs().rings();
                break;
            case agent_phase::settling:
                runs("/s").is_leaving().core.on_body_end(
                    {.verdict = verdict::pass, .reason = reason::none});
                break;
            case agent_phase::finished:
                runs().core.on_body_end({.verdict = verdict::pass, .reason = reason::none});
                break;
            case agent_phase::left:
                hears(wire::power_off{});
                break;
        }
        REQUIRE(core.phase() == phase);
        return *this;
    }
    template <class Message>
    [[nodiscard]] std::vector<Message> said() const {
        std::vector<Message> all;
        for (const auto& f : deeds.sent)
            if (f.type == Message::type)
                all.push_back(wire::decode<Message>(f.payload).value());
        return all;
    }
    [[nodiscard]] wire::outcome outcome() const {
        const auto all = said<wire::outcome>();
        REQUIRE(all.size() == 1);
        REQUIRE(deeds.sent.back().type == wire::message_type::stage);
        CHECK(said<wire::stage>().back().at == wire::guest_stage::done);
        return all.front();
    }
    [[nodiscard]] int times(const std::string& deed) const {
        int n = 0;
        for (const auto& one : deeds.did)
            n += one == deed;
        return n;
    }
};

constexpr agent_phase all_phases[] = {
    agent_phase::greeting, agent_phase::idle,     agent_phase::command, agent_phase::attaching,
    agent_phase::doubting, agent_phase::arriving, agent_phase::body,    agent_phase::cutting,
    agent_phase::settling, agent_phase::finished};

const wire::outcome passed{.verdict = verdict::pass, .reason = reason::none};

}  // namespace

TEST_CASE("a test runs from its order to its outcome", "[agent]") {
    trial t;
    t.hears(wire::welcome{.wall_clock_ns = 5}).ordered();
    CHECK(t.times("clock") == 1);
    CHECK(t.times("body") == 1);
    CHECK(t.deeds.timer_ns == 100'000'000'000U);
    t.core.on_body_end(passed);
    CHECK(t.outcome().verdict == verdict::pass);
    CHECK(t.deeds.timer_ns == 0);
    CHECK(t.times("end children") == 1);
    t.hears(wire::ping{7});
    CHECK(t.said<wire::pong>().at(0).token == 7);
    t.hears(wire::power_off{});
    CHECK(t.core.left());
    CHECK(t.deeds.complaints.empty());
}

TEST_CASE(
    "whatever an agent does not understand it says on its console and its link, then it leaves",
    "[agent]") {
    const wire::frame wrong[] = {
        {static_cast<wire::message_type>(999), ""},
        {wire::message_type::hello, wire::encode(wire::hello{})},
        {wire::message_type::outcome, wire::encode(wire::outcome{})},
        {wire::message_type::resume, wire::encode(wire::resume{})},
        {wire::message_type::run_test, "x"},
        {wire::message_type::run_command, ""},
        {wire::message_type::ping, "four"},
        {wire::message_type::input, ""},
        {wire::message_type::window_size, "1"},
        {wire::message_type::welcome, "1"},
        {wire::message_type::welcome, wire::encode(wire::welcome{.version = 1})}};
    for (const auto phase : all_phases)
        for (const auto& f : wrong) {
            trial t;
            t.reaches(phase);
            t.core.on_frame(f);
            INFO(to_text(phase) << ", type " << static_cast<int>(f.type));
            CHECK(t.core.left());
            REQUIRE(t.deeds.complaints.size() == 1);
            REQUIRE_FALSE(t.deeds.sent.empty());
            REQUIRE(t.deeds.sent.back().type == wire::message_type::log);
            CHECK(t.said<wire::log>().back().text == t.deeds.complaints.front());
            CHECK(t.deeds.complaints.front().find(to_text(phase)) != std::string::npos);
            // Not twice, and nothing after it.
            t.core.on_frame(f);
            t.core.on_link_end("bytes that are not a frame");
            CHECK(t.deeds.complaints.size() == 1);
        }
}

TEST_CASE("an order out of turn is refused in words", "[agent]") {
    for (const auto phase : all_phases) {
        for (const bool test : {true, false}) {
            trial t;
            t.reaches(phase);
            const auto before = t.deeds.did.size();
            if (test)
                t.ordered();
            else
                t.hears(wire::run_command{.argv = {"sh"}});
            INFO(to_text(phase));
            CHECK(t.core.left() == (phase != agent_phase::idle));
            CHECK(t.deeds.complaints.empty() == (phase == agent_phase::idle));
            if (phase != agent_phase::idle)
                CHECK(t.deeds.did.size() == before);
        }
        if (phase != agent_phase::greeting) {
            trial t;
            t.reaches(phase).welcomed();
            CHECK(t.core.left());
        }
    }
}

TEST_CASE("a host that is gone and a power-off need no words; a broken stream does", "[agent]") {
    for (const auto phase : all_phases) {
        trial off, gone, broken;
        off.reaches(phase).hears(wire::power_off{});
        gone.reaches(phase).core.on_link_end({});
        broken.reaches(phase).core.on_link_end("bytes that are not a frame");
        CHECK((off.core.left() && gone.core.left() && broken.core.left()));
        CHECK((off.deeds.complaints.empty() && gone.deeds.complaints.empty()));
        CHECK(broken.deeds.complaints.size() == 1);
    }
}

TEST_CASE("a machine that is not the test's runs no body", "[agent]") {
    trial other, fewer, unknown, keeper;
    other.deeds.provable = false;
    other.welcomed().ordered();
    CHECK(other.outcome().reason == reason::topology_mismatch);
    CHECK(other.outcome().verdict == verdict::inconclusive);
    fewer.deeds.cpus = 3;
    fewer.welcomed().ordered();
    CHECK(fewer.outcome().message == "the guest has 3 CPUs and not 1");
    unknown.welcomed().hears(wire::run_test{.topology = "a lot"});
    CHECK(unknown.outcome().reason == reason::infrastructure);
    for (const auto* t : {&other, &fewer, &unknown})
        CHECK(t->times("body") == 0);
    keeper.deeds.cpus.reset();  // a host_only body's machine is the host
    keeper.welcomed().ordered();
    CHECK(keeper.core.phase() == agent_phase::body);
}

TEST_CASE("a body waits for its scheduler, for its time only", "[agent]") {
    trial t;
    t.reaches(agent_phase::attaching);
    t.core.on_timer();  // too early
    CHECK(t.times("body") == 0);
    t.attaches();
    CHECK(t.times("body") == 1);
    t.core.on_body_end(passed);
    CHECK(t.outcome().verdict == verdict::pass);
    REQUIRE(t.said<wire::scheduler_facts>().size() == 1);
    CHECK(t.said<wire::scheduler_facts>()[0].ops == "simple");
    CHECK_FALSE(t.said<wire::scheduler_facts>()[0].ended);

    trial late;
    late.deeds.words = "nothing to do";
    late.reaches(agent_phase::attaching).rings();
    CHECK(late.said<wire::outcome>().empty());
    late.deeds.now += 100'000'000'000U;
    late.rings();
    CHECK(late.outcome().reason == reason::scheduler_attach);
    CHECK(late.outcome().verdict == verdict::fail);
    CHECK(late.outcome().message ==
          "nothing to do; the scheduler /s was not attached in 100000 ms; its process still runs");
    CHECK(late.times("body") == 0);
    CHECK(late.times("drop scheduler") == 1);

    // Nobody heard the kernel's word for it, and it is attached.
    trial unheard;
    unheard.reaches(agent_phase::attaching).deeds.state = "enabled";
    unheard.rings();
    CHECK(unheard.core.phase() == agent_phase::body);

    trial none;
    none.deeds.startable = false;
    none.welcomed().ordered("/s");
    CHECK(none.outcome().reason == reason::scheduler_attach);
}

TEST_CASE("sysctls are set before the scheduler starts, and one that can't be is nobody's failure",
          "[agent]") {
    const wire::run_test order{.topology = one_cpu,
                               .timeout_ms = 1000,
                               .scheduler = "/s",
                               .sysctls = {"kernel.a=1", "kernel.b=2"}};
    trial t, bad;
    t.welcomed().hears(order);
    CHECK(t.deeds.did ==
          std::vector<std::string>{"sysctl kernel.a=1", "sysctl kernel.b=2", "scheduler"});
    // The kernel's own has some, too.
    trial own;
    auto without = order;
    without.scheduler.clear();
    own.welcomed().hears(without);
    CHECK(own.deeds.did ==
          std::vector<std::string>{"sysctl kernel.a=1", "sysctl kernel.b=2", "body"});
    bad.deeds.startable = false;
    bad.welcomed().hears(order);
    CHECK(bad.outcome().reason == reason::infrastructure);
    CHECK(bad.outcome().verdict == verdict::inconclusive);
    CHECK(bad.times("scheduler") == 0);
}

TEST_CASE("a scheduler that does not come up has the last word", "[agent]") {
    trial exits;
    exits.deeds.words = "invalid option -- 'z'";
    exits.reaches(agent_phase::attaching).core.on_scheduler_end("exited with status 1");
    CHECK(exits.outcome().reason == reason::scheduler_attach);
    CHECK(exits.outcome().message ==
          "invalid option -- 'z'; the scheduler /s was not attached, and its process exited with "
          "status 1");
    exits.core.on_body_arrived();
    exits.core.on_timer();
    CHECK(exits.times("body") == 0);

    trial background;
    background.reaches(agent_phase::attaching).core.on_scheduler_end("exited with status 0");
    CHECK(background.outcome().message.find("goes into the background") != std::string::npos);

    // The kernel took it off again, and its process has not noticed.
    trial init;
    init.reaches(agent_phase::attaching)
        .is_leaving()
        .ends(scx_exit_kind::error, "runtime error", "ops.init() failed (-22)");
    CHECK(init.outcome().reason == reason::scheduler_attach);
    CHECK(init.outcome().message.starts_with("runtime error: ops.init() failed (-22); "));
    CHECK(init.times("drop scheduler") == 1);
    CHECK(init.said<wire::scheduler_facts>().at(0).message == "ops.init() failed (-22)");

    // Its process was faster than the kernel's record, which is waited for.
    trial faster;
    faster.reaches(agent_phase::attaching)
        .is_leaving()
        .core.on_scheduler_end("exited with status 1");
    CHECK(faster.said<wire::outcome>().empty());
    faster.ends(scx_exit_kind::error_bpf, "scx_bpf_error", "no");
    CHECK(faster.outcome().message.starts_with("scx_bpf_error: no; "));
}

TEST_CASE("an end that nobody waits for fails the test after a moment, in the kernel's words",
          "[agent]") {
    trial t;
    t.runs("/s").is_leaving().ends(scx_exit_kind::error_stall, "runnable task stall",
                                   "a[1] did not run");
    CHECK(t.times("kill body") == 0);
    CHECK(t.deeds.timer_ns == scheduler_core::grace_ns);
    t.deeds.timer_ns = scheduler_core::grace_ns;
    t.rings();
    CHECK(t.times("kill body") == 1);
    t.core.on_body_end({.verdict = verdict::fail, .reason = reason::signal});
    CHECK(t.outcome().reason == reason::scheduler_exit);
    CHECK(t.outcome().message ==
          "the scheduler simple ended: runnable task stall: a[1] did not run");
    const auto facts = t.said<wire::scheduler_facts>().at(0);
    CHECK((facts.ended && facts.kind == "error_stall" && facts.fell_back_ns == 5));
    CHECK(facts.state_after == "disabled");
    CHECK(facts.output_dropped == 7);

    // A body that ends by itself meanwhile has lost its scheduler all the same.
    trial passes;
    passes.runs("/s").unregisters().core.on_scheduler_end("was killed by SIGSEGV");
    passes.core.on_body_end(passed);
    CHECK(passes.outcome().reason == reason::scheduler_exit);
    CHECK(passes.outcome().message ==
          "the scheduler simple ended: unregistered from user space; its process was killed by "
          "SIGSEGV");

    // The record is on its way when the body ends.
    for (const bool comes : {true, false}) {
        trial due;
        due.reaches(agent_phase::settling);
        CHECK(due.said<wire::outcome>().empty());
        if (comes)
            due.ends(scx_exit_kind::error, "runtime error", "why");
        else
            due.rings();
        CHECK(due.outcome().reason == reason::scheduler_exit);
        CHECK((due.outcome().message.find("why") != std::string::npos));
    }

    // Its process is gone, and the kernel keeps it: something else holds it.
    trial held;
    held.runs("/s").core.on_scheduler_end("exited with status 0");
    held.rings();
    CHECK(held.times("kill body") == 1);
    held.core.on_body_end({.verdict = verdict::fail, .reason = reason::signal});
    CHECK(held.outcome().message.find("still has it attached") != std::string::npos);

    // No event came, and the state says it.
    trial silent;
    silent.runs("/s").deeds.state = "disabled";
    silent.core.on_body_end(passed);
    CHECK(silent.outcome().reason == reason::scheduler_exit);
    CHECK(silent.outcome().message.find("is 'disabled'") != std::string::npos);

    trial before;
    before.deeds.elsewhere = true;
    before.welcomed().ordered("/s").attaches().is_leaving().ends(scx_exit_kind::error,
                                                                 "runtime error");
    CHECK(before.outcome().reason == reason::scheduler_exit);
    CHECK(before.times("body") == 0);

    trial after;
    after.runs("/s").core.on_body_end(passed);
    after.unregisters().core.on_scheduler_end("was killed by SIGKILL");
    CHECK(after.outcome().verdict == verdict::pass);
    CHECK(after.said<wire::outcome>().size() == 1);
}

TEST_CASE("an end that somebody waits for is the test's business", "[agent]") {
    trial before, after, late, none;
    before.runs("/s").core.on_ask_exit(4, 5000);
    before.core.on_ask_exit(5, 5000);
    CHECK(before.deeds.answers.empty());
    before.is_leaving().ends(scx_exit_kind::error, "runtime error", "why");
    CHECK(before.deeds.answers == std::vector<std::string>{"4 why", "5 why"});
    after.runs("/s").is_leaving().ends(scx_exit_kind::error, "runtime error", "why");
    after.core.on_ask_exit(4, 5000);
    after.core.on_ask_exit(5, 0);
    CHECK(after.deeds.answers == std::vector<std::string>{"4 why", "5 why"});
    for (auto* t : {&before, &after}) {
        CHECK(t->deeds.timer_ns != scheduler_core::grace_ns);  // the body's time alone
        t->core.on_body_end(passed);
        CHECK(t->outcome().verdict == verdict::pass);
    }

    late.runs("/s").core.on_ask_exit(4, 10);
    CHECK(late.deeds.timer_ns == 10'000'000);
    late.rings();
    CHECK(late.deeds.answers == std::vector<std::string>{"4 nothing"});
    late.core.on_body_end(passed);
    CHECK(late.outcome().verdict == verdict::pass);

    none.runs().core.on_ask_exit(4, 5000);
    CHECK(none.deeds.answers == std::vector<std::string>{"4 nothing"});
}

TEST_CASE("a body detaches, attaches and kills its scheduler", "[agent]") {
    trial t;
    t.runs("/s").core.on_ask_deed(1, scheduler_deed::detach, 0);
    CHECK(t.times("signal 2") == 1);
    t.rings();
    CHECK(t.times("signal 15") == 1);
    t.unregisters();
    CHECK(t.deeds.answers.empty());  // until its process is gone too
    t.core.on_scheduler_end("exited with status 0");
    CHECK(t.deeds.answers == std::vector<std::string>{"1 done"});
    t.core.on_ask_deed(2, scheduler_deed::detach, 0);
    CHECK(t.deeds.answers.back() == "2 mistake: it is not attached");
    t.core.on_ask_deed(3, scheduler_deed::signal, 9);
    CHECK(t.deeds.answers.back() == "3 mistake: the scheduler's process is gone");

    t.core.on_ask_deed(4, scheduler_deed::attach, 0);
    CHECK(t.times("scheduler") == 2);
    t.attaches();
    CHECK(t.deeds.answers.back() == "4 done");
    t.core.on_ask_deed(5, scheduler_deed::attach, 0);
    CHECK(t.deeds.answers.back() == "5 mistake: it is attached already");

    t.core.on_ask_deed(6, scheduler_deed::restart, 0);
    t.core.on_ask_deed(7, scheduler_deed::detach, 0);
    CHECK(t.deeds.answers.back().starts_with("7 mistake: another thread"));
    t.core.on_scheduler_end("exited with status 0");
    t.unregisters();
    CHECK(t.times("scheduler") == 3);
    t.attaches();
    CHECK(t.deeds.answers.back() == "6 done");

    t.core.on_ask_deed(8, scheduler_deed::signal, 10);
    CHECK(t.times("signal 10") == 1);
    CHECK(t.deeds.answers.back() == "8 done");

    // One that does not come up again.
    t.deeds.words = "no more";
    t.core.on_ask_deed(9, scheduler_deed::restart, 0);
    t.core.on_scheduler_end("exited with status 0");
    t.unregisters().core.on_scheduler_end("exited with status 1");
    CHECK(t.deeds.answers.back().starts_with("9 not attached: no more; "));
    t.core.on_body_end(passed);
    CHECK(t.outcome().verdict == verdict::pass);

    trial stubborn;
    stubborn.runs("/s").core.on_ask_deed(1, scheduler_deed::detach, 0);
    stubborn.rings().rings();
    CHECK(stubborn.times("signal 9") == 1);
    stubborn.rings();
    CHECK(stubborn.deeds.answers.back().find("something else holds it") != std::string::npos);

    trial none;
    none.runs().core.on_ask_deed(1, scheduler_deed::detach, 0);
    CHECK(none.deeds.answers.back().find("no scheduler") != std::string::npos);
}

TEST_CASE("an end that nobody waits for stays one when it is attached again", "[agent]") {
    // Its loader attaches it again by itself, or the body does.
    for (const bool by_body : {false, true}) {
        trial t;
        t.runs("/s").is_leaving().ends(scx_exit_kind::error, "runtime error", "why");
        if (by_body) {
            t.core.on_ask_deed(1, scheduler_deed::attach, 0);
            t.core.on_scheduler_end("exited with status 0");
        }
        t.attaches();
        CHECK((!by_body || t.deeds.answers == std::vector<std::string>{"1 done"}));
        t.deeds.timer_ns = scheduler_core::grace_ns;
        t.rings();
        CHECK(t.times("kill body") == 1);
        t.core.on_body_end({.verdict = verdict::fail, .reason = reason::signal});
        CHECK(t.outcome().reason == reason::scheduler_exit);
        CHECK(t.outcome().message ==
              "the scheduler simple ended: runtime error: why; it was attached again after that");
        const auto facts = t.said<wire::scheduler_facts>().at(0);
        CHECK((facts.ended && facts.kind == "error" && facts.message == "why"));
        CHECK((facts.fell_back_ns == 5 && facts.state_after == "disabled"));
    }

    // A body that ends at once, and one that asks after all: each end is asked for once.
    trial quick, asks;
    quick.runs("/s").is_leaving().ends(scx_exit_kind::error, "runtime error", "why");
    quick.attaches().core.on_body_end(passed);
    CHECK(quick.outcome().reason == reason::scheduler_exit);

    asks.runs("/s");
    for (const char* message : {"one", "two"})
        asks.is_leaving().ends(scx_exit_kind::unregistered_bpf, "r", message).attaches();
    asks.core.on_ask_exit(4, 5000);
    asks.core.on_ask_exit(5, 5000);
    CHECK(asks.deeds.answers == std::vector<std::string>{"4 one", "5 two"});
    CHECK(asks.deeds.timer_ns > scheduler_core::grace_ns);
    asks.core.on_body_end(passed);
    CHECK(asks.outcome().verdict == verdict::pass);
    CHECK_FALSE(asks.said<wire::scheduler_facts>().at(0).ended);

    trial one_left;
    one_left.runs("/s");
    for (const char* message : {"one", "two"})
        one_left.is_leaving().ends(scx_exit_kind::unregistered_bpf, "r", message).attaches();
    one_left.core.on_ask_exit(4, 5000);
    CHECK(one_left.deeds.timer_ns == scheduler_core::grace_ns);
    one_left.core.on_body_end(passed);
    CHECK(one_left.outcome().message.find("ended: r: two;") != std::string::npos);
}

TEST_CASE("ends that are too many to be kept stay a failure", "[agent]") {
    for (const std::size_t more : {0U, 1U, 2U}) {
        trial t;
        t.runs("/s");
        const auto most = scheduler_core::most_buried;
        for (std::size_t i = 0; i < most + more; ++i)
            t.is_leaving().ends(scx_exit_kind::unregistered_bpf, "r", std::to_string(i)).attaches();
        for (std::size_t i = 0; i < most; ++i)
            t.core.on_ask_exit(i, 5000);
        CHECK(t.deeds.answers.size() == most);
        t.core.on_body_end(passed);
        CHECK((t.outcome().verdict == verdict::pass) == (more == 0));
        if (more == 0)
            continue;
        CHECK(t.outcome().reason == reason::scheduler_exit);
        CHECK(t.outcome().message ==
              "the scheduler simple ended: r: 16; it was attached again after that" +
                  std::string(more == 2 ? ", and ended 1 more time" : ""));
        CHECK(t.said<wire::scheduler_facts>().at(0).message == "16");
    }
    // Asking on does not make it the test's business.
    trial asks;
    asks.runs("/s");
    for (std::size_t i = 0; i <= scheduler_core::most_buried; ++i)
        asks.is_leaving().ends(scx_exit_kind::unregistered_bpf, "r").attaches();
    for (std::size_t i = 0; i <= scheduler_core::most_buried; ++i)
        asks.core.on_ask_exit(i, 5000);
    asks.is_leaving().ends(scx_exit_kind::unregistered, "wanted");
    CHECK(asks.deeds.answers.size() == scheduler_core::most_buried + 1);
    asks.core.on_body_end(passed);
    CHECK(asks.outcome().reason == reason::scheduler_exit);
}

TEST_CASE("a template attaches a scheduler, and says nothing of it", "[agent][attached]") {
    trial t;
    t.core.become_template();
    t.hears(wire::run_test{
        .name = "t", .timeout_ms = 100'000, .scheduler = "/s", .sysctls = {"a.b=1"}});
    CHECK(t.deeds.did == std::vector<std::string>{"sysctl a.b=1", "scheduler"});
    CHECK_FALSE(t.core.rests());
    t.attaches();
    CHECK(t.core.rests());
    CHECK(t.core.fault().empty());
    CHECK(t.deeds.timer_ns == 0);
    CHECK(t.deeds.sent.empty());
    CHECK(t.times("body") == 0);

    // It ends while the machine comes to rest.
    t.is_leaving();
    CHECK_FALSE(t.core.rests());
    t.ends(scx_exit_kind::error, "runtime error", "why");
    CHECK(t.core.fault() == "the scheduler simple ended: runtime error: why");
    CHECK(t.deeds.sent.empty());

    trial refuses, late, no_sysctl, no_body;
    refuses.core.become_template();
    refuses.ordered("/s").core.on_scheduler_end("exited with status 1");
    CHECK_FALSE(refuses.core.rests());
    CHECK(refuses.core.phase() == agent_phase::finished);
    CHECK(refuses.core.fault() ==
          "the scheduler /s was not attached, and its process exited with status 1");
    CHECK(refuses.deeds.sent.empty());

    late.core.become_template();
    late.ordered("/s").deeds.now += 100'000'000'000U;
    late.core.on_timer();
    CHECK(late.core.fault().find("was not attached in 100000 ms") != std::string::npos);
    CHECK(late.times("drop scheduler") == 1);

    no_sysctl.deeds.startable = false;
    no_sysctl.core.become_template();
    no_sysctl.hears(wire::run_test{.scheduler = "/s", .sysctls = {"a.b=1"}});
    CHECK(no_sysctl.core.fault().find("sysctl a.b=1") != std::string::npos);

    no_body.becomes_template().core.on_body_end(
        {.verdict = verdict::inconclusive, .reason = reason::infrastructure, .message = "gone"});
    CHECK_FALSE(no_body.core.rests());
    CHECK(no_body.core.fault() == "gone");

    trial confused;
    confused.becomes_template().hears(wire::welcome{});
    CHECK(confused.core.left());
    CHECK(confused.core.fault() == "the host sent a welcome (while the scheduler starts)");
}

TEST_CASE("a clone proves the scheduler of its template before the body", "[agent][attached]") {
    trial t;
    t.becomes_template();
    t.deeds.counters = {"SCX_EV_BYPASS_ACTIVATE 3"};
    t.deeds.now += 1'000'000'000'000U;
    t.wakes();
    CHECK(t.core.phase() == agent_phase::body);
    CHECK(t.times("scheduler") == 1);
    CHECK(t.times("first words") == 1);
    CHECK(t.said<wire::stage>().at(0).at == wire::guest_stage::starting_scheduler);
    t.deeds.counters = {"SCX_EV_BYPASS_ACTIVATE 4"};
    t.core.on_body_end(passed);
    CHECK(t.outcome().verdict == verdict::pass);
    const auto facts = t.said<wire::scheduler_facts>().at(0);
    CHECK(facts.ops == "simple");
    CHECK_FALSE(facts.attach_ns);  // not zero: this test attached nothing
    CHECK(facts.counters == std::vector<std::string>{"SCX_EV_BYPASS_ACTIVATE 1"});
    CHECK_FALSE(facts.ended);

    // All that a body can do it can do there.
    trial again;
    again.becomes_template().wakes().core.on_ask_deed(1, scheduler_deed::restart, 0);
    again.unregisters().core.on_scheduler_end("exited with status 0");
    again.attaches();
    CHECK(again.deeds.answers == std::vector<std::string>{"1 done"});
    again.core.on_body_end(passed);
    CHECK(again.outcome().verdict == verdict::pass);
    CHECK_FALSE(again.said<wire::scheduler_facts>().at(0).attach_ns);

    trial ends;
    ends.becomes_template().wakes().is_leaving().ends(scx_exit_kind::error, "runtime error", "why");
    ends.core.on_body_end(passed);
    CHECK(ends.outcome().message == "the scheduler simple ended: runtime error: why");
}

TEST_CASE("a scheduler that was gone when its clone woke is a verdict without a body",
          "[agent][attached]") {
    const auto refused = [](trial& t, const char* words) {
        CHECK(t.outcome().reason == reason::scheduler_exit);
        CHECK(t.outcome().message.find(words) != std::string::npos);
        CHECK(t.times("body") == 0);
    };
    // Before the first word to the clone, all of it or its beginning.
    trial ended, leaving, process, never, state, name, late;
    ended.becomes_template().deeds.counters = {"SCX_EV_BYPASS_ACTIVATE 3"};
    ended.is_leaving().deeds.counters = {};
    ended.ends(scx_exit_kind::error, "runtime error", "why").wakes();
    refused(ended, "the scheduler simple ended: runtime error: why");
    // What the template's kernel counted is none of the test's.
    CHECK(ended.said<wire::scheduler_facts>().at(0).counters.empty());

    leaving.becomes_template().is_leaving().wakes();
    CHECK(leaving.core.phase() == agent_phase::doubting);
    leaving.ends(scx_exit_kind::error_stall, "runnable task stall");
    refused(leaving, "the scheduler simple ended: runnable task stall");

    process.reaches(agent_phase::doubting);
    process.unregisters();
    refused(process, "unregistered from user space; its process was killed by SIGKILL");

    never.reaches(agent_phase::doubting).rings();
    refused(never, "the kernel still has it attached");

    late.becomes_template().is_leaving().wakes().rings();
    refused(late, "is being ended by the kernel, which has not said why");

    // No event came.
    state.becomes_template().deeds.state = "disabled";
    state.wakes();
    refused(state, "is 'disabled'");
    name.becomes_template().deeds.ops = "another";
    name.wakes();
    refused(name, "was attached in this machine's template, and in the machine 'another' is");
}

TEST_CASE("a template's scheduler is for the tests that want just that", "[agent][attached]") {
    trial arguments, none, not_there;
    arguments.becomes_template().wakes({"--other"});
    none.becomes_template().wakes({}, false);
    not_there.wakes();
    for (auto* const t : {&arguments, &none, &not_there}) {
        CHECK(t->outcome().reason == reason::infrastructure);
        CHECK(t->times("body") == 0);
    }
}

TEST_CASE("a scheduler of the body's own is not taken for the test's", "[agent]") {
    trial t;
    t.runs("/s").core.on_ask_deed(1, scheduler_deed::detach, 0);
    t.unregisters().core.on_scheduler_end("exited with status 0");
    // Even one of the same name: nobody has started the test's again.
    t.attaches().core.on_ask_deed(2, scheduler_deed::detach, 0);
    CHECK(t.deeds.answers == std::vector<std::string>{"1 done", "2 mistake: it is not attached"});
    t.is_leaving().ends(scx_exit_kind::error, "runtime error", "the body's own");
    // One that came first is in the way of the test's, and its state is not that one's.
    t.core.on_ask_deed(3, scheduler_deed::attach, 0);
    t.attaches("mine").rings();
    CHECK(t.deeds.answers.size() == 2);
    t.core.on_scheduler_end("exited with status 1");
    CHECK(t.deeds.answers.back().starts_with("3 not attached: "));
    t.is_leaving().ends(scx_exit_kind::error, "runtime error", "the body's own");
    t.core.on_body_end(passed);
    CHECK(t.outcome().verdict == verdict::pass);
    CHECK(t.said<wire::scheduler_facts>().at(0).message.empty());
}

TEST_CASE("an attach of the body's that nobody heard of is seen", "[agent]") {
    trial t;
    t.runs("/s").core.on_ask_deed(1, scheduler_deed::restart, 0);
    t.unregisters().core.on_scheduler_end("exited with status 0");
    t.deeds.state = "enabled";
    t.deeds.ops = "another";  // the state is of another one
    t.rings();
    CHECK(t.deeds.answers.empty());
    t.is_leaving().ends(scx_exit_kind::unregistered, "r");
    t.deeds.state = "enabled";
    t.deeds.ops = "simple";
    t.rings();
    CHECK(t.deeds.answers == std::vector<std::string>{"1 done"});
    t.core.on_body_end(passed);
    CHECK(t.outcome().verdict == verdict::pass);
}

TEST_CASE("a scheduler that runs only those who ask for it is told of", "[agent]") {
    for (const auto partial : {std::optional(true), std::optional(false), std::optional<bool>()}) {
        trial t;
        t.deeds.partial = partial;
        t.runs("/s").core.on_body_end(passed);
        CHECK(t.outcome().verdict == verdict::pass);
        CHECK(t.said<wire::scheduler_facts>().at(0).partial == partial);
    }
}

TEST_CASE("an error is no detach, whoever was detaching", "[agent]") {
    for (const auto deed : {scheduler_deed::detach, scheduler_deed::restart}) {
        trial t;
        t.runs("/s").core.on_ask_deed(1, deed, 0);
        t.is_leaving().ends(scx_exit_kind::error_stall, "runnable task stall", "a[1]");
        CHECK(t.deeds.answers == std::vector<std::string>{
                                     "1 mistake: the scheduler simple ended: runnable task stall: "
                                     "a[1]"});
        CHECK(t.times("scheduler") == 1);
        t.core.on_body_end(passed);
        CHECK(t.outcome().reason == reason::scheduler_exit);
        CHECK(t.outcome().message.find("runnable task stall: a[1]") != std::string::npos);
    }
}

TEST_CASE("what a body left waiting when it ended makes no end its business", "[agent]") {
    // A forked child that still asks, or still detaches, while the kernel throws the scheduler out.
    for (const bool asks : {true, false}) {
        trial t;
        t.runs("/s");
        if (asks)
            t.core.on_ask_exit(4, 30'000);
        else
            t.core.on_ask_deed(4, scheduler_deed::detach, 0);
        t.is_leaving().core.on_body_end(passed);
        CHECK(t.core.phase() == agent_phase::settling);
        t.ends(scx_exit_kind::error, "runtime error", "why");
        CHECK(t.outcome().reason == reason::scheduler_exit);
        CHECK(t.outcome().message.find("why") != std::string::npos);
        CHECK(t.deeds.answers.empty());
    }
}

TEST_CASE("an end that is overdue does not ring again and again", "[agent]") {
    trial t;
    t.runs("/s").core.on_scheduler_end("was killed by SIGKILL");
    t.core.on_body_end(passed);
    REQUIRE(t.core.phase() == agent_phase::settling);
    t.deeds.now += 5 * scheduler_core::grace_ns;
    t.core.on_timer();
    CHECK(t.deeds.timer_ns > scheduler_core::grace_ns);
}

TEST_CASE("a slow machine has more time for the end of a scheduler", "[agent]") {
    trial t;
    t.welcomed().hears(wire::run_test{
        .name = "t", .topology = one_cpu, .timeout_ms = 100'000, .dilation = 3, .scheduler = "/s"});
    t.attaches();
    t.is_leaving().ends(scx_exit_kind::error, "runtime error");
    CHECK(t.deeds.timer_ns == 3 * scheduler_core::grace_ns);
}

TEST_CASE("what the kernel counted is told as what came since the attach", "[agent]") {
    trial t;
    t.welcomed().ordered("/s");
    t.deeds.counters = {"SCX_EV_BYPASS_ACTIVATE 1", "SCX_EV_REFILL 4", "nr_rejected 0"};
    t.attaches();
    t.deeds.counters = {"SCX_EV_BYPASS_ACTIVATE 3", "SCX_EV_REFILL 4", "nr_rejected 2", "odd"};
    t.core.on_body_end(passed);
    CHECK(t.said<wire::scheduler_facts>().at(0).counters ==
          std::vector<std::string>{"SCX_EV_BYPASS_ACTIVATE 2", "nr_rejected 2"});
}

TEST_CASE("a late body is killed once and is a timeout, whatever its end looks like", "[agent]") {
    for (const auto& end :
         {passed, wire::outcome{.verdict = verdict::fail, .reason = reason::signal}}) {
        trial t;
        t.runs().rings();
        CHECK(t.times("kill body") == 1);
        CHECK(t.said<wire::outcome>().empty());
        t.core.on_scheduler_end("was killed by SIGKILL");
        t.core.on_timer();
        CHECK(t.times("kill body") == 1);
        t.core.on_body_end(end);
        CHECK(t.outcome().reason == reason::timeout);
        CHECK(t.outcome().message == "the body did not return in 100000 ms");
    }
}

TEST_CASE("a body's process that is not its program yet is waited for", "[agent]") {
    trial t;
    t.reaches(agent_phase::arriving);
    CHECK(t.times("body") == 0);
    t.deeds.elsewhere = false;
    t.core.on_body_arrived();
    t.core.on_body_arrived();
    CHECK(t.times("body") == 1);

    const wire::outcome lost{.verdict = verdict::inconclusive,
                             .reason = reason::infrastructure,
                             .message = "it was killed by SIGKILL"};
    trial never;
    never.reaches(agent_phase::arriving).core.on_body_end(lost);
    CHECK(never.outcome().message == lost.message);

    // Gone before it was wanted: nothing is said before the order, and the order gets the same answer.
    trial before;
    before.core.on_body_end(lost);
    CHECK(before.deeds.sent.empty());
    before.welcomed().ordered();
    CHECK(before.outcome().message == lost.message);
    CHECK(before.times("body") == 0);

    trial unstartable;
    unstartable.deeds.startable = false;
    unstartable.welcomed().ordered();
    CHECK(unstartable.outcome().reason == reason::infrastructure);
}

TEST_CASE("a command's words go to a command that runs, and its end makes room", "[agent]") {
    trial t;
    t.reaches(agent_phase::command).hears(wire::input{"a"}).hears(wire::window_size{});
    CHECK((t.times("input") == 1 && t.times("resize") == 1));
    t.core.on_command_end(256);
    CHECK(t.said<wire::exited>().at(0).wait_status == 256);
    t.hears(wire::input{"b"});  // it crossed the end
    CHECK(t.times("input") == 1);
    CHECK(t.core.phase() == agent_phase::idle);

    trial none;
    none.deeds.startable = false;
    none.welcomed().hears(wire::run_command{.argv = {"no"}});
    CHECK(none.said<wire::exited>().at(0).wait_status == 127 << 8);
    CHECK(none.said<wire::log>().size() == 1);
    CHECK(none.core.phase() == agent_phase::idle);
}

// ---- one scheduler in the place of another ---------------------------------------------------

namespace {

struct staged_trial : trial {
    staged_trial() {
        welcomed().hears(wire::run_test{.name = "t",
                                        .topology = one_cpu,
                                        .timeout_ms = 100'000,
                                        .scheduler = "/s",
                                        .scheduler_args = {"-a"},
                                        .scheduler_name = "simple",
                                        .staged = {{"other", "/o", {"-b", "-c"}}}});
        attaches();
        REQUIRE(core.phase() == agent_phase::body);
    }
    staged_trial& is_to_be(const char* name) {
        core.on_ask_deed(1, scheduler_deed::replace, 0, name);
        return *this;
    }
    wire::outcome body_passes() {
        core.on_body_end(passed);
        return outcome();
    }
};

}  // namespace

TEST_CASE("a staged scheduler takes the place of the test's", "[agent]") {
    staged_trial t;
    CHECK(t.deeds.started == "/s -a");
    t.deeds.now = 1000;
    t.is_to_be("other");
    CHECK(t.deeds.started == "/o");
    CHECK(t.times("signal 2") ==
          0);  // nothing is taken off before the other one stands at the door
    t.core.on_newcomer_held();
    t.core.on_newcomer_held();
    CHECK(t.times("signal 2") == 1);
    CHECK(t.times("hand over") == 0);
    t.deeds.now = 5000;
    t.is_leaving();
    t.deeds.now = 6000;
    t.ends(scx_exit_kind::unregistered, "unregistered from user space");
    CHECK(t.times("hand over") == 1);
    CHECK(t.deeds.answers.empty());
    t.deeds.now = 7500;
    t.deeds.ops = "other_ops";
    t.attaches("other_ops");
    CHECK(t.deeds.answers == std::vector<std::string>{"1 done in 2500"});
    t.core.on_retired_end();

    // The one that stands is now the business of the test.
    t.core.on_ask_deed(2, scheduler_deed::restart, 0);
    t.unregisters().core.on_scheduler_end("exited with status 0");
    CHECK(t.deeds.started == "/o -b -c");
    t.attaches("other_ops");
    CHECK(t.deeds.answers.back() == "2 done");
    CHECK(t.body_passes().verdict == verdict::pass);
    CHECK(t.said<wire::scheduler_facts>().at(0).ops == "other_ops");
}

TEST_CASE("an end of a scheduler that took another's place is the test's failure", "[agent]") {
    staged_trial t;
    t.is_to_be("other").core.on_newcomer_held();
    t.unregisters().attaches("other_ops");
    t.core.on_retired_end();
    t.is_leaving().ends(scx_exit_kind::error_stall, "runnable task stall", "a task waited");
    const auto end = t.body_passes();
    CHECK(end.reason == reason::scheduler_exit);
    CHECK(end.message.starts_with("the scheduler other_ops ended: runnable task stall"));
}

TEST_CASE("a process that was replaced and stays is killed", "[agent]") {
    staged_trial t;
    t.is_to_be("other").core.on_newcomer_held();
    t.unregisters().attaches("other_ops");
    CHECK(t.times("drop retired") == 0);
    t.rings();
    CHECK(t.times("drop retired") == 1);
}

TEST_CASE("a newcomer that does not get to the door leaves the old scheduler where it is",
          "[agent]") {
    staged_trial ends;
    ends.deeds.newcomers_words = "no such thing";
    ends.is_to_be("other").core.on_newcomer_end("exited with status 1");
    CHECK(ends.deeds.answers.at(0) ==
          "1 not attached: no such thing; the scheduler other was not attached: its process exited "
          "with "
          "status 1 before it came to attach a struct_ops link; the scheduler simple still is");
    CHECK(ends.times("signal 2") == 0);
    CHECK(ends.body_passes().verdict == verdict::pass);

    staged_trial waits;
    waits.is_to_be("other").rings();
    CHECK(waits.deeds.answers.at(0).find("it did not in 100000 ms, nor end before") !=
          std::string::npos);
    CHECK(waits.times("drop newcomer") == 1);

    staged_trial unstartable;
    unstartable.deeds.startable = false;
    unstartable.is_to_be("other");
    CHECK(unstartable.deeds.answers.at(0).starts_with("1 not attached: "));

    staged_trial unknown;
    unknown.is_to_be("nobody");
    CHECK(unknown.deeds.answers.at(0) ==
          "1 mistake: the test has no scheduler nobody, neither its own nor staged");

    // It dies at the door, and the old one was asked to end already.
    staged_trial late;
    late.is_to_be("other").core.on_newcomer_held();
    late.core.on_newcomer_end("was killed by SIGKILL");
    CHECK(
        late.deeds.answers.at(0).starts_with("1 not attached: its process was killed by SIGKILL"));
    late.unregisters();
    CHECK(late.times("hand over") == 0);
    CHECK(late.body_passes().verdict == verdict::pass);  // the body was told
}

TEST_CASE("a scheduler that ends by itself while another one is on its way is not replaced",
          "[agent]") {
    for (const bool held_meanwhile : {false, true}) {
        staged_trial t;
        t.is_to_be("other").is_leaving();
        if (held_meanwhile)
            t.core.on_newcomer_held();
        t.ends(scx_exit_kind::sysrq, "disabled by sysrq-S");
        CHECK(t.times("hand over") == 0);
        CHECK(t.times("drop newcomer") == 1);
        CHECK(t.deeds.answers.at(0).starts_with(
            "1 mistake: the scheduler simple ended: disabled by"));
        CHECK(t.body_passes().reason == reason::scheduler_exit);
    }
    // Nor one that ends by an error when it is asked to go.
    staged_trial t;
    t.is_to_be("other").core.on_newcomer_held();
    t.is_leaving().ends(scx_exit_kind::error_bpf, "scx_bpf_error", "on purpose");
    CHECK(t.times("drop newcomer") == 1);
    CHECK(t.body_passes().reason == reason::scheduler_exit);
}

TEST_CASE("a body that ends while it replaces its scheduler leaves no newcomer", "[agent]") {
    staged_trial t;
    t.is_to_be("other");
    CHECK(t.body_passes().verdict == verdict::pass);
    CHECK(t.times("drop newcomer") == 1);
}

TEST_CASE("a body attaches a staged scheduler after the test's is off", "[agent]") {
    staged_trial t;
    t.core.on_ask_deed(1, scheduler_deed::detach, 0);
    t.unregisters().core.on_scheduler_end("exited with status 0");
    t.core.on_ask_deed(2, scheduler_deed::attach, 0, "other");
    CHECK(t.deeds.started == "/o -b -c");
    t.attaches("other_ops");
    CHECK(t.deeds.answers.back() == "2 done");
    t.core.on_ask_deed(3, scheduler_deed::detach, 0);
    t.unregisters().core.on_scheduler_end("exited with status 0");
    t.core.on_ask_deed(4, scheduler_deed::attach, 0);
    CHECK(t.deeds.started == "/s -a");
    t.attaches();
    CHECK(t.deeds.answers.back() == "4 done");
}

// ---- a scheduler that the kernel has built in ------------------------------------------------

TEST_CASE("a scheduler that is built in is switched on before the body, and by it", "[agent]") {
    const wire::run_test order{.name = "t",
                               .topology = one_cpu,
                               .timeout_ms = 100'000,
                               .enable = {"/a=1", "/b=2"},
                               .disable = {"/a=0"}};
    trial t;
    t.welcomed().hears(order);
    CHECK(t.deeds.did == std::vector<std::string>{"write /a=1", "write /b=2", "body"});
    t.core.on_ask_deed(1, scheduler_deed::attach, 0);
    CHECK(t.deeds.answers.back() == "1 mistake: it is attached already");
    t.core.on_ask_deed(2, scheduler_deed::detach, 0);
    CHECK((t.times("write /a=0") == 1 && t.deeds.answers.back() == "2 done"));
    t.core.on_ask_deed(3, scheduler_deed::restart, 0);
    CHECK(t.deeds.answers.back() == "3 mistake: it is not attached");
    t.core.on_ask_deed(4, scheduler_deed::attach, 0);
    CHECK((t.times("write /b=2") == 2 && t.deeds.answers.back() == "4 done"));
    t.core.on_ask_deed(5, scheduler_deed::restart, 0);
    CHECK((t.times("write /a=0") == 2 && t.times("write /a=1") == 3));
    t.core.on_ask_deed(6, scheduler_deed::signal, 9);
    CHECK(
        t.deeds.answers.back().starts_with("6 mistake: this test has no scheduler with a program"));
    t.deeds.startable = false;
    t.core.on_ask_deed(7, scheduler_deed::detach, 0);
    CHECK(t.deeds.answers.back().starts_with("7 not attached: "));
    t.core.on_body_end(passed);
    CHECK(t.outcome().verdict == verdict::pass);

    trial fails;
    fails.deeds.startable = false;
    fails.welcomed().hears(order);
    CHECK(fails.outcome().reason == reason::scheduler_attach);
    CHECK(fails.times("body") == 0);
}

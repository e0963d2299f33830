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
    [[nodiscard]] result<void> start_scheduler(const wire::run_test&) override {
        state = "disabled";
        return start("scheduler");
    }
    void drop_scheduler() override { state.reset(); }
    [[nodiscard]] std::optional<std::string> scheduler_state() const override { return state; }
    [[nodiscard]] bool body_is_elsewhere() const override { return elsewhere; }
    [[nodiscard]] result<void> begin_body(const wire::run_test&) override { return start("body"); }
    void kill_body() override { did.emplace_back("kill body"); }
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
                                    .timeout_ms = 1000,
                                    .scheduler = std::move(scheduler)});
    }
    /// A test whose body runs.
    trial& runs(std::string scheduler = {}) {
        const bool with = !scheduler.empty();
        welcomed().ordered(std::move(scheduler));
        if (with) {
            deeds.state = "enabled";
            core.on_timer();
        }
        REQUIRE(core.phase() == agent_phase::body);
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
            case agent_phase::arriving:
                deeds.elsewhere = true;
                welcomed().ordered();
                break;
            case agent_phase::body:
                runs();
                break;
            case agent_phase::cutting:
                runs().core.on_timer();
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
    agent_phase::greeting, agent_phase::idle, agent_phase::command, agent_phase::attaching,
    agent_phase::arriving, agent_phase::body, agent_phase::cutting, agent_phase::finished};

const wire::outcome passed{.verdict = verdict::pass, .reason = reason::none};

}  // namespace

TEST_CASE("a test runs from its order to its outcome", "[agent]") {
    trial t;
    t.hears(wire::welcome{.wall_clock_ns = 5}).ordered();
    CHECK(t.times("clock") == 1);
    CHECK(t.times("body") == 1);
    CHECK(t.deeds.timer_ns == 1'000'000'000U);
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
    t.core.on_timer();
    CHECK(t.times("body") == 0);
    t.deeds.state = "enabled";
    t.core.on_timer();
    CHECK(t.times("body") == 1);
    t.core.on_body_end(passed);
    CHECK(t.outcome().verdict == verdict::pass);

    trial late;
    late.reaches(agent_phase::attaching);
    late.deeds.now += 1'000'000'000U;
    late.core.on_timer();
    CHECK(late.outcome().reason == reason::scheduler_exit);
    CHECK(late.outcome().message.find("did not attach in 1000 ms") != std::string::npos);
    CHECK(late.times("body") == 0);

    trial none;
    none.deeds.startable = false;
    none.welcomed().ordered("/s");
    CHECK(none.outcome().reason == reason::scheduler_exit);
}

TEST_CASE("a scheduler's end is the test's, until the test has ended", "[agent]") {
    for (const auto phase : {agent_phase::attaching, agent_phase::arriving}) {
        trial t;
        t.reaches(phase).core.on_scheduler_end("exited with status 3");
        CHECK(t.outcome().message == "the scheduler under test exited with status 3");
        CHECK(t.outcome().verdict == verdict::fail);
        t.core.on_body_arrived();
        t.core.on_timer();
        CHECK(t.times("body") == 0);
    }
    trial beside;
    beside.runs("/s").deeds.state.reset();
    beside.core.on_scheduler_end("was killed by SIGSEGV");
    CHECK(beside.times("kill body") == 1);
    CHECK(beside.said<wire::outcome>().empty());
    beside.core.on_timer();  // its time runs out meanwhile
    CHECK(beside.times("kill body") == 1);
    beside.core.on_body_end({.verdict = verdict::fail, .reason = reason::signal});
    CHECK(beside.outcome().reason == reason::scheduler_exit);
    CHECK(beside.outcome().message.find("SIGSEGV") != std::string::npos);

    trial thrown_out;
    thrown_out.runs("/s").deeds.state = "disabled";
    thrown_out.core.on_body_end(passed);
    CHECK(thrown_out.outcome().reason == reason::scheduler_exit);
    CHECK(thrown_out.outcome().message.find("is 'disabled'") != std::string::npos);

    trial after;
    after.runs("/s").core.on_body_end(passed);
    after.core.on_scheduler_end("was killed by SIGKILL");
    CHECK(after.outcome().verdict == verdict::pass);
}

TEST_CASE("a late body is killed once and is a timeout, whatever its end looks like", "[agent]") {
    for (const auto& end :
         {passed, wire::outcome{.verdict = verdict::fail, .reason = reason::signal}}) {
        trial t;
        t.runs().core.on_timer();
        CHECK(t.times("kill body") == 1);
        CHECK(t.said<wire::outcome>().empty());
        t.core.on_scheduler_end("was killed by SIGKILL");
        t.core.on_timer();
        CHECK(t.times("kill body") == 1);
        t.core.on_body_end(end);
        CHECK(t.outcome().reason == reason::timeout);
        CHECK(t.outcome().message == "the body did not return in 1000 ms");
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

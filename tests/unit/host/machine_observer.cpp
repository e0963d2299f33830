// SPDX-License-Identifier: MIT
// Who looks on hears everything, in order, and decides nothing. On a link without a machine behind it.
#include <ktstr/host/machine/machine_driver.hpp>
#include <ktstr/host/machine/steal_witness.hpp>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

using namespace ktstr;
using namespace ktstr::host;
using namespace std::chrono_literals;

namespace {

using story = std::vector<std::string>;

class onlooker final : public machine_observer {
public:
    explicit onlooker(story& told) : told_(told) {}
    clock::time_point due = clock::time_point::max();

    void started(const start& machine) override {
        told_.push_back(machine.process > 0 ? "started" : "started nothing");
    }
    void stage(wire::guest_stage entered) override {
        told_.push_back("stage " + std::to_string(static_cast<int>(entered)));
    }
    void frame(const wire::frame& f) override {
        told_.push_back(f.type == wire::message_type::pong ? "pong" : "frame");
    }
    void console_line(std::string_view line) override { told_.emplace_back(line); }
    [[nodiscard]] clock::time_point wake() const override { return due; }
    void tick(clock::time_point now) override {
        if (now < due)
            return;
        due = clock::time_point::max();
        told_.emplace_back("tick");
    }
    void ended(std::optional<int> status) override {
        told_.push_back(status ? "ended " + std::to_string(*status) : "ended");
    }

private:
    story& told_;
};

class pilot final : public machine_pilot {
public:
    explicit pilot(story& told) : told_(told) {}
    clock::time_point limit = clock::now() + 60s;

    [[nodiscard]] bool done() const override { return done_; }
    [[nodiscard]] clock::time_point wake() const override { return limit; }
    void tick() override {
        if (clock::now() < limit)
            return;
        told_.emplace_back("pilot: too late");
        done_ = true;
    }
    void frame(const wire::frame&) override { told_.emplace_back("pilot: frame"); }
    void link_broken(const std::string&) override { told_.emplace_back("pilot: broken"); }
    void link_closed(const std::string&) override {}
    void kvm_died() override {}
    void ended(std::optional<int>) override {
        told_.emplace_back("pilot: ended");
        done_ = true;
    }
    void device_ended() override {}
    void stopped() override {}

private:
    story& told_;
    bool done_ = false;
};

/// A link with its other end, and a process that ends when its standard input does.
struct fake_machine {
    fake_machine() {
        std::array<int, 2> pair{}, input{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
        link = host_link::over(unique_fd(pair[0]));
        guest = unique_fd(pair[1]);
        REQUIRE(::pipe2(input.data(), O_CLOEXEC) == 0);
        const unique_fd theirs(input[0]);
        lifeline = unique_fd(input[1]);
        child_request request;
        request.program = "/bin/cat";
        request.standard_input = theirs.get();
        auto made = start_child(request);
        REQUIRE(made);
        process = std::move(*made);
    }
    void says(const std::string& bytes) const {
        REQUIRE(::write(guest.get(), bytes.data(), bytes.size()) ==
                static_cast<ssize_t>(bytes.size()));
    }

    host_link link = host_link::over(unique_fd());
    unique_fd guest, lifeline;
    child process;
};

}  // namespace

TEST_CASE("observers hear what the pilot hears, before it", "[observer]") {
    fake_machine m;
    story told;
    onlooker one(told);
    pilot decides(told);
    machine_driver driver(m.link, m.process, -1);
    driver.observe(one);
    driver.entered(wire::guest_stage::body);
    wire::encoder encode;
    m.says(encode(wire::pong{1}));
    m.guest.reset();
    m.lifeline.reset();
    driver.run(decides);
    CHECK(told == story{"started",
                        "stage " + std::to_string(static_cast<int>(wire::guest_stage::body)),
                        "pong", "pilot: frame", "ended 0", "pilot: ended"});
}

TEST_CASE("an observer is woken when it wishes, and nobody else for it", "[observer]") {
    fake_machine m;
    story told;
    onlooker early(told), never(told);
    pilot decides(told);
    machine_driver driver(m.link, m.process, -1);
    driver.observe(early);
    driver.observe(never);
    early.due = machine_observer::clock::now() + 20ms;
    decides.limit = machine_observer::clock::now() + 200ms;
    driver.run(decides);
    CHECK(told == story{"started", "started", "tick", "pilot: too late"});
}

TEST_CASE("lines of a console are told whole and once", "[observer]") {
    story told;
    onlooker one(told);
    const std::vector<machine_observer*> all{&one};
    console_lines lines;
    lines.tell("", all);
    lines.tell("[ 0.1] be", all);
    CHECK(told.empty());
    lines.tell("[ 0.1] begins\r\n\nmore", all);
    CHECK(told == story{"[ 0.1] begins", ""});
    lines.tell("[ 0.1] begins\r\n\nmore", all);
    CHECK(told.size() == 2);
    lines.tell("[ 0.1] begins\r\n\nmore\r\n", all);
    CHECK(told.back() == "more");
}

TEST_CASE("the witness of steal time speaks only of a whole body", "[observer]") {
    const machine_observer::start self{.process = ::getpid(), .vcpus = {{0, ::gettid(), ""}}};
    steal_witness seen;
    CHECK_FALSE(seen.waited());
    seen.started(self);
    seen.stage(wire::guest_stage::body);
    CHECK_FALSE(seen.waited());
    seen.stage(wire::guest_stage::collecting);
    // A host kernel without scheduler statistics is no witness.
    CHECK(seen.waited().has_value() == waited_ns(self.vcpus, self.process).has_value());

    steal_witness late;
    late.started(self);
    late.stage(wire::guest_stage::collecting);
    CHECK_FALSE(late.waited());

    steal_witness blind;
    blind.started({});
    blind.stage(wire::guest_stage::body);
    blind.stage(wire::guest_stage::collecting);
    CHECK_FALSE(blind.waited());
}

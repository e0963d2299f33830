// SPDX-License-Identifier: MIT
// A run in another machine, followed from outside: what it may say, what it may not, and that nothing
// it says becomes a place in this host's file system.
#include <ktstr/host/nested/relayed_run.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "scratch_directory.hpp"

using namespace ktstr;
using namespace ktstr::host;
using ktstr::host::unit::content_of;
using ktstr::host::unit::scratch_directory;

namespace {

test_spec fails_on_purpose() {
    test_spec spec;
    spec.expect_fail = true;
    return spec;
}

test_spec on_two_topologies() {
    test_spec spec;
    spec.topologies = {"1n1l2c1t", "1n2l2c1t"};
    return spec;
}

const test_case one{"one", "a.cpp", 3, {}, nullptr};
const test_case two{"two", "a.cpp", 9, {}, nullptr};
const test_case expected{"expected", "a.cpp", 12, fails_on_purpose(), nullptr};
const test_case many{"many", "a.cpp", 20, on_two_topologies(), nullptr};

cell_list all_cells_of(std::initializer_list<const test_case*> tests) {
    cell_list cells;
    for (const test_case* test : tests)
        for (auto& each : cells_of(*test, {.seed = 7}))
            cells.push_back(each);
    return cells;
}
const cell_list cells = all_cells_of({&one, &two, &expected, &many});

class ends final : public reporter {
public:
    using reporter::on;
    explicit ends(std::vector<test_finished>& out) : out_(out) {}
    void on(const test_finished& e) override { out_.push_back(e); }

private:
    std::vector<test_finished>& out_;
};

class text_sink final : public sink {
public:
    explicit text_sink(std::string& out) : out_(out) {}
    void write(std::string_view bytes) override { out_ += bytes; }

private:
    std::string& out_;
};

/// A run outside, and the end inside that it hears.
struct both_ends {
    explicit both_ends(int retries = 0) {
        wanted.artifacts = place.path() / "artifacts";
        wanted.program = "./build/my_tests";
        wanted.retries = retries;
        wanted.seed = 7;
        events.add(std::make_unique<ends>(got));
        outside.emplace(wanted, cells, events, totals);
    }
    template <class Event>
    void say(const Event& event) {
        std::string text;
        relay_reporter(std::make_unique<text_sink>(text)).on(event);
        outside->take(text);
    }
    void start(const char* test, int attempt = 1) {
        test_started e;
        e.name = test;
        e.attempt = attempt;
        say(e);
    }
    void body(const char* test) { say(stage_changed{test, "body", {}}); }
    void end(const char* test, verdict result = verdict::pass, reason why = reason::none,
             int attempt = 1) {
        test_finished e;
        e.name = test;
        e.result = result;
        e.why = why;
        e.attempt = attempt;
        say(e);
    }

    scratch_directory place;
    options wanted;
    fan_out events;
    tally totals;
    std::vector<test_finished> got;
    std::optional<relayed_run> outside;
};

std::vector<std::string> files_below(const std::filesystem::path& directory) {
    std::vector<std::string> names;
    if (std::filesystem::exists(directory))
        for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
            names.push_back(entry.path().lexically_relative(directory).string());
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

TEST_CASE("cells of one test are told apart, and only those that were sent are believed",
          "[relay]") {
    both_ends run;
    run.start("many/1n2l2c1t");
    run.start("many/1n1l2c1t");
    run.body("many/1n2l2c1t");
    run.body("many/1n1l2c1t");
    run.say(attempt_file{"many/1n1l2c1t", 1, artifact::console, "a console"});
    run.end("many/1n1l2c1t", verdict::fail, reason::timeout);
    run.end("many/1n2l2c1t");
    REQUIRE(run.got.size() == 2);
    CHECK(run.got[0].name == "many/1n1l2c1t");
    CHECK(run.got[0].test == "many");
    CHECK(run.got[0].topology == "1n1l2c1t");
    CHECK(run.got[0].scheduler == "eevdf");
    CHECK(run.got[0].seed == 7u);
    CHECK(run.got[1].topology == "1n2l2c1t");
    // The name is one directory, not two.
    CHECK(files_below(run.place.path()) ==
          std::vector<std::string>{"artifacts", "artifacts/my_tests",
                                   "artifacts/my_tests/many@1n1l2c1t-1",
                                   "artifacts/my_tests/many@1n1l2c1t-1/console.log"});
    run.start("many");
    CHECK(run.outside->fault().find("not sent to it: many") != std::string::npos);
}

TEST_CASE("what happens inside is told outside, with what is known here", "[relay]") {
    both_ends run(1);
    run.start("one");
    run.say(stage_changed{"one", "body", {}});
    run.say(test_output{"one", output_stream::out, "x"});
    run.end("one", verdict::fail, reason::timeout);
    run.say(test_waiting{"one", "waiting for CPUs"});
    run.start("one", 2);
    run.body("one");
    run.end("one", verdict::pass, reason::none, 2);
    CHECK(run.outside->fault().empty());
    REQUIRE(run.got.size() == 2);
    CHECK_FALSE(run.got[0].outcome);
    CHECK(run.got[0].file == "a.cpp");
    CHECK(run.got[0].line == 3);
    CHECK(run.got[0].accel == "nested");
    CHECK(run.got[0].seed == 7);
    CHECK(run.got[1].outcome == final_outcome{verdict::pass, reason::none, true, 2});
    CHECK(run.totals.finish(3, 7, 0).passed == 1);
}

TEST_CASE("the files of an attempt lie below its name, whole", "[relay]") {
    both_ends run;
    std::string console;
    for (int i = 0; i < 1 << 20; ++i)
        console += static_cast<char>(i + i / 256);
    run.start("one");
    // It did not wake up: what it left belongs to nothing, and it is started again.
    run.say(attempt_file{"one", 1, artifact::console, "of the clone"});
    run.start("one");
    run.say(attempt_file{"one", 1, artifact::console, console});
    run.say(attempt_file{"one", 1, artifact::qemu, "words"});
    run.end("one", verdict::fail, reason::panic);
    REQUIRE(run.got.size() == 1);
    const auto artifacts = run.place.path() / "artifacts" / "my_tests";
    CHECK(run.got[0].artifacts == (artifacts / "one-1").string());
    CHECK(files_below(artifacts) ==
          std::vector<std::string>{"one-1", "one-1/console.log", "one-1/qemu.log"});
    CHECK(content_of(artifacts / "one-1" / "console.log") == console);
}

TEST_CASE("metrics belong to their attempt", "[relay][metric]") {
    both_ends run(1);
    const auto say = [&](const char* name, int attempt) {
        run.say(metric_measured{.test = "one", .attempt = attempt, .name = name, .value = 1});
    };
    run.start("one");
    run.body("one");
    say("first", 1);
    run.end("one", verdict::fail, reason::timeout);
    run.start("one", 2);
    run.body("one");
    run.end("one", verdict::pass, reason::none, 2);
    CHECK(run.outside->fault().empty());
    REQUIRE(run.got.size() == 2);
    REQUIRE(run.got[0].metrics.size() == 1);
    CHECK(run.got[0].metrics[0].name == "first");
    CHECK(run.got[1].metrics.empty());
}

TEST_CASE("a file without end is cut", "[relay]") {
    both_ends run;
    run.start("one");
    const std::string piece(relay_piece, 'x');
    for (std::size_t size = 0; size <= relayed_run::file_limit; size += piece.size())
        run.say(attempt_file{"one", 1, artifact::console, piece});
    run.body("one");
    run.end("one");
    CHECK(std::filesystem::file_size(run.place.path() / "artifacts" / "my_tests" / "one-1" /
                                     "console.log") == relayed_run::file_limit);
}

TEST_CASE("nothing that can't be is believed, and nothing after it", "[relay]") {
    both_ends run;
    const auto refused = [&] {
        const bool is = !run.outside->fault().empty();
        run.start("two");
        run.body("two");
        run.end("two");
        CHECK(std::none_of(run.got.begin(), run.got.end(),
                           [](const test_finished& e) { return e.name == "two"; }));
        return is;
    };
    SECTION("a name that is a place outside") {
        run.start("x/../../victim");
        run.say(attempt_file{"x/../../victim", 1, artifact::console, "text"});
        run.end("x/../../victim", verdict::fail, reason::check);
        CHECK(run.got.empty());
        CHECK(refused());
        CHECK(files_below(run.place.path()).empty());
    }
    SECTION("a test that was not sent") {
        run.start("three");
        CHECK(refused());
    }
    SECTION("a second end of one attempt") {
        run.start("one");
        run.body("one");
        run.end("one", verdict::fail, reason::check);
        run.end("one");
        CHECK(run.got.size() == 1);
        CHECK(refused());
        CHECK(run.totals.finish(3, 7, 0).failed == 1);
    }
    SECTION("an end without a start") {
        run.end("one");
        CHECK(refused());
    }
    SECTION("an attempt that is not the next one") {
        run.start("one", 2);
        CHECK(refused());
    }
    SECTION("one more attempt than was asked for") {
        run.start("one");
        run.body("one");
        run.end("one", verdict::fail, reason::check);
        run.start("one", 2);
        CHECK(refused());
    }
    SECTION("the end of another attempt") {
        run.start("one");
        run.body("one");
        run.end("one", verdict::pass, reason::none, 2);
        CHECK(run.got.empty());
        CHECK(refused());
    }
    SECTION("a metric of another attempt") {
        run.start("one");
        run.body("one");
        run.say(metric_measured{.test = "one", .attempt = 2, .name = "m"});
        CHECK(refused());
    }
    SECTION("metrics without end") {
        run.start("one");
        run.body("one");
        for (std::size_t i = 0; i < wire::max_metrics; ++i)
            run.say(metric_measured{.test = "one", .name = "m"});
        CHECK(run.outside->fault().empty());
        run.say(metric_measured{.test = "one", .name = "m"});
        CHECK(refused());
    }
    SECTION("a metric before its body") {
        run.start("one");
        run.say(metric_measured{.test = "one", .name = "m"});
        CHECK(refused());
    }
    SECTION("a file of another attempt") {
        run.start("one");
        run.body("one");
        run.say(attempt_file{"one", 2, artifact::console, "text"});
        CHECK(refused());
    }
    SECTION("output of a test that does not run") {
        run.say(test_output{"one", output_stream::out, "x"});
        CHECK(refused());
    }
    SECTION("a pass with failed checks") {
        run.start("one");
        run.body("one");
        test_finished e;
        e.name = "one";
        e.failed_check_count = 1;
        run.say(e);
        CHECK(run.got.empty());
        CHECK(refused());
    }
    SECTION("a pass after a failed check, which it does not count") {
        run.start("one");
        run.body("one");
        run.say(check_failed{"one", 1, "f", 1, "CHECK", "e", "x"});
        run.end("one");
        CHECK(run.got.empty());
        CHECK(refused());
    }
    SECTION("a skip with failed checks") {
        run.start("one");
        run.body("one");
        test_finished e;
        e.name = "one";
        e.result = verdict::skip;
        e.why = reason::skipped;
        e.failed_check_count = 7;
        run.say(e);
        CHECK(run.got.empty());
        CHECK(refused());
    }
    SECTION("a test that must fail, and passes without a failed check") {
        run.start("expected");
        run.body("expected");
        run.end("expected");
        CHECK(run.got.empty());
        CHECK(refused());
    }
    SECTION("failed checks of another test") {
        run.start("one");
        run.body("one");
        test_finished e;
        e.name = "one";
        e.result = verdict::fail;
        e.why = reason::check;
        e.failed_checks = {{"../two", 1, "f", 1, "CHECK", "e", "x"}};
        e.failed_check_count = 1;
        run.say(e);
        CHECK(refused());
    }
    SECTION("a failed check that is taken back by beginning again") {
        run.start("one");
        run.body("one");
        run.say(check_failed{"one", 1, "f", 1, "CHECK", "e", "x"});
        run.start("one");
        run.body("one");
        run.end("one");
        CHECK(run.got.empty());
        CHECK(refused());
    }
    SECTION("output that is taken back by beginning again") {
        run.start("one");
        run.say(test_output{"one", output_stream::out, "x"});
        run.start("one");
        CHECK(refused());
    }
    SECTION("a body that is begun again") {
        run.start("one");
        run.body("one");
        run.start("one");
        CHECK(refused());
    }
    SECTION("an attempt that begins a third time") {
        run.start("one");
        run.start("one");
        CHECK(run.outside->fault().empty());
        run.start("one");
        CHECK(refused());
    }
    SECTION("a verdict on a body that never began") {
        using ending = std::pair<verdict, reason>;
        const auto how = GENERATE(
            ending{verdict::pass, reason::none}, ending{verdict::fail, reason::check},
            ending{verdict::fail, reason::exception}, ending{verdict::fail, reason::timeout},
            ending{verdict::skip, reason::skipped});
        run.start("one");
        run.end("one", how.first, how.second);
        CHECK(run.got.empty());
        CHECK(refused());
    }
    SECTION("a body of a test that never had one") {
        run.start("one");
        run.body("one");
        run.end("one", verdict::skip, reason::requirement);
        CHECK(run.got.empty());
        CHECK(refused());
    }
    SECTION("a failed check before its body") {
        run.start("one");
        run.say(check_failed{"one", 1, "f", 1, "CHECK", "e", "x"});
        CHECK(refused());
    }
    SECTION("more failed checks than a guest can have sent") {
        run.start("one");
        run.body("one");
        for (std::uint64_t i = 0; i < wire::max_failed_checks_sent; ++i)
            run.say(check_failed{"one", 1, "f", 1, "CHECK", "e", "x"});
        CHECK(run.outside->fault().empty());
        run.say(check_failed{"one", 1, "f", 1, "CHECK", "e", "x"});
        CHECK(refused());
    }
    SECTION("output without end") {
        run.start("one");
        run.body("one");
        const std::string piece(relay_piece, 'x');
        std::uint64_t sent = 0;
        for (; sent + piece.size() <= wire::max_output_per_test; sent += piece.size())
            run.say(test_output{"one", output_stream::out, piece});
        CHECK(run.outside->fault().empty());
        for (int i = 0; i < 2; ++i)
            run.say(test_output{"one", output_stream::out, piece});
        CHECK(refused());
    }
    SECTION("stages without end") {
        run.start("one");
        for (int i = 0; i < 100; ++i)
            run.say(stage_changed{"one", "boot", {}});
        CHECK(refused());
    }
    SECTION("anything after the end of its run") {
        run.start("one");
        run.body("one");
        run.say(run_finished{});
        CHECK(run.outside->over());
        run.end("one");
        CHECK(run.got.empty());
        CHECK(refused());
    }
    SECTION("a line that is no event of ours") {
        run.outside->take("{\"event\":\"started\",\"test\":1}\n");
        CHECK(refused());
    }
}

TEST_CASE("a test that must fail passes with failed checks", "[relay]") {
    both_ends run;
    run.start("expected");
    run.body("expected");
    test_finished e;
    e.name = "expected";
    e.failed_check_count = 1;
    run.say(e);
    CHECK(run.outside->fault().empty());
    CHECK(run.got.size() == 1);
}

TEST_CASE("words beside the events are kept, and bounded", "[relay]") {
    both_ends run;
    run.outside->take("half a ");
    run.outside->take("line\n{\"no\":\"event\"}\n");
    CHECK(run.outside->words() == "half a line\n{\"no\":\"event\"}\n");
    CHECK(run.outside->fault().empty());
    for (int i = 0; i < 40; ++i)
        run.outside->take(std::string(std::size_t{1} << 20, 'x'));
    run.outside->take("\n");
    run.outside->take_words(std::string(relayed_run::words_limit, 'x'));
    CHECK(run.outside->words().size() == relayed_run::words_limit);
    run.say(run_finished{});
    CHECK(run.outside->fault().empty());
}

TEST_CASE("what needs no body ends without one", "[relay]") {
    both_ends run;
    run.start("one");
    run.end("one", verdict::skip, reason::requirement);
    run.start("two");
    run.end("two", verdict::inconclusive, reason::infrastructure);
    run.start("expected");
    run.end("expected", verdict::fail, reason::panic);
    CHECK(run.outside->fault().empty());
    CHECK(run.got.size() == 3);
}

TEST_CASE("tests in a machine that is found unfit show nothing", "[relay]") {
    both_ends run(3);
    run.start("one");
    run.body("one");
    run.end("one");
    run.start("two");
    run.body("two");
    run.outside->lose("its kernel is not well");
    REQUIRE(run.got.size() == cells.size());
    CHECK(run.got[0].result == verdict::pass);
    for (std::size_t i = 1; i < run.got.size(); ++i) {
        CHECK(run.got[i].result == verdict::inconclusive);
        CHECK(run.got[i].why == reason::infrastructure);
        CHECK(run.got[i].message == "its kernel is not well");
        CHECK(run.got[i].outcome);
    }
    CHECK(run.totals.finish(cells.size(), 7, 0).exit_code == 2);
}

// SPDX-License-Identifier: MIT
// Files of reports: opened early, written whole, and honest about a full disk.
#include <ktstr/host/report/json.hpp>
#include <ktstr/host/report/junit.hpp>
#include <ktstr/host/run/open_reports.hpp>

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include <stdlib.h>

#include "report_golden.hpp"
#include "report_sample.hpp"

using namespace ktstr;
using namespace ktstr::host;
using namespace ktstr::host::test;

namespace {

struct temporary_directory {
    std::filesystem::path path;
    temporary_directory() {
        std::string name =
            (std::filesystem::temp_directory_path() / "ktstr-report-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~temporary_directory() { std::filesystem::remove_all(path); }
    [[nodiscard]] std::size_t files() const {
        return static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(path), {}));
    }
};

}  // namespace

TEST_CASE("a file that cannot be written is an error before the run", "[report][sink]") {
    const temporary_directory dir;
    for (const std::string& path : std::vector<std::string>{(dir.path / "missing/report").string(),
                                                            dir.path.string(), "/proc/report"}) {
        options json;
        json.json = path;
        options junit;
        junit.junit = path;
        for (const auto& wanted : {json, junit}) {
            fan_out reports;
            const auto opened = open_reports(reports, wanted, {});
            REQUIRE_FALSE(opened);
            const auto message = opened.error().message();
            CHECK(message.find(path) != std::string::npos);
            CHECK(message.find('\n') == std::string::npos);
        }
    }
    options fine;
    fine.json = (dir.path / "run.jsonl").string();
    fine.junit = (dir.path / "junit.xml").string();
    fan_out reports;
    CHECK(open_reports(reports, fine, {}));
}

TEST_CASE("JSON lines are in the file as soon as they happen", "[report][sink]") {
    const temporary_directory dir;
    const auto path = dir.path / "run.jsonl";
    auto file = create_file_sink("the JSON report", path.string());
    REQUIRE(file);
    json_reporter json(std::move(*file));
    json.on(run_started{});
    CHECK(read_whole(path).ends_with("}\n"));
}

TEST_CASE("a full disk is remembered, and nothing is thrown", "[report][sink]") {
    auto file = create_file_sink("the JSON report", "/dev/full");
    REQUIRE(file);
    fan_out reports;
    reports.add(std::make_unique<json_reporter>(std::move(*file)));
    CHECK_FALSE(reports.problem());
    reports(run_started{});
    reports(run_finished{});
    REQUIRE(reports.problem());
    CHECK(reports.problem()->code == ENOSPC);
}

TEST_CASE("a reader that left is a problem, not a death", "[report][sink]") {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    ::close(ends[0]);
    fd_sink out(unique_fd(ends[1]), "standard output");
    out.write("nobody reads this\n");
    REQUIRE(out.problem());
    CHECK(out.problem()->code == EPIPE);
    out.write("nor this\n");
}

TEST_CASE("a JUnit file appears whole at the end", "[report][junit]") {
    const temporary_directory dir;
    const auto path = dir.path / "junit.xml";
    std::ofstream(path) << "an old report";
    {
        auto file = atomic_file::prepare("the JUnit report", path.string());
        REQUIRE(file);
        CHECK(dir.files() == 0);  // the old one is gone, and no new one is begun
        junit_reporter junit(std::move(*file));
        junit.on(run_started{});
        junit.on(finished("t", verdict::pass, reason::none, ""));
        CHECK(dir.files() == 0);
        junit.on(run_finished{});
        CHECK_FALSE(junit.problem());
    }
    CHECK(dir.files() == 1);
    CHECK(read_whole(path).ends_with("</testsuites>\n"));
    const auto mode = std::filesystem::status(path).permissions();
    CHECK((mode & std::filesystem::perms::owner_write) != std::filesystem::perms::none);
}

TEST_CASE("a run that never ends leaves no JUnit file", "[report][junit]") {
    const temporary_directory dir;
    {
        auto file = atomic_file::prepare("the JUnit report", (dir.path / "junit.xml").string());
        REQUIRE(file);
        junit_reporter junit(std::move(*file));
        junit.on(run_started{});
    }
    CHECK(dir.files() == 0);
}

TEST_CASE("JUnit keeps links and devices in place", "[report][junit]") {
    const temporary_directory dir;
    const auto link = dir.path / "link.xml";
    std::ofstream(dir.path / "real.xml") << "old";
    std::filesystem::create_symlink("real.xml", link);
    auto through = atomic_file::prepare("the JUnit report", link.string());
    REQUIRE(through);
    REQUIRE(through->write("new"));
    CHECK(std::filesystem::is_symlink(link));
    CHECK(read_whole(dir.path / "real.xml") == "new");

    auto device = atomic_file::prepare("the JUnit report", "/dev/null");
    REQUIRE(device);
    REQUIRE(device->write("new"));
    CHECK(std::filesystem::is_character_file("/dev/null"));

    auto full = atomic_file::prepare("the JUnit report", "/dev/full");
    REQUIRE(full);
    CHECK_FALSE(full->write("new"));
}

TEST_CASE("fan_out hands on one event at a time", "[report][fan_out]") {
    struct counter final : reporter {
        explicit counter(int& t) : total(t) {}
        int& total;  // not atomic: the mutex is what is tested
        std::atomic<bool> inside{false};
        std::atomic<bool> overlapped{false};
        void on(const test_output&) override {
            if (inside.exchange(true))
                overlapped = true;
            ++total;
            inside = false;
        }
        using reporter::on;
        ~counter() override {
            if (overlapped)
                total = -1;
        }
    };
    int first = 0;
    int second = 0;
    {
        fan_out reports;
        reports.add(std::make_unique<counter>(first));
        reports.add(std::make_unique<counter>(second));
        std::latch all(4);
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&] {
                all.arrive_and_wait();
                for (int i = 0; i < 5000; ++i)
                    reports(test_output{});
            });
        for (auto& thread : threads)
            thread.join();
    }
    CHECK(first == 20000);
    CHECK(second == 20000);
}

TEST_CASE("the ticker ticks until it is stopped", "[report][fan_out]") {
    struct listener final : reporter {
        explicit listener(std::latch& l) : seen(l) {}
        std::latch& seen;
        int left = 3;
        void on_tick(event_clock::time_point) override {
            if (left > 0) {
                --left;
                seen.count_down();
            }
        }
    };
    std::latch three(3);
    fan_out reports;
    reports.add(std::make_unique<listener>(three));
    reports.start_ticking(std::chrono::milliseconds(1));
    three.wait();
    reports.stop_ticking();
    reports.stop_ticking();
}

TEST_CASE("colour and liveness follow the terminal and the wish", "[report][console]") {
    options wanted;
    const unique_fd file(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    CHECK_FALSE(style_for(file.get(), wanted, {{"TERM", "xterm"}}).live);
    CHECK_FALSE(style_for(file.get(), wanted, {{"TERM", "xterm"}}).color);
    wanted.color = color_wish::always;
    CHECK(style_for(file.get(), wanted, {}).color);

    const unique_fd terminal(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!terminal || ::isatty(terminal.get()) != 1)
        SKIP("no pseudo-terminal here");
    wanted.color = color_wish::automatic;
    CHECK(style_for(terminal.get(), wanted, {{"TERM", "xterm"}}).live);
    CHECK(style_for(terminal.get(), wanted, {{"TERM", "xterm"}}).color);
    CHECK_FALSE(style_for(terminal.get(), wanted, {{"TERM", "dumb"}}).live);
    wanted.color = color_wish::never;
    CHECK_FALSE(style_for(terminal.get(), wanted, {{"TERM", "xterm"}}).color);
    wanted.quiet = true;
    CHECK_FALSE(style_for(terminal.get(), wanted, {{"TERM", "xterm"}}).live);
}

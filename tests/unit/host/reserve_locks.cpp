// SPDX-License-Identifier: MIT
// Lock files between real processes: who gets what, who waits, who is named, and what is refused.
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/reserve/lock_list.hpp>
#include <ktstr/host/reserve/reservations.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "reserve_host.hpp"

using namespace ktstr;
using namespace ktstr::host;
using namespace ktstr::host::unit;
using namespace std::chrono_literals;

namespace {

reserve_settings settings_for(const scratch_directory& scratch, const host_topology& host) {
    reserve_settings s;
    s.lock_dir = scratch.path();
    s.host = host;
    s.available_memory = [] { return std::optional<std::int64_t>(1 << 20); };
    s.patience = 20ms;
    return s;
}

/// What can be had at once; nothing when it would have to wait.
std::optional<reservation> now_or_never(const scratch_directory& scratch, const host_topology& host,
                                        const reserve_request& request) {
    auto s = settings_for(scratch, host);
    const unique_fd stop(::eventfd(1, EFD_CLOEXEC));  // stopped from the start: nothing waits
    s.stop_fd = stop.get();
    // Never freed: the reservation points into it, and a test ends before that matters.
    static std::vector<std::unique_ptr<reservations>> keep;
    auto opened = reservations::open(std::move(s));
    REQUIRE(opened);
    keep.push_back(std::move(*opened));
    auto got = keep.back()->enter(request);
    REQUIRE(got);
    return std::move(*got);
}

/// Another process that holds a reservation until it is told to leave, or killed.
class neighbour {
public:
    neighbour(const scratch_directory& scratch, const host_topology& host,
              const reserve_request& request) {
        int ready[2], leave[2];
        REQUIRE(::pipe(ready) == 0);
        REQUIRE(::pipe(leave) == 0);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::close(leave[1]);
            auto opened = reservations::open(settings_for(scratch, host));
            auto got = (*opened)->enter(request);
            const char word = got && *got ? 'y' : 'n';
            (void)!::write(ready[1], &word, 1);
            char byte;
            (void)!::read(leave[0], &byte, 1);
            if (got && *got)
                (*got)->release();
            ::_exit(0);
        }
        ::close(ready[1]);
        ::close(leave[0]);
        leave_ = unique_fd(leave[1]);
        unique_fd from(ready[0]);
        char word = 0;
        REQUIRE(::read(from.get(), &word, 1) == 1);
        REQUIRE(word == 'y');
    }
    ~neighbour() { leave(); }

    void leave() {
        leave_.reset();
        end();
    }
    void kill() {
        ::kill(pid_, SIGKILL);
        end();
    }
    [[nodiscard]] pid_t pid() const { return pid_; }

private:
    void end() {
        if (pid_ > 0)
            ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }
    pid_t pid_ = -1;
    unique_fd leave_;
};

reserve_request wants(std::size_t cpus, std::string test = "a_test") {
    return {.test = std::move(test), .cpus = cpus};
}
reserve_request wants_alone(int llcs, int cores) {
    return {.test = "alone",
            .dedicated = topology{.numa_nodes = 1, .llcs = llcs, .cores = cores, .threads = 1}};
}

}  // namespace

TEST_CASE("two processes never have one CPU, and share an LLC", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 4, 1);
    {
        neighbour other(scratch, host, wants(3));
        CHECK_FALSE(now_or_never(scratch, host, wants(2)));
        const auto mine = now_or_never(scratch, host, wants(1));
        REQUIRE(mine);
        CHECK(mine->cpus() == std::vector<int>{3});
    }
    CHECK(now_or_never(scratch, host, wants(4)));
}

TEST_CASE("what a killed process held is free", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 2, 1);
    neighbour other(scratch, host, wants(2));
    CHECK_FALSE(now_or_never(scratch, host, wants(1)));
    other.kill();
    CHECK(now_or_never(scratch, host, wants(2)));
}

TEST_CASE("an attempt that fails holds nothing", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(2, 2, 2, 1);
    neighbour other(scratch, host, wants(1));
    // 8 CPUs, of which 7 are free: not one of them may stay taken.
    CHECK_FALSE(now_or_never(scratch, host, wants(8)));
    CHECK_FALSE(now_or_never(scratch, host, wants_alone(4, 1)));
    const auto all = now_or_never(scratch, host, wants(7));
    CHECK(all);
}

TEST_CASE("an LLC of one's own is nobody else's", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 2, 2, 1);
    SECTION("nobody comes in") {
        neighbour other(scratch, host, wants_alone(1, 2));  // LLC 0, and CPU 2 for QEMU
        CHECK_FALSE(now_or_never(scratch, host, wants(2)));
        const auto beside = now_or_never(scratch, host, wants(1));
        REQUIRE(beside);
        CHECK(beside->cpus() == std::vector<int>{3});
    }
    SECTION("nor is one taken that is in use") {
        neighbour other(scratch, host, wants(1));
        const auto alone = now_or_never(scratch, host, wants_alone(1, 2));
        REQUIRE(alone);
        CHECK(alone->plan().own_llcs == std::vector<int>{1});
        CHECK(alone->plan().service_cpu == 1);
        CHECK_FALSE(now_or_never(scratch, host, wants_alone(1, 1)));
    }
}

TEST_CASE("a machine larger than the host gets all of it", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 2, 1);
    CHECK(now_or_never(scratch, host, wants(64))->cpus().size() == 2);
    CHECK(now_or_never(scratch, host, wants(1))->cpus().size() == 1);
}

TEST_CASE("a cap counts CPUs at a time, not certain CPUs", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 4, 1);
    neighbour other(scratch, host, wants(2));
    auto s = settings_for(scratch, host);
    s.cpu_cap = 2;
    const unique_fd stop(::eventfd(1, EFD_CLOEXEC));
    s.stop_fd = stop.get();
    auto opened = reservations::open(std::move(s));
    REQUIRE(opened);
    auto first = (*opened)->enter(wants(1));
    auto second = (*opened)->enter(wants(1));
    CHECK((*first)->cpus() == std::vector<int>{2});
    CHECK((*second)->cpus() == std::vector<int>{3});
    (*first)->release();
    (*second)->release();
    auto all = (*opened)->enter(wants(3));
    CHECK((*all)->cpus().size() == 2);
    other.leave();
    CHECK_FALSE(*(*opened)->enter(wants(1)));  // CPUs are free, and the cap is reached
}

TEST_CASE("a wait ends with the holder's release and with its death, and names it", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 2, 1);
    const bool killed = GENERATE(false, true);
    neighbour other(scratch, host, wants(2, "the_other"));
    auto s = settings_for(scratch, host);
    s.longest_pause = 10min;
    std::atomic<bool> told{false};
    std::string note;
    s.waiting = [&](const std::string& test, const std::string& text) {
        note = test + ": " + text;
        told = true;
    };
    auto opened = reservations::open(std::move(s));
    REQUIRE(opened);
    std::chrono::steady_clock::time_point freed;
    std::jthread later([&] {
        while (!told)
            std::this_thread::sleep_for(5ms);
        std::this_thread::sleep_for(300ms);  // the waiter is in its longest pause by now, or soon
        freed = std::chrono::steady_clock::now();
        killed ? other.kill() : other.leave();
    });
    auto got = (*opened)->enter(wants(1, "mine"));
    const auto woken = std::chrono::steady_clock::now();
    later.join();
    REQUIRE(got);
    CHECK(*got);
    // Far below the longest pause, however slow this host is: it was the event that woke it.
    CHECK(woken - freed < 5min);
    CHECK(note.find("mine: waiting for 1 host CPU, held by ") == 0);
    CHECK(note.find("(pid " + std::to_string(static_cast<int>(getpid()))) == std::string::npos);
    CHECK(note.find(" for the_other") != std::string::npos);
}

TEST_CASE("nobody is named who is not waited for", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 2, 1);
    neighbour other(scratch, host, wants(1));
    auto s = settings_for(scratch, host);
    int told = 0;
    s.waiting = [&](const std::string&, const std::string&) { ++told; };
    auto opened = reservations::open(std::move(s));
    auto mine = (*opened)->enter(wants(1));
    CHECK(*mine);
    CHECK(told == 0);
}

TEST_CASE("a wait ends when the run is told to stop", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 1, 1);
    neighbour other(scratch, host, wants(1));
    auto s = settings_for(scratch, host);
    const unique_fd stop(::eventfd(0, EFD_CLOEXEC));
    s.stop_fd = stop.get();
    auto opened = reservations::open(std::move(s));
    std::jthread later([&] {
        std::this_thread::sleep_for(100ms);
        const std::uint64_t one = 1;
        (void)!::write(stop.get(), &one, sizeof one);
    });
    auto got = (*opened)->enter(wants(1));
    REQUIRE(got);
    CHECK_FALSE(*got);
}

TEST_CASE("within a process: first come, first served", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 2, 1);
    auto opened = reservations::open(settings_for(scratch, host));
    REQUIRE(opened);
    auto first = (*opened)->enter(wants(1));
    std::mutex mutex;
    std::vector<int> order;
    std::vector<std::jthread> threads;
    // The second one wants both CPUs; the small ones behind it could start at once and must not,
    // or it might wait for ever.
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&, i] {
            auto got = (*opened)->enter(wants(i == 0 ? 2 : 1));
            const std::lock_guard lock(mutex);
            order.push_back(i);
        });
        std::this_thread::sleep_for(50ms);
    }
    {
        const std::lock_guard lock(mutex);
        CHECK(order.empty());
    }
    (*first)->release();
    threads.clear();
    CHECK(order.front() == 0);
    CHECK(order.size() == 4);
}

TEST_CASE("machines run side by side only while memory carries them", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 4, 1);
    const auto with = [](int mib) {
        return reserve_request{.test = "big", .cpus = 1, .memory_mib = mib};
    };
    auto s = settings_for(scratch, host);
    s.available_memory = [] { return std::optional<std::int64_t>(4096); };
    const unique_fd stop(::eventfd(1, EFD_CLOEXEC));
    s.stop_fd = stop.get();
    auto opened = reservations::open(s);
    REQUIRE(opened);
    SECTION("of this process") {
        auto one = (*opened)->enter(with(2048));
        CHECK(*one);
        CHECK_FALSE(*(*opened)->enter(with(2048)));
        auto small = (*opened)->enter(with(1024));
        CHECK(*small);
        (*one)->release();
        CHECK(*(*opened)->enter(with(2048)));
    }
    SECTION("of another process") {
        neighbour other(scratch, host, with(3000));
        CHECK_FALSE(*(*opened)->enter(with(1024)));
        CHECK(*(*opened)->enter(with(512)));
        CHECK(*(*opened)->enter(wants(1)));  // it has no machine
        other.leave();
        CHECK(*(*opened)->enter(with(1024)));
    }
    SECTION("one that fits nowhere runs alone") {
        auto small = (*opened)->enter(with(128));
        CHECK_FALSE(*(*opened)->enter(with(100'000)));
        (*small)->release();
        auto huge = (*opened)->enter(with(100'000));
        CHECK(*huge);
        CHECK_FALSE(*(*opened)->enter(with(128)));
    }
    SECTION("a host that does not say how much it has is not asked again") {
        s.available_memory = [] { return std::optional<std::int64_t>(); };
        auto blind = reservations::open(s);
        auto one = (*blind)->enter(with(100'000));
        CHECK(*one);
        CHECK(*(*blind)->enter(with(100'000)));
    }
}

TEST_CASE("lock files are for everybody, and stay", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 1, 1);
    const auto before = ::umask(077);
    { CHECK(now_or_never(scratch, host, wants(1))); }
    ::umask(before);
    for (const char* name : {"ktstr-cpu-0.lock", "ktstr-llc-0.lock", "ktstr-choosing.lock"}) {
        const auto mode = std::filesystem::status(scratch.path() / name).permissions();
        CHECK(static_cast<unsigned>(mode) == 0666);
    }
    SECTION("one that was cleaned away is made again") {
        std::filesystem::remove(scratch.path() / "ktstr-cpu-0.lock");
        neighbour other(scratch, host, wants(1));
        CHECK_FALSE(now_or_never(scratch, host, wants(1)));
    }
}

TEST_CASE("a run that is open sees files that were cleaned away and made by others", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 1, 1);
    auto s = settings_for(scratch, host);
    const unique_fd stop(::eventfd(1, EFD_CLOEXEC));
    s.stop_fd = stop.get();
    auto opened = reservations::open(std::move(s));
    for (const auto& name : names_in(scratch.path()))
        std::filesystem::remove(scratch.path() / name);
    neighbour other(scratch, host, wants(1));
    CHECK_FALSE(*(*opened)->enter(wants(1)));
}

TEST_CASE("what is no lock file is refused, by name", "[reserve]") {
    const scratch_directory scratch, elsewhere;
    const auto host = regular_host(1, 1, 1, 1);
    const auto refusal = [&]() -> std::string {
        auto opened = reservations::open(settings_for(scratch, host));
        return opened ? "" : opened.error().message();
    };
    const auto has = [](const std::string& text, std::initializer_list<const char*> parts) {
        for (const char* part : parts)
            if (text.find(part) == std::string::npos)
                return false;
        return true;
    };
    const auto lock = scratch.path() / "ktstr-cpu-0.lock";
    SECTION("a symbolic link, and what it points to stays as it is") {
        const auto target = elsewhere.write("precious", "content");
        std::filesystem::create_symlink(target, lock);
        CHECK(has(refusal(), {"ktstr-cpu-0.lock", "symbolic link", "KTSTR_LOCK_DIR"}));
        CHECK(content_of(target) == "content");
    }
    SECTION("a link to nothing makes nothing") {
        std::filesystem::create_symlink(elsewhere.path() / "new", lock);
        CHECK(has(refusal(), {"symbolic link"}));
        CHECK_FALSE(std::filesystem::exists(elsewhere.path() / "new"));
    }
    SECTION("a pipe, without waiting for its writer") {
        REQUIRE(::mkfifo(lock.c_str(), 0666) == 0);
        CHECK(has(refusal(), {"not a regular file"}));
    }
    SECTION("a directory") {
        std::filesystem::create_directory(lock);
        CHECK(has(refusal(), {"ktstr-cpu-0.lock"}));
    }
    SECTION("no directory at all") {
        auto s = settings_for(scratch, host);
        s.lock_dir = scratch.path() / "missing";
        const auto opened = reservations::open(std::move(s));
        REQUIRE_FALSE(opened);
        CHECK(has(opened.error().message(), {"missing", "KTSTR_LOCK_DIR"}));
    }
    SECTION("and what is one is not") {
        CHECK(refusal().empty());
    }
}

TEST_CASE("file systems of several hosts are refused, local ones are not", "[reserve]") {
    for (const std::uint64_t magic : {0x6969ULL, 0xff534d42ULL, 0xfe534d42ULL, 0x517bULL,
                                      0x00c36400ULL, 0x5346414fULL, 0x6b414653ULL, 0x65735546ULL})
        CHECK(unsuitable_file_system(magic));
    // The kernel's type is signed and may come widened.
    CHECK(unsuitable_file_system(0xffff'ffff'ff53'4d42ULL));
    // ext4, tmpfs, btrfs, xfs, overlayfs
    for (const std::uint64_t magic :
         {0xef53ULL, 0x01021994ULL, 0x9123683eULL, 0x58465342ULL, 0x794c7630ULL})
        CHECK_FALSE(unsuitable_file_system(magic));
}

TEST_CASE("/proc/locks: holders are found, waiters and other files are not", "[reserve]") {
    constexpr const char* locks =
        "1: FLOCK  ADVISORY  WRITE 100 fe:00:77 0 EOF\n"
        "1: -> FLOCK  ADVISORY  WRITE 101 fe:00:77 0 EOF\n"
        "2: POSIX  ADVISORY  WRITE 102 fe:00:77 0 EOF\n"
        "3: FLOCK  ADVISORY  READ 103 fe:00:77 0 EOF\n"
        "4: FLOCK  ADVISORY  READ 104 fe:00:78 0 EOF\n"
        "5: FLOCK  ADVISORY  READ 105 fe:01:77 0 EOF\n"
        "6: FLOCK  ADVISORY  READ 0 fe:00:77 0 EOF\n"
        "garbage\n";
    CHECK(parse_lock_holders(locks, {0xfe, 0, 77}) ==
          std::vector<lock_holder>{{100, "", true}, {103, "", false}});
    CHECK(parse_lock_holders("", {0xfe, 0, 77}).empty());
}

TEST_CASE("the holder of a real lock is found under its name", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 1, 1);
    neighbour other(scratch, host, wants(1, "its_test"));
    const auto directory = lock_directory::open(scratch.path());
    const auto file = directory->lock("ktstr-cpu-0.lock");
    REQUIRE(file);
    const auto holders = holders_of(*file);
    REQUIRE(holders.size() == 1);
    CHECK(holders[0].pid == other.pid());
    CHECK_FALSE(holders[0].comm.empty());
    CHECK(holders[0].exclusive);
    CHECK(file->read() == lock_record{other.pid(), 0, "its_test"});
    other.leave();
    CHECK(holders_of(*file).empty());
    CHECK(file->read() == lock_record{});
}

TEST_CASE("what others wrote into a lock file can do no harm", "[reserve]") {
    CHECK(parse_lock_record("pid 12\nmemory_mib 256\ntest two_llcs\n") ==
          lock_record{12, 256, "two_llcs"});
    CHECK(parse_lock_record("") == lock_record{});
    CHECK(parse_lock_record("pid -1\nmemory_mib 99999999999999\ntest \x1b[2J\xff\n") ==
          lock_record{0, 0, "?[2J?"});
}

TEST_CASE("held locks are listed with their holders, and others are not", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(1, 1, 2, 1);
    neighbour other(scratch, host, {.test = "its_test", .cpus = 1, .memory_mib = 256});
    scratch.write("ktstr-cpu-x.lock", "");
    scratch.write("unrelated.lock", "");
    std::filesystem::create_symlink("/etc/passwd", scratch.path() / "ktstr-cpu-7.lock");
    const auto locks = list_locks(scratch.path());
    REQUIRE(locks);
    REQUIRE(locks->size() == 2);
    CHECK((*locks)[0].kind == "llc");
    CHECK_FALSE((*locks)[0].holders.front().exclusive);
    CHECK((*locks)[1].kind == "cpu");
    CHECK((*locks)[1].record.test == "its_test");
    const auto pid = std::to_string(other.pid());
    const auto text = to_text(*locks);
    CHECK(text.find("llc 0  shared  ") == 0);
    CHECK(text.find("cpu 0  exclusive  ") != std::string::npos);
    CHECK(text.find("(pid " + pid + ") for its_test\n") != std::string::npos);
    const auto json = nlohmann::json::parse(to_json(*locks));
    CHECK(json[0]["test"].is_null());
    CHECK(json[1]["test"] == "its_test");
    CHECK(json[1]["memory_mib"] == 256);
    CHECK(json[1]["holders"][0]["pid"] == other.pid());
    other.leave();
    CHECK(list_locks(scratch.path())->empty());
    CHECK(to_json({}) == "[]\n");
    CHECK_FALSE(list_locks(scratch.path() / "missing"));
}

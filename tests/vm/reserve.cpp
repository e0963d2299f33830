// SPDX-License-Identifier: MIT
// Where a machine's threads are put: on this host by what the report says, and in a guest, which has
// cgroup v2 and root wherever the suite runs, by the very code that places them.
#include <ktstr/host/machine/placement.hpp>
#include <ktstr/host/run/private_directory.hpp>
#include <ktstr/ktstr.hpp>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

constexpr const char* root = "/sys/fs/cgroup";

std::vector<host::vcpu_thread> self() {
    return {{.index = 0, .thread_id = ::gettid(), .qom_path = {}}};
}
int policy_of(int thread, int& priority) {
    ::sched_param parameters{};
    ::sched_getparam(thread, &parameters);
    priority = parameters.sched_priority;
    return ::sched_getscheduler(thread);
}

}  // namespace

KTSTR_TEST(plain, duration = 1s) {
    KTSTR_CHECK(ctx.topology().total_cpus() == 2);
}

KTSTR_TEST(budgeted, no_perf_mode, cpu_budget = 1, duration = 1s) {
    KTSTR_CHECK(ctx.topology().total_cpus() == 2);
}

KTSTR_TEST(alone, cores = 1, performance_mode, duration = 1s) {
    KTSTR_CHECK(ctx.topology().total_cpus() == 1);
}

KTSTR_TEST(larger_than_any_host, llcs = 63, cores = 4, performance_mode, duration = 1s) {
    KTSTR_FAIL("no host has that many LLCs");
}

KTSTR_TEST(a_cpuset_holds_its_threads, cores = 4, duration = 1s) {
    const std::vector<int> all = host::detail::cpus_of_thread(::gettid());
    {
        auto placed = host::place_threads(
            {.mask = {1, 3}, .nodes = {0}, .cpuset_name = "ktstr-test-1"}, self(), ::getpid());
        KTSTR_REQUIRE(placed.has_value());
        KTSTR_CHECK(placed->mask == "cpuset");
        KTSTR_CHECK(host::detail::cpus_of_thread(::gettid()) == std::vector<int>{1, 3});
        // What a mask would allow, a cpuset does not: nobody in it gets out by asking.
        KTSTR_CHECK(!host::mask_threads(self(), {0}).has_value());
        KTSTR_CHECK(write_kernel_file(std::filesystem::path(root) / "cgroup.threads",
                                      std::to_string(::gettid()))
                        .has_value());
    }
    KTSTR_CHECK(!std::filesystem::exists(std::filesystem::path(root) / "ktstr-test-1"));
    KTSTR_CHECK(host::mask_threads(self(), all).has_value());
}

// As under systemd: our own cgroup is not the root, and it has processes.
KTSTR_TEST(a_cpuset_beside_processes, cores = 4, duration = 1s) {
    const std::filesystem::path leaf = std::filesystem::path(root) / "leaf";
    KTSTR_REQUIRE(
        write_kernel_file(std::filesystem::path(root) / "cgroup.subtree_control", "+cpuset")
            .has_value());
    KTSTR_REQUIRE(::mkdir(leaf.c_str(), 0755) == 0);
    KTSTR_REQUIRE(write_kernel_file(leaf / "cgroup.procs", "0").has_value());
    auto made = host::cpuset::make("ktstr-test-2", {2}, {0});
    KTSTR_REQUIRE(made.has_value());
    KTSTR_CHECK(made->directory() == leaf / "ktstr-test-2");
    KTSTR_CHECK(made->take(::gettid()).has_value());
    KTSTR_CHECK(host::detail::cpus_of_thread(::gettid()) == std::vector<int>{2});
    KTSTR_CHECK(write_kernel_file(leaf / "cgroup.threads", std::to_string(::gettid())).has_value());
}

KTSTR_TEST(without_a_cpuset_there_is_a_mask, cores = 4, duration = 1s) {
    KTSTR_REQUIRE(::mkdir((std::string(root) + "/ktstr-test-3").c_str(), 0755) == 0);  // taken
    const auto placed = host::place_threads(
        {.mask = {1}, .nodes = {0}, .cpuset_name = "ktstr-test-3"}, self(), ::getpid());
    KTSTR_REQUIRE(placed.has_value());
    KTSTR_CHECK(placed->mask == "affinity");
    KTSTR_CHECK(host::detail::cpus_of_thread(::gettid()) == std::vector<int>{1});
}

KTSTR_TEST(pins_and_priorities, cores = 4, duration = 1s) {
    std::atomic<int> service{0};
    std::atomic<bool> done{false};
    std::jthread other([&] {
        service = ::gettid();
        while (!done)
            std::this_thread::sleep_for(1ms);
    });
    while (service == 0)
        std::this_thread::sleep_for(1ms);
    const auto placed = host::place_threads({.pins = {2}, .service_cpu = 1}, self(), ::getpid());
    KTSTR_REQUIRE(placed.has_value());
    KTSTR_CHECK(placed->notes.empty());
    KTSTR_CHECK(host::detail::cpus_of_thread(::gettid()) == std::vector<int>{2});
    KTSTR_CHECK(host::detail::cpus_of_thread(service) == std::vector<int>{1});
    int priority = 0;
    KTSTR_CHECK(policy_of(::gettid(), priority) == SCHED_FIFO);
    KTSTR_CHECK(priority == 1);
    KTSTR_CHECK(policy_of(service, priority) == SCHED_FIFO);
    KTSTR_CHECK(priority == 2);
    done = true;
}

KTSTR_TEST(a_killed_run_leaves_no_cgroup, cores = 2, duration = 5s) {
    int told[2];
    KTSTR_REQUIRE(::pipe(told) == 0);
    const pid_t run = ::fork();
    if (run == 0) {
        // A run as it is: a private directory with its janitor, and a machine in a cpuset.
        auto directory = host::private_directory::create();
        const auto name = directory->path().filename().string() + "-1";
        const pid_t runner = ::getpid();
        const pid_t machine = ::fork();
        if (machine == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            while (::getppid() == runner)
                ::pause();
            ::_exit(0);
        }
        auto placed =
            host::place_threads({.mask = {1}, .nodes = {0}, .cpuset_name = name},
                                {{.index = 0, .thread_id = machine, .qom_path = {}}}, machine);
        const std::string line =
            (placed && placed->mask == "cpuset" ? placed->cpuset->directory().string() : "none") +
            '\n' + directory->path().string() + '\n';
        (void)!::write(told[1], line.data(), line.size());
        ::pause();
        ::_exit(0);
    }
    ::close(told[1]);
    char bytes[512];
    const auto n = ::read(told[0], bytes, sizeof bytes);
    KTSTR_REQUIRE(n > 0);
    const std::string lines(bytes, static_cast<std::size_t>(n));
    const auto cgroup = lines.substr(0, lines.find('\n'));
    const auto directory = lines.substr(cgroup.size() + 1, lines.size() - cgroup.size() - 2);
    KTSTR_REQUIRE(std::filesystem::exists(cgroup));
    KTSTR_REQUIRE(std::filesystem::exists(directory));
    ::kill(run, SIGKILL);
    ::waitpid(run, nullptr, 0);
    for (int i = 0;
         i < 3000 && (std::filesystem::exists(cgroup) || std::filesystem::exists(directory)); ++i)
        std::this_thread::sleep_for(10ms);
    KTSTR_CHECK(!std::filesystem::exists(cgroup));
    KTSTR_CHECK(!std::filesystem::exists(directory));
}

// SPDX-License-Identifier: MIT
// The cgroup tree on the real thing: it makes, fills and removes cgroups and leaves none behind.
#include <ktstr/guest/cgroup/cgroup_tree.hpp>

#include <catch2/catch_test_macros.hpp>

#include <optional>
#include <string>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_files.hpp"
#include "real_cgroup.hpp"

using namespace ktstr;
using namespace ktstr::guest;
using namespace ktstr::guest::testing;
using namespace std::chrono_literals;

namespace {

/// A process that does nothing until it is killed.
class sleeper {
public:
    sleeper() : pid_(::fork()) {
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                ::pause();
        }
    }
    sleeper(const sleeper&) = delete;
    sleeper& operator=(const sleeper&) = delete;
    ~sleeper() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }
    [[nodiscard]] pid_t pid() const { return pid_; }
    /// The signal that ended it; it must have been killed already.
    [[nodiscard]] int deadly_signal() {
        int status = 0;
        ::waitpid(pid_, &status, 0);
        pid_ = -1;
        return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }

private:
    pid_t pid_;
};

}  // namespace

TEST_CASE("a directory that is no cgroup is refused and left as it was", "[guest][cgroup]") {
    const scratch_directory files;
    const auto tree = cgroup_tree::make_at(files.path() / "ktstr");
    REQUIRE_FALSE(tree);
    CHECK(tree.error().message().find("no cgroup version 2 hierarchy") != std::string::npos);
    CHECK_FALSE(exists(files.path() / "ktstr"));
}

TEST_CASE("cgroups are made with the levels above them and removed with them", "[guest][cgroup]") {
    auto tree = test_cgroup();
    REQUIRE(tree.create("load"));
    REQUIRE(tree.create("a/b/c"));
    REQUIRE(tree.create("a/d"));
    CHECK(exists(tree.root() + "/a/b/c/cgroup.procs"));

    REQUIRE(tree.remove("a/b/c"));
    CHECK_FALSE(exists(tree.root() + "/a/b"));
    CHECK(exists(tree.root() + "/a/d"));  // so its parent has to stay
    REQUIRE(tree.remove("a/d"));
    CHECK_FALSE(exists(tree.root() + "/a"));
    CHECK(tree.has("load"));
    CHECK(exists(tree.root() + "/load"));

    const auto again = tree.create("load");
    REQUIRE_FALSE(again);
    CHECK(again.error().code == EEXIST);
    CHECK(again.error().message().find(tree.root() + "/load: File exists") != std::string::npos);

    const std::string root = tree.root();
    REQUIRE(tree.remove_all());
    CHECK_FALSE(exists(root));
}

TEST_CASE("a level that was asked for stays when the one below it goes", "[guest][cgroup]") {
    auto tree = test_cgroup();
    REQUIRE(tree.create("a"));
    REQUIRE(tree.create("a/b"));
    REQUIRE(tree.remove("a/b"));
    CHECK(exists(tree.root() + "/a"));
}

TEST_CASE("the destructor removes everything, also what others made", "[guest][cgroup]") {
    std::string root;
    sleeper inside;
    {
        auto tree = test_cgroup();
        root = tree.root();
        REQUIRE(tree.create("a/b"));
        REQUIRE(tree.move_in("a/b", inside.pid()));
        std::filesystem::create_directory(root + "/a/b/foreign");
    }
    CHECK_FALSE(exists(root));
    CHECK(inside.deadly_signal() == SIGKILL);
}

TEST_CASE("removal kills what is inside, waits for it, and spares the rest", "[guest][cgroup]") {
    auto tree = test_cgroup();
    REQUIRE(tree.create("doomed"));
    REQUIRE(tree.create("spared"));
    sleeper doomed, spared;
    REQUIRE(tree.move_in("doomed", doomed.pid()));
    REQUIRE(tree.move_in("spared", spared.pid()));
    CHECK(processes_in(tree.path("doomed")) == std::vector{doomed.pid()});

    REQUIRE(tree.remove("doomed"));
    CHECK_FALSE(exists(tree.path("doomed")));
    CHECK(doomed.deadly_signal() == SIGKILL);
    CHECK(::kill(spared.pid(), 0) == 0);
    CHECK(processes_in(tree.path("spared")) == std::vector{spared.pid()});
}

TEST_CASE("a process that removes the cgroup it is in survives that", "[guest][cgroup]") {
    auto tree = test_cgroup();
    const auto root = tree.root();
    const pid_t child = ::fork();
    if (child == 0) {
        const bool fine = tree.create("a/mine") && tree.move_in("a/mine", ::getpid()) &&
                          processes_in(tree.path("a/mine")) == std::vector{::getpid()} &&
                          tree.remove_all();
        ::_exit(fine ? 7 : 8);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 7);
    CHECK_FALSE(exists(root));
}

TEST_CASE("errors name the file and the errno", "[guest][cgroup]") {
    auto tree = test_cgroup();
    REQUIRE(tree.create("x"));
    const auto moved = tree.move_in("x", 0x3fffffff);
    REQUIRE_FALSE(moved);
    CHECK(moved.error().code == ESRCH);
    CHECK(moved.error().message() ==
          "cannot write \"1073741823\" to " + tree.root() + "/x/cgroup.procs: No such process");
    const auto read = tree.read("y", "cgroup.procs");
    REQUIRE_FALSE(read);
    CHECK(read.error().code == ENOENT);
    CHECK(tree.read("x", "cgroup.procs"));
    CHECK(tree.write("x", "cgroup.max.depth", "3"));
    CHECK(tree.read("x", "cgroup.max.depth").value() == "3\n");
}

TEST_CASE("a controller the machine does not have is missed only if required", "[guest][cgroup]") {
    auto tree = test_cgroup();
    CHECK(tree.create("a/b", {{"nonsense", false}}));
    const auto refused = tree.create("c/d", {{"nonsense", true}});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("the controller nonsense") != std::string::npos);
    CHECK_FALSE(exists(tree.path("c/d")));
}

TEST_CASE("the cpu controller reaches the innermost cgroup where the machine offers it",
          "[guest][cgroup]") {
    auto tree = test_cgroup();
    REQUIRE(tree.create("a/b", {{"cpu", false}}));
    const auto offered = read_kernel_file(tree.root() + "/cgroup.controllers").value_or("");
    CHECK(exists(tree.path("a/b") + "/cpu.weight") ==
          (offered.find("cpu") != std::string::npos && detail::lists_word(offered, "cpu")));
}

TEST_CASE("the root of a dead scenario is swept, that of a live one and a stranger are not",
          "[guest][cgroup]") {
    auto parent = test_cgroup();
    auto alive = cgroup_tree::make_for_scenario(parent.root());
    REQUIRE(alive);
    CHECK(alive->root() == parent.root() + "/ktstr");
    std::filesystem::create_directory(parent.root() + "/ktstr-stranger");

    // Dies without its destructors, and with a process inside.
    int pipe[2];
    REQUIRE(::pipe(pipe) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        auto own = cgroup_tree::make_for_scenario(parent.root());
        if (own && own->create("load"))
            (void)!::write(pipe[1], own->root().data(), own->root().size());
        ::_exit(0);
    }
    char text[4096] = {};
    REQUIRE(::read(pipe[0], text, sizeof text - 1) > 0);
    ::close(pipe[0]);
    ::close(pipe[1]);
    ::waitpid(child, nullptr, 0);
    const std::string dead = text;
    CHECK(dead != alive->root());
    CHECK(exists(dead + "/load"));
    sleeper orphan;
    REQUIRE(write_kernel_file(dead + "/load/cgroup.procs", std::to_string(orphan.pid())));

    auto next = cgroup_tree::make_for_scenario(parent.root());
    REQUIRE(next);
    CHECK_FALSE(exists(dead));
    CHECK(orphan.deadly_signal() == SIGKILL);
    CHECK(exists(alive->root()));
    CHECK(next->root() != alive->root());
    CHECK(exists(parent.root() + "/ktstr-stranger"));
}

// SPDX-License-Identifier: MIT
// Finding one's own cgroup in the mount table: plain, hybrid, in containers, not at all.
#include <ktstr/linux/own_cgroup.hpp>

#include <catch2/catch_test_macros.hpp>

#include "../guest/fake_files.hpp"

using namespace ktstr;
using ktstr::guest::testing::scratch_directory;

namespace {

constexpr const char* root_mount =
    "23 1 0:20 / /proc rw - proc proc rw\n"
    "30 23 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

std::string found(const std::string& membership, const std::string& mounts) {
    const scratch_directory files;
    files.write("self/cgroup", membership);
    files.write("self/mountinfo", mounts);
    const auto own = find_own_cgroup(files.path());
    if (!own)
        return "error: " + own.error().message();
    // The way from the one up to the other is walked for limits.
    CHECK(own->directory.native().starts_with(own->mount.native()));
    return own->directory.string();
}

}  // namespace

TEST_CASE("one's own cgroup is below the mount", "[guest][cgroup]") {
    CHECK(found("0::/\n", root_mount) == "/sys/fs/cgroup");
    CHECK(found("0::/user.slice/a b\n", root_mount) == "/sys/fs/cgroup/user.slice/a b");
}

TEST_CASE("version 1 hierarchies beside it don't matter", "[guest][cgroup]") {
    CHECK(found("4:memory:/deep\n0::/x\n",
                "31 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                "32 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n") ==
          "/sys/fs/cgroup/unified/x");
}

TEST_CASE("a mount of a part of the hierarchy is used if the cgroup is in it", "[guest][cgroup]") {
    CHECK(found("0::/box/1/x\n", "32 30 0:29 /box/1 /cg\\040v2 rw - cgroup2 none rw\n") ==
          "/cg v2/x");
    CHECK(found("0::/box/10\n", "32 30 0:29 /box/1 /cg rw - cgroup2 none rw\n")
              .starts_with("error: cannot find a cgroup version 2 mount that holds /box/10"));
    CHECK(found("0::/../outside\n", root_mount).starts_with("error: "));
}

TEST_CASE("no version 2 is an error that says so", "[guest][cgroup]") {
    CHECK(found("4:memory:/\n", root_mount).find("no cgroup version 2 hierarchy") !=
          std::string::npos);
    CHECK(found("0::/\n", "23 1 0:20 / /proc rw - proc proc rw\n").find("mount -t cgroup2") !=
          std::string::npos);
    CHECK_FALSE(find_own_cgroup("/nonexistent"));
}

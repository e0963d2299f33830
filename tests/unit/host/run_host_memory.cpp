// SPDX-License-Identifier: MIT
#include <ktstr/host/run/host_memory.hpp>

#include <catch2/catch_test_macros.hpp>

#include "scratch_directory.hpp"

using namespace ktstr::host;

TEST_CASE("available memory is not free memory", "[memory]") {
    const unit::scratch_directory files;
    CHECK(available_memory_mib(files.write("some",
                                           "MemTotal:       16384 kB\n"
                                           "MemFree:         1024 kB\n"
                                           "MemAvailable:    8192 kB\n"
                                           "HugePages_Total:       0\n")) == 8);
}

TEST_CASE("unknown memory is nothing, not zero", "[memory]") {
    const unit::scratch_directory files;
    CHECK_FALSE(available_memory_mib(files.path() / "none"));
    CHECK_FALSE(available_memory_mib(files.write("old", "MemTotal: 16384 kB\nMemFree: 1 kB\n")));
    CHECK_FALSE(available_memory_mib(files.write("garbage", "Mem\nMemAvailable: x kB\n")));
    CHECK(available_memory_mib());
}

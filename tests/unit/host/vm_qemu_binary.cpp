// SPDX-License-Identifier: MIT
#include <ktstr/host/vm/qemu_binary.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <filesystem>

#include "scratch_directory.hpp"

using namespace ktstr::host;
namespace fs = std::filesystem;

namespace {

std::size_t count(const fs::path& directory) {
    std::size_t found = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(directory))
        ++found;
    return found;
}

}  // namespace

TEST_CASE("QEMU's version is read from its own words", "[qemu]") {
    const auto read = parse_qemu_version("QEMU emulator version 10.0.2 (Debian 1:10.0.2)\n");
    REQUIRE(read);
    CHECK(*read == qemu_version{10, 0});
    CHECK_FALSE(parse_qemu_version("something else"));
    CHECK_FALSE(parse_qemu_version(""));
}

TEST_CASE("what a QEMU answered is noted in one folder, and old notes go", "[qemu]") {
    const unit::scratch_directory files;
    const auto cache = files.path() / "cache";
    const auto program = files.write(
        "qemu", "#!/bin/sh\necho asked >> \"$0.asked\"\necho QEMU emulator version 9.1.0\n");
    fs::permissions(program, fs::perms::owner_all);
    const auto forgotten = files.write("cache/qemu/forgotten", "QEMU emulator version 7.2.0\n");
    const auto recent = files.write("cache/qemu/recent", "QEMU emulator version 8.2.0\n");
    fs::last_write_time(forgotten, fs::file_time_type::clock::now() - std::chrono::hours(24 * 40));

    for (int turn = 0; turn < 2; ++turn) {
        const auto found = detail::ask_qemu(program, cache);
        REQUIRE(found);
        CHECK(found->version == qemu_version{9, 1});
    }
    CHECK(fs::file_size(program.string() + ".asked") == 6);  // once
    CHECK(count(cache) == 1);
    CHECK(count(cache / "qemu") == 2);
    CHECK_FALSE(fs::exists(forgotten));
    CHECK(fs::exists(recent));
}

TEST_CASE("a fetched program is the newest, and stays while it is used", "[qemu]") {
    const unit::scratch_directory files;
    const cache in(files.path() / "cache");
    CHECK(find_fetched(in.root(), "tool", "bin/tool").path.empty());
    cache::make_options options;
    options.durable = false;
    for (const std::string version : {"9.2", "10.0", "11"})
        REQUIRE(in.obtain("packages/tool", version, options, [&](const fs::path& directory) {
            fs::create_directories(directory / "root/bin");
            auto written = ktstr::host::detail::write_text(directory / "root/bin/tool", version);
            if (version != "11")  // it has none that runs
                fs::permissions(directory / "root/bin/tool", fs::perms::owner_all);
            return written;
        }));
    {
        const auto found = find_fetched(in.root(), "tool", "bin/tool");
        CHECK(found.path == in.root() / "packages/tool/10.0/root/bin/tool");
        CHECK_FALSE(*in.remove("packages/tool", "10.0"));
        CHECK(*in.remove("packages/tool", "9.2"));
    }
    CHECK(*in.remove("packages/tool", "10.0"));
}

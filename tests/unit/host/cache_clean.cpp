// SPDX-License-Identifier: MIT
#include <ktstr/host/cache/clean.hpp>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <chrono>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch_directory.hpp"

using namespace ktstr::host;
using unit::names_in;
using unit::scratch_directory;

namespace {

constexpr std::int64_t day_ns = std::int64_t{24} * 3600 * 1'000'000'000;
constexpr std::int64_t now_ns = 100 * day_ns;

cache_entry make(const cache& in, const std::string& kind, const std::string& key,
                 std::uintmax_t size = 10, std::string_view begin = "x") {
    cache::make_options options;
    options.durable = false;
    auto entry = in.obtain(kind, key, options, [&](const std::filesystem::path& directory) {
        auto written = ktstr::host::detail::write_text(directory / "file", begin);
        std::filesystem::resize_file(directory / "file", size);
        return written;
    });
    REQUIRE(entry);
    return *std::move(entry);
}

/// Says when an entry was used last, counted in days before `now_ns`.
void used_before(const cache& in, std::string_view kind, std::string_view key, int days) {
    const timespec when{static_cast<time_t>(100 - days) * 24 * 3600, 0};
    const std::array<timespec, 2> times{when, when};
    REQUIRE(::utimensat(AT_FDCWD, in.lock_path(kind, key, "use").c_str(), times.data(), 0) == 0);
}

std::vector<std::string> keys(const std::vector<surveyed_entry>& entries) {
    std::vector<std::string> found;
    for (const auto& entry : entries)
        found.push_back(entry.kind + ' ' + entry.key);
    return found;
}

clean_result clean(const cache& in, const clean_request& request) {
    return clean_cache(in, survey(in, check_depth::full), request, now_ns);
}

using names = std::vector<std::string>;

}  // namespace

TEST_CASE("a survey tells what every entry takes, holes left out, and changes nothing") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    make(in, "templates", "sparse", 32 << 20);
    make(in, "payload", "full", 1 << 20, std::string(1 << 20, 'x'));
    make(in, "packages/qemu", "1:9.0");
    used_before(in, "templates", "sparse", 50);
    scratch.write("qemu/0123456789abcdef0123456789abcdef", "QEMU emulator version 9.0.0\n");

    const auto found = survey(in);
    REQUIRE(keys(found) == names{"packages qemu/1:9.0", "payload full", "templates sparse",
                                 "qemu 0123456789abcdef0123456789abcdef"});
    CHECK(found[2].on_disk < 1 << 20);
    CHECK(found[2].bytes == 32 << 20);
    CHECK(found[2].last_use_ns == 50 * day_ns);
    CHECK(found[2].idle_since_ns() == 50 * day_ns);
    CHECK(found[1].on_disk >= 1 << 20);
    CHECK(found[0].path == scratch.path() / "packages/qemu/1:9.0");
    CHECK(found[3].last_use_ns == 0);
    CHECK(found[3].idle_since_ns() != 0);
    for (const auto& entry : found) {
        CHECK_FALSE(entry.in_use);
        CHECK_FALSE(entry.damage);
    }
    CHECK(survey(in)[2].last_use_ns == 50 * day_ns);
    CHECK(names_in(scratch.path() / "locks").size() == 3);
}

TEST_CASE("a survey names users and damage") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    const auto used = make(in, "images", "used");
    make(in, "images", "damaged");
    used_before(in, "images", "damaged", 1);
    scratch.write("images/damaged/file", "another");
    const auto lock = lock_file(in.lock_path("images", "damaged", "make"), lock_mode::exclusive);

    const auto found = survey(in);
    REQUIRE(keys(found) == names{"images used", "images damaged"});
    CHECK(found[0].in_use);
    REQUIRE(found[0].users.size() == 1);
    CHECK(found[0].users[0].pid == ::getpid());
    CHECK_FALSE(found[0].damage);
    CHECK(found[1].in_use);  // somebody makes it again
    REQUIRE(found[1].damage);
    CHECK(found[1].damage->find("7 bytes instead of 10") != std::string::npos);
}

TEST_CASE("what ktstr did not make is neither told nor deleted") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    scratch.write("images/holidays/beach.jpg", "x");
    scratch.write("qemu/disk.qcow2", "x");
    scratch.write("notes/todo", "x");
    scratch.write("locks/front.door", "x");
    CHECK(survey(in).empty());
    CHECK(clean(in, {.all = true}).removed.empty());
    for (const char* file :
         {"images/holidays/beach.jpg", "qemu/disk.qcow2", "notes/todo", "locks/front.door"})
        CHECK(std::filesystem::exists(scratch.path() / file));
}

TEST_CASE("cleaning everything leaves what is in use, and nothing else") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    for (const char* kind : {"kernels", "packages/qemu", "apt", "images", "initramfs", "templates"})
        make(in, kind, "idle");
    const auto used = make(in, "templates", "used");
    scratch.write("qemu/0123456789abcdef0123456789abcdef", "QEMU emulator version 9.0.0\n");
    scratch.write("tmp/dead/half", "x");
    const auto building = temporary_directory::create(in.temporary_parent());
    REQUIRE(building);

    const auto done = clean(in, {.all = true});
    CHECK(done.removed.size() == 7);
    CHECK(keys(done.in_use) == names{"templates used"});
    CHECK(done.fetched.empty());
    CHECK(done.failed.empty());
    CHECK(done.leftovers == 1);
    CHECK(std::filesystem::exists(used.path / "file"));
    CHECK(std::filesystem::exists(building->path()));
    CHECK(survey(in).size() == 2);
    CHECK(names_in(scratch.path() / "locks") == names{"templates.used.use"});
}

TEST_CASE("without a wish nothing is cleaned") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    make(in, "images", "one");
    CHECK(clean(in, {}).removed.empty());
    CHECK(clean(in, {.kinds = {"images"}}).removed.empty());
    CHECK(in.find("images", "one"));
}

TEST_CASE("what was fetched goes only by its name, or with everything") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    for (const char* kind : {"kernels", "packages/qemu", "images"}) {
        make(in, kind, "old");
        used_before(in, kind, "old", 40);
        make(in, kind, "new");
        used_before(in, kind, "new", 2);
    }
    const auto month = std::chrono::hours(24 * 30);
    auto done = clean(in, {.unused = month});
    CHECK(keys(done.removed) == names{"images old"});
    CHECK(done.fetched.size() == 2);
    done = clean(in, {.kinds = {"kernels"}, .unused = month});
    CHECK(keys(done.removed) == names{"kernels old"});
    CHECK(done.fetched.empty());
    done = clean(in, {.kinds = {"packages"}, .all = true});
    CHECK(done.removed.size() == 2);
    CHECK(keys(survey(in)) == names{"kernels new", "images new"});
}

TEST_CASE("an entry without a time of use counts from when it was made") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    make(in, "images", "just_made");
    std::filesystem::remove(in.lock_path("images", "just_made", "use"));
    const auto found = survey(in);
    REQUIRE(found.size() == 1);
    CHECK(found[0].last_use_ns == 0);
    const auto later = found[0].made_ns + day_ns;
    const auto after = [&](int hours) {
        return clean_cache(in, survey(in), {.unused = std::chrono::hours(hours)}, later)
            .removed.size();
    };
    CHECK(after(25) == 0);
    CHECK(after(23) == 1);
}

TEST_CASE("damaged entries go, sound ones stay") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    for (const char* key : {"sound", "changed", "unlisted"})
        make(in, "images", key);
    scratch.write("images/changed/file", "xxxxxxxxxx");  // as many bytes as before
    std::filesystem::remove(scratch.path() / "images/unlisted" / manifest_name);
    const auto done = clean(in, {.damaged = true});
    CHECK(done.removed.size() == 2);
    CHECK(keys(survey(in)) == names{"images sound"});
}

TEST_CASE("a limit is of the disk, and takes what was used longest ago") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    const auto add = [&](const char* kind, const char* key, int days) {
        make(in, kind, key, 1 << 18, std::string(1 << 18, 'x'));
        used_before(in, kind, key, days);
    };
    make(in, "templates", "sparse", 32 << 20);
    used_before(in, "templates", "sparse", 90);
    CHECK(clean(in, {.limit = 1 << 20}).removed.empty());

    add("kernels", "oldest", 99);
    add("images", "old", 9);
    add("payload", "older", 10);
    add("initramfs", "recent", 1);
    const auto used = in.find("images", "old");
    REQUIRE(used);
    used_before(in, "images", "old", 9);
    const auto each = disk_usage(scratch.path() / "initramfs/recent");

    auto done = clean(in, {.limit = 4 * each});
    CHECK(keys(done.removed) == names{"templates sparse"});
    CHECK(keys(done.fetched) == names{"kernels oldest"});
    done = clean(in, {.limit = 3 * each});
    CHECK(keys(done.removed) == names{"payload older"});
    CHECK(done.left == 3 * each);
    done = clean(in, {.kinds = {"images", "initramfs"}, .limit = each});
    CHECK(keys(done.in_use) == names{"images old"});
    CHECK(keys(done.removed) == names{"initramfs recent"});
    CHECK(done.left == each);
    CHECK(keys(survey(in)) == names{"kernels oldest", "images old"});
}

TEST_CASE("keys are cut to what tells them apart, and found again") {
    const auto entry = [](std::string kind, std::string key) {
        surveyed_entry one;
        one.kind = std::move(kind);
        one.key = std::move(key);
        return one;
    };
    const std::string tail = "89abcdef0123456789abcdef";
    const std::vector<surveyed_entry> entries{
        entry("images", "01234567" + tail),
        entry("images", "01234568" + tail),
        entry("images", "0123456f" + tail),
        entry("payload", "01234567" + tail),
        entry("templates", "0123456789" + tail.substr(2)),
        entry("templates", "01234567890" + tail.substr(3)),
        entry("initramfs", "base-01234567" + tail),
        entry("kernels", "7.3.4+deb13-cloud-amd64"),
        entry("packages", "qemu-system-x86/1:10.0.2+ds-2"),
        entry("packages", "qemu-system-x86/1:10.0.2+ds-3"),
    };
    CHECK(short_keys(entries) == names{"01234567", "01234568", "0123456f", "01234567",
                                       "0123456789a", "01234567890", "base-01234567",
                                       "7.3.4+deb13-cloud-amd64", "qemu-system-x86/1:10.0.2+ds-2",
                                       "qemu-system-x86/1:10.0.2+ds-3"});
    CHECK(keys(entries_called(entries, "01234568")) == names{"images 01234568" + tail});
    CHECK(entries_called(entries, "0123456").size() == 6);
    CHECK(keys(entries_called(entries, "payload/0123")) == names{"payload 01234567" + tail});
    CHECK(keys(entries_called(entries, "qemu-system-x86/1:10.0.2+ds-3")) ==
          names{"packages qemu-system-x86/1:10.0.2+ds-3"});
    CHECK(keys(entries_called(entries, "packages/qemu-system-x86/1:10.0.2+ds-2")) ==
          names{"packages qemu-system-x86/1:10.0.2+ds-2"});
    CHECK(entries_called(entries, "").empty());
    CHECK(entries_called(entries, "images/").empty());
    CHECK(entries_called({entry("kernels", "6.12.1"), entry("kernels", "6.12.10")}, "6.12.1")
              .size() == 1);
}

// SPDX-License-Identifier: MIT
#include <ktstr/host/cache/cache.hpp>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scratch_directory.hpp"

using namespace ktstr::host;
using unit::names_in;
using unit::scratch_directory;

namespace {

cache::make_options options() {
    cache::make_options made;
    made.what = "the thing";
    made.durable = false;
    return made;
}

cache::maker write_file(std::string content, int* times = nullptr) {
    return [content = std::move(content), times](const std::filesystem::path& directory) {
        if (times != nullptr)
            ++*times;
        return ktstr::host::detail::write_text(directory / "file", content);
    };
}

/// A pipe: one side waits until the other has spoken or died.
struct signal_pipe {
    std::array<int, 2> ends{-1, -1};
    signal_pipe() { REQUIRE(::pipe(ends.data()) == 0); }
    ~signal_pipe() {
        ::close(ends[0]);
        ::close(ends[1]);
    }
    void tell() const { (void)!::write(ends[1], "x", 1); }
    void await() const {
        char c = 0;
        (void)!::read(ends[0], &c, 1);
    }
};

}  // namespace

TEST_CASE("an entry is made once and found afterwards") {
    const scratch_directory scratch;
    const cache in(scratch.path() / "c");
    CHECK_FALSE(in.find("kind", "key"));
    int times = 0;
    const auto first = in.obtain("kind", "key", options(), write_file("content", &times));
    REQUIRE(first);
    const auto second = in.obtain("kind", "key", options(), write_file("other", &times));
    REQUIRE(second);
    CHECK(times == 1);
    CHECK(unit::content_of(second->path / "file") == "content");
    CHECK(first->content.id == second->content.id);
    CHECK(names_in(in.temporary_parent()).empty());
}

TEST_CASE("an entry's id follows its content") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    const auto a = in.obtain("kind", "a", options(), write_file("same"));
    const auto b = in.obtain("kind", "b", options(), write_file("same"));
    const auto c = in.obtain("kind", "c", options(), write_file("else"));
    CHECK(a->content.id == b->content.id);
    CHECK(a->content.id != c->content.id);
}

TEST_CASE("a maker that fails leaves nothing behind") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    const auto failed = in.obtain("kind", "key", options(), [](const auto& directory) {
        (void)ktstr::host::detail::write_text(directory / "half", "half");
        return ktstr::result<void>(ktstr::plain_error("make", "it", "on purpose"));
    });
    REQUIRE_FALSE(failed);
    CHECK(failed.error().reason == "on purpose");
    CHECK_FALSE(in.find("kind", "key"));
    CHECK(names_in(in.temporary_parent()).empty());
    CHECK(names_in(scratch.path() / "kind").empty());
    CHECK(names_in(scratch.path() / "locks").empty());
}

TEST_CASE("damage is found at the next use and mended by making the entry again") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    const auto entry = in.obtain("kind", "key", options(), write_file("content"));
    REQUIRE(entry);
    const std::filesystem::path file = entry->path / "file";
    std::string damage;

    SECTION("cut off") {
        std::filesystem::resize_file(file, 3);
    }
    SECTION("missing") {
        std::filesystem::remove(file);
    }
    SECTION("other content of the same size") {
        scratch.write("kind/key/file", "CONTENT");
    }
    SECTION("manifest cut off") {
        std::filesystem::resize_file(entry->path / manifest_name, 40);
    }
    SECTION("manifest missing") {
        std::filesystem::remove(entry->path / manifest_name);
    }
    SECTION("manifest altered") {
        std::string text = unit::content_of(entry->path / manifest_name);
        text.replace(text.find("file"), 4, "fila");
        scratch.write(std::filesystem::path("kind/key") / manifest_name, text);
    }
    CHECK_FALSE(in.find("kind", "key", &damage));
    CHECK_FALSE(damage.empty());
    CHECK(in.list("kind").front().damage);
    std::string told;
    auto noisy = options();
    noisy.progress = [&](std::string_view line) { told += line; };
    const auto again = in.obtain("kind", "key", noisy, write_file("content"));
    REQUIRE(again);
    CHECK(unit::content_of(file) == "content");
    CHECK(told.find("again") != std::string::npos);
    CHECK_FALSE(in.list("kind").front().damage);
    CHECK(names_in(in.temporary_parent()).empty());
}

TEST_CASE("a file that was only touched is no damage") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    REQUIRE(in.obtain("kind", "key", options(), write_file("content")));
    scratch.write("kind/key/file", "content");
    CHECK(in.find("kind", "key"));
}

TEST_CASE("what is not looked at every time is found by a full check") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    auto some = options();
    some.check_every_time = [](std::string_view path) { return path != "file"; };
    const auto entry = in.obtain("kind", "key", some, write_file("content"));
    REQUIRE(entry);
    std::filesystem::resize_file(entry->path / "file", 2);
    CHECK(in.find("kind", "key"));
    CHECK_FALSE(in.list("kind", check_depth::quick).front().damage);
    CHECK(in.list("kind", check_depth::full).front().damage);
}

TEST_CASE("an entry that is out of date is made again") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    REQUIRE(in.obtain("kind", "key", options(), write_file("old")));
    const auto is_new = [](const cache_entry& there) {
        return unit::content_of(there.path / "file") == "new";
    };
    int times = 0;
    REQUIRE(in.obtain_if("kind", "key", options(), write_file("new", &times), is_new));
    REQUIRE(in.obtain_if("kind", "key", options(), write_file("new", &times), is_new));
    CHECK(times == 1);
}

TEST_CASE("of two processes one makes the entry and the other waits and says so") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    const signal_pipe making, waiting;
    const pid_t child = ::fork();
    if (child == 0) {
        const auto made = in.obtain("kind", "key", options(), [&](const auto& directory) {
            making.tell();
            waiting.await();
            return ktstr::host::detail::write_text(directory / "file", "by the child");
        });
        ::_exit(made ? 0 : 1);
    }
    making.await();
    std::string told;
    auto noisy = options();
    noisy.progress = [&](std::string_view line) {
        told += line;
        waiting.tell();
    };
    int times = 0;
    const auto entry = in.obtain("kind", "key", noisy, write_file("by the parent", &times));
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    REQUIRE(entry);
    CHECK(times == 0);
    CHECK(unit::content_of(entry->path / "file") == "by the child");
    CHECK(told == "waiting for another process that prepares the thing");
}

TEST_CASE("a maker that is killed leaves no entry, and its directory goes at the next make") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    const signal_pipe making, never;
    const pid_t child = ::fork();
    if (child == 0) {
        (void)in.obtain("kind", "key", options(), [&](const auto& directory) {
            (void)ktstr::host::detail::write_text(directory / "half", "half");
            making.tell();
            never.await();
            return ktstr::result<void>();
        });
        ::_exit(0);
    }
    making.await();
    CHECK(remove_stale_directories(in.temporary_parent()) == 0);  // its owner lives
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    CHECK_FALSE(in.find("kind", "key"));
    CHECK(names_in(in.temporary_parent()).size() == 1);
    REQUIRE(in.obtain("kind", "key", options(), write_file("content")));
    CHECK(names_in(in.temporary_parent()).empty());
}

TEST_CASE("an entry in use is not deleted, one that nobody uses is") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    {
        const auto used = in.obtain("kind", "key", options(), write_file("content"));
        REQUIRE(used);
        const auto kept = in.remove("kind", "key");
        REQUIRE(kept);
        CHECK_FALSE(*kept);
        CHECK(std::filesystem::exists(used->path / "file"));
    }
    const auto gone = in.remove("kind", "key");
    REQUIRE(gone);
    CHECK(*gone);
    CHECK(names_in(scratch.path() / "kind").empty());
    CHECK(names_in(scratch.path() / "locks").empty());
    CHECK(names_in(in.temporary_parent()).empty());
}

TEST_CASE("eviction takes what was used longest ago, and nothing that is in use") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    const std::string content(1000, 'x');
    for (const char* key : {"a", "b", "c"})
        REQUIRE(in.obtain("kind", key, options(), write_file(content)));
    // The times of three quick uses may be equal; say plainly which was when.
    const auto used_at = [&](const char* key, time_t when) {
        const std::array<timespec, 2> times{timespec{when, 0}, timespec{when, 0}};
        REQUIRE(
            ::utimensat(AT_FDCWD,
                        (scratch.path() / "locks" / ("kind." + std::string(key) + ".use")).c_str(),
                        times.data(), 0) == 0);
    };
    const auto in_use = in.find("kind", "a");
    REQUIRE(in_use);
    used_at("a", 100);
    used_at("b", 200);
    used_at("c", 300);
    const auto each = disk_usage(scratch.path() / "kind" / "b");
    in.evict("kind", 3 * each);
    CHECK(names_in(scratch.path() / "kind").size() == 3);
    in.evict("kind", 2 * each);
    CHECK(in.find("kind", "a"));
    CHECK_FALSE(in.find("kind", "b"));
    CHECK(in.find("kind", "c"));
}

TEST_CASE("what a file takes is told without its holes, and once for all of its names") {
    const scratch_directory scratch;
    const auto full = scratch.write("full", std::string(1 << 20, 'x'));
    const auto sparse = scratch.write("d/sparse", "begin");
    std::filesystem::resize_file(sparse, std::uintmax_t{1} << 30);
    CHECK(disk_usage(full) >= 1 << 20);
    CHECK(disk_usage(sparse) < 1 << 20);
    const auto whole = disk_usage(scratch.path());
    CHECK(whole >= disk_usage(full) + disk_usage(sparse));
    CHECK(whole < 2 << 20);
    std::filesystem::create_hard_link(full, scratch.path() / "d" / "again");
    CHECK(disk_usage(scratch.path()) < whole + (1 << 19));
    CHECK(disk_usage(scratch.path() / "none") == 0);
}

TEST_CASE("hashes tell contents and divisions apart") {
    const scratch_directory scratch;
    const auto file = scratch.write("f", "content");
    CHECK(*hash_file(file) == hash_text("content"));
    CHECK(hash_text("content") != hash_text("Content"));
    CHECK(content_hash{}.add("ab").add("c").hex() != content_hash{}.add("a").add("bc").hex());
    CHECK_FALSE(hash_file(scratch.path() / "none"));
}

TEST_CASE("a hole has the hash of its zeros") {
    const scratch_directory scratch;
    const auto file = scratch.write("f", "begin");
    const auto with = [&](std::size_t size, std::size_t at, std::string_view text) {
        std::string content = unit::content_of(file);
        content.resize(size);
        content.replace(at, text.size(), text);
        std::filesystem::resize_file(file, size);
        std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
        out.seekp(static_cast<std::streamoff>(at));
        out << text << std::flush;
        CHECK(unit::content_of(file) == content);
        CHECK(*hash_file(file) == hash_text(content));
    };
    with(300'000, 250'000, "middle");   // begins and ends with data, holes between and behind
    with(2'000'001, 1'999'998, "end");  // ends with data
    std::filesystem::resize_file(file, 0);
    CHECK(*hash_file(file) == hash_text(""));
    with(100'000, 0, "");  // nothing but a hole
}

TEST_CASE("an entry that nobody wrote out is believed until the host boots anew") {
    const scratch_directory scratch;
    const auto root = scratch.path();
    int times = 0;
    REQUIRE(cache(root, "first boot").obtain("kind", "key", options(), write_file("a", &times)));
    REQUIRE(cache(root, "first boot").obtain("kind", "key", options(), write_file("a", &times)));
    CHECK(times == 1);
    const cache after(root, "second boot");
    std::string damage;
    CHECK_FALSE(after.find("kind", "key", &damage));
    CHECK(damage.find("was not written out before this host booted anew") != std::string::npos);
    const auto listed = after.list("kind");
    REQUIRE(listed.size() == 1);
    CHECK(listed.front().damage == damage);
    const auto again = after.obtain("kind", "key", options(), write_file("b", &times));
    REQUIRE(again);
    CHECK(times == 2);
    CHECK(unit::content_of(again->path / "file") == "b");
    CHECK(after.list("kind").front().damage == std::nullopt);
    // Half of the note is none.
    REQUIRE(ktstr::host::detail::write_text(again->path / unsynced_name, ""));
    CHECK_FALSE(after.find("kind", "key"));
}

TEST_CASE("an entry that was written out outlives a boot") {
    const scratch_directory scratch;
    auto durable = options();
    durable.durable = true;
    int times = 0;
    REQUIRE(cache(scratch.path(), "first boot")
                .obtain("kind", "key", durable, write_file("a", &times)));
    REQUIRE(cache(scratch.path(), "second boot")
                .obtain("kind", "key", durable, write_file("a", &times)));
    CHECK(times == 1);
    // Where nobody can tell one boot from another, all is written out.
    REQUIRE(cache(scratch.path(), "").obtain("kind", "other", options(), write_file("a", &times)));
    REQUIRE(cache(scratch.path(), "").obtain("kind", "other", options(), write_file("a", &times)));
    CHECK(times == 2);
}

TEST_CASE("an entry that is no good is set aside under its users") {
    const scratch_directory scratch;
    const cache in(scratch.path());
    const auto user = in.obtain("kind", "key", options(), write_file("bad"));
    REQUIRE(user);
    const int open = ::open((user->path / "file").c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(open >= 0);
    CHECK_FALSE(*in.remove("kind", "key"));  // it is in use
    CHECK(*in.set_aside("kind", "key", *user->directory));
    CHECK_FALSE(in.find("kind", "key"));
    CHECK(names_in(in.temporary_parent()).empty());
    char word[4] = {};
    CHECK(::read(open, word, sizeof word) == 3);
    CHECK(std::string_view(word) == "bad");
    ::close(open);
    // Another is made while the first one's lock is still held, and is not mistaken for it.
    const auto next = in.obtain("kind", "key", options(), write_file("good"));
    REQUIRE(next);
    CHECK_FALSE(*in.set_aside("kind", "key", *user->directory));
    CHECK(unit::content_of(next->path / "file") == "good");
}

// SPDX-License-Identifier: MIT
#include <ktstr/host/cache/cache_root.hpp>
#include <ktstr/host/cache/manifest.hpp>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include "scratch_directory.hpp"

using namespace ktstr::host;
using unit::environment_guard;

TEST_CASE("the cache is where the environment says, in the promised order") {
    const environment_guard home("HOME", "/home/somebody");
    const environment_guard xdg("XDG_CACHE_HOME", "/var/x");
    {
        const environment_guard own("KTSTR_CACHE_DIR", "/srv/k");
        CHECK(*cache_root() == "/srv/k");
    }
    const environment_guard own("KTSTR_CACHE_DIR", std::nullopt);
    CHECK(*cache_root() == "/var/x/ktstr");
    {
        const environment_guard relative("XDG_CACHE_HOME", "not/absolute");
        CHECK(*cache_root() == "/home/somebody/.cache/ktstr");
    }
    const environment_guard none("XDG_CACHE_HOME", std::nullopt);
    CHECK(*cache_root() == "/home/somebody/.cache/ktstr");
    const environment_guard empty("KTSTR_CACHE_DIR", "");
    CHECK(*cache_root() == "/home/somebody/.cache/ktstr");
}

TEST_CASE("a cache that others can write to is refused, and the way out is named") {
    const unit::scratch_directory scratch;
    const auto root = scratch.path() / "a cache, mine";
    const environment_guard own("KTSTR_CACHE_DIR", root.string());
    const auto refusal = [] {
        const auto found = cache_root();
        return found ? std::string() : found.error().message();
    };
    using std::filesystem::perms;
    CHECK(refusal().empty());  // not there yet
    {
        const auto mask = ::umask(0002);
        CHECK_FALSE(make_cache_directory(root / "templates/deep"));
        ::umask(mask);
    }
    CHECK(refusal().empty());
    CHECK_FALSE(make_cache_directory(root / "templates"));
    CHECK(make_cache_directory("/proc/none/at/all"));
    for (const auto& directory : {root, root / "templates"})
        for (const auto writer : {perms::group_write, perms::others_write}) {
            std::filesystem::permissions(directory, writer, std::filesystem::perm_options::add);
            CHECK(refusal().find("others may write to it") != std::string::npos);
            CHECK(refusal().find("chmod go-w '" + directory.string() + "'") != std::string::npos);
            std::filesystem::permissions(directory, writer, std::filesystem::perm_options::remove);
            CHECK(refusal().empty());
        }
    if (::geteuid() == 0) {  // nobody else can give a directory away
        REQUIRE(::chown(root.c_str(), 4321, 0) == 0);
        CHECK(refusal().find("belongs to user 4321") != std::string::npos);
        CHECK(refusal().find("KTSTR_CACHE_DIR") != std::string::npos);
    }
}

TEST_CASE("a full disk is named with its remedy before anything is written") {
    const unit::scratch_directory scratch;
    CHECK(require_space(scratch.path() / "not/yet/there", 1, "store a kernel"));
    const auto full = require_space(scratch.path(), std::uint64_t{1} << 62, "store a kernel");
    REQUIRE_FALSE(full);
    CHECK(full.error().code == ENOSPC);
    const std::string text = full.error().message();
    CHECK(text.find("disk full") != std::string::npos);
    CHECK(text.find("KTSTR_CACHE_DIR") != std::string::npos);
    CHECK(text.find("ktstr cache clean --unused 7") != std::string::npos);
}

TEST_CASE("a disk that fills up while writing is named with its remedy") {
    const auto failed = ktstr::host::detail::write_text("/dev/full", "text");
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == ENOSPC);
    CHECK(failed.error().message().find("free space there") != std::string::npos);
}

TEST_CASE("a directory one may not write is named with its remedy, other failures are not") {
    CHECK(cache_error("create", "/x", EACCES).hint.find("KTSTR_CACHE_DIR") != std::string::npos);
    CHECK(cache_error("create", "/x", EIO).hint.empty());
}

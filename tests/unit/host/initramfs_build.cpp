// SPDX-License-Identifier: MIT
#include <ktstr/host/initramfs/initramfs.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

#include "cpio_reader.hpp"
#include "scratch_directory.hpp"
#include "small_elf.hpp"

using namespace ktstr::host;
using unit::dynamic_elf;
using unit::environment_guard;
using unit::scratch_directory;

namespace {

struct workshop {
    scratch_directory scratch;
    environment_guard root{"KTSTR_CACHE_DIR", (scratch.path() / "cache").string()};
    initramfs_input input;

    workshop() {
        input.init_elf = scratch.write("bin/tests", dynamic_elf({"liba.so.1"}, "$ORIGIN/../lib"));
        scratch.write("lib/liba.so.1", dynamic_elf({}));
    }
    [[nodiscard]] initramfs build() const {
        auto built = build_initramfs(input);
        INFO((built ? "" : built.error().message()));
        REQUIRE(built);
        return *std::move(built);
    }
    [[nodiscard]] std::size_t entries() const {
        return unit::names_in(scratch.path() / "cache/initramfs").size();
    }
};

}  // namespace

TEST_CASE("an initramfs holds the test, its libraries, its modules in order, and files") {
    workshop shop;
    const std::string module = unit::module_elf("name=m");
    const auto packed = run_tool({{"xz", "-c"}, module});
    REQUIRE(packed);
    shop.input.modules = {{"first", shop.scratch.write("m/first.ko.xz", packed->out)},
                          {"second", shop.scratch.write("m/second.ko", module)}};
    shop.input.programs = {{shop.scratch.write("sched/scx", dynamic_elf({})), {}},
                           {shop.scratch.path() / "sched/scx", "/bin/renamed"}};
    shop.input.files = {{"/etc/given", {}, "text", 0600},
                        {"/etc/copied", shop.scratch.write("f", "file"), {}, 0644}};
    const initramfs built = shop.build();
    const std::string archive = unit::content_of(built.path);
    CHECK(built.size == archive.size());
    CHECK(built.modules ==
          std::vector<std::string>{"/ktstr/modules/first.ko", "/ktstr/modules/second.ko"});
    const auto entries = unit::read_cpio(archive);
    const std::string here = shop.scratch.path().string().substr(1);
    CHECK(entries.at("init").content == unit::content_of(shop.input.init_elf));
    CHECK(entries.at("init").mode == (S_IFREG | 0755U));
    CHECK(entries.at(here + "/lib/liba.so.1").content ==
          unit::content_of(shop.scratch.path() / "lib/liba.so.1"));
    CHECK(entries.at("ktstr/modules/first.ko").content == module);
    CHECK(entries.at("ktstr/modules/second.ko").content == module);
    CHECK(entries.at("ktstr/modules.list").content ==
          "/ktstr/modules/first.ko\n/ktstr/modules/second.ko\n");
    CHECK(entries.at(here + "/sched/scx").mode == (S_IFREG | 0755U));
    CHECK(entries.at("etc/given").content == "text");
    CHECK(entries.at("etc/given").mode == (S_IFREG | 0600U));
    CHECK(entries.at("etc/copied").content == "file");
    CHECK(S_ISCHR(entries.at("dev/console").mode));
    // $ORIGIN/../lib of /init is /lib; what was found elsewhere is linked where every loader looks.
    bool linked = false;
    for (const auto& [name, entry] : entries)
        linked = linked || (S_ISLNK(entry.mode) && name.ends_with("/liba.so.1") &&
                            entry.content == '/' + here + "/lib/liba.so.1");
    CHECK(linked);
}

TEST_CASE("nothing changed: nothing is packed again") {
    const workshop shop;
    const initramfs first = shop.build();
    const auto before = *identity_of(first.path);
    const initramfs second = shop.build();
    CHECK(second.path == first.path);
    CHECK(second.id == first.id);
    CHECK(*identity_of(second.path) == before);
}

TEST_CASE("a rebuilt test is packed anew, its libraries are not") {
    const workshop shop;
    const initramfs first = shop.build();
    CHECK(shop.entries() == 2);
    shop.scratch.write("bin/tests", dynamic_elf({"liba.so.1"}, "$ORIGIN/../lib/"));
    const initramfs second = shop.build();
    CHECK(second.path != first.path);
    CHECK(second.id != first.id);
    CHECK(shop.entries() == 3);  // one base, two wholes
    CHECK(unit::read_cpio(unit::content_of(second.path)).at("init").content ==
          unit::content_of(shop.input.init_elf));
}

TEST_CASE("a library that changed is packed anew although no caller named it") {
    const workshop shop;
    const initramfs first = shop.build();
    shop.scratch.write("lib/liba.so.1", dynamic_elf({}, "/other"));
    const initramfs second = shop.build();
    CHECK(second.id != first.id);
    const std::string here = shop.scratch.path().string().substr(1);
    CHECK(unit::read_cpio(unit::content_of(second.path)).at(here + "/lib/liba.so.1").content ==
          dynamic_elf({}, "/other"));
}

TEST_CASE("another content given in the call is another initramfs") {
    workshop shop;
    shop.input.files = {{"/etc/given", {}, "one", 0600}};
    const initramfs first = shop.build();
    shop.input.files = {{"/etc/given", {}, "two", 0600}};
    CHECK(shop.build().path != first.path);
}

TEST_CASE("the cache of initramfs files stays within its limit and keeps what is in use") {
    workshop shop;
    shop.input.cache_limit = 1;
    const initramfs used = shop.build();
    for (const char* content : {"one", "two", "three"}) {
        shop.input.files = {{"/etc/given", {}, content, 0600}};
        (void)shop.build();
    }
    CHECK(std::filesystem::exists(used.path));
    CHECK(shop.entries() <= 3);
}

TEST_CASE("what cannot be packed is an error, and leaves nothing") {
    workshop shop;
    SECTION("no such test") {
        shop.input.init_elf = shop.scratch.path() / "none";
    }
    SECTION("no such file") {
        shop.input.files = {{"/etc/x", shop.scratch.path() / "none", {}, 0644}};
    }
    SECTION("no such library") {
        shop.input.init_elf = shop.scratch.write("bin/tests", dynamic_elf({"libktstr-none.so"}));
    }
    SECTION("a module in an unknown format") {
        shop.input.modules = {{"odd", shop.scratch.write("odd.ko", "not a module")}};
    }
    SECTION("the place of /init is taken") {
        shop.input.files = {{"/init", {}, "mine", 0755}};
    }
    CHECK_FALSE(build_initramfs(shop.input));
    CHECK(shop.entries() == 0);
    CHECK(unit::names_in(shop.scratch.path() / "cache/tmp").empty());
}

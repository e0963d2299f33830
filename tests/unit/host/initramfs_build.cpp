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
        start(dynamic_elf({"liba.so.1"}, "$ORIGIN/../lib"));
        scratch.write("lib/liba.so.1", dynamic_elf({}));
    }
    /// A build leaves the program, and a run of it begins.
    void start(const std::string& program) {
        const auto path = scratch.path() / "bin/tests";
        std::filesystem::remove(path);
        auto opened = test_program::open(scratch.write("bin/tests", program));
        REQUIRE(opened);
        input.init = *std::move(opened);
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
    CHECK(entries.at("init").content == shop.input.init.bytes());
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
    workshop shop;
    const initramfs first = shop.build();
    CHECK(shop.entries() == 2);
    shop.start(dynamic_elf({"liba.so.1"}, "$ORIGIN/../lib/"));
    const initramfs second = shop.build();
    CHECK(second.path != first.path);
    CHECK(second.id != first.id);
    CHECK(shop.entries() == 3);  // one base, two wholes
    CHECK(unit::read_cpio(unit::content_of(second.path)).at("init").content ==
          shop.input.init.bytes());
    CHECK(second.base_id == first.base_id);
    // A build that changed nothing is nothing new.
    shop.start(dynamic_elf({"liba.so.1"}, "$ORIGIN/../lib/"));
    CHECK(shop.build().path == second.path);
}

TEST_CASE("what is packed is the program that was started, and is known as that") {
    workshop shop;
    const auto one = dynamic_elf({"liba.so.1"}, "$ORIGIN/../lib");
    const auto two = dynamic_elf({}, "/other");
    const auto path = shop.scratch.path() / "bin/tests";
    const auto init_of = [](const initramfs& built) {
        return unit::read_cpio(unit::content_of(built.path)).at("init").content;
    };
    CHECK_FALSE(shop.input.init.replaced());
    SECTION("replaced") {
        std::filesystem::remove(path);
        shop.scratch.write("bin/tests", two);
    }
    SECTION("removed") {
        std::filesystem::remove(path);
    }
    CHECK(shop.input.init.replaced());
    CHECK(init_of(shop.build()) == one);
    shop.start(two);
    CHECK(init_of(shop.build()) == two);
}

TEST_CASE("a program that is written to while it runs is refused") {
    workshop shop;
    auto other = dynamic_elf({"liba.so.1"}, "$ORIGIN/../lib");
    other.back() = static_cast<char>(other.back() + 1);
    shop.scratch.write("bin/tests", other);
    CHECK_FALSE(build_initramfs(shop.input));
    CHECK(shop.entries() == 0);
}

TEST_CASE("a file that changes between its key and its packing is refused") {
    workshop shop;
    shop.input.files = {{"/etc/copied", shop.scratch.write("f", "one"), {}, 0644}};
    const auto key = ktstr::host::detail::key_of(shop.input, "rule");
    const auto tree = ktstr::host::detail::plant(shop.input, ktstr::host::detail::base_for::all);
    REQUIRE((key && tree));
    const auto id = ktstr::host::detail::id_of(*tree);
    const auto unchanged = [&] {
        return bool(ktstr::host::detail::require_unchanged(shop.input, "rule", *key, id,
                                                           ktstr::host::detail::base_for::all));
    };
    CHECK(unchanged());
    SECTION("a file that a caller named") {
        shop.scratch.write("f", "another");
    }
    SECTION("a library") {
        shop.scratch.write("lib/liba.so.1", dynamic_elf({}, "/other"));
    }
    CHECK_FALSE(unchanged());
}

// A template boots with what the test program needs; the rest comes with the clone.
TEST_CASE("libraries that only another program needs are not the template's") {
    workshop shop;
    using namespace ktstr::host::detail;
    const auto alone = plant(shop.input, base_for::init);
    shop.scratch.write("lib/libb.so.1", dynamic_elf({"liba.so.1"}, "$ORIGIN"));
    shop.input.programs = {
        {shop.scratch.write("bin/sched", dynamic_elf({"libb.so.1"}, "$ORIGIN/../lib")),
         "/ktstr/scheduler"}};
    const auto with = plant(shop.input, base_for::init);
    const auto cold = plant(shop.input, base_for::all);
    REQUIRE((alone && with && cold));
    CHECK(with->id(tree_layer::base) == alone->id(tree_layer::base));
    CHECK(cold->id(tree_layer::base) != alone->id(tree_layer::base));
    const auto lib = (shop.scratch.path() / "lib").string();
    CHECK(with->nodes().at(lib + "/liba.so.1").layer == tree_layer::base);
    CHECK(with->nodes().at(lib + "/libb.so.1").layer == tree_layer::top);
    CHECK(cold->nodes().at(lib + "/libb.so.1").layer == tree_layer::base);
    CHECK(with->nodes().size() == cold->nodes().size());
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

TEST_CASE("a library that comes before the one that was found is packed anew") {
    workshop shop;
    shop.start(dynamic_elf({"liba.so.1"}, "$ORIGIN/../first:$ORIGIN/../lib"));
    const initramfs first = shop.build();
    shop.scratch.write("first/liba.so.1", dynamic_elf({}, "/other"));
    const initramfs second = shop.build();
    CHECK(second.id != first.id);
    const std::string here = shop.scratch.path().string().substr(1);
    CHECK(unit::read_cpio(unit::content_of(second.path)).contains(here + "/first/liba.so.1"));
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
    SECTION("no such file") {
        shop.input.files = {{"/etc/x", shop.scratch.path() / "none", {}, 0644}};
    }
    SECTION("no such library") {
        shop.start(dynamic_elf({"libktstr-none.so"}));
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

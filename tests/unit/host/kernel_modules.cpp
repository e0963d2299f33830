// SPDX-License-Identifier: MIT
#include <ktstr/host/kernel/modules.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "scratch_directory.hpp"
#include "small_elf.hpp"

using namespace ktstr::host;
using unit::scratch_directory;

namespace {

std::vector<std::string> names_for(const kernel& of, std::vector<std::string_view> wanted) {
    const auto files = modules_for(of, wanted);
    std::vector<std::string> names;
    INFO((files ? "" : files.error().message()));
    REQUIRE(files);
    for (const module_file& file : *files) {
        CHECK(std::filesystem::exists(file.path));
        names.push_back(file.name);
    }
    return names;
}

std::string module_that_needs(std::string_view depends) {
    return unit::module_elf(std::string("license=GPL") + '\0' + "depends=" + std::string(depends) +
                            '\0' + "name=x" + '\0');
}

/// top needs mid-a and mid_b, both need base.
void write_modules(const scratch_directory& scratch) {
    scratch.write("kernel/fs/top.ko", module_that_needs("mid-a,mid_b"));
    const auto packed = run_tool({{"xz", "-c"}, module_that_needs("base")});
    REQUIRE(packed);
    scratch.write("kernel/a/mid-a.ko.xz", packed->out);
    const auto zipped = run_tool({{"gzip", "-c"}, module_that_needs("base")});
    REQUIRE(zipped);
    scratch.write("kernel/b/mid_b.ko.gz", zipped->out);
    scratch.write("kernel/base.ko", module_that_needs(""));
    scratch.write("modules.builtin", "kernel/drivers/char/built-in-one.ko\n");
}

}  // namespace

TEST_CASE("a module's name is its file's, with underscores") {
    CHECK(module_name("kernel/a/b-c.ko.xz") == "b_c");
    CHECK(module_name("x.ko") == "x");
    CHECK(module_name("kernel/a/readme").empty());
    CHECK(module_name("kernel/a/x.kobold").empty());
}

TEST_CASE("a module says what it depends on, if it is sound") {
    const auto some = module_depends(module_that_needs("a-b,c"));
    REQUIRE(some);
    CHECK(*some == std::vector<std::string>{"a_b", "c"});
    CHECK(module_depends(module_that_needs(""))->empty());
    CHECK_FALSE(module_depends("no module"));
    CHECK_FALSE(module_depends(module_that_needs("a").substr(0, 100)));
}

TEST_CASE("modules come in loading order, each once, without what is built in") {
    const scratch_directory scratch;
    write_modules(scratch);
    kernel of;
    of.modules = scratch.path();
    const std::vector<std::string> expected{"base", "mid_a", "mid_b", "top"};

    SECTION("asking the modules themselves") {}
    SECTION("from our modules.dep") {
        REQUIRE(write_modules_dep(scratch.path()));
    }
    SECTION("from the modules.dep of depmod, which names the last to load first") {
        scratch.write("modules.dep",
                      "kernel/fs/top.ko: kernel/b/mid_b.ko.gz kernel/a/mid-a.ko.xz kernel/base.ko\n"
                      "kernel/a/mid-a.ko.xz: kernel/base.ko\n"
                      "kernel/b/mid_b.ko.gz: kernel/base.ko\nkernel/base.ko:\n");
    }
    CHECK(names_for(of, {"top"}) == expected);
    CHECK(names_for(of, {"base", "built_in_one", "built-in-one"}) ==
          std::vector<std::string>{"base"});
    CHECK(names_for(of, {"mid-a", "mid_a"}) == std::vector<std::string>{"base", "mid_a"});
    CHECK(names_for(of, {"top", "base"}) == expected);
    CHECK(names_for(of, {}).empty());
}

TEST_CASE("a module that the kernel does not have is named, with who needs it") {
    const scratch_directory scratch;
    scratch.write("kernel/fs/top.ko", module_that_needs("gone"));
    kernel of;
    of.release = "7.9.1-unit";
    of.modules = scratch.path();
    const std::array<std::string_view, 1> absent{"vsock"}, needy{"top"};
    const auto missing = modules_for(of, absent);
    REQUIRE_FALSE(missing);
    CHECK(missing.error().message().find("vsock") != std::string::npos);
    CHECK(missing.error().message().find("7.9.1-unit") != std::string::npos);
    const auto below = modules_for(of, needy);
    REQUIRE_FALSE(below);
    CHECK(below.error().message().find("needed by top") != std::string::npos);
}

TEST_CASE("a kernel without modules has everything built in") {
    const std::array<std::string_view, 1> wanted{"vsock"};
    const auto files = modules_for(kernel{}, wanted);
    REQUIRE(files);
    CHECK(files->empty());
}

TEST_CASE("the modules of a build tree are found by its own list") {
    const scratch_directory scratch;
    scratch.write("modules.order", "net/top.o\nnet/base.o\n");
    scratch.write("net/top.ko", module_that_needs("base"));
    scratch.write("net/base.ko", module_that_needs(""));
    kernel of;
    of.modules = scratch.path();
    CHECK(names_for(of, {"top"}) == std::vector<std::string>{"base", "top"});
}

TEST_CASE("modules that need each other in a circle do not hang") {
    const scratch_directory scratch;
    scratch.write("kernel/fs/a.ko", module_that_needs("b"));
    scratch.write("kernel/fs/b.ko", module_that_needs("a"));
    kernel of;
    of.modules = scratch.path();
    CHECK(names_for(of, {"a"}) == std::vector<std::string>{"b", "a"});
}

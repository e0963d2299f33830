// SPDX-License-Identifier: MIT
#include <ktstr/host/initramfs/elf_closure.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <filesystem>
#include <set>
#include <string>

#include "scratch_directory.hpp"
#include "small_elf.hpp"

using namespace ktstr::host;
using unit::dynamic_elf;
using unit::environment_guard;
using unit::scratch_directory;

namespace {

ktstr::result<library_closure> closure_of(const std::filesystem::path& program) {
    return find_libraries(std::array{program});
}

}  // namespace

TEST_CASE("this program's libraries are the ones its own loader has found") {
    const auto found = closure_of("/proc/self/exe");
    REQUIRE(found);
    std::set<std::filesystem::path> ours, loaded;
    for (const needed_library& library : found->libraries)
        ours.insert(std::filesystem::canonical(library.path));
    for (const std::filesystem::path& interpreter : found->interpreters)
        ours.insert(std::filesystem::canonical(interpreter));
    const std::string maps = unit::content_of("/proc/self/maps");
    const auto self = std::filesystem::canonical("/proc/self/exe");
    for (const std::string& line : ktstr::host::detail::split(maps, '\n')) {
        const std::size_t slash = line.find('/');
        if (slash != std::string::npos && line.find(".so") != std::string::npos)
            loaded.insert(line.substr(slash));
    }
    loaded.erase(self);
    CHECK_FALSE(ours.empty());
    CHECK(ours == loaded);
}

TEST_CASE("a library nobody has is named, with who needs it and where it was looked for") {
    const scratch_directory scratch;
    const auto program = scratch.write("program", dynamic_elf({"libktstr-nowhere.so.9"}));
    const auto missing = closure_of(program);
    REQUIRE_FALSE(missing);
    const std::string text = missing.error().message();
    CHECK(text.find("libktstr-nowhere.so.9") != std::string::npos);
    CHECK(text.find(program.string()) != std::string::npos);
    CHECK(text.find("/usr/lib") != std::string::npos);
}

TEST_CASE("libraries are found beside their program, and through each other") {
    const scratch_directory scratch;
    scratch.write("lib/liba.so.1", dynamic_elf({"libb.so.1"}, "$ORIGIN/deep"));
    scratch.write("lib/deep/libb.so.1", dynamic_elf({}));
    const auto program =
        scratch.write("bin/program", dynamic_elf({"liba.so.1"}, "/nowhere:${ORIGIN}/../lib"));
    const auto found = closure_of(program);
    INFO((found ? "" : found.error().message()));
    REQUIRE(found);
    REQUIRE(found->libraries.size() == 2);
    CHECK(found->libraries[0].path == scratch.path() / "lib/liba.so.1");
    CHECK(found->libraries[1].path == scratch.path() / "lib/deep/libb.so.1");
    CHECK_FALSE(found->libraries[0].in_default_directory);
}

TEST_CASE("RUNPATH serves the object that has it, RPATH all that it loads") {
    const scratch_directory scratch;
    scratch.write("lib/liba.so.1", dynamic_elf({"libb.so.1"}));
    scratch.write("lib/libb.so.1", dynamic_elf({}));
    const std::string lib = (scratch.path() / "lib").string();
    CHECK_FALSE(closure_of(scratch.write("p1", dynamic_elf({"liba.so.1"}, lib, DT_RUNPATH))));
    CHECK(closure_of(scratch.write("p2", dynamic_elf({"liba.so.1"}, lib, DT_RPATH))));
}

TEST_CASE("LD_LIBRARY_PATH comes before RUNPATH and after RPATH") {
    const scratch_directory scratch;
    for (const char* directory : {"env", "own"})
        scratch.write(std::string(directory) + "/liba.so.1", dynamic_elf({}));
    const environment_guard set("LD_LIBRARY_PATH", (scratch.path() / "env").string());
    const std::string own = (scratch.path() / "own").string();
    const auto runpath =
        closure_of(scratch.write("p1", dynamic_elf({"liba.so.1"}, own, DT_RUNPATH)));
    REQUIRE(runpath);
    CHECK(runpath->libraries.front().path == scratch.path() / "env/liba.so.1");
    const auto rpath = closure_of(scratch.write("p2", dynamic_elf({"liba.so.1"}, own, DT_RPATH)));
    REQUIRE(rpath);
    CHECK(rpath->libraries.front().path == scratch.path() / "own/liba.so.1");
}

TEST_CASE("a library of another machine is passed over") {
    const scratch_directory scratch;
    scratch.write("other/liba.so.1", dynamic_elf({}, {}, DT_RUNPATH, EM_AARCH64));
    scratch.write("right/liba.so.1", dynamic_elf({}));
    scratch.write("text/liba.so.1", "/* a linker script */");
    const auto found = closure_of(scratch.write(
        "program", dynamic_elf({"liba.so.1"}, "$ORIGIN/text:$ORIGIN/other:$ORIGIN/right")));
    REQUIRE(found);
    CHECK(found->libraries.front().path == scratch.path() / "right/liba.so.1");
}

TEST_CASE("libraries that need each other do not hang") {
    const scratch_directory scratch;
    scratch.write("liba.so.1", dynamic_elf({"libb.so.1"}, "$ORIGIN"));
    scratch.write("libb.so.1", dynamic_elf({"liba.so.1"}, "$ORIGIN"));
    const auto found = closure_of(scratch.write("program", dynamic_elf({"liba.so.1"}, "$ORIGIN")));
    REQUIRE(found);
    CHECK(found->libraries.size() == 2);
}

TEST_CASE("a damaged or foreign program is refused") {
    const scratch_directory scratch;
    CHECK_FALSE(closure_of(scratch.write("text", "#!/bin/sh\n")));
    CHECK_FALSE(closure_of(scratch.write("empty", "")));
    CHECK_FALSE(closure_of(scratch.path() / "none"));
    const std::string whole = dynamic_elf({"liba.so.1"}, "/x");
    for (const std::size_t size : {70U, 130U, 200U}) {
        INFO(size);
        CHECK_FALSE(closure_of(scratch.write("cut", whole.substr(0, size))));
    }
}

TEST_CASE("the loader's configuration is read with its includes") {
    const scratch_directory scratch;
    const auto file = scratch.write("ld.so.conf", "include parts/*.conf\n/last # comment\n");
    scratch.write("parts/a.conf", "# nothing\n/first\n\n/second /third\n");
    scratch.write("parts/b.other", "/not");
    std::vector<std::string> directories;
    ktstr::host::detail::read_loader_config(file, directories);
    CHECK(directories == std::vector<std::string>{"/first", "/second", "/third", "/last"});
}

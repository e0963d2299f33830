// SPDX-License-Identifier: MIT
// What a run has opened stays what it was, whatever a build puts in its place.
#include <ktstr/host/initramfs/erofs_writer.hpp>
#include <ktstr/host/initramfs/guest_tree.hpp>
#include <ktstr/host/initramfs/opened_program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <string>

#include <fcntl.h>

#include "cpio_reader.hpp"
#include "scratch_directory.hpp"
#include "small_elf.hpp"

using namespace ktstr;
using namespace ktstr::host;
using unit::scratch_directory;

namespace {

/// The file's bytes as a guest gets them, in an archive and in an image.
void require_packed(const guest_tree& tree, const std::string& bytes,
                    const scratch_directory& scratch) {
    const auto path = scratch.path() / "packed";
    for (const bool image : {false, true}) {
        INFO(image);
        const unique_fd out(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        REQUIRE(out);
        if (image)
            REQUIRE(write_erofs(tree, tree_layer::top, out.get(), "image"));
        else
            REQUIRE(tree.pack(tree_layer::top, out.get(), "archive"));
        CHECK(unit::content_of(path).find(bytes) != std::string::npos);
    }
}

void rename_over(const scratch_directory& scratch, const std::filesystem::path& file,
                 const std::string& bytes) {
    std::filesystem::rename(scratch.write("new", bytes), file);
}

}  // namespace

TEST_CASE("an opened file is packed as it was opened", "[initramfs]") {
    const scratch_directory scratch;
    const auto path = scratch.write("file", "the first build");
    const auto opened = opened_file::open(path);
    REQUIRE(opened);
    guest_tree tree;
    REQUIRE(tree.add_opened("/file", *opened, 0755, tree_layer::top));
    const auto id = tree.id(tree_layer::top);
    guest_tree by_path;
    REQUIRE(by_path.add_file("/file", path, 0755, tree_layer::top));
    CHECK(by_path.id(tree_layer::top) == id);  // what the cache has of it is found
    CHECK_FALSE((*opened)->replaced());
    SECTION("while nothing happens") {}
    SECTION("when another one has its name") {
        rename_over(scratch, path, "the second build");
        CHECK((*opened)->replaced());
        guest_tree anew;
        REQUIRE(anew.add_opened("/file", *opened, 0755, tree_layer::top));
        CHECK(anew.id(tree_layer::top) == id);
        // Both in one guest is neither.
        CHECK_FALSE(anew.add_file("/file", path, 0755, tree_layer::top));
    }
    SECTION("when it is gone") {
        std::filesystem::remove(path);
        CHECK((*opened)->replaced());
    }
    require_packed(tree, "the first build", scratch);
}

TEST_CASE("an opened file that is written to is refused", "[initramfs]") {
    const scratch_directory scratch;
    const auto path = scratch.write("file", "the first build");
    const auto opened = opened_file::open(path);
    REQUIRE(opened);
    guest_tree tree;
    REQUIRE(tree.add_opened("/file", *opened, 0755, tree_layer::top));
    scratch.write("file", "the second build, longer");
    CHECK((*opened)->replaced());
    const unique_fd out(
        ::open((scratch.path() / "packed").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    CHECK_FALSE(tree.pack(tree_layer::top, out.get(), "archive"));
}

TEST_CASE("a run opens each program once, and tells once that it was rebuilt", "[initramfs]") {
    const scratch_directory scratch;
    const auto first = unit::elf_with_notes(unit::note(4, "unit", "first"));
    const auto path = scratch.write("scheduler", first);
    opened_programs programs;
    int asked = 0;
    const auto find = [&]() -> result<std::filesystem::path> {
        ++asked;
        return path;
    };
    const auto opened = programs.get("scheduler", find);
    REQUIRE(opened);
    CHECK(programs.newly_replaced().empty());
    rename_over(scratch, path, unit::elf_with_notes(unit::note(4, "unit", "second")));
    const auto again = programs.get("scheduler", find);
    REQUIRE(again);
    CHECK(*again == *opened);
    CHECK(asked == 1);
    CHECK(programs.newly_replaced() == std::vector{path});
    CHECK(programs.newly_replaced().empty());
    // The next run of the same process has the new one, and keeps what is still there.
    programs.drop_replaced();
    const auto rebuilt = programs.get("scheduler", find);
    REQUIRE(rebuilt);
    CHECK(*rebuilt != *opened);
    CHECK(asked == 2);
    programs.drop_replaced();
    CHECK(programs.get("scheduler", find).value() == *rebuilt);
    CHECK(asked == 2);
    CHECK_FALSE(programs.get(
        "another", [&]() -> result<std::filesystem::path> { return scratch.path() / "none"; }));
}

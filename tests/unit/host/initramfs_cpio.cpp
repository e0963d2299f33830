// SPDX-License-Identifier: MIT
#include <ktstr/host/initramfs/guest_tree.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

#include <fcntl.h>

#include "cpio_reader.hpp"
#include "scratch_directory.hpp"

using namespace ktstr::host;
using unit::scratch_directory;

namespace {

std::string packed(const guest_tree& tree, const scratch_directory& scratch, tree_layer layer) {
    const auto file = scratch.path() / "archive";
    const ktstr::unique_fd out{::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    const auto done = tree.pack(layer, out.get(), "archive");
    INFO((done ? "" : done.error().message()));
    REQUIRE(done);
    return unit::content_of(file);
}

}  // namespace

TEST_CASE("an archive holds what was put into it") {
    const scratch_directory scratch;
    const auto large = scratch.write("large", std::string(700'001, 'L'));
    guest_tree tree;
    REQUIRE(tree.add_text("/etc/name", "guest", 0640, tree_layer::base));
    REQUIRE(tree.add_file("/bin/large", large, 0755, tree_layer::base));
    REQUIRE(tree.add_device("/dev/console", S_IFCHR | 0600, makedev(5, 1), tree_layer::base));
    tree.add_symlink("/lib", "usr/lib", tree_layer::base);
    const auto entries = unit::read_cpio(packed(tree, scratch, tree_layer::base));
    CHECK(entries.at("etc").mode == (S_IFDIR | 0755U));
    CHECK(entries.at("etc/name").content == "guest");
    CHECK(entries.at("etc/name").mode == (S_IFREG | 0640U));
    CHECK(entries.at("bin/large").content == std::string(700'001, 'L'));
    CHECK(entries.at("bin/large").mode == (S_IFREG | 0755U));
    CHECK(entries.at("dev/console").mode == (S_IFCHR | 0600U));
    CHECK(entries.at("dev/console").device == makedev(5, 1));
    CHECK(entries.at("lib").mode == (S_IFLNK | 0777U));
    CHECK(entries.at("lib").content == "usr/lib");
    for (const auto& [name, entry] : entries)
        CHECK(entry.owner == 0);
}

TEST_CASE("equal trees give equal archives, of whole blocks") {
    const scratch_directory scratch;
    const auto make = [&] {
        guest_tree tree;
        REQUIRE(tree.add_text("/b", "2", 0644, tree_layer::base));
        REQUIRE(tree.add_text("/a", "1", 0644, tree_layer::base));
        return packed(tree, scratch, tree_layer::base);
    };
    const std::string first = make();
    CHECK(first == make());
    CHECK(first.size() % 512 == 0);
}

TEST_CASE("the layers of a tree are packed apart, and directories once") {
    const scratch_directory scratch;
    guest_tree tree;
    REQUIRE(tree.add_text("/shared/base", "b", 0644, tree_layer::base));
    REQUIRE(tree.add_text("/shared/top", "t", 0644, tree_layer::top));
    const std::string base_id = tree.id(tree_layer::base), top_id = tree.id(tree_layer::top);
    const auto base = unit::read_cpio(packed(tree, scratch, tree_layer::base));
    const auto top = unit::read_cpio(packed(tree, scratch, tree_layer::top));
    CHECK(base.size() == 2);
    CHECK(top.size() == 1);
    CHECK(top.contains("shared/top"));
    REQUIRE(tree.add_text("/more", "m", 0644, tree_layer::top));
    CHECK(tree.id(tree_layer::base) == base_id);
    CHECK(tree.id(tree_layer::top) != top_id);
}

TEST_CASE("a path through a symlink of the guest lands where the symlink leads") {
    const scratch_directory scratch;
    guest_tree tree;
    tree.add_symlink("/lib", "usr/lib", tree_layer::base);
    REQUIRE(tree.add_text("/lib/x", "x", 0644, tree_layer::base));
    const auto entries = unit::read_cpio(packed(tree, scratch, tree_layer::base));
    CHECK(entries.contains("usr/lib/x"));
    // A directory "lib" here would make the kernel delete the symlink.
    CHECK(entries.at("lib").mode == (S_IFLNK | 0777U));
}

TEST_CASE("a mirrored path brings the host's symlinks along") {
    const scratch_directory scratch;
    scratch.write("real/deep/file", "f");
    std::filesystem::create_directory_symlink("real", scratch.path() / "link");
    std::filesystem::create_symlink("file", scratch.path() / "real/deep/alias");
    guest_tree tree;
    const auto asked = scratch.path() / "link/deep/alias";
    REQUIRE(
        tree.add_file(tree.mirror_path(asked, tree_layer::base), asked, 0755, tree_layer::base));
    const auto entries = unit::read_cpio(packed(tree, scratch, tree_layer::base));
    const std::string in_guest = scratch.path().string().substr(1);
    CHECK(entries.at(in_guest + "/link").content == "real");
    CHECK(entries.at(in_guest + "/real/deep/alias").content == "f");
}

TEST_CASE("two different files cannot have one place") {
    const scratch_directory scratch;
    const auto one = scratch.write("one", "1"), two = scratch.write("two", "2");
    guest_tree tree;
    REQUIRE(tree.add_file("/place", one, 0755, tree_layer::base));
    CHECK(tree.add_file("/place", one, 0755, tree_layer::top));
    const auto clash = tree.add_file("/place", two, 0755, tree_layer::top);
    REQUIRE_FALSE(clash);
    CHECK(clash.error().message().find("/place") != std::string::npos);
}

TEST_CASE("a file that changes before it is packed is noticed") {
    const scratch_directory scratch;
    const auto file = scratch.write("file", "before");
    guest_tree tree;
    REQUIRE(tree.add_file("/file", file, 0755, tree_layer::base));
    scratch.write("file", "after, and longer");
    const ktstr::unique_fd out{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
    const auto noticed = tree.pack(tree_layer::base, out.get(), "null");
    REQUIRE_FALSE(noticed);
    CHECK(noticed.error().message().find("changed meanwhile") != std::string::npos);
}

TEST_CASE("a full disk while packing is named") {
    guest_tree tree;
    REQUIRE(tree.add_text("/a", "1", 0644, tree_layer::base));
    const ktstr::unique_fd out{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
    const auto full = tree.pack(tree_layer::base, out.get(), "archive");
    REQUIRE_FALSE(full);
    CHECK(full.error().code == ENOSPC);
}

// SPDX-License-Identifier: MIT
#include <ktstr/host/initramfs/erofs_writer.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <map>
#include <string>

#include <fcntl.h>

#include "cpio_reader.hpp"
#include "scratch_directory.hpp"

using namespace ktstr::host;
using unit::scratch_directory;

namespace {

/// What fs/erofs does when it reads an image, as far as our images go.
class reader {
public:
    explicit reader(std::string image) : image_(std::move(image)) {
        REQUIRE(number(1024, 4) == 0xE0F5E1E2U);
        REQUIRE(number(1024 + 12, 1) == 12);
        REQUIRE(number(1024 + 80, 4) == 0);  // no feature that a kernel might not know
        REQUIRE(number(1024 + 36, 4) * 4096 == image_.size());
        walk("", number(1024 + 14, 2), 0);
    }
    struct file {
        unsigned mode = 0;
        std::string content;
    };
    std::map<std::string, file> files;

private:
    [[nodiscard]] std::uint64_t number(std::uint64_t at, int bytes) const {
        std::uint64_t value = 0;
        for (int i = bytes; i-- > 0;)
            value = value << 8 |
                    static_cast<unsigned char>(image_.at(at + static_cast<std::size_t>(i)));
        return value;
    }
    void walk(const std::string& path, std::uint64_t id, std::uint64_t parent) {
        const auto inode = number(1024 + 40, 4) * 4096 + id * 32;
        REQUIRE(number(inode, 2) == 0);
        const auto mode = static_cast<unsigned>(number(inode + 4, 2));
        const auto size = number(inode + 8, 4);
        const auto data = number(inode + 16, 4) * 4096;
        const auto bytes = image_.substr(data, size);
        if (!S_ISDIR(mode)) {
            files[path] = {mode, bytes};
            return;
        }
        std::string last;
        for (std::uint64_t block = 0; block < size; block += 4096) {
            const auto room = std::min<std::uint64_t>(4096, size - block);
            const auto entries = number(data + block + 8, 2) / 12;
            for (std::uint64_t i = 0; i < entries; ++i) {
                const auto entry = data + block + i * 12;
                const auto begin = number(entry + 8, 2);
                const auto end = i + 1 < entries ? number(entry + 20, 2) : room;
                auto name = image_.substr(data + block + begin, end - begin);
                name.resize(std::min(name.size(), name.find('\0')));
                CHECK(last < name);
                last = name;
                const auto child = number(entry, 8);
                if (name == ".")
                    CHECK(child == id);
                else if (name == "..")
                    CHECK((child == parent || parent == 0));
                else
                    walk(path + '/' + name, child, id);
            }
        }
    }
    std::string image_;
};

std::string written(const guest_tree& tree, const scratch_directory& scratch) {
    const auto path = scratch.path() / "image";
    const ktstr::unique_fd out{::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    const auto size = write_erofs(tree, tree_layer::top, out.get(), "image");
    INFO((size ? "" : size.error().message()));
    REQUIRE(size);
    return unit::content_of(path);
}

}  // namespace

TEST_CASE("an image holds the files of its layer and no other", "[clone]") {
    const scratch_directory scratch;
    const auto large = scratch.write("large", std::string(700'001, 'L'));
    guest_tree tree;
    REQUIRE(tree.add_file("/init", large, 0755, tree_layer::top));
    REQUIRE(tree.add_text("/ktstr/scheduler", "s", 0750, tree_layer::top));
    REQUIRE(tree.add_text("/ktstr/empty", "", 0644, tree_layer::top));
    tree.add_symlink("/ktstr/link", "/init", tree_layer::top);
    REQUIRE(tree.add_text("/lib/libc.so", "base", 0644, tree_layer::base));
    const reader read(written(tree, scratch));
    CHECK(read.files.size() == 4);
    CHECK(read.files.at("/init").mode == (S_IFREG | 0755U));
    CHECK(read.files.at("/init").content == std::string(700'001, 'L'));
    CHECK(read.files.at("/ktstr/scheduler").mode == (S_IFREG | 0750U));
    CHECK(read.files.at("/ktstr/empty").content.empty());
    CHECK(read.files.at("/ktstr/link").mode == (S_IFLNK | 0777U));
    CHECK(read.files.at("/ktstr/link").content == "/init");
}

TEST_CASE("a directory may have more names than a block holds", "[clone]") {
    const scratch_directory scratch;
    guest_tree tree;
    for (int i = 0; i < 1000; ++i)
        REQUIRE(tree.add_text("/many/-name-" + std::to_string(i), std::to_string(i), 0644,
                              tree_layer::top));
    const auto image = written(tree, scratch);
    const reader read(image);
    CHECK(read.files.size() == 1000);
    CHECK(read.files.at("/many/-name-777").content == "777");
    CHECK(written(tree, scratch) == image);
}

TEST_CASE("a file that changes while it is packed is an error", "[clone]") {
    const scratch_directory scratch;
    const auto file = scratch.write("file", "before");
    guest_tree tree;
    REQUIRE(tree.add_file("/init", file, 0755, tree_layer::top));
    scratch.write("file", "behind");
    const auto path = scratch.path() / "image";
    const ktstr::unique_fd out{::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    CHECK_FALSE(write_erofs(tree, tree_layer::top, out.get(), "image"));
}

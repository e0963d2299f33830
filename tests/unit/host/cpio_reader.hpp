// SPDX-License-Identifier: MIT
// Reads cpio archives, several behind each other as the kernel does, for checking what was packed.
// Written apart from the writer, from the format's description. For the unit tests of the host side.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <string>
#include <string_view>

#include <sys/sysmacros.h>

namespace ktstr::host::unit {

struct cpio_entry {
    unsigned mode = 0, owner = 0;
    dev_t device = 0;
    std::string content;
};

inline std::map<std::string, cpio_entry> read_cpio(std::string_view bytes) {
    std::map<std::string, cpio_entry> entries;
    bool ended = false;
    for (std::size_t at = 0; at < bytes.size();) {
        if (bytes[at] == '\0') {  // padding between archives
            REQUIRE(ended);
            ++at;
            continue;
        }
        REQUIRE(at % 4 == 0);
        REQUIRE(bytes.substr(at, 6) == "070701");
        const auto field = [&](std::size_t index) {
            return static_cast<unsigned>(
                std::stoul(std::string(bytes.substr(at + 6 + index * 8, 8)), nullptr, 16));
        };
        const std::size_t name_size = field(11), size = field(6);
        const std::string name(bytes.substr(at + 110, name_size - 1));
        REQUIRE(bytes.at(at + 110 + name_size - 1) == '\0');
        const std::size_t data = (at + 110 + name_size + 3) & ~std::size_t{3};
        REQUIRE(data + size <= bytes.size());
        ended = name == "TRAILER!!!";
        if (!ended) {
            INFO(name);
            CHECK_FALSE(entries.contains(name));
            entries[name] = {field(1), field(2) + field(3), makedev(field(9), field(10)),
                             std::string(bytes.substr(data, size))};
        }
        at = (data + size + 3) & ~std::size_t{3};
    }
    CHECK(ended);
    return entries;
}

}  // namespace ktstr::host::unit

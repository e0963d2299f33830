// SPDX-License-Identifier: MIT
// Compares an output with its file in tests/golden, byte by byte. Run with KTSTR_UPDATE_GOLDEN=1 to
// write the files anew, then read the difference before committing it.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace ktstr::host::test {

inline std::filesystem::path golden_path(const std::string& name) {
#ifdef KTSTR_GOLDEN_DIR
    return std::filesystem::path(KTSTR_GOLDEN_DIR) / name;
#else
    return std::filesystem::path(__FILE__).parent_path() / "../../golden" / name;
#endif
}

inline std::string read_whole(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline void require_golden(const std::string& name, std::string_view actual) {
    const auto path = golden_path(name);
    if (const char* update = std::getenv("KTSTR_UPDATE_GOLDEN"); update != nullptr && *update) {
        std::filesystem::create_directories(path.parent_path());
        std::ofstream(path, std::ios::binary) << actual;
    }
    INFO("golden file: " << path);
    REQUIRE(std::string(actual) == read_whole(path));
}

}  // namespace ktstr::host::test

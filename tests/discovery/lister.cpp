// SPDX-License-Identifier: MIT
// Stands in for a test program: lists the tests of listing.json and ends each as its name says.
// Any other argument than those the contract allows is exit 9.
#include <cstring>
#include <fstream>
#include <iostream>

int main(int argc, char** argv) {
    const auto is = [&](int i, const char* text) {
        return i < argc && std::strcmp(argv[i], text) == 0;
    };
    const bool list = is(1, "--list") && is(2, "--format") && is(3, "json");
    // Of all that a test is run with, only what its name depends on.
    if (argc == 9 && list && is(4, "--topology") && is(5, "1n1l4c1t") && is(6, "--kernel=old") &&
        is(7, "--kernel") && is(8, "new")) {
        std::ifstream named("named.json");
        named ? std::cout << named.rdbuf() : std::cout << "[]";
        return 0;
    }
    if (argc == 4 && list) {
        std::ifstream listing("listing.json");
        if (!listing) {
            std::cerr << "no listing.json here\n";
            return 3;
        }
        std::cout << listing.rdbuf();
        return 0;
    }
    const bool plain = argc == 3;
    const bool with_args = argc == 5 && is(3, "--accel") && is(4, "two words");
    if (!is(1, "--filter") || !(plain || with_args))
        return 9;
    std::cout << "ran " << argv[2] << '\n';
    if (std::strncmp(argv[2], "skips", 5) == 0)
        return 4;
    return std::strncmp(argv[2], "fails", 5) == 0 ? 1 : 0;
}

// SPDX-License-Identifier: MIT
// Stands in for a scheduler: tells where it is.
#include <cstdio>

int main(int, char** argv) {
    std::puts(argv[0]);
}

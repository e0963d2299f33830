// SPDX-License-Identifier: MIT
// main() itself, a part of its own: a program that keeps its main() leaves out this one.
#pragma once

#include <ktstr/main/seam.hpp>

int main(int argc, char** argv) {
    return ktstr::detail::whole_life(argc, argv);
}

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""code.py SOURCE_DIR COMPILER... -- every C++ block of README.md and docs/ compiles without a warning.

A block is a file of its own; one that includes nothing of ktstr begins with <ktstr/ktstr.hpp>."""
import pathlib
import subprocess
import sys

import blocks

FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
# clang before 16 cannot compile <ranges> of libstdc++ 12, as little of it as is used.
NEEDS_RANGES = "#include <ranges>"


def compile_block(compiler, root, path, line, text):
    if "#include <ktstr/" not in text:
        text = f'#include <ktstr/ktstr.hpp>\n#line {line} "{path}"\n{text}'
    done = subprocess.run([compiler, *FLAGS, "-I", str(root / "include"), "-x", "c++", "-"], input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout if done.returncode else ""


def main():
    root, compilers = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    # The check itself: what must not compile is noticed.
    assert compile_block(compilers[0], root, "nowhere", 1, "KTSTR_TEST(t, llcs = 0) {}\n")
    count, bad = 0, 0
    for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        for line, text in blocks.blocks(path, "cpp"):
            for compiler in compilers:
                if "clang" in compiler and NEEDS_RANGES in text:
                    continue
                count += 1
                if said := compile_block(compiler, root, path.relative_to(root), line, text):
                    print(f"WRONG {path.relative_to(root)}:{line} with {compiler}:\n{said}")
                    bad += 1
    print(f"{count} compilations")
    return 1 if bad or not count else 0


sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""optimization_levels.py INCLUDE_DIR COMPILER... -- the one header that insists on inlining, at every level a user may choose.

<xxhash.h> has functions that must be inlined through pointers; g++ refuses that where it optimizes for debugging. A whole
main would take minutes here, and what it would show is in this header alone: it compiles and comes to the same hash.
"""
import pathlib
import subprocess
import sys
import tempfile

LEVELS = ("-O0", "-Og -g", "-O1", "-O2", "-O3", "-Os", "-O2 -fno-inline", "-Og -fsanitize=address")
PROGRAM = """#include <ktstr/host/cache/content_hash.hpp>
#include <cstdio>
int main() {
    // Longer than what is hashed in one piece, and once more in pieces of their own.
    const std::string text(5000, 'x');
    std::printf("%s\\n", (ktstr::host::hash_text(text) + ktstr::host::content_hash{}.add(7).add(text).hex()).c_str());
}
"""
WANTED = "c40b706e6ba9af508d8567cbc9ee3d90d4dd49fc38c530424c4f61d2601e5fa9"


def main():
    include, *compilers = sys.argv[1:]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="ktstr-levels-") as scratch:
        source, program = pathlib.Path(scratch, "hash.cpp"), pathlib.Path(scratch, "hash")
        source.write_text(PROGRAM)
        for compiler in compilers:
            for level in LEVELS:
                built = subprocess.run([compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", *level.split(), "-I", include,
                                        str(source), "-o", str(program)], capture_output=True, text=True)
                said = built.stderr
                if built.returncode == 0:
                    said = subprocess.run([str(program)], capture_output=True, text=True).stdout.strip()
                good = said == WANTED
                failed += not good
                print("ok:" if good else "FAILED:", compiler, level, "" if good else said)
    return 1 if failed else 0


sys.exit(main())

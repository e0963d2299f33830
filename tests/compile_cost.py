#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""compile_cost.py COMPILER INCLUDE_DIR CATCH2_INCLUDE_DIR -- what <ktstr/ktstr.hpp> costs a test file.

The budget: at most 1.2 times the CPU time of Catch2's test macros. Both are compiled turn about and the best of
five counts, so a busy machine slows both.
"""
import pathlib
import resource
import subprocess
import sys
import tempfile

BUDGET = 1.2
ROUNDS = 5


def cpu_seconds(command):
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    subprocess.run(command, check=True)
    return used() - before


def main():
    compiler, include, catch2_include = sys.argv[1:]
    headers = {"ktstr/ktstr.hpp": include, "catch2/catch_test_macros.hpp": catch2_include}
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "source.cpp")
        for _ in range(ROUNDS):
            for header, path in headers.items():
                source.write_text(f"#include <{header}>\n")
                took = cpu_seconds([compiler, "-std=c++20", "-O0", "-I", path, "-c", str(source), "-o", "/dev/null"])
                best[header] = min(took, best.get(header, took))
    ktstr, catch2 = best["ktstr/ktstr.hpp"], best["catch2/catch_test_macros.hpp"]
    print(f"ktstr/ktstr.hpp {ktstr:.2f} s, catch2/catch_test_macros.hpp {catch2:.2f} s, ratio {ktstr / catch2:.2f} "
          f"(at most {BUDGET})")
    return 0 if ktstr <= BUDGET * catch2 else 1


sys.exit(main())

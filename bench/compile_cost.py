#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a test file pays for <ktstr/ktstr.hpp>, measured against Catch2's test macros.

Compiles two files alternately, one with an empty KTSTR_TEST and one with an empty TEST_CASE, and
compares the CPU time (user + system) of the compiler. Pairs are run side by side in time, so that a
busy machine slows both; the result is the median of the pairs' ratios.

    compile_cost.py [--compiler g++] [--include DIR] [--catch2-include DIR] [--pairs 9] [--limit 1.2]

Exits 1 when the ratio is above the limit, 3 when it could not measure.
"""
import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

KTSTR = "#include <ktstr/ktstr.hpp>\n\nKTSTR_TEST(empty) {}\n"
CATCH2 = '#include <catch2/catch_test_macros.hpp>\n\nTEST_CASE("empty") {}\n'


def cpu_seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        print(f"cannot compile: {' '.join(command)}\n{done.stderr}", file=sys.stderr)
        sys.exit(3)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    arguments.add_argument("--include", default=str(root / "include"))
    arguments.add_argument("--catch2-include", default=None, help="default: the compiler's own path")
    arguments.add_argument("--pairs", type=int, default=9)
    arguments.add_argument("--limit", type=float, default=1.2)
    arguments.add_argument("--flags", default="-O0", help="further compiler flags")
    given = arguments.parse_args()

    with tempfile.TemporaryDirectory(prefix="ktstr-cost-") as scratch:
        def command(name, text, include):
            source = pathlib.Path(scratch, name + ".cpp")
            source.write_text(text)
            where = ["-isystem", include] if include else []
            return [given.compiler, "-std=c++20", *given.flags.split(), *where,
                    "-c", str(source), "-o", str(source.with_suffix(".o"))]

        ours = command("ours", KTSTR, given.include)
        theirs = command("theirs", CATCH2, given.catch2_include)
        cpu_seconds(ours), cpu_seconds(theirs)  # fill the page cache
        pairs = []
        for turn in range(given.pairs):
            # The order changes from pair to pair: whoever comes second would profit otherwise.
            if turn % 2 == 0:
                a, b = cpu_seconds(ours), cpu_seconds(theirs)
            else:
                b, a = cpu_seconds(theirs), cpu_seconds(ours)
            pairs.append((a, b))

    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{given.compiler} {given.flags}: ktstr {statistics.median(a for a, _ in pairs):.3f} s, "
          f"Catch2 {statistics.median(b for _, b in pairs):.3f} s, "
          f"ratio {ratio:.2f} (limit {given.limit:.2f}, {len(pairs)} pairs)")
    return 0 if ratio <= given.limit else 1


if __name__ == "__main__":
    sys.exit(main())

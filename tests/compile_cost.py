#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""compile_cost.py COMPILER INCLUDE_DIR CATCH2_INCLUDE_DIR -- what <ktstr/ktstr.hpp> makes a test file read.

The gate: no more text after preprocessing than Catch2's test macros bring, and none of the headers that test files
must not pay for. Both are the same on every run of one compiler; bench/compile_cost.py measures the time. Before
judging, it makes sure that it would notice a heavy header.
"""
import re
import subprocess
import sys

# Of the text of <catch2/catch_test_macros.hpp>. Compile time follows the text closely enough for a gate.
FACTOR = 1.0
# include/ktstr/README.md, "Light": no fmt, JSON, streams, files, threads or sockets.
HEAVY = re.compile(r"(?:^|/)(?:fmt/[^/]+|nlohmann/[^/]+|CLI/[^/]+|iostream|istream|ostream|sstream|fstream|filesystem|regex|"
                   r"thread|future|sys/socket\.h|functional|memory)$")


def text_of(compiler, include, headers):
    """The preprocessed text of a file with these headers and the files it was made of."""
    source = "".join(f"#include <{header}>\n" for header in headers)
    done = subprocess.run([compiler, "-std=c++20", "-I", include, "-x", "c++", "-E", "-"], input=source, text=True,
                          stdout=subprocess.PIPE, check=True)
    text, files = [], set()
    for line in done.stdout.splitlines():
        if marker := re.match(r'# \d+ "([^"<]+)"', line):
            files.add(marker[1])
        elif line.strip() and not line.startswith("#"):
            text.append(line)
    return sum(len(line) + 1 for line in text), files


def complaints(ours, theirs):
    """One line for each way in which `ours` is too heavy beside `theirs`."""
    size, files = ours
    found = [f"it reads {file}" for file in sorted(files) if HEAVY.search(file)]
    if size > FACTOR * theirs[0]:
        found.append(f"it is {size} bytes after preprocessing, {size / theirs[0]:.2f} times {theirs[0]} (at most {FACTOR})")
    return found


def main():
    compiler, include, catch2_include = sys.argv[1:]
    theirs = text_of(compiler, catch2_include, ["catch2/catch_test_macros.hpp"])
    ours = text_of(compiler, include, ["ktstr/ktstr.hpp"])
    found = complaints(ours, theirs)
    # Of these the first two would be noticed by their size alone as well.
    for heavy in ("regex", "iostream", "fstream", "thread", "memory"):
        if not any(line.endswith("/" + heavy)
                   for line in complaints(text_of(compiler, include, ["ktstr/ktstr.hpp", heavy]), theirs)):
            found.append(f"this check does not notice <{heavy}>")
    for heavy in ("regex", "iostream"):
        if not any("bytes" in line
                   for line in complaints((text_of(compiler, include, ["ktstr/ktstr.hpp", heavy])[0], set()), theirs)):
            found.append(f"this check does not notice the size of <{heavy}>")
    print(f"ktstr/ktstr.hpp {ours[0]} bytes of {len(ours[1])} files, catch2/catch_test_macros.hpp {theirs[0]} bytes of "
          f"{len(theirs[1])} files, ratio {ours[0] / theirs[0]:.2f} (at most {FACTOR})")
    print("".join(f"WRONG {line}\n" for line in found), end="")
    return 1 if found else 0


sys.exit(main())

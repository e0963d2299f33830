#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""calibration_code.py INCLUDE_DIR COMPILER...: what is timed to compare two machines is the same whoever compiled it.

The calibration's instructions are taken out of the assembly of every compiler at every level of optimization: they must
be the same text, and nothing outside them may be a loop."""
import re
import subprocess
import sys
import tempfile

LEVELS = ("-O0", "-Og", "-O1", "-O2", "-O3")
SOURCE = """#include <ktstr/wire/calibration.hpp>
std::uint64_t timed(std::uint64_t x) { return ktstr::wire::calibration_loop(x); }
"""


def parts(assembly):
    """(the instructions between the compiler's marks, the code around them)"""
    inside, outside, within = [], [], False
    for line in assembly.splitlines():
        line = re.sub(r"\s+", " ", line.split("//")[0]).strip()
        if line in ("#APP", "#NO_APP", "// APP", "// NO_APP"):
            within = line.endswith(" APP") or line == "#APP"
        elif line and not line.startswith(("#", ".loc")):
            (inside if within else outside).append(line)
    return inside, outside


def loops(code):
    """Jumps to a label that stands before them."""
    seen, found = set(), []
    for line in code:
        if label := re.match(r"([.\w$]+):", line):
            seen.add(label[1])
        elif jump := re.match(r"j\w+ ([.\w$]+)$", line):
            if jump[1] in seen:
                found.append(line)
    return found


include, compilers = sys.argv[1], sys.argv[2:]
if subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout.strip() != "x86_64":
    print("the loop's shape is only known for x86_64")
    sys.exit(0)
assert loops(["1:", "jne 1"]) and not loops(["jmp 1", "1:"])
wrong, first = [], None
for compiler in compilers:
    for level in LEVELS:
        with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
            source.write(SOURCE)
            source.flush()
            # clang would write the block in its own words.
            raw = ["-fno-integrated-as"] if "clang" in compiler else []
            made = subprocess.run([compiler, "-std=c++20", level, *raw, "-S", "-o", "-", "-I", include, source.name],
                                  capture_output=True, text=True)
        if made.returncode != 0:
            sys.exit(f"{compiler} {level}: {made.stderr}")
        inside, outside = parts(made.stdout)
        if len(inside) < 50:
            wrong.append(f"{compiler} {level}: the loop is {len(inside)} instructions of its own and not one block")
        first = first or inside
        if inside != first:
            wrong.append(f"{compiler} {level}: other instructions than {compilers[0]} {LEVELS[0]}")
        if found := loops(outside):
            wrong.append(f"{compiler} {level}: a loop outside of them: {found}")
print("\n".join(wrong) or f"one loop of {len(first)} lines for {len(compilers)} compilers and {', '.join(LEVELS)}")
sys.exit(1 if wrong else 0)

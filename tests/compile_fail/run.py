#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Proves that a faulty test file is refused, and for the reason it should be.

    run.py COMPILER INCLUDE_DIR FILE...

The leading comments of FILE say what is expected:

    // EXPECT: text          both compilers print it, among their first error lines
    // EXPECT-GCC: text      g++ only; together with EXPECT, both texts are wanted
    // EXPECT-CLANG: text    clang++ only
    // EXPECT-LINES: 120     no more lines than this in all (default 90)
    // COMPILES              the file is in order; the runner must say so

Passes (exit 0) when every file behaves as it says. "First error lines" are the first three lines
with "error:" and the lines between them: what a person sees without scrolling.
"""
import os
import pathlib
import re
import subprocess
import sys

ERRORS_SEEN = 3


def directives(path):
    found = []
    for line in path.read_text().splitlines():
        if not line.startswith("//"):
            break
        match = re.match(r"//\s*(EXPECT(?:-GCC|-CLANG|-LINES)?|COMPILES)\b:?\s*(.*)", line)
        if match:
            found.append((match[1], match[2].strip()))
    return found


def first_errors(text):
    """Everything up to the line before the fourth error: notes of the third are still in sight."""
    kept, errors = [], 0
    for line in text.splitlines():
        if re.search(r"\berror:", line, re.IGNORECASE):
            errors += 1
            if errors > ERRORS_SEEN:
                break
        kept.append(line)
    return "\n".join(kept)


def judge(compiler, include, path):
    """Returns what is wrong with this file, or None."""
    said = directives(path)
    if not said:
        return "says neither EXPECT nor COMPILES in its first lines"
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    kind = "CLANG" if "clang" in version.lower() else "GCC"
    done = subprocess.run(
        [compiler, "-std=c++20", "-Wall", "-Wextra", "-fno-diagnostics-color", "-I", include,
         "-c", str(path), "-o", os.devnull],
        # g++ quotes names with plain ' only in the C locale.
        env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True)
    if ("COMPILES", "") in said:
        return None if done.returncode == 0 else f"must compile, but:\n{done.stderr}"
    if done.returncode == 0:
        return "must not compile, but does"
    if done.returncode < 0 or "internal compiler error" in done.stderr:
        return f"the compiler crashed:\n{done.stderr}"
    wanted = [text for name, text in said if name in ("EXPECT", f"EXPECT-{kind}")]
    if not wanted:
        return f"says nothing for {kind}"
    seen = first_errors(done.stderr)
    for text in wanted:
        if not text:
            return "an EXPECT without a text"
        if text not in done.stderr:
            return f"refused, but without the text {text!r}:\n{done.stderr}"
        if text not in seen:
            return f"the text {text!r} comes too late:\n{done.stderr}"
    limit = int(dict(said).get("EXPECT-LINES", 90))
    lines = len(done.stderr.splitlines())
    if lines > limit:
        return f"{lines} lines of messages, more than {limit}:\n{done.stderr}"
    return None


def main():
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    compiler, include, *files = sys.argv[1:]
    bad = 0
    for name in files:
        path = pathlib.Path(name)
        try:
            problem = judge(compiler, include, path)
        except OSError as e:
            problem = f"cannot run: {e}"
        if problem:
            bad += 1
            print(f"FAIL {path.name} ({compiler}): {problem}")
        else:
            print(f"ok   {path.name} ({compiler})")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

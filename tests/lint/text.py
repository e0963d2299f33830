#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""text.py SOURCE_DIR -- plain rules for every text file: UTF-8, no tabs in code, no blanks at line ends, a licence
line first in code, `#pragma once` in every header, and a newline at the end."""
import pathlib
import re
import sys

import tree

CODE = {".hpp", ".cpp", ".h", ".c", ".py", ".sh", ".cmake"}
CODE_NAMES = {"CMakeLists.txt", "meson.build", "bootstrap"}
LICENCE = re.compile(r"(//|#) SPDX-License-Identifier: MIT")
# Files compared byte for byte with what a program printed.
AS_PRINTED = ("tests/golden/", "tests/fuzz/")
# Here the first line is the error that the file must cause.
HEADLESS = "tests/compile_fail/"


def faults_in(name, data):
    """Complaints about one file: its path from the root of the tree, and its bytes."""
    path = pathlib.PurePosixPath(name)
    code = path.suffix in CODE or path.name in CODE_NAMES
    if name.startswith(AS_PRINTED) and not code:
        return []
    if b"\0" in data:
        return [f"{name}: not a text file"]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return [f"{name}: not UTF-8: {error}"]
    found = []
    if text and not text.endswith("\n"):
        found.append(f"{name}: no newline at the end")
    if text.endswith("\n\n"):
        found.append(f"{name}: blank line at the end")
    for number, line in enumerate(text.split("\n"), 1):
        if line != line.rstrip():
            found.append(f"{name}:{number}: blanks at the end of the line")
        if code and "\t" in line:
            found.append(f"{name}:{number}: a tab")
    lines = text.split("\n")
    head = lines[1:2] if lines[0].startswith("#!") else lines[:1]
    headless = name.startswith(HEADLESS) or name in tree.QUOTED
    if code and not headless and not (head and LICENCE.fullmatch(head[0])):
        found.append(f"{name}: no SPDX-License-Identifier line at the head")
    if path.suffix == ".hpp" and "#pragma once" not in lines:
        found.append(f"{name}: no #pragma once")
    return found


def main():
    root = pathlib.Path(sys.argv[1])
    count, complaints = 0, []
    for path in tree.files(root):
        count += 1
        complaints += faults_in(path.relative_to(root).as_posix(), path.read_bytes())
    if count == 0:
        complaints = [f"{root}: no files found"]
    print("\n".join(complaints) or f"{count} files are as they should be")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

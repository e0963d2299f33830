#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""format.py SOURCE_DIR CLANG_FORMAT -- clang-format would change nothing."""
import pathlib
import subprocess
import sys

import tree


def main():
    root, clang_format = pathlib.Path(sys.argv[1]), sys.argv[2]
    sources = [str(path) for path in tree.files(root) if path.suffix in (".hpp", ".cpp", ".h", ".c")
               and path.relative_to(root).as_posix() not in tree.QUOTED]
    if not sources:
        print(f"{root}: no sources found")
        return 1
    done = subprocess.run([clang_format, "--dry-run", "--Werror", *sources], stderr=subprocess.PIPE, text=True)
    wrong = sorted({line.split(":")[0] for line in done.stderr.splitlines() if "-Wclang-format-violations" in line})
    if done.returncode == 0:
        print(f"{len(sources)} files are formatted")
    elif wrong:
        print(f"not formatted; run: {clang_format} -i " + " ".join(wrong))
    else:
        print(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

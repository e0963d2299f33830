#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""versions.py SOURCE_DIR -- the version stands in four files, because each is read by another program: they agree."""
import pathlib
import re
import sys

PLACES = {
    "CMakeLists.txt": r"^project\([^)]*?\bVERSION\s+([0-9.]+)",
    "meson.build": r"^project\([^)]*?\bversion:\s*'([^']+)'",
    "include/ktstr/version.hpp": r'version = "([^"]+)"',
}
NUMBERS = r"#define KTSTR_VERSION_(?:MAJOR|MINOR|PATCH) ([0-9]+)"


def versions(read):
    """file -> version in it, or None; `read` gives a file's text by name."""
    found = {}
    for name, pattern in PLACES.items():
        match = re.search(pattern, read(name), re.MULTILINE | re.DOTALL)
        found[name] = match[1] if match else None
    found["include/ktstr/version.hpp (macros)"] = ".".join(re.findall(NUMBERS, read("include/ktstr/version.hpp")))
    return found


def main():
    root = pathlib.Path(sys.argv[1])
    found = versions(lambda name: (root / name).read_text())
    for name, version in found.items():
        print(f"{version}  {name}")
    return 0 if len(set(found.values())) == 1 and None not in found.values() else 1


if __name__ == "__main__":
    sys.exit(main())

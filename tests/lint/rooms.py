#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rooms.py SOURCE_DIR -- every header is in a room of the map and includes only what the map allows.

The map is the table in include/ktstr/README.md, read from there, so that it cannot say one thing and this check
another. Each row: | `room` | sentence | may include | weight |.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
ROW = re.compile(r"^\|\s*`([a-z_]+(?:/|\.hpp))`\s*\|([^|]*)\|([^|]*)\|([^|]*)\|\s*$")
# Anybody may include it: a number.
FREE = {"version.hpp"}
# A light room is compiled into every test file: no heavy library, no files, no sockets.
HEAVY = re.compile(r"^(fmt|range|nlohmann|CLI|bpf|boost|gtest|gmock|catch2|sys|netinet|arpa)/"
                   r"|^(iostream|fstream|sstream|ostream|istream|filesystem|regex|thread|mutex|future|unistd\.h"
                   r"|fcntl\.h|poll\.h)$")
# What <ktstr/ktstr.hpp> reaches must not include these either: together they would double its compile time.
DEAR = {"algorithm", "functional", "memory", "ranges", "iomanip", "map", "unordered_map", "random"}
# base/ makes Linux comfortable, so it may; what the front door reaches of it still may not.
LINUX_ROOMS = {"base"}


def parse_map(text):
    """room -> (may include, weight), in the order of the table."""
    rooms = {}
    for line in text.splitlines():
        row = ROW.match(line)
        if row:
            rooms[row[1].rstrip("/")] = (set(name.rstrip("/") for name in re.findall(r"`([a-z_./]+)`", row[3])),
                                         row[4].strip())
    return rooms


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found[1], found[2]


def reached_from(root, start):
    """Every ktstr header that `start` includes, however far down."""
    seen, todo = set(), [start]
    while todo:
        header = todo.pop()
        if header in seen or not (root / header).is_file():
            continue
        seen.add(header)
        todo += [name[len("ktstr/"):] for _, _, name in includes(root / header) if name.startswith("ktstr/")]
    return seen


def faults(root):
    """Complaints about the tree `root` = .../include/ktstr, one line each."""
    readme = root / "README.md"
    if not readme.is_file():
        return [f"{readme}: the map is missing"]
    rooms = parse_map(readme.read_text())
    if not rooms:
        return [f"{readme}: no table of rooms in it"]
    found = []
    for room, (may, weight) in rooms.items():
        for name in sorted(may - set(rooms)):
            found.append(f"{readme}: room '{room}' may include '{name}', which has no row")
        if weight not in ("light", "heavy", "optional"):
            found.append(f"{readme}: the weight of '{room}' is '{weight}', not light, heavy or optional")
    for one, other in (("host", "guest"), ("guest", "host")):
        if one in rooms and other in rooms[one][0]:
            found.append(f"{readme}: {one} and {other} are two sides of one machine and never include each other")

    front_door = reached_from(root, "ktstr.hpp")
    for path in sorted(root.rglob("*.hpp")):
        header = path.relative_to(root)
        room = header.parts[0]
        if room not in rooms:
            found.append(f"{path}: no room called '{room}' on the map, {readme}")
            continue
        may, weight = rooms[room]
        for number, bracket, name in includes(path):
            where = f"{path}:{number}"
            if bracket == '"':
                found.append(f'{where}: write <{name}> from the root, not "{name}"')
            elif name.startswith("ktstr/"):
                target = name.split("/")[1]
                if target not in (room, *FREE, *may):
                    found.append(f"{where}: room '{room}' may not include '{target}'")
            elif weight == "light" and room not in LINUX_ROOMS and HEAVY.match(name):
                found.append(f"{where}: room '{room}' is light and may not include <{name}>")
            elif header.as_posix() in front_door and (name in DEAR or HEAVY.match(name)):
                found.append(f"{where}: <ktstr/ktstr.hpp> reaches this file, so it may not include <{name}>")
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if folder.name not in rooms and not any(folder.rglob("*.hpp")):
            found.append(f"{folder}: no room called '{folder.name}' on the map, {readme}")
    for room in rooms:
        if not (root / room).exists():
            found.append(f"{readme}: room '{room}' is on the map but not in the tree")
    return found


def main():
    complaints = faults(pathlib.Path(sys.argv[1]) / "include" / "ktstr")
    print("\n".join(complaints) or "every include follows the map")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rooms.py SOURCE_DIR -- every header is in a room of the map and includes only what the map allows.

The map is the tables in include/ktstr/README.md, read from there, so that it cannot say one thing and this check
another. Each row: | `room/` | sentence | may include | weight |, and of a room in a room: | `room/part/` | sentence |
the other parts of its room that it may include |. No rooms may include each other, however long the way around.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
ROW = re.compile(r"^\|\s*`([a-z_]+(?:/|\.hpp))`\s*\|([^|]*)\|([^|]*)\|([^|]*)\|\s*$")
PART = re.compile(r"^\|\s*`([a-z_]+/[a-z_]+)/`\s*\|([^|]*)\|([^|]*)\|\s*$")
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

# What only one architecture has stands in one table. What a compiler chooses by its macros is not meant.
ARCHITECTURE = re.compile(r"q35|ttyS\d|\bEM_[A-Z]|qemu-system-\w|\barch/\w+/|kvm_(amd|intel)")
ARCHITECTURE_TABLE = "host/vm/architecture.hpp"


def parse_map(text):
    """room -> (may include, weight), in the order of the table."""
    rooms = {}
    for line in text.splitlines():
        row = ROW.match(line)
        if row:
            rooms[row[1].rstrip("/")] = (set(name.rstrip("/") for name in re.findall(r"`([a-z_./]+)`", row[3])),
                                         row[4].strip())
    return rooms


def parse_parts(text):
    """room/part -> the parts of the same room that it may include."""
    parts = {}
    for line in text.splitlines():
        if row := PART.match(line):
            room = row[1].split("/")[0]
            parts[row[1]] = {f"{room}/{name.rstrip('/')}" for name in re.findall(r"`([a-z_/]+)`", row[3])}
    return parts


def place_of(header):
    """Of base/error.hpp `base`, of host/vm/qmp.hpp `host/vm`; of a file in no room its name."""
    folders = header.split("/")[:-1]
    return "/".join(folders[:2]) or header


def circle(arrows):
    """Rooms that lead back to the first of them; nothing where there are none."""
    done = set()

    def walk(path):
        for target in sorted(arrows.get(path[-1], ())):
            if target in path:
                return [*path[path.index(target):], target]
            if target not in done and (found := walk([*path, target])):
                return found
        done.add(path[-1])
        return None

    for start in sorted(arrows):
        if start not in done and (found := walk([start])):
            return found
    return None


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
    parts = parse_parts(readme.read_text())
    found = []
    for part, may in parts.items():
        for name in sorted(may - set(parts)):
            found.append(f"{readme}: '{part}' may include '{name}', which has no row")
        if not (root / part).is_dir():
            found.append(f"{readme}: room '{part}' is on the map but not in the tree")
    arrows = {**{room: set(may) for room, (may, _) in rooms.items()}, **{part: set(may) for part, may in parts.items()}}
    strangers = set()
    for room, (may, weight) in rooms.items():
        for name in sorted(may - set(rooms)):
            found.append(f"{readme}: room '{room}' may include '{name}', which has no row")
        if weight not in ("light", "heavy", "optional"):
            found.append(f"{readme}: the weight of '{room}' is '{weight}', not light, heavy or optional")
        for name in sorted(may & {room for room, (_, its) in rooms.items() if its == "optional"}):
            if weight != "optional":
                found.append(f"{readme}: '{room}' may include '{name}', which is optional and which nothing names")
    for one, other in (("host", "guest"), ("guest", "host")):
        if one in rooms and other in rooms[one][0]:
            found.append(f"{readme}: {one} and {other} are two sides of one machine and never include each other")

    front_door = reached_from(root, "ktstr.hpp")
    for path in sorted(root.rglob("*.hpp")):
        header = path.relative_to(root)
        room = header.parts[0]
        if header.as_posix() != ARCHITECTURE_TABLE:
            found += [f"{path}:{number}: '{word[0]}' belongs to one architecture, so to {ARCHITECTURE_TABLE}"
                      for number, line in enumerate(path.read_text().splitlines(), 1)
                      if (word := ARCHITECTURE.search(line.split("//")[0]))]
        if room not in rooms:
            found.append(f"{path}: no room called '{room}' on the map, {readme}")
            continue
        may, weight = rooms[room]
        here = place_of(header.as_posix())
        if here not in rooms and here not in parts and here not in strangers:
            strangers.add(here)
            found.append(f"{path.parent}: no room called '{here}' on the map, {readme}")
        for number, bracket, name in includes(path):
            where = f"{path}:{number}"
            if bracket == '"':
                found.append(f'{where}: write <{name}> from the root, not "{name}"')
            elif name.startswith("ktstr/"):
                target, there = name.split("/")[1], place_of(name[len("ktstr/"):])
                if target not in (room, *FREE, *may):
                    found.append(f"{where}: room '{room}' may not include '{target}'")
                elif target == room and here in parts and there not in (here, *parts[here]):
                    # What lies in a room and in none of its parts may include them all, and none of them it.
                    found.append(f"{where}: room '{here}' may not include '{there}'")
                if there != here and there in {**rooms, **parts}:
                    arrows.setdefault(here, set()).add(there)
            elif weight == "light" and room not in LINUX_ROOMS and HEAVY.match(name):
                found.append(f"{where}: room '{room}' is light and may not include <{name}>")
            elif header.as_posix() in front_door and (name in DEAR or HEAVY.match(name)):
                found.append(f"{where}: <ktstr/ktstr.hpp> reaches this file, so it may not include <{name}>")
    if around := circle(arrows):
        found.append(f"{readme}: rooms that include each other in a circle: {' -> '.join(around)}")
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

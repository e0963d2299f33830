#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""agent.py SOURCE_DIR [--write] -- the agent's identity is that of its headers; --write makes it so.

Covers every ktstr header that guest/init.hpp reaches. Templates of machines are keyed by it (wire/agent_identity.hpp)."""
import hashlib
import pathlib
import re
import sys

from rooms import reached_from

PLACE = "wire/agent_identity.hpp"
VALUE = re.compile(r'(agent_identity = ")([0-9a-f]*)(")')


def identity(root):
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(reached_from(root, "guest/init.hpp") - {PLACE}):
        digest.update(name.encode() + b"\0" + (root / name).read_bytes() + b"\0")
    return digest.hexdigest()


def main():
    root = pathlib.Path(sys.argv[1]) / "include" / "ktstr"
    text = (root / PLACE).read_text()
    found, due = VALUE.search(text)[2], identity(root)
    if found == due:
        return 0
    if "--write" in sys.argv:
        (root / PLACE).write_text(VALUE.sub(rf"\g<1>{due}\g<3>", text))
        return 0
    print(f"include/ktstr/{PLACE}: the agent's headers are {due} and not {found}; run "
          f"python3 tests/lint/agent.py . --write")
    return 1


if __name__ == "__main__":
    sys.exit(main())

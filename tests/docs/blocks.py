# SPDX-License-Identifier: MIT
"""The blocks of code in a Markdown file."""
import re


def blocks(path, language):
    """(line number, text) of every ```language block."""
    found, start, kept = [], None, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if start is None and re.fullmatch(r"```" + language, line):
            start, kept = number + 1, []
        elif start is not None and line == "```":
            found.append((start, "\n".join(kept) + "\n"))
            start = None
        elif start is not None:
            kept.append(line)
    assert start is None, f"{path}: the block of line {start} has no end"
    return found

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""looked_once.py PROGRAM TEST TEST TEST: a run looks at its host once, however many machines it starts.

What each QEMU of this host is stands in a note in the cache, and whoever looks at the host opens it. The kernel tells how
often that happens in a cache that nobody else uses: as often in a run of three machines as in one of one, and twice as
often in two runs, so that the count is seen to count."""
import ctypes
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import expect

IN_OPEN, IN_CLOSE_NOWRITE, IN_ISDIR = 0x20, 0x10, 0x40000000
program, tests = os.path.abspath(sys.argv[1]), sys.argv[2:]
place = tempfile.mkdtemp(prefix="ktstr-looked-")
cache = expect.private_cache(os.path.join(place, "cache"), hidden=("qemu", "locks", "tmp"))
os.environ["KTSTR_CACHE_DIR"] = cache
libc = ctypes.CDLL(None, use_errno=True)


def run(*which):
    chosen = [word for test in which for word in ("--filter", test)]
    code, events, said, _ = expect.run(program, *chosen)
    if code != 0 or set(events) != set(which):
        sys.exit(f"a run of {which} ended with {code} and told of {set(events)}:\n{said}")


def opened(folder, *runs):
    """How often a file of this folder is opened during these runs."""
    watch = libc.inotify_init1(os.O_NONBLOCK)
    # With its closing, since equal events in a row would be told as one.
    if watch < 0 or libc.inotify_add_watch(watch, os.fsencode(folder), IN_OPEN | IN_CLOSE_NOWRITE) < 0:
        sys.exit(f"cannot watch {folder}: {os.strerror(ctypes.get_errno())}")
    for which in runs:
        run(*which)
    try:
        told = os.read(watch, 1 << 16)
    except BlockingIOError:
        told = b""
    os.close(watch)
    count = 0
    while told:
        _, mask, _, length = struct.unpack_from("iIII", told)
        told = told[16 + length:]
        count += bool(mask & IN_OPEN and not mask & IN_ISDIR)
    return count


run(tests[0])  # which writes the notes, and boots the template
notes = os.path.join(cache, "qemu")
one, three, twice = opened(notes, tests[:1]), opened(notes, tests), opened(notes, tests[:1], tests[:1])
shutil.rmtree(place, ignore_errors=True)
print(f"notes on QEMU were opened {one} times in a run of one machine, {three} of three, {twice} in two runs of one")
if one == 0 or three != one or twice != 2 * one:
    sys.exit("a run does not look at its host once")

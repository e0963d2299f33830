#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scheduler.py PROGRAM: a scheduler that does not attach, leaves or is thrown out fails its test, and one that stays
does not; in a clone, where it comes on a disk of its own, and in a machine that booted."""
import sys

import expect

program = sys.argv[1]
EXPECTED = {
    "scheduler_stays": ("pass", None),
    "scheduler_stays_and_the_body_fails": ("fail", "check"),
    "scheduler_leaves": ("fail", "scheduler_exit"),
    "scheduler_is_thrown_out": ("fail", "scheduler_exit"),
    "scheduler_never_attaches": ("fail", "scheduler_exit"),
    "scheduler_fails_to_start": ("fail", "scheduler_exit"),
}
MESSAGES = {
    "scheduler_leaves": "exited with status 3",
    "scheduler_is_thrown_out": "is 'disabled'",
    "scheduler_never_attaches": "did not attach",
    "scheduler_fails_to_start": "exited with status 2",
}
wrong = []
heard = ""
for boot, *how in (("clone",), ("cold", "--no-clone")):
    code, events, said, _ = expect.run(program, "--accel", "tcg", *how)
    heard += said
    wrong += [f"{boot}: {line}" for line in expect.compare(events, EXPECTED)]
    if code != 1:
        wrong.append(f"{boot}: exit code {code}, expected 1")
    for name, event in events.items():
        if event["boot"] != boot:
            wrong.append(f"{name}: booted {event['boot']}, expected {boot}")
        if MESSAGES.get(name, "") not in (event["message"] or ""):
            wrong.append(f"{boot}: {name}: {event['message']}")
expect.conclude(wrong, heard)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scheduler.py PROGRAM: a scheduler that does not attach, leaves or is thrown out fails its test, and one that stays
does not; in a clone, where it and its own libraries come on a disk, and in a machine that booted. The template is the
same for tests with and without a scheduler, whichever of them boots it."""
import os
import shutil
import sys
import tempfile

import expect

program = sys.argv[1]
EXPECTED = {
    "scheduler_stays": ("pass", None),
    "no_scheduler_to_ask_for": ("pass", None),
    "scheduler_stays_and_the_body_fails": ("fail", "check"),
    "scheduler_with_libraries": ("pass", None),
    "no_scheduler": ("pass", None),
    "scheduler_leaves": ("fail", "scheduler_exit"),
    "scheduler_is_thrown_out": ("fail", "scheduler_exit"),
    "scheduler_never_attaches": ("fail", "scheduler_attach"),
    "scheduler_fails_to_start": ("fail", "scheduler_attach"),
}
MESSAGES = {
    "scheduler_leaves": "exited with status 3",
    "scheduler_is_thrown_out": "is 'disabled'",
    "scheduler_never_attaches": "was not attached in",
    "scheduler_fails_to_start": "exited with status 2",
}
wrong = []
heard = ""
place = tempfile.mkdtemp(prefix="ktstr-scheduler-")


def private(name):
    return {"KTSTR_CACHE_DIR": expect.private_cache(os.path.join(place, name),
                                                    hidden=("templates", "payload", "initramfs", "locks", "tmp"))}


first = private("first")
for boot, *how in (("clone",), ("cold", "--no-clone")):
    code, events, said, _ = expect.run(program, "--accel", "tcg", *how, environment=first)
    heard += said
    wrong += [f"{boot}: {line}" for line in expect.compare(events, EXPECTED)]
    if code != 1:
        wrong.append(f"{boot}: exit code {code}, expected 1")
    for name, event in events.items():
        if event["boot"] != boot:
            wrong.append(f"{name}: booted {event['boot']}, expected {boot}")
        if MESSAGES.get(name, "") not in (event["message"] or ""):
            wrong.append(f"{boot}: {name}: {event['message']}")
    if said.count("booting a template") != (boot == "clone"):
        wrong.append(f"{boot}: {said.count('booting a template')} templates were booted")

# Whoever boots the template, the other one finds what it needs.
for order in (("scheduler_with_libraries", "no_scheduler"), ("no_scheduler", "scheduler_with_libraries")):
    cache = private(order[0])
    for name, templates in zip(order, (1, 0)):
        code, events, said, _ = expect.run(program, "--accel", "tcg", "--filter", name, environment=cache)
        heard += said
        wrong += [f"{order}: {line}" for line in expect.compare(events, {name: ("pass", None)})]
        if said.count("booting a template") != templates or any(e["boot"] != "clone" for e in events.values()):
            wrong.append(f"{order}: {name} is no clone of the one template")
shutil.rmtree(place)
expect.conclude(wrong, heard)

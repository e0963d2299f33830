#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bpf_build.py EXAMPLE SCHEDULER: a test of the lesson on schedulers passes under a program that `ktstr bpf build` made
of a BPF source alone, with ktstr's own user-space half, which tells its end in the kernel's words."""
import os
import sys

import expect

example, scheduler = map(os.path.abspath, sys.argv[1:])
TESTS = ("same_load_under_both/scx_simple", "its_end_is_seen")
filters = [word for name in TESTS for word in ("--filter", name)]
code, events, said, _ = expect.run(example, "--accel", "tcg", "--verbose", *filters,
                                   environment={"KTSTR_SCHEDULER_SCX_SIMPLE": scheduler})
wrong = expect.compare(events, {name: ("pass", None) for name in TESTS})
if code != 0:
    wrong.append(f"exit code {code}, expected 0")
# It has the name under which tests/tool/bpf.py built it.
for words in ("my-scheduler: attached", "my-scheduler: ended: unregistered from user space (kind 64, "):
    if words not in said:
        wrong.append(f"the program did not say '{words}'")
expect.conclude(wrong, said)

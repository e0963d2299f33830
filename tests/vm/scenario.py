#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scenario.py PROGRAM: scenarios run, over each link that emulation can have."""
import sys

import expect

program = sys.argv[1]
EXPECTED = {
    "workers_run_and_report": ("pass", None),
    "no_step_is_no_work": ("pass", None),
    "a_mistake_is_the_tests_own": ("fail", "exception"),
    "seed_and_time_arrive": ("pass", None),
}
wrong = []
heard = ""
for link in ("vhost-device-vsock", "virtio-serial"):
    code, events, said, _ = expect.run(program, "--accel", "tcg", "--seed", "42", "--internal-link", link)
    heard += said
    wrong += [f"over {link}: {line}" for line in expect.compare(events, EXPECTED)]
    if code != 1:
        wrong.append(f"over {link}: exit code {code}, expected 1")
expect.conclude(wrong, heard)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""reserve.py PROGRAM: machines are where the report says, in a lock directory of the test's own."""
import os
import sys
import tempfile

import expect

program = sys.argv[1]
cpus = len(os.sched_getaffinity(0))
EXPECTED = {
    "plain": ("pass", None),
    "budgeted": ("pass", None),
    "alone": ("pass", None) if cpus >= 2 else ("skip", "requirement"),
    "larger_than_any_host": ("skip", "requirement"),
    "a_cpuset_holds_its_threads": ("pass", None),
    "a_cpuset_beside_processes": ("pass", None),
    "without_a_cpuset_there_is_a_mask": ("pass", None),
    "pins_and_priorities": ("pass", None),
    "a_killed_run_leaves_no_cgroup": ("pass", None),
}
with tempfile.TemporaryDirectory(prefix="ktstr-locks-") as locks:
    code, events, said, _ = expect.run(program, "--accel", "tcg", environment={"KTSTR_LOCK_DIR": locks})
    wrong = expect.compare(events, EXPECTED)
    if code != 0:
        wrong.append(f"exit code {code}, expected 0")
    if not os.path.exists(os.path.join(locks, f"ktstr-cpu-{min(os.sched_getaffinity(0))}.lock")):
        wrong.append("the locks are not where KTSTR_LOCK_DIR says")
mask = {name: event["mask"] for name, event in events.items()}
if mask.get("plain") is not None:
    wrong.append(f"plain was masked: {mask['plain']}")
if mask.get("budgeted") not in ("cpuset", "affinity"):
    wrong.append(f"budgeted was not masked: {mask.get('budgeted')}")
if cpus >= 2 and mask.get("alone") != "affinity":
    wrong.append(f"alone was not pinned: {mask.get('alone')}")
if cpus < 253 and "performance_mode needs 253 host CPUs" not in (events.get("larger_than_any_host", {}).get("message") or ""):
    wrong.append("the skip does not say what is needed")
expect.conclude(wrong, said)

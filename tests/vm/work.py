#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""work.py PROGRAM: every kind of work does what it is for, and what was counted of the workers is in the events."""
import subprocess
import sys

import expect

program = sys.argv[1]
listed = subprocess.run([program, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")
names = [line.split()[0] for line in listed if line.strip()]
code, events, heard, others = expect.run(program, "--accel", "tcg", timeout=1500)
wrong = expect.compare(events, {name: ("pass", None) for name in names})
metrics = {(e["name"], e["metric"]): e for e in others if e["event"] == "metric"}
for test, metric, unit, better in (("spin_wait", "step0/load/iterations", "", "higher"),
                                   ("spin_wait", "step0/load/run_delay", "s", "lower"),
                                   ("bursty", "step0/load/wake_latency/p99", "us", "lower"),
                                   ("sequence", "step0/load/phase2/wake_latency/p99", "us", "lower")):
    found = metrics.get((test, metric))
    if found is None or (found["unit"], found["better"]) != (unit, better) or found["value"] < 0:
        wrong.append(f"{test}: the metric {metric} is {found}")
# What a kind of work does not have is not told.
wrong += [f"spin_wait: a metric {name}" for test, name in metrics
          if test == "spin_wait" and ("wake_latency" in name or "phase" in name or "deadline" in name)]
if code != 0:
    wrong.append(f"exit code {code}, expected 0")
expect.conclude(wrong, heard)

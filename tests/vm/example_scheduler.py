#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""example_scheduler.py EXAMPLE SCHEDULER: the lesson on schedulers passes with a BPF scheduler of the name that it asks
for, found by its variable and by PATH, and says what is missing without one."""
import os
import sys

import expect

example, scheduler = map(os.path.abspath, sys.argv[1:])
WITH_PROGRAM = ("simple_runs_everybody", "its_end_is_seen", "same_load_under_both/scx_simple")
wrong, heard = [], []


def run(case, code_wanted, expected, environment):
    code, events, said, _ = expect.run(example, "--accel", "tcg", environment=environment)
    print("tried:", case, flush=True)
    heard.append(said)
    wrong.extend(f"{case}: {line}" for line in expect.compare(events, expected))
    if code != code_wanted:
        wrong.append(f"{case}: exit code {code}, expected {code_wanted}")
    return events


PASSES = {name: ("pass", None) for name in (*WITH_PROGRAM, "same_load_under_both/eevdf")}
run("by its variable", 0, PASSES, {"KTSTR_SCHEDULER_SCX_SIMPLE": scheduler})
run("in PATH", 0, PASSES, {"PATH": os.path.dirname(scheduler) + ":" + os.environ["PATH"]})
events = run("nowhere", 2, PASSES | {name: ("inconclusive", "infrastructure") for name in WITH_PROGRAM},
             {"PATH": ":".join(p for p in os.environ["PATH"].split(":") if not os.path.exists(p + "/scx_simple"))})
for name in WITH_PROGRAM:
    message = events.get(name, {}).get("message") or ""
    if "scx_simple" not in message or "KTSTR_SCHEDULER_SCX_SIMPLE" not in message:
        wrong.append(f"nowhere: {name} does not say what is missing and what helps: {message}")
expect.conclude(wrong, "\n".join(heard))

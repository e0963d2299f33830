#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nested.py STEAL_PROGRAM REFERENCE_PROGRAM: real KVM, vhost-vsock, steal time, and the mask as its cause."""
import sys

import expect

steal, reference = sys.argv[1:]
wrong = []
heard = []
TICKS_OF_4X = 6 * 5 * 100  # six of eight vCPUs wait, five seconds, 100 ticks a second


def run(program, expected, code_wanted, *arguments):
    code, events, said, _ = expect.run(program, "--accel", "nested", *arguments, timeout=1500)
    heard.append(said)
    wrong.extend(expect.compare(events, expected))
    if code != code_wanted:
        wrong.append(f"{arguments}: exit code {code}, expected {code_wanted}")
    print("booted:", {name: event.get("boot") for name, event in events.items()}, flush=True)
    wrong.extend(expect.boots(events, said))
    return events


masked = "masked_cpus_accrue_the_predicted_steal"
events = run(steal, {masked: ("pass", None), "vsock_carries_the_link_under_kvm": ("pass", None)}, 0)
event = events.get(masked, {})
if not (event.get("steal_guest_ticks") or 0) * 2 >= TICKS_OF_4X:
    wrong.append(f"steal_guest_ticks {event.get('steal_guest_ticks')}, expected at least {TICKS_OF_4X // 2}")
# Two witnesses of one fact: what the guest saw stolen is what the host made the vCPUs wait.
if not (event.get("steal_host_ns") or 0) / 1e7 * 2 >= TICKS_OF_4X:
    wrong.append(f"steal_host_ns {event.get('steal_host_ns')}, expected at least {TICKS_OF_4X // 2} ticks' worth")
if event.get("accel") != "nested":
    wrong.append(f"accel {event.get('accel')}, expected nested")

# Without the mask the same test must fail, with less than a tenth of the steal.
events = run(steal, {masked: ("fail", "check")}, 1, "--filter", masked, "--internal-no-mask")
ticks = events.get(masked, {}).get("steal_guest_ticks")
if ticks is None or ticks * 10 >= TICKS_OF_4X // 2:
    wrong.append(f"without the mask: steal_guest_ticks {ticks}, expected below {TICKS_OF_4X // 20}")

name = "cpu_budget_overcommit_accrues_guest_steal"
events = run(reference, {name: ("pass", None)}, 0)
print("reference:", {k: events.get(name, {}).get(k) for k in ("steal_guest_ticks", "steal_host_ns", "body_s")})

# Emulation has no steal clock: skipped, and said why.
code, events, said, _ = expect.run(reference, "--accel", "tcg")
heard.append(said)
wrong += expect.compare(events, {name: ("skip", "requirement")})
if code != 4:
    wrong.append(f"--accel tcg: exit code {code}, expected 4")
if "steal" not in (events.get(name, {}).get("message") or ""):
    wrong.append("--accel tcg: the reason does not name steal time")
expect.conclude(wrong, "\n".join(heard))

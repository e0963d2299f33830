#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nested.py STEAL_PROGRAM REFERENCE_PROGRAM CLONES EDITED: real KVM, vhost-vsock, steal time, and the mask as its cause;
the machine around the tests is a clone, runs the program of now, and boots when its template does not wake. CLONES and
EDITED are two builds of clones.cpp."""
import glob
import os
import re
import shutil
import sys
import tempfile

import expect

steal, reference, *builds = sys.argv[1:]
wrong = []
MADE = "booting the machine around nested runs"
BOOTED = "the machine around the tests boots cold: "
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
oopses = "the_outer_kernel_oopses"
events = run(steal, {masked: ("pass", None), "vsock_carries_the_link_under_kvm": ("pass", None)}, 0, "--exclude", oopses)
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

# What runs in a machine whose kernel hurt itself shows nothing: neither the test that saw it, nor the one behind it.
code, events, said, _ = expect.run(steal, "--accel", "nested", "--jobs", "1", "--filter", oopses, "--filter", "vsock_carries*",
                                   timeout=1500)
heard.append(said)
wrong += expect.compare(events, {oopses: ("inconclusive", "infrastructure"),
                                 "vsock_carries_the_link_under_kvm": ("inconclusive", "infrastructure")})
if code != 2 or not all("Oops:" in (event["message"] or "") for event in events.values()):
    wrong.append(f"an outer kernel that oopsed: exit code {code}, {events}")
print("tried: an outer kernel that oopses", flush=True)

name = "cpu_budget_overcommit_accrues_guest_steal"
events = run(reference, {name: ("pass", None)}, 0)
print("reference:", {k: events.get(name, {}).get(k) for k in ("steal_guest_ticks", "steal_host_ns", "body_s")})

# ---- the machine around the tests is a clone ------------------------------------------------------
place = tempfile.mkdtemp(prefix="ktstr-nested-")
cache = expect.private_cache(os.path.join(place, "cache"), hidden=("templates", "payload", "initramfs", "locks", "tmp"))


def identity(case, program):
    """Runs the test that says which program it is. Returns what the body and what the run said."""
    kept = os.path.join(place, "kept")
    code, events, said, _ = expect.run(program, "--accel", "nested", "--filter", "identity", "--keep", "--artifacts",
                                       kept, environment={"KTSTR_CACHE_DIR": cache})
    print("tried:", case, flush=True)
    heard.append(said)
    wrong.extend(f"{case}: {line}" for line in expect.compare(events, {"identity": ("pass", None)}))
    wrong.extend(f"{case}: {line}" for line in expect.boots(events, said))
    if code != 0:
        wrong.append(f"{case}: exit code {code}")
        return {}, said
    output = open(os.path.join(events["identity"]["artifacts"], "output.txt")).read()
    return dict(line.split(" ", 1) for line in output.splitlines()), said


first, said = identity("the template is made", builds[0])
# A template that can't be made in time is a cold boot, and nothing is to be seen of its clones. Every other reason is a
# machine around the tests that is none.
if BOOTED in said and not re.search(re.escape(BOOTED) + r".*did not come (up|to rest) in \d+ s", said):
    wrong.append("the machine around the tests is no clone, and that is not for want of time")
if MADE not in said and BOOTED not in said:
    wrong.append("a new cache: neither was a machine around the tests made, nor is it said why it boots")
if BOOTED not in said:
    again, said = identity("and used", builds[0])
    if MADE in said or BOOTED in said:
        wrong.append("the second run did not use the machine that the first one made")
    for fact in ("random", "boot_id", "uuid"):
        if first.get(fact) == again.get(fact):
            wrong.append(f"two clones of one machine share {fact}: {first.get(fact)}")
    edited, said = identity("by another build of the program", builds[1])
    if MADE in said or BOOTED in said:
        wrong.append("another build of the program cost another machine")
    if (first.get("build"), again.get("build"), edited.get("build")) != ("1", "1", "2"):
        wrong.append(f"the program that runs is not the one of now: {first}, {again}, {edited}")
    for path in glob.glob(os.path.join(cache, "templates", "*", "state")):
        stat = os.stat(path)
        with open(path, "r+b") as state:
            state.write(b"\0" * 64)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    _, said = identity("a template that QEMU refuses", builds[0])
    if "its template did not wake up and is taken out of the cache" not in said:
        wrong.append("a template that was refused: nobody says so")
    if glob.glob(os.path.join(cache, "templates", "*", "state")):
        wrong.append("a template that was refused is still there")
shutil.rmtree(place)

# Emulation has no steal clock: skipped, and said why.
code, events, said, _ = expect.run(reference, "--accel", "tcg")
heard.append(said)
wrong += expect.compare(events, {name: ("skip", "requirement")})
if code != 4:
    wrong.append(f"--accel tcg: exit code {code}, expected 4")
if "steal" not in (events.get(name, {}).get("message") or ""):
    wrong.append("--accel tcg: the reason does not name steal time")
expect.conclude(wrong, "\n".join(heard))

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""attached.py PROGRAM SCHEDULER [RUNS]: what a scheduler adds to a start, under emulation with 2 vCPUs.

PROGRAM is bench/attached.cpp. Timed in turn, in one run: a clone without a scheduler, one that finds SCHEDULER attached, one that
attaches it, each from its machine's start to its body; then, each time with another build of SCHEDULER, the whole program with a
lone test, which attaches its own, and with two, of which the first makes the template. Prints medians and their ratios.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

program, scheduler = map(os.path.abspath, sys.argv[1:3])
runs = int(sys.argv[3]) if len(sys.argv) > 3 else 9
place = tempfile.mkdtemp(prefix="ktstr-bench-")
mine = os.path.join(place, "scx_simple")
environment = {**os.environ, "KTSTR_SCHEDULER_SCX_SIMPLE": mine}
builds = 0


def build():
    global builds
    builds += 1
    shutil.copy(scheduler, mine + ".new")
    with open(mine + ".new", "ab") as file:
        file.write(f"{os.getpid()} {builds}".encode())
    os.replace(mine + ".new", mine)


def run(*tests):
    """Seconds of the whole program, and its events."""
    report = os.path.join(place, "report.json")
    begun = time.monotonic()
    subprocess.run([program, "--accel", "tcg", "--jobs", "1", *[word for test in tests for word in ("--filter", test)], "--json", report],
                   check=True, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    took = time.monotonic() - begun
    return took, [event for event in map(json.loads, open(report)) if event["event"] == "test"]


build()
run("without"), run("attached"), run("attached")  # not counted: caches fill
starts = {name: [] for name in ("without", "attached", "fresh")}
for _ in range(runs):
    for name, found in starts.items():
        (event,) = run(name)[1]
        wanted = {"without": None, "attached": "template", "fresh": "test"}[name]
        if event["attach"] != wanted:
            sys.exit(f"attached: {name} was attached in its {event['attach']}")
        found.append(event["start_s"])
lone, several, fresh = [], [], []
for _ in range(max(runs // 2, 3)):
    build()
    run("fresh")  # the files of a new build are packed once, whoever comes first
    fresh.append(run("fresh")[0])
    lone.append(run("attached")[0])
    build()
    run("fresh")
    several.append(run("attached", "attached_too")[0])
shutil.rmtree(place)
median = {name: statistics.median(found) for name, found in starts.items()}
print(json.dumps({
    "runs": runs, "start_without_s": median["without"], "start_attached_s": median["attached"], "start_fresh_s": median["fresh"],
    "attached_to_without": round(median["attached"] / median["without"], 2),
    "fresh_to_without": round(median["fresh"] / median["without"], 2),
    "rebuilt_lone_s": round(statistics.median(lone), 3), "fresh_s": round(statistics.median(fresh), 3),
    "rebuilt_lone_to_fresh": round(statistics.median(lone) / statistics.median(fresh), 2),
    "rebuilt_two_tests_s": round(statistics.median(several), 3)}))

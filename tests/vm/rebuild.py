#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rebuild.py GOOD BAD: a run tests the program that was started, whatever a build puts in its place meanwhile, and
nothing of it is ever taken for the other build: on the host, in clones and in machines that boot. Both are rebuild.cpp;
the tests of BAD fail. The same of a scheduler, which lies beside them."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import expect

good, bad = map(os.path.abspath, sys.argv[1:3])
wrong = []
place = tempfile.mkdtemp(prefix="ktstr-rebuild-")
cache = expect.private_cache(os.path.join(place, "cache"), hidden=("templates", "payload", "initramfs", "locks", "tmp"))
program = os.path.join(place, "program")
markers = os.path.join(place, "markers")
report = os.path.join(place, "report.json")
NAMES = {"a_waits", "b_on_the_host", "c_in_a_clone", "d_cold"}


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def rename_over(build):
    shutil.copy(build, program + ".new")
    os.replace(program + ".new", program)


def unlink_and_copy(build):
    if os.path.exists(program):
        os.unlink(program)
    shutil.copy(build, program)


def run(case, build, meanwhile=None, arguments=("--exclude", "*scheduler*", "--exclude", "s_*"), names=NAMES,
        rebuilt="was rebuilt while it runs; this run tests the program that was started", rebuilds=1):
    """Runs the program, which `meanwhile` replaces, and requires the verdicts of `build`."""
    environment = {**os.environ, "KTSTR_CACHE_DIR": cache}
    if meanwhile:
        shutil.rmtree(markers, ignore_errors=True)
        os.mkdir(markers)
        environment["KTSTR_REBUILD_PLACE"] = markers
    runner = subprocess.Popen([program, "--accel", "tcg", "--jobs", "1", *arguments, "--json", report, "--artifacts",
                               os.path.join(place, "artifacts")],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", env=environment)
    if meanwhile:
        while not os.path.exists(os.path.join(markers, "waits")) and runner.poll() is None:
            time.sleep(0.01)
        meanwhile()
        open(os.path.join(markers, "replaced"), "w").close()
    said = runner.communicate(timeout=expect.patience(600))[0]
    events = {e["name"]: e for e in map(json.loads, open(report)) if e["event"] == "test"}
    verdict = "pass" if build == good else "fail"
    found = {name: e["verdict"] for name, e in events.items()}
    expected = {name: "pass" if name == "a_waits" else verdict for name in names}
    require(found == expected, f"{case}: {found}, expected {expected}\n{said}")
    require(runner.returncode == (0 if build == good else 1), f"{case}: exit code {runner.returncode}")
    clones = {name: e.get("boot") for name, e in events.items() if name.endswith("in_a_clone")}
    require(clones and set(clones.values()) == {"clone"}, f"{case}: no clone: {clones}\n{said}")
    told = said.count(rebuilt)
    require(told == (rebuilds if meanwhile else 0), f"{case}: told {told} times of a rebuild\n{said}")
    print("tried:", case, flush=True)


def name(build):
    return "good" if build == good else "bad"


# ---- the scheduler ---------------------------------------------------------------------------------
scheduler = os.path.join(place, "vm_fake_scheduler")
beside = os.path.join(os.path.dirname(good), "vm_fake_scheduler")
shutil.copy(good, program)


def second_scheduler(how):
    shutil.copy(beside, scheduler + ".new")
    with open(scheduler + ".new", "ab") as file:
        file.write(b"SECOND_SCHEDULER")
    if how == "unlink":
        os.unlink(scheduler)
    os.replace(scheduler + ".new", scheduler)


for how in ("rename", "unlink"):
    shutil.copy(beside, scheduler + ".new")
    os.replace(scheduler + ".new", scheduler)
    run(f"a scheduler, replaced by {how}", good, meanwhile=lambda: second_scheduler(how),
        arguments=("--filter", "a_*", "--filter", "s_*"), names={"a_scheduler_before", "a_waits", "s_in_a_clone", "s_cold"},
        rebuilt="vm_fake_scheduler was rebuilt while this run goes on; its machines get the one that the run began with")

# ---- the program -----------------------------------------------------------------------------------
for first, second in ((good, bad), (bad, good)):
    for kind in ("templates", "payload", "initramfs"):
        shutil.rmtree(os.path.join(cache, kind), ignore_errors=True)
    for replace in (rename_over, unlink_and_copy):
        case = f"{name(first)}, then {name(second)}, {replace.__name__}"
        for kind in ("payload", "initramfs"):  # a template may stay: its key has neither build in it
            shutil.rmtree(os.path.join(cache, kind), ignore_errors=True)
        replace(first)
        run(f"{case}: the first", first, meanwhile=lambda: replace(second))
        run(f"{case}: the second", second)
        # And what the first one left is its own.
        replace(first)
        run(f"{case}: the first again", first)

shutil.rmtree(place)
expect.conclude(wrong)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""own_main.py OWN_MAIN GOOGLETEST CATCH2 -- programs with their own main() run cells, and the verdicts reach who asked.

A program that was not built is passed as an empty word; in CI all have to be."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import expect

program, googletest, catch2 = sys.argv[1:]
wrong = []
place = tempfile.mkdtemp(prefix="ktstr-own-main-")
runtime = os.path.join(place, "runtime")
os.mkdir(runtime)
base = {**os.environ, "XDG_RUNTIME_DIR": runtime, "KTSTR_ARTIFACTS": os.path.join(place, "artifacts")}


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def run(*command, environment=None):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**base, **(environment or {})}, timeout=expect.patience(600))
    print(f"$ {' '.join(command)}: {done.returncode}\n{done.stdout}", flush=True)
    require(expect.settled(lambda: not expect.processes_of(runtime)), f"{command}: left {expect.processes_of(runtime)}")
    require(expect.settled(lambda: not os.listdir(runtime)), f"{command}: left {os.listdir(runtime)}")
    return done.returncode, done.stdout


def line_of(name, said):
    return next((line for line in said.splitlines() if line.startswith(f"cell {name}: ")), "")


def says(said, name, *words):
    line = line_of(name, said)
    for word in words:
        require(word in line, f"{name}: no {word!r} in {line!r}")


# ---- what the functions answer --------------------------------------------------------------------
code, said = run(program, "list", "embedded_pass", "embedded_fail", "embedded_skip", "embedded_kvm", "embedded_pass",
                 "embedded", "--", "--accel", "tcg", "--seed", "7")
require(code == 0, f"exit code {code}")
require(re.search(r"listed embedded_pass embedded_pass \S*own_main\.cpp:\d+ a 20000 host_only=0", said), "the list")
require("listed embedded_skip" in said and "host_only=1" in said, "the list of host_only tests")
says(said, "embedded_pass", "judged pass none attempts=1 checks=1 failed=0 accel=tcg")
require(said.count("cell embedded_pass: judged pass") == 2, "a second call in the same process does not do the same")
require("metric answer 42 1/s higher" in said, "the metric")
says(said, "embedded_fail", "judged fail check", "checks=2 failed=2")
require(re.search(r"check \S*own_main\.cpp:\d+ CHECK ctx\.topology\(\)\.total_cpus\(\) == 3 \(2 == 3\) 'counted 2' "
                  r"info=beside 1", said), "the failed check")
require(said.count("  check ") == 2, "not every failed check")
require("artifacts 1" in said and "times 1 1" in said, "artifacts and times")
require(re.search(r"text <<.*failed checks:.*>>", said, re.DOTALL), "the text")
says(said, "embedded_skip", "judged skip skipped", "no wish to")
says(said, "embedded_kvm", "judged skip requirement")
says(said, "embedded", "misused - none attempts=0", "no cell has exactly this name")

_, said = run(program, "embedded_pass", "--", "--accel", "tcg", "--internal-fault", "wrong-topology:embedded_pass")
says(said, "embedded_pass", "judged inconclusive topology_mismatch")
_, said = run(program, "embedded_fail", "--", "--accel", "tcg", "--retries", "1")
says(said, "embedded_fail", "judged fail check attempts=2")
require(said.count("  check ") == 2, "the checks of two attempts are told as those of one")

# ---- no verdict is made up ------------------------------------------------------------------------
for arguments, words in ((["--acel", "tcg"], "--accel"), (["--list"], "the program that runs the cells"),
                         (["--help"], "help"), (["--json", "-"], "--json"), (["--until-fail"], "--until-fail")):
    _, said = run(program, "list", "embedded_skip", "--", *arguments)
    says(said, "embedded_skip", "misused - none", words)
    require("error cannot use" in said, f"{arguments}: list_cells() has no error")
empty = os.path.join(place, "empty")
os.mkdir(empty)
_, said = run(program, "embedded_pass", "embedded_skip", "--", "--accel", "tcg",
              environment={"PATH": empty, "KTSTR_CACHE_DIR": empty})
says(said, "embedded_pass", "impossible - none attempts=0", "qemu")
says(said, "embedded_skip", "judged skip skipped")
if not os.access("/dev/kvm", os.R_OK | os.W_OK):
    _, said = run(program, "embedded_pass", "--", "--accel", "kvm")
    says(said, "embedded_pass", "impossible - none", "--accel kvm")
_, said = run(program, "forgets")
says(said, "embedded_skip", "misused - none", "take_role()")
# A program's own main is what the keeper of a host_only body would be, were it not for the role.
code, said = run(program, "run", "--filter", "embedded_skip")
require(code == 4, f"run: exit code {code}")
require("my own handler" in said, "run: its handlers stay")
code, said = run(program, "run", "--list", "--format", "json")
require(code == 0 and [test["name"] for test in json.loads(said.replace("my own handler\n", ""))][0] == "embedded_pass", f"run --list: {code}")

# ---- stop signals, and a process that is killed ---------------------------------------------------
for cell in ("embedded_hangs", "embedded_hangs_here"):
    for how, handles in ((signal.SIGINT, []), (signal.SIGTERM, ["handles"]), (signal.SIGKILL, [])):
        begun = subprocess.Popen([program, *handles, cell, "embedded_skip", "--", "--accel", "tcg"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 env=base)
        mark = "qemu" if cell == "embedded_hangs" else "--internal-body"
        require(expect.settled(lambda: any(mark in line for _, line in expect.processes_of(runtime)), 120),
                f"{cell}: no {mark}")
        begun.send_signal(how)
        try:
            said, _ = begun.communicate(timeout=expect.patience(20))
        except subprocess.TimeoutExpired:
            begun.kill()
            said, _ = begun.communicate()
            wrong.append(f"{cell}, {how.name}: still runs")
        if handles:
            require(begun.returncode == 0 and "my own handler" in said and "the end" in said,
                    f"{cell}: the program's own handler: {begun.returncode}\n{said}")
            says(said, cell, "stopped - none", "interrupted by signal 15")
            says(said, "embedded_skip", "judged skip skipped")
        else:
            require(begun.returncode == -how, f"{cell}, {how.name}: {begun.returncode}\n{said}")
        require(expect.settled(lambda: not expect.processes_of(runtime)),
                f"{cell}, {how.name}: left {expect.processes_of(runtime)}")
        require(expect.settled(lambda: not os.listdir(runtime)), f"{cell}, {how.name}: left {os.listdir(runtime)}")

# ---- a signal that comes when the cell is over ----------------------------------------------------
meeting = {**base, "OWN_MAIN_PLACE": place}
for pipe in ("runs", "ends"):
    os.mkfifo(os.path.join(place, pipe))


def janitor():
    return next(pid for pid, _ in expect.processes_of(runtime)
                if open(f"/proc/{pid}/comm").read().strip() == "ktstr-janitor")


for how, handles in ((signal.SIGINT, []), (signal.SIGTERM, ["handles"])):
    begun = subprocess.Popen([program, *handles, "embedded_meets"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, env=meeting)
    with open(os.path.join(place, "runs")):
        watches = janitor()
    os.kill(watches, signal.SIGSTOP)  # what the call waits for last
    with open(os.path.join(place, "ends"), "w"):
        pass
    require(expect.settled(lambda: not os.listdir(runtime), 120), f"after a verdict, {how.name}: the directory stays")
    begun.send_signal(how)
    os.kill(watches, signal.SIGCONT)
    said, _ = begun.communicate(timeout=expect.patience(60))
    if handles:
        require(begun.returncode == 0 and "my own handler" in said and "the end" in said,
                f"after a verdict: the program's own handler: {begun.returncode}\n{said}")
        says(said, "embedded_meets", "judged pass")
    else:
        require(begun.returncode == -how, f"after a verdict, {how.name}: {begun.returncode}\n{said}")

# ---- a child that another thread forks while a cell runs -------------------------------------------
for word in ("forks", "forks_only"):
    begun = subprocess.Popen([program, word, "embedded_meets"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, env=meeting)
    said = ""
    while line := begun.stdout.readline():
        said += line
        if word == "forks_only" and "forked " in said and "cell embedded_skip" in said:
            begun.kill()
            break
        if word == "forks" and "the end" in said:
            break
    begun.wait(timeout=expect.patience(60))
    said += begun.stdout.read()
    forked = int(re.search(r"forked (\d+)", said)[1])
    says(said, "embedded_skip", "misused - none", "this process was forked while another thread ran a cell")
    if word == "forks":
        says(said, "embedded_meets", "judged pass")
    others = lambda: [pid for pid, _ in expect.processes_of(runtime) if pid != forked]
    require(expect.settled(lambda: not others()), f"{word}: left {expect.processes_of(runtime)}, of which {forked} belongs")
    require(expect.settled(lambda: not os.listdir(runtime)), f"{word}: left {os.listdir(runtime)}")
    os.kill(forked, signal.SIGKILL)  # it has lived until now
    require(expect.settled(lambda: not expect.processes_of(runtime)), f"{word}: left {expect.processes_of(runtime)}")

# ---- a scheduler that is built between two calls ---------------------------------------------------
built = os.path.join(place, "scheduler")
shutil.copy(shutil.which("false"), built)
code, said = run(program, "embedded_scheduler", f"becomes:{shutil.which('sleep')}", "embedded_scheduler", "--", "--accel", "tcg",
                 environment={"KTSTR_SCHEDULER_EMBEDDED": built})
told = [line for line in said.splitlines() if line.startswith("cell embedded_scheduler: ")]
require(len(told) == 2 and told[0] != told[1] and "missing operand" in said,
        f"the second call has the scheduler of the first: {told}")

# ---- GoogleTest -----------------------------------------------------------------------------------
if googletest:
    code, said = run(googletest, "--accel", "tcg")
    require(code == 1, f"GoogleTest: exit code {code}")
    for words in (r"\[       OK \] addition.of_its_own", r"\[       OK \] ktstr.two_cpus", r"\[       OK \] ktstr.adds_up",
                  r"\[       OK \] ktstr.is_known_to_fail",
                  r"\[  FAILED  \] ktstr.does_not_add_up", r"\[  SKIPPED \] ktstr.has_better_things_to_do",
                  r"cells.cpp:\d+: Failure\nFailed\nsum == 5 with 4 == 5 the sum of 2 and 2"):
        require(re.search(words, said), f"GoogleTest does not say {words}")
    code, said = run(googletest, "--gtest_filter=*two_cpus:*.adds_up", "--gtest_repeat=2", "--accel", "tcg")
    require(code == 0 and said.count("[  PASSED  ] 2 tests.") == 2, f"GoogleTest, what passes: {code}")
    code, said = run(googletest, "--gtest_filter=*two_cpus", "--accel", "tcg", "--internal-fault",
                     "wrong-topology:two_cpus")
    require(code == 1 and "judged, inconclusive, topology_mismatch" in said, f"GoogleTest, inconclusive: {code}")
    code, said = run(googletest, "--gtest_filter=*two_cpus", environment={"PATH": empty, "KTSTR_CACHE_DIR": empty})
    require(code == 1 and "impossible, no verdict" in said, f"GoogleTest, no QEMU: {code}")
    code, said = run(googletest, "--gtest_filter=*has_better*")
    require(code == 0 and "[  SKIPPED ] 1 test" in said, f"GoogleTest, a skip: {code}")

# ---- Catch2 ---------------------------------------------------------------------------------------
if catch2:
    tcg = ["--ktstr=--accel", "--ktstr=tcg"]
    code, said = run(catch2, *tcg)
    require(code != 0, "Catch2: exit code 0")
    for words in ("does_not_add_up", "sum == 5", r"4 == 5", "has_better_things_to_do", "SKIPPED", "not on a day like this",
                  r"test cases: +2 \| +1 passed \| +1 failed", r"assertions: .* \| 1 failed"):
        require(re.search(words, said), f"Catch2 does not say {words}")
    code, said = run(catch2, "ktstr", "-c", "two_cpus", *tcg)
    require(code == 0 and "All tests passed" in said, f"Catch2, what passes: {code}")
    code, said = run(catch2, "ktstr", "-c", "two_cpus", *tcg, "--ktstr=--internal-fault",
                     "--ktstr=wrong-topology:two_cpus")
    require(code != 0 and "judged, inconclusive, topology_mismatch" in said, f"Catch2, inconclusive: {code}")
    code, said = run(catch2, "ktstr", "-c", "has_better_things_to_do")
    require("skipped" in said and "failed" not in said, f"Catch2, a skip: {code}")

if "CI" in os.environ:
    require(googletest and catch2, "in CI nothing may be left out: GoogleTest or Catch2 is not installed")
shutil.rmtree(place, ignore_errors=True)
expect.conclude(wrong)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""attached.py PROGRAM: tests that find their scheduler attached since the template. The first of several tests makes it, a lone
one attaches its own; whatever decides what is attached there makes another one, so that no test ever runs under a scheduler
that it did not ask for; what can't be in a template is attached by each test, and that is said. Nothing is left of a run
that is killed while it makes one."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import expect

program = os.path.abspath(sys.argv[1])
wrong = []
heard = ""
place = tempfile.mkdtemp(prefix="ktstr-attached-")
runtime = os.path.join(place, "runtime")
os.mkdir(runtime)
kept, report = os.path.join(place, "kept"), os.path.join(place, "report.json")
PASS, EXIT, ATTACH = ("pass", None), ("fail", "scheduler_exit"), ("fail", "scheduler_attach")
mine = os.path.join(place, "vm_attached")
shutil.copy(program, mine)
caches = 0


def fresh_cache():
    global caches
    caches += 1
    return expect.private_cache(os.path.join(place, f"cache{caches}"),
                                hidden=("templates", "payload", "initramfs", "locks", "tmp"))


def build(mark):
    """A build of the scheduler beside the program, which only its mark tells from others."""
    path = os.path.join(place, "vm_zoo")
    shutil.copy(os.path.join(os.path.dirname(program), "vm_zoo"), path + ".new")
    with open(path + ".new", "ab") as file:
        file.write(b"BUILD-" + mark.encode())
    os.replace(path + ".new", path)


def configure(text):
    open(os.path.join(place, "zoo.conf"), "w").write(text)


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def command(filters, arguments=()):
    return [mine, "--accel", "tcg", "--jobs", "1", *[word for one in filters for word in ("--filter", one)], "--keep",
            "--artifacts", kept, "--json", report, *arguments]


def environment(cache, more=None):
    return {**os.environ, "KTSTR_CACHE_DIR": cache, "TMPDIR": runtime, "XDG_RUNTIME_DIR": runtime, **(more or {})}


def run(case, cache, expected, *arguments, made=0, runs=None, more=None, filters=None):
    """Runs the tests one after another. `expected`: of each its outcome and where its scheduler has to be attached. `made`: how
    many templates with a scheduler. `runs`: what each body has to find running."""
    global heard
    shutil.rmtree(kept, ignore_errors=True)
    done = subprocess.run(command(filters or expected, arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", env=environment(cache, more),
                          timeout=expect.patience(900))
    said = done.stdout
    heard += said
    events = [event for event in map(json.loads, open(report)) if event["event"] == "test"]
    if expected is not None:
        require({event["name"] for event in events} == set(expected), f"{case}: ran {[e['name'] for e in events]}\n{said}")
    for event in events if expected is not None else []:
        outcome, where = expected[event["name"]]
        found = (event["verdict"], event["reason"]), event["attach"]
        require(found == (outcome, where), f"{case}: {event['name']}: {found}, expected {outcome}, {where}: {event['message']}")
    require(said.count(" in a template of ") == made, f"{case}: not {made} templates with a scheduler:\n{said}")
    for at, _, names in os.walk(kept):
        if runs is None or "output.txt" not in names:
            continue
        output = open(os.path.join(at, "output.txt"), errors="replace").read()
        shown = re.findall(r"runs: (.*)", output)
        require(shown and all(line == runs for line in shown), f"{case}: a body saw {shown}, expected {runs}")
        # What it said before the machine was saved is there too, once for each time that it was started.
        if len(shown) == 1:
            require(output.count("attached\n") == 1, f"{case}: its first words are not there once:\n{output}")
        clock = re.search(r"clock: (\d+)", output)
        require(clock and abs(int(clock[1]) - time.time()) < expect.patience(300), f"{case}: the clock is at {clock and clock[1]}")
    print("tried:", case, flush=True)
    return (said, events) if expected is None else said


def plain(mark):
    return f"/ktstr/scheduler / BUILD-{mark} // 100"


def set_up(mark, text, more=""):
    return f"/ktstr/scheduler none 20000 {more}/ BUILD-{mark} /{text}/ 30"


configure("one")
build("1")
cache = fresh_cache()

# ---- which tests find it attached --------------------------------------------------------------------
run("a lone test", cache, {"a_first": (PASS, "test")}, runs=plain(1))
run("it comes again", cache, {"a_first": (PASS, "template")}, made=1, runs=plain(1))
run("and again", cache, {"a_first": (PASS, "template")}, runs=plain(1))
run("another test of the same scheduler", cache, {"a_second": (PASS, "template")}, runs=plain(1))
run("one that wants a fresh one", cache, {"a_third": (PASS, "test")}, runs=plain(1))
run("a machine that boots", cache, {"a_first": (PASS, "test")}, "--no-clone", runs=plain(1))
run("a scheduler that is started again", cache, {"b_restarts": (PASS, "template")}, runs=plain(1))
run("another kind of machine", cache, {"a_first": (PASS, "test")}, "--topology", "1n1l1c1t", runs=plain(1))
other = fresh_cache()
run("several tests", other, {"a_first": (PASS, "template"), "a_second": (PASS, "template"), "a_third": (PASS, "test"),
                             "b_restarts": (PASS, "template")}, made=1, runs=plain(1))
run("one that is repeated", other, {"c_ends": (EXIT, "template")}, "--repeat", "2", made=1)
run("an end in each clone", other, {"c_ends": (EXIT, "template"), "c_ends_too": (EXIT, "template")})

# ---- what decides what is attached -------------------------------------------------------------------
pair = {"d_configured": (PASS, "template"), "d_configured_too": (PASS, "template")}
run("files and sysctls", cache, pair, made=1, runs=set_up(1, "one"))
run("another argument", cache, {"d_other_argument": (PASS, "template"), "d_other_argument_too": (PASS, "template")}, made=1,
    runs=set_up(1, "one", "more "))
configure("two")
run("another file", cache, {"d_configured": (PASS, "test")}, runs=set_up(1, "two"))
run("another file, of several", cache, pair, made=1, runs=set_up(1, "two"))
build("2")
run("a rebuilt scheduler", cache, {"a_first": (PASS, "test")}, runs=plain(2))
run("a rebuilt scheduler, of several", cache, {"a_first": (PASS, "template"), "a_second": (PASS, "template")}, made=1,
    runs=plain(2))
build("1")
configure("one")
run("the old one again", cache, {"a_first": (PASS, "template")}, runs=plain(1))
run("and its files", cache, pair, runs=set_up(1, "one"))
elsewhere = os.path.join(place, "elsewhere")
shutil.copy(os.path.join(place, "vm_zoo"), elsewhere)
with open(elsewhere, "ab") as file:
    file.write(b"0")
run("one that its variable names", cache, {"a_first": (PASS, "test")}, runs=plain("10"), more={"KTSTR_SCHEDULER_ZOO": elsewhere})
# Of the program nothing is attached: one that is rebuilt finds the template of the other.
shutil.copy(program, mine + ".new")
with open(mine + ".new", "ab") as file:
    file.write(b"another build")
os.replace(mine + ".new", mine)
run("a rebuilt program", cache, {"a_first": (PASS, "template")}, runs=plain(1))

# ---- what can't be in a template ---------------------------------------------------------------------
spins = {"e_spins": (PASS, "test"), "e_spins_too": (PASS, "test")}
said = run("a scheduler that never rests", cache, spins, made=1)
require(said.count("the scheduler was attached by the test itself: ") == 2 and "it did not come to rest: " in said,
        f"it is not said that it never rests:\n{said}")
said = run("and is known for it", cache, spins)
require(said.count("it did not come to rest: ") == 2 and said.count("(in an earlier run)") == 2, f"it is not known for it:\n{said}")
said = run("a scheduler that is refused", cache, {"f_refused": (ATTACH, "test"), "f_refused_too": (ATTACH, "test")}, made=1)
require("ops.init() failed (-22)" in said, f"the refusal is not told:\n{said}")
run("a lone one that is refused", cache, {"f_refused": (ATTACH, "test")})
run("leaves no mark", cache, {"f_refused": (ATTACH, "test")})
# What the kernel says of an attach is heard by the tests under it.
COMPLAINT = ("fail", "oops")
run("an attach of which the kernel complains", cache, {"g_complains": (COMPLAINT, "test"), "g_complains_too": (COMPLAINT, "test")},
    made=1)
run("the same on a silent console", cache, {"g_is_silenced": (COMPLAINT, "test"), "g_is_silenced_too": (COMPLAINT, "test")}, made=1)
run("no complaint on a silent console", cache, {"g_keeps_quiet": (PASS, "template"), "g_keeps_quiet_too": (PASS, "template")}, made=1)
# It ends as its clone wakes, before the body or in it.
said, gone = run("a scheduler that is gone when its clone wakes", cache, None, "--repeat", "2", made=1, filters=["f_leaves*"])
first, second = [((event["verdict"], event["reason"]), event["attach"]) for event in gone]
require(first == (EXIT, "template"), f"gone when its clone wakes: {first}")
# Found before the body the template goes, so the second test has none; in the body nothing is known of the template. What is
# found is told below the test's verdict.
told = re.split(r"(?m)^(?:FAIL|pass)  f_leaves", said)
require(len(told) == 3, f"not two verdicts:\n{said}")
lost = "was attached in the machine's template and had ended when the body was to begin" in told[1]
require(not lost or "its template is taken out" in heard, "a template whose scheduler is gone is not taken out")
require(second == ((PASS, "test") if lost else (EXIT, "template")), f"gone when its clone woke: {second}, lost {lost}")
for fault, words in (("kill-qemu@boot", "killed by SIGKILL"), ("kill-qemu@save", "killed by SIGKILL")):
    # The plain template is there.
    struck = run(f"{fault} of a template with a scheduler", other,
                 {"d_configured": (PASS, "test"), "d_configured_too": (PASS, "test")}, "--internal-fault",
                 f"{fault}:attached-template", made=1)
    require(struck.count("attached by the test itself: ") == 2 and words in struck, f"{fault}: does not say {words!r}:\n{struck}")

# ---- a runner that is killed while it saves one ------------------------------------------------------
for how in (signal.SIGKILL, signal.SIGTERM):
    runner = subprocess.Popen(command(["d_configured", "d_configured_too"],
                                      ["--internal-fault", "freeze-qemu@save:attached-template"]),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", env=environment(other))

    def saves():
        for pid, _ in expect.processes_of(runtime):
            try:
                if open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T":
                    return True
            except OSError:
                pass
        return False

    require(expect.settled(saves, 300), f"{how.name}: never came to the save")
    runner.send_signal(how)
    said = runner.communicate()[0]
    heard += said
    require(expect.settled(lambda: not expect.processes_of(runtime)), f"{how.name}: left {expect.processes_of(runtime)}")
    for pid, _ in expect.processes_of(runtime):
        os.kill(pid, signal.SIGKILL)
    left = os.path.join(other, "attached")
    before = os.listdir(left)
    # What a killed one leaves half done, the next one that makes anything takes away.
    run(f"after {how.name} in the save", other, pair, made=1, runs=set_up(1, "one"))
    require(not os.listdir(os.path.join(other, "tmp")), f"{how.name}: left half a template")
    for entry in set(os.listdir(left)) - set(before):
        shutil.rmtree(os.path.join(left, entry))

shutil.rmtree(place, ignore_errors=True)
expect.conclude(wrong, heard)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""clones.py PROGRAM EDITED: clones are machines of their own, and run the program of now; templates are booted once,
shared, rebuilt when damaged, and never believed when they do not wake. Both are clones.cpp, EDITED is its next build."""
import fcntl
import glob
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import expect

program, edited = map(os.path.abspath, sys.argv[1:3])
wrong = []
place = tempfile.mkdtemp(prefix="ktstr-clones-")
runtime = os.path.join(place, "runtime")
os.mkdir(runtime)
cache = expect.private_cache(os.path.join(place, "cache"), hidden=("templates", "payload", "initramfs", "locks", "tmp"))
base = {"TMPDIR": runtime, "XDG_RUNTIME_DIR": runtime, "KTSTR_CACHE_DIR": cache}


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def run(case, *arguments, which=None, environment=None, address_space=None):
    """(exit code, the "test" events in order, standard output and error)"""
    report = os.path.join(place, "report.json")
    done = subprocess.run([which or program, "--accel", "tcg", "--json", report, "--artifacts",
                           os.path.join(place, "artifacts"), *arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=expect.patience(600), env={**os.environ, **base, **(environment or {})},
                          preexec_fn=address_space and (lambda: resource.setrlimit(resource.RLIMIT_AS, (address_space,) * 2)))
    events = [json.loads(line) for line in open(report)]
    print("tried:", case, flush=True)
    if wrong:
        print(done.stdout)
    require(not os.listdir(runtime), f"{case}: files left behind: {os.listdir(runtime)}")
    return done.returncode, [e for e in events if e["event"] == "test"], done.stdout


def words(kept):
    """What the body printed: `name value` lines of its kept output."""
    return dict(line.split(" ", 1) for line in open(os.path.join(kept, "output.txt")).read().splitlines())


def templates():
    return sorted(glob.glob(os.path.join(cache, "templates", "*")))


# ---- each is a machine of its own -----------------------------------------------------------------
before = time.time()
code, events, said = run("identity", "--filter", "identity", "--repeat", "3", "--keep")
require(code == 0 and len(events) == 3, f"identity: exit code {code}, {len(events)} events\n{said}")
require(all(e["boot"] == "clone" for e in events), f"identity: booted {[e['boot'] for e in events]}")
require(said.count("booting a template") == 1, f"identity: a template was booted {said.count('booting a template')} times")
seen = [words(e["artifacts"]) for e in events]
for name in ("random", "boot_id", "uuid", "global", "canary", "at_random"):
    require(len({s[name] for s in seen}) == 3, f"clones share {name}: {[s[name] for s in seen]}")
for s in seen:
    # Not a timing: a clock that stood still since the template was saved, or starts at the epoch, is far off.
    require(before - 5 <= int(s["clock"]) <= time.time() + 5, f"a clone's clock says {s['clock']}")
    require(s["program"] == "/init", f"the template's own program runs from {s['program']}")

# The same of an edited build, which every clone executes anew: where it lies is drawn too.
code, events, said = run("identity, edited", "--filter", "identity", "--repeat", "3", "--keep", which=edited)
require(code == 0 and len(events) == 3, f"identity, edited: exit code {code}, {len(events)} events\n{said}")
require(said.count("booting a template") == 0, "an edited build booted a template")
seen = [words(e["artifacts"]) for e in events]
for name in ("random", "boot_id", "uuid", "global", "canary", "at_random", "code"):
    require(len({s[name] for s in seen}) == 3, f"clones of an edited build share {name}: {[s[name] for s in seen]}")
# And of a machine that boots.
code, events, said = run("identity, cold", "--filter", "identity", "--no-clone", "--keep")
require(code == 0 and events[0]["boot"] == "cold", f"identity, cold: exit code {code}\n{said}")

code, events, said = run("the same pages, side by side", "--filter", "same_pages", "--repeat", "2", "--jobs", "2",
                         environment={"KTSTR_LOCK_DIR": place})
require(code == 0, f"same_pages: exit code {code}\n{said}")
others = [subprocess.Popen([program, "--accel", "tcg", "--filter", "same_pages", "--quiet"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           # Locks of their own, so that they do not wait for each other.
                           env={**os.environ, **base, "KTSTR_LOCK_DIR": tempfile.mkdtemp(dir=place)})
          for _ in range(3)]
codes = [p.wait() for p in others]
require(codes == [0, 0, 0], f"three clones at once on the same pages: exit codes {codes}")

# ---- the next machine is started ahead ------------------------------------------------------------
def machines_of(mark):
    return {pid for pid, words in expect.processes_of(mark) if "qemu-system" in words}


def start(*arguments):
    return subprocess.Popen([program, "--accel", "tcg", "--filter", "same_pages", *arguments], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **base})


runner = start("--repeat", "3", "--jobs", "1")
seen, together = set(), 0
while runner.poll() is None:
    now = machines_of(runtime)
    together = max(together, len(now))
    seen |= now
    time.sleep(0.01)
require(runner.returncode == 0, f"three in a row: exit code {runner.returncode}")
# A look now and then may miss a machine, so these are upper bounds; that the second one comes is waited for below.
require(together <= 2, f"while a test runs, {together} machines are there and not its own and the next one's")
require(len(seen) <= 3, f"three tests in a row had {len(seen)} machines")
# Whatever ends the run ends that machine too.
for how in (signal.SIGINT, signal.SIGKILL):
    runner = start("--until-fail", "--jobs", "1")
    require(expect.settled(lambda: len(machines_of(runtime)) == 2), "no machine was started ahead")
    runner.send_signal(how)
    runner.wait()
    require(expect.settled(lambda: not expect.processes_of(runtime)), f"{how.name} left {expect.processes_of(runtime)}")
require(expect.settled(lambda: not os.listdir(runtime)), f"the kills left {os.listdir(runtime)}")

# Never beside another test's body: one of two tests side by side has no machine that waits for its turn.
runner = subprocess.Popen([program, "--accel", "tcg", "--filter", "same_pages", "--filter", "identity", "--topology",
                           "1n1l1c1t", "--repeat", "4", "--jobs", "2"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, env={**os.environ, **base, "KTSTR_LOCK_DIR": place})
together = 0
while runner.poll() is None:
    together = max(together, len(machines_of(runtime)))
    time.sleep(0.01)
require(runner.returncode == 0, f"four and four side by side: exit code {runner.returncode}")
require(together <= 3, f"two tests side by side had {together} machines, of which two are to wait")

# ---- the program of now ---------------------------------------------------------------------------
rebuilt = os.path.join(place, "rebuilt")
known = templates()
# A build that changed nothing, and one that changed a body and added a test.
for build, source, runs in (("1", program, "/init"), ("2", edited, "/ktstr/program/init")):
    shutil.copy(source, rebuilt + ".new")
    os.replace(rebuilt + ".new", rebuilt)
    code, events, said = run(f"a rebuilt program, {build}", "--filter", "identity", "--keep", which=rebuilt)
    require(code == 0 and events[0]["boot"] == "clone", f"rebuilt: exit code {code}, {events}\n{said}")
    require("booting a template" not in said and templates() == known, "a rebuilt program cost a template")
    ran = words(events[0]["artifacts"])
    require((ran["build"], ran["program"]) == (build, runs), f"a rebuilt program is not what ran: {ran}")
code, events, said = run("a test that the template does not know", "--filter", "added", which=rebuilt)
require(code == 0 and events[0]["boot"] == "clone", f"added: exit code {code}, {events}\n{said}")

# ---- the same verdicts ----------------------------------------------------------------------------
verdicts = {}
for how, which in (((), program), (("--no-clone",), program), ((), edited)):
    code, events, said = run(f"verdicts {how} {os.path.basename(which)}", "--exclude", "identity", "--exclude",
                             "same_pages", *(("--exclude", "added") if which == edited else ()), *how, which=which)
    require(code == 1, f"{how}: exit code {code}\n{said}")
    verdicts[how, which] = [(e["name"], e["verdict"], e["reason"], e["message"]) for e in events]
    booted = {e["name"]: e["boot"] for e in events}
    require(booted["boots_cold"] == "cold", "no_clone was cloned")
    require(set(booted.values()) == ({"cold"} if how else {"cold", "clone"}), f"{how}: booted {booted}")
require(len({tuple(sorted(v)) for v in verdicts.values()}) == 1, f"cold and cloned disagree: {verdicts}")
code, events, said = run("a cold boot says why", "--filter", "boots_cold")
require("booted cold: the test asks for it" in said, "no reason for the cold boot")

# ---- what this host can't start is not the template's fault ---------------------------------------
known = templates()
code, events, said = run("a host that is short of memory", "--filter", "identity", address_space=600 << 20)
require(code == 2 and "the clone could not be started" in said and "its template stays" in said,
        f"short of memory: exit code {code}, {events}\n{said}")
require(templates() == known, "a host that is short of memory cost a sound template")
code, events, said = run("and with memory", "--filter", "identity")
require(code == 0 and events[0]["boot"] == "clone" and "booting a template" not in said,
        f"after the shortage: exit code {code}, {events}\n{said}")

# ---- what is damaged ------------------------------------------------------------------------------
for t in templates():
    with open(os.path.join(t, "state"), "r+b") as state:
        state.truncate(1000)
code, events, said = run("a half-written template", "--filter", "identity")
require(code == 0 and events[0]["boot"] == "clone", f"half-written: exit code {code}, {events}\n{said}")
require(re.search(r"making the template of 1n1l2c1t again: .*state has 1000 bytes", said), f"half-written: unsaid\n{said}")

for t in templates():
    path = os.path.join(t, "state")
    stat = os.stat(path)
    with open(path, "r+b") as state:
        state.write(b"\0" * 64)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
# Another run may use it at that time, and its lock does not keep a bad template alive.
(refused,) = [t for t in templates() if "1n1l2c1t" in open(os.path.join(t, "about")).read()]
with open(os.path.join(cache, "locks", f"templates.{os.path.basename(refused)}.use"), "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_SH)
    code, events, said = run("a template that QEMU refuses", "--filter", "identity", "--repeat", "2")
require(code == 0 and [e["boot"] for e in events] == ["cold", "cold"], f"refused: exit code {code}, {events}\n{said}")
require("its template is taken out of the cache" in said, f"refused: unsaid\n{said}")
# It is paid for once, and the second one says why it booted too.
require(said.count("the clone did not come up") == 1, f"refused: tried again\n{said}")
require(said.count("not tried again in this run") == 1, f"refused: the second one does not say why it booted\n{said}")
require(refused not in templates(), "a template that did not wake is still in the cache")
code, events, said = run("and the next one", "--filter", "identity")
require(code == 0 and events[0]["boot"] == "clone", f"after the refused one: exit code {code}, {events}\n{said}")

# ---- what does not wake, or does not come to rest -------------------------------------------------
SILENT_MS = 3000
silent = [word for name in ("identity", "same_pages") for fault in ("freeze-guest@boot", f"boot-limit-ms={SILENT_MS}")
          for word in ("--internal-fault", f"{fault}:{name}")]
code, events, said = run("clones that say nothing", "--filter", "identity", "--filter", "same_pages", "--jobs", "1", *silent)
require(code == 2 and {e["boot"] for e in events} == {"cold"}, f"silent: exit code {code}, {events}\n{said}")
require(said.count("the clone did not come up") == 1 and said.count("not tried again in this run") == 1,
        f"silent: the limit was paid for each test\n{said}")
require(refused not in templates(), "a template whose clones say nothing is still in the cache")

code, events, said = run("a template that can't be made", "--filter", "identity", "--filter", "same_pages", "--jobs", "1",
                         "--internal-fault", "freeze-guest@boot:template", "--internal-fault",
                         f"boot-limit-ms={SILENT_MS}:template")
require(code == 0 and {e["boot"] for e in events} == {"cold"}, f"no template: exit code {code}, {events}\n{said}")
require(said.count("booting a template") == 1, f"no template: it was tried for each test\n{said}")
require(said.count("booted cold: ") == 2 and said.count("not tried again in this run") == 1,
        f"no template: does not say why each one booted\n{said}")

# ---- two runs share one ---------------------------------------------------------------------------
shutil.rmtree(os.path.join(cache, "templates"))
pair = [subprocess.Popen([program, "--accel", "tcg", "--filter", "same_pages"], stdin=subprocess.DEVNULL, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         env={**os.environ, **base, "KTSTR_LOCK_DIR": tempfile.mkdtemp(dir=place)}) for _ in range(2)]
said = [p.communicate()[0] for p in pair]
require([p.returncode for p in pair] == [0, 0], f"two runs at once: {said}")
require(sum(s.count("booting a template") for s in said) == 1, f"two runs at once booted two templates: {said}")

# ---- killed while a template boots ----------------------------------------------------------------
shutil.rmtree(os.path.join(cache, "templates"))
victim = subprocess.Popen([program, "--accel", "tcg", "--filter", "identity"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **base})
while not glob.glob(os.path.join(cache, "tmp", "*", "ram0")) and victim.poll() is None:
    time.sleep(0.05)
require(victim.poll() is None, "the template was there before it could be killed")
victim.kill()
victim.wait()
unfinished = os.path.join(cache, "tmp")
expect.settled(lambda: not os.listdir(unfinished) and not os.listdir(runtime))
require(not os.listdir(unfinished), "a killed run left a template's memory behind")
code, events, said = run("after the kill", "--filter", "identity")
require(code == 0 and events[0]["boot"] == "clone", f"after the kill: exit code {code}, {events}\n{said}")

expect.settled(lambda: not expect.processes_of(runtime))
left = expect.processes_of(runtime)
require(not left, f"processes left behind: {left}")
require(not os.listdir(runtime), f"files left behind: {os.listdir(runtime)}")
shutil.rmtree(place)
expect.conclude(wrong)

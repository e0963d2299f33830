#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""stopped.py PROGRAM: a signal ends a run at once that waits for another one's work, for a tool, or for a QEMU that stands
still, and nothing of it is left. PROGRAM is clones.cpp."""
import fcntl
import glob
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

import expect

program = os.path.abspath(sys.argv[1])
wrong = []
place = tempfile.mkdtemp(prefix="ktstr-stopped-")
runtime = os.path.join(place, "runtime")
os.mkdir(runtime)
base = {**os.environ, "TMPDIR": runtime, "XDG_RUNTIME_DIR": runtime, "KTSTR_LOCK_DIR": place}
# The run has nothing to end but a wait.
MOMENT = expect.patience(5)


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def stands_still():
    """Whether a process of the run is stopped, and not at its end."""
    for pid, _ in expect.processes_of(runtime):
        try:
            if open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T":
                return True
        except OSError:
            pass
    return False


def stopped(case, how, waits, command, environment):
    """Sends `how` as soon as the run says `waits`, which may also be something to be seen from outside."""
    run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           env={**base, **environment})
    heard = ""
    if callable(waits):
        require(expect.settled(waits, 300), f"{case}: never came to where it waits")
    else:
        for line in run.stdout:
            heard += line
            if waits in line:
                break
        else:
            wrong.append(f"{case}: never said {waits!r}:\n{heard}")
    begun = time.monotonic()
    run.send_signal(how)
    try:
        rest, _ = run.communicate(timeout=MOMENT)
        print(f"tried: {case}, {how.name}: {time.monotonic() - begun:.2f} s", flush=True)
        require(run.returncode == 3, f"{case}, {how.name}: exit code {run.returncode}:\n{heard}{rest}")
        require("interrupted" in rest, f"{case}, {how.name}: does not say that it was interrupted:\n{heard}{rest}")
    except subprocess.TimeoutExpired:
        wrong.append(f"{case}, {how.name}: still waits after {MOMENT:.0f} s:\n{heard}")
        run.kill()
    require(expect.settled(lambda: not expect.processes_of(runtime)), f"{case}, {how.name}: left {expect.processes_of(runtime)}")
    for pid, _ in expect.processes_of(runtime):
        os.kill(pid, signal.SIGKILL)
    run.communicate()
    require(expect.settled(lambda: not os.listdir(runtime)), f"{case}, {how.name}: left {os.listdir(runtime)}")


# ---- another run makes the template ---------------------------------------------------------------
cache = expect.private_cache(os.path.join(place, "cache"), hidden=("templates", "locks", "tmp"))
tests = [program, "--accel", "tcg", "--filter", "same_pages", "--artifacts", os.path.join(place, "artifacts")]
first = subprocess.run(tests, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       env={**base, "KTSTR_CACHE_DIR": cache}, timeout=expect.patience(600))
(made,) = glob.glob(os.path.join(cache, "templates", "*")) or [None]
require(first.returncode == 0 and made, f"no template was made:\n{first.stdout}")
expect.conclude(wrong) if wrong else None
shutil.rmtree(made)
with open(os.path.join(cache, "locks", f"templates.{os.path.basename(made)}.make"), "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    for how in (signal.SIGINT, signal.SIGTERM):
        stopped("another run's template", how, "waiting for another process that prepares the template", tests,
                {"KTSTR_CACHE_DIR": cache})
# And the lock is nobody's now.
after = subprocess.run(tests, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       env={**base, "KTSTR_CACHE_DIR": cache}, timeout=expect.patience(600))
require(after.returncode == 0 and "booted cold" not in after.stdout, f"after it: exit code {after.returncode}\n{after.stdout}")

# ---- the command that fetches a kernel hangs ------------------------------------------------------
empty = expect.private_cache(os.path.join(place, "empty"), hidden=("kernels", "locks", "tmp"))
beside = os.path.join(place, "program")
shutil.copy(program, beside)
tools = os.path.join(place, "tools")
os.mkdir(tools)
for case, script in (("a fetch that hangs", "#!/bin/sh\nsleep 1000\nexit 0\n"),
                     ("a fetch that hangs and does not end", "#!/bin/sh\ntrap '' TERM\nsleep 1000\nexit 0\n")):
    command = os.path.join(tools, "ktstr")
    with open(command, "w") as file:
        file.write(script)
    os.chmod(command, stat.S_IRWXU)
    for how in (signal.SIGINT, signal.SIGTERM):
        stopped(case, how, "kernel fetch distro", [beside, *tests[1:]],
                {"KTSTR_CACHE_DIR": empty, "PATH": tools + ":" + os.environ["PATH"]})

# ---- QEMU stands still ----------------------------------------------------------------------------
for fault, more in (("freeze-qemu@start:template", ()), ("freeze-qemu@save:template", ()),
                    ("freeze-qemu@start:same_pages", ("--no-clone",))):
    for how in (signal.SIGINT, signal.SIGTERM):
        # Of a shape that no template is there for.
        stopped(fault, how, stands_still, [*tests, "--topology", "1n1l1c1t", "--internal-fault", fault, *more],
                {"KTSTR_CACHE_DIR": cache})
        require(not os.listdir(os.path.join(cache, "tmp")), f"{fault}, {how.name}: left half a template")

shutil.rmtree(place, ignore_errors=True)
expect.conclude(wrong)

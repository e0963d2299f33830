#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""clones.py PROGRAM EDITED [--runs N] [--accel A] [--skip memory,many]: what a machine costs as a clone and as a boot.

PROGRAM is that of hundred.cpp, EDITED its next build, with a test more. Cold and cloned starts take turns within one
run; medians and their ratios count, one time alone does not. Memory is the proportional share (PSS) of 16 machines at
once. Where `vng` (virtme-ng) is installed, it starts the same kernel: --kernel is ours to find, --vng-run its name for
it, since vng wants the modules in /lib/modules."""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("program")
parser.add_argument("edited")
parser.add_argument("--kernel")
parser.add_argument("--vng-run")
parser.add_argument("--runs", type=int, default=7)
parser.add_argument("--accel", default="tcg")
parser.add_argument("--machines", type=int, default=16)
parser.add_argument("--skip", default="")
chosen = parser.parse_args()
skip = chosen.skip.split(",")
place = tempfile.mkdtemp(prefix="ktstr-bench-")
program = os.path.join(place, "program")
shutil.copy(chosen.program, program)
if chosen.kernel:
    os.environ["KTSTR_KERNEL"] = chosen.kernel
median = statistics.median
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "vm"))
from expect import private_cache, processes_of, settled  # noqa: E402
# Templates of its own: the quickest start is that of the program which booted the template.
os.environ["KTSTR_CACHE_DIR"] = private_cache(os.path.join(place, "cache"),
                                              hidden=("templates", "payload", "initramfs", "locks", "tmp"))


def once(test, *arguments, which=program):
    """Seconds of the whole program, and from its machine's start to its body."""
    report = os.path.join(place, "report.json")
    begun = time.monotonic()
    subprocess.run([which, "--accel", chosen.accel, "--filter", test, "--json", report, *arguments], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    whole = time.monotonic() - begun
    event = [e for e in map(json.loads, open(report)) if e["event"] == "test"][-1]
    assert event["boot"] == ("cold" if "--no-clone" in arguments else "clone"), event
    return whole, event["start_s"]


def rebuilt(build):
    """Another file in the program's place, as after a build."""
    path = os.path.join(place, "rebuilt")
    shutil.copy(build, path + ".new")
    os.replace(path + ".new", path)
    return path


def say(name, **numbers):
    print(json.dumps({"what": name, **{k: round(v, 3) if isinstance(v, float) else v for k, v in numbers.items()}}),
          flush=True)


for test, label in (("empty_00", "2 vCPUs"), ("eight", "8 vCPUs")):
    once(test), once(test, "--no-clone")  # not counted: templates and caches fill
    warm, cold, touched, edited = [], [], [], []
    for _ in range(chosen.runs):
        warm.append(once(test))
        cold.append(once(test, "--no-clone"))
        touched.append(once(test, which=rebuilt(chosen.program))[0])
        edited.append(once(test, which=rebuilt(chosen.edited))[0])
    whole, start = (median(column) for column in zip(*warm))
    boot = median(w for w, _ in cold)
    say(f"start, {label}", runs=chosen.runs, clone_whole_s=whole, clone_to_body_s=start, cold_whole_s=boot,
        cold_over_clone=boot / whole, rebuilt_unchanged_s=median(touched),
        rebuilt_unchanged_over_clone=median(touched) / whole, rebuilt_edited_s=median(edited),
        rebuilt_edited_over_clone=median(edited) / whole)

begun = time.monotonic()
subprocess.run([program, "--accel", chosen.accel, "--filter", "empty_*", "--quiet"], check=True,
               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
took = time.monotonic() - begun
say("a hundred empty tests", host_cpus=os.cpu_count(), took_s=took, per_second=100 / took)

if shutil.which("vng"):
    kernel = subprocess.run([program, "--accel", chosen.accel, "--filter", "empty_00", "--dry-run", "--no-clone"],
                            check=True, stdout=subprocess.PIPE, text=True).stdout.split("-kernel ")[1].split()[0]
    theirs, mine = [], []
    for _ in range(3):
        begun = time.monotonic()
        emulate = ["--disable-kvm"] if chosen.accel == "tcg" else []
        subprocess.run(["vng", "--run", chosen.vng_run or kernel, "--cpus", "2", *emulate, "--", "true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        theirs.append(time.monotonic() - begun)
        mine.append(once("empty_00")[0])
    say("virtme-ng running true", theirs_s=median(theirs), ours_s=median(mine), ratio=median(theirs) / median(mine))
else:
    say("virtme-ng running true", skipped="vng is not installed")


def pss_mib(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def machines(*arguments):
    """PSS of several machines whose bodies wait, in MiB."""
    running = []
    for _ in range(chosen.machines):
        # Locks of their own: they are to be there at once, however many CPUs there are.
        locks = tempfile.mkdtemp(dir=place)
        running.append(subprocess.Popen(
            [program, "--accel", chosen.accel, "--filter", "stays", *arguments],
            stdin=subprocess.DEVNULL, stdout=open(os.path.join(locks, "said"), "w"), stderr=subprocess.STDOUT,
            env={**os.environ, "KTSTR_LOCK_DIR": locks}))
    shares = []
    for process in running:
        while True:
            children = open(f"/proc/{process.pid}/task/{process.pid}/children").read().split()
            qemu = [c for c in children if "qemu" in os.readlink(f"/proc/{c}/exe")]
            # The body is in pause() when its machine has stopped using the CPU.
            if qemu:
                before = open(f"/proc/{qemu[0]}/stat").read().split()[13:15]
                time.sleep(1)
                after = open(f"/proc/{qemu[0]}/stat").read().split()[13:15]
                if sum(map(int, after)) - sum(map(int, before)) < 8:
                    shares.append(qemu[0])
                    break
            else:
                time.sleep(0.2)
    total = sum(pss_mib(pid) for pid in shares)
    for process in running:
        process.send_signal(signal.SIGINT)
    for process in running:
        process.wait()
    return total


if "memory" not in skip:
    once("empty_00")
    cloned, booted = machines(), machines("--no-clone")
    say(f"memory of {chosen.machines} machines of 2 vCPUs", clones_mib=cloned, cold_mib=booted, share=cloned / booted)

if "many" not in skip:
    subprocess.run([program, "--accel", chosen.accel, "--filter", "empty_00", "--repeat", "500", "--quiet"], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    settled(lambda: not processes_of(place))
    left = processes_of(place)
    say("500 clones in a row", left_behind=left)
shutil.rmtree(place)

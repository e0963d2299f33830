#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bad_input.py PROGRAM TOOL: whatever is wrong outside gets one line with the cause and the remedy, the right exit
code, and leaves nothing behind. PROGRAM is the program of outcomes.cpp, TOOL the ktstr command."""
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import expect

program, tool = (os.path.abspath(path) for path in sys.argv[1:])
wrong = []
place = tempfile.mkdtemp(prefix="ktstr-bad-input-")
runtime = os.path.join(place, "runtime")
os.mkdir(runtime)
cache = os.environ.get("KTSTR_CACHE_DIR") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ktstr")
kernels = expect.distribution_kernels(cache)
# Everything of ours is recognisable by the private TMPDIR that it inherits.
base = {**os.environ, "TMPDIR": runtime, "XDG_RUNTIME_DIR": runtime}


def ours():
    return expect.processes_of(runtime)


def nothing_left(case):
    print("tried:", case, flush=True)
    if not expect.settled(lambda: not ours()):
        wrong.append(f"{case}: processes left behind: {ours()}")
    if not expect.settled(lambda: not os.listdir(runtime)):
        wrong.append(f"{case}: files left behind: {os.listdir(runtime)}")


def ended(case, code, *words, arguments=(), environment=None, command=None, before=None):
    """Runs to the end; the code and the words on the cause's line must be there."""
    done = subprocess.run([*(command or [program, "--filter", "passes", "--artifacts", place + "/artifacts"]),
                           *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=expect.patience(600),
                          env={**base, **(environment or {})}, preexec_fn=before)
    said = done.stdout + done.stderr
    if done.returncode != code:
        wrong.append(f"{case}: exit code {done.returncode}, expected {code}:\n{said}")
    line = next((l for l in said.splitlines() if all(w in l for w in words)), None)
    if line is None:
        wrong.append(f"{case}: no line with {words}:\n{said}")
    nothing_left(case)
    return said


# ---- QEMU -----------------------------------------------------------------------------------------
def directory(name, *links):
    path = os.path.join(place, name)
    os.makedirs(path)
    for link in links:
        os.symlink(shutil.which(link), os.path.join(path, link))
    return path


def script(path, text):
    with open(path, "w") as out:
        out.write(text)
    os.chmod(path, 0o755)
    return path


none = directory("no-qemu", "sh")
ended("no QEMU", 3, "qemu-system-x86_64", "not in PATH", "install", environment={"PATH": none})
old = directory("old-qemu", "sh")
script(os.path.join(old, "qemu-system-x86_64"), "#!/bin/sh\necho QEMU emulator version 6.2.0\n")
ended("QEMU too old", 3, "QEMU 6.2", "7.2", environment={"PATH": old + ":" + os.environ["PATH"]})
broken = directory("broken-qemu", "sh")
script(os.path.join(broken, "qemu-system-x86_64"),
       "#!/bin/sh\ncase $1 in --version) echo QEMU emulator version 9.0.0;; *) echo qemu-system-x86_64: it broke >&2; "
       "exit 1;; esac\n")
ended("QEMU that does not start", 2, "it broke", environment={"PATH": broken + ":" + os.environ["PATH"]})

# ---- kernels --------------------------------------------------------------------------------------
ended("no such kernel", 3, "nosuchkernel", arguments=["--kernel", "nosuchkernel"])
ended("kernel path that is not there", 3, "/nonexistent/vmlinuz", arguments=["--kernel", "/nonexistent/vmlinuz"])
garbage = os.path.join(place, "vmlinuz-garbage")
open(garbage, "wb").write(b"not a kernel" * 1000)
ended("kernel that is none", 3, "vmlinuz-garbage", arguments=["--kernel", garbage])
empty = os.path.join(place, "empty-cache")
os.mkdir(empty)
if not kernels:
    wrong.append("no kernel in the cache: run `ktstr kernel fetch distro` first")
else:
    kernel = sorted(kernels)[-1]
    # The cache's own layout; a change of it must be noticed here and not make the cases below vanish.
    modules, image, config = (os.path.join(kernel, name) for name in ("modules/modules.dep", "bzImage", "config"))
    if not all(map(os.path.exists, (modules, image, config))):
        wrong.append(f"{kernel} lacks modules.dep, bzImage or config")
    else:
        def variant(name, edit, drop=()):
            """A kernel directory whose configuration says something else, with some modules taken away."""
            path = os.path.join(place, name)
            os.makedirs(path)
            shutil.copy(image, os.path.join(path, "bzImage"))  # a link would lead to the config beside it
            text = open(config).read()
            open(os.path.join(path, "config"), "w").write(edit(text))
            shutil.copytree(os.path.dirname(modules), os.path.join(path, "modules"), symlinks=True,
                            ignore=shutil.ignore_patterns(*drop))
            return path

        bare = variant("no-link", lambda t: "\n".join(
            l for l in t.splitlines() if "VSOCK" not in l and "VIRTIO_CONSOLE" not in l))
        ended("kernel without any link", 3, "CONFIG_", "is needed", arguments=["--kernel", bare])
        serial = variant("no-vsock", lambda t: "\n".join(l for l in t.splitlines() if "VSOCK" not in l))
        ended("kernel without vsock still has virtio-serial", 0, "1 passed", arguments=["--kernel", serial])
        gone = variant("no-module", lambda t: t, drop=("vmw_vsock_virtio_transport.ko*",))
        ended("module missing", 3, "vmw_vsock_virtio_transport",
              arguments=["--kernel", gone, "--internal-link", "vhost-device-vsock"])

# ---- KVM ------------------------------------------------------------------------------------------
if os.path.exists("/dev/kvm") and " svm " not in open("/proc/cpuinfo").read() and \
        " vmx " not in open("/proc/cpuinfo").read():
    ended("KVM without the hardware's flag", 3, "/dev/kvm", "vmx", "--accel tcg", arguments=["--accel", "kvm"])
if os.geteuid() == 0:
    def nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    theirs = os.path.join(place, "theirs")
    os.mkdir(theirs)
    os.chown(theirs, 65534, 65534)
    os.chmod(place, 0o755)
    os.chmod(runtime, 0o777)
    if os.path.exists("/dev/kvm"):
        # The program may lie where nobody may look.
        copy = shutil.copy(program, os.path.join(place, "program"))
        os.chmod(copy, 0o755)
        ended("/dev/kvm without permission", 3, "/dev/kvm", "Permission denied", "group", before=nobody,
              command=[copy, "--filter", "passes"], arguments=["--accel", "kvm"],
              environment={"KTSTR_CACHE_DIR": theirs, "HOME": theirs})

# ---- the machine ----------------------------------------------------------------------------------
ended("guest that never comes up", 2, "did not say hello", arguments=["--accel", "tcg",
                                                                     "--internal-fault", "boot-limit-ms=0"])
ended("guest that stops answering", 1, "has not answered", command=[
    program, "--filter", "never_returns", "--accel", "tcg", "--internal-fault", "freeze-guest@body", "--artifacts",
    place + "/artifacts"])

# ---- the cache ------------------------------------------------------------------------------------
if os.geteuid() == 0 and kernels:
    small = os.path.join(place, "small")
    os.mkdir(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0755", "tmpfs", small]).returncode == 0:
        try:
            ended("disk full in the cache", 3, "disk full", "KTSTR_CACHE_DIR", arguments=["--kernel", image],
                  environment={"KTSTR_CACHE_DIR": small})
            left = [f for f in glob.glob(small + "/tmp/*")]
            if left:
                wrong.append(f"disk full in the cache: left {left}")
        finally:
            subprocess.run(["umount", small])
own = os.path.join(place, "own-cache")
os.makedirs(own)
if kernels:
    os.makedirs(own + "/kernels")
    shutil.copytree(kernel, own + "/kernels/" + os.path.basename(kernel), symlinks=True)
    mine = {"KTSTR_CACHE_DIR": own}
    first = ["--accel", "tcg", "--kernel", os.path.basename(kernel)]
    ended("a fresh cache", 0, "1 passed", arguments=first, environment=mine)
    for initrd in glob.glob(own + "/initramfs/*/initrd"):
        with open(initrd, "r+b") as out:
            out.truncate(1000)
    ended("an initramfs cut short", 0, "1 passed", arguments=first, environment=mine)
    for manifest in glob.glob(own + "/initramfs/*/manifest*"):
        open(manifest, "w").write("garbage")
    ended("a manifest of garbage", 0, "1 passed", arguments=first, environment=mine)
    shutil.rmtree(own + "/initramfs")
    both = [subprocess.Popen([program, "--filter", "passes", *first], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**base, **mine})
            for _ in range(2)]
    for one in both:
        said, _ = one.communicate(timeout=expect.patience(600))
        if one.returncode != 0:
            wrong.append(f"two runs at once on one cache: exit code {one.returncode}:\n{said.decode()}")
    nothing_left("two runs at once on one cache")

# ---- signals --------------------------------------------------------------------------------------
def interrupted(case, how, when, code, test="never_returns"):
    """Sends `how` once `when` has been seen in what the run says; nothing may be left."""
    run = subprocess.Popen([program, "--filter", test, "--accel", "tcg", "--verbose", "--artifacts",
                            place + "/artifacts"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, env=base, text=True)
    heard = ""
    for line in run.stdout:
        heard += line
        if when in line:
            break
    else:
        wrong.append(f"{case}: never said {when!r}:\n{heard}")
    run.send_signal(how)
    rest, _ = run.communicate(timeout=expect.patience(120))
    if run.returncode != code:
        wrong.append(f"{case}: exit code {run.returncode}, expected {code}:\n{heard}{rest}")
    if code == 3 and "interrupted" not in heard + rest:
        wrong.append(f"{case}: does not say that it was interrupted:\n{heard}{rest}")
    nothing_left(case)


for stage in ("start never_returns", "never_returns: boot", "never_returns: body"):
    interrupted(f"SIGINT at '{stage}'", signal.SIGINT, stage, 3)
    interrupted(f"SIGKILL at '{stage}'", signal.SIGKILL, stage, -signal.SIGKILL)
# A body on the host has made processes that neither end with it nor are known to anybody.
alone = "on_the_host_leaves_processes_and_waits"
for how, code in ((signal.SIGINT, 3), (signal.SIGKILL, -signal.SIGKILL)):
    interrupted(f"{how.name} of a body on the host", how, "somebody is there", code, alone)
ended("a body on the host that kills its keeper", 2, "the keeper of the body ended without an outcome", command=[
    program, "--filter", "on_the_host_kills_its_keeper", "--artifacts", place + "/artifacts"])
ended("a body on the host that leaves processes", 0, "1 passed", command=[
    program, "--filter", "on_the_host_leaves_processes_behind"])

# ---- arguments and reports ------------------------------------------------------------------------
ended("a filter that selects nothing", 5, "nosuchtest", command=[program, "--filter", "nosuchtest"])
ended("a bad jobs variable", 5, "KTSTR_JOBS", environment={"KTSTR_JOBS": "abc"})
ended("a report that can't be written", 3, "/nonexistent/report", arguments=["--json", "/nonexistent/report"])
ended("a tool without a kernel to show", 3, "nosuchkernel", command=[tool, "kernel", "show", "nosuchkernel"])

shutil.rmtree(place, ignore_errors=True)
expect.conclude(wrong)

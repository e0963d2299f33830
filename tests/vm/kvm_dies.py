#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kvm_dies.py PROGRAM: a host whose /dev/kvm opens although it carries no kernel. PROGRAM is that of outcomes.cpp.

Only such a host can show it: elsewhere this ends with exit code 4, which CTest calls skipped. The same with a QEMU
that only pretends is in options.py and runs everywhere.
"""
import os
import shutil
import sys
import tempfile

import expect

SKIPPED = 4


def skip(why):
    print("skipped:", why)
    sys.exit(SKIPPED)


try:
    os.close(os.open("/dev/kvm", os.O_RDWR))
except OSError as e:
    skip(f"/dev/kvm does not open ({e.strerror}), so it cannot fail later")
if {"vmx", "svm"} & set(open("/proc/cpuinfo").read().split()):
    skip("this CPU has hardware virtualization, so KVM carries a kernel here")

program = os.path.abspath(sys.argv[1])
wrong = []
heard = []
place = tempfile.mkdtemp(prefix="ktstr-kvm-dies-")
trusting = ["--filter", "passes", "--internal-fault", "trust-kvm"]


def run(case, *arguments, cache):
    code, events, said, _ = expect.run(program, *trusting, *arguments, environment={"KTSTR_CACHE_DIR": cache})
    print("tried:", case, flush=True)
    heard.append(said)
    return code, events.get("passes", {}), said


try:
    # Two ways to die: QEMU gives up before the guest runs, or the kernel does in it. Which of them this host has
    # depends on QEMU's version, so each that there is gets a turn.
    for kind, hidden in (("the newest QEMU", ()), ("the installed QEMU", ("packages",))):
        cache = expect.private_cache(os.path.join(place, kind.split()[1]), hidden)
        code, event, said = run(f"--accel kvm with {kind}", "--accel", "kvm", cache=cache)
        if code == 0:
            shutil.rmtree(place)
            skip("a guest runs under this host's KVM although the CPU shows neither vmx nor svm")
        if code != 3 or (event.get("verdict"), event.get("reason")) != ("inconclusive", "infrastructure"):
            wrong.append(f"{kind}, kvm: exit code {code}, {event.get('verdict')}/{event.get('reason')}, expected "
                         "3, inconclusive/infrastructure")
        message = event.get("message") or ""
        if "KVM" not in message or "use --accel tcg or --accel nested" not in message or "\n" in message:
            wrong.append(f"{kind}, kvm: no line with cause and remedy: {message!r}")

        # What was learned is used: auto does not try KVM again, and says so.
        code, event, said = run(f"--accel auto after that, with {kind}", cache=cache)
        if code != 0 or event.get("accel") != "tcg" or "KVM failed here before" not in said:
            wrong.append(f"{kind}, auto, remembered: exit code {code}, accel {event.get('accel')}")

        os.unlink(os.path.join(cache, "kvm-failed"))
        code, event, said = run(f"--accel auto with {kind}", "--accel", "auto", cache=cache)
        if code != 0 or event.get("accel") != "tcg" or "note: run again under emulation (tcg):" not in said:
            wrong.append(f"{kind}, auto: exit code {code}, accel {event.get('accel')}, or it did not say so")
finally:
    shutil.rmtree(place, ignore_errors=True)
expect.conclude(wrong, "\n".join(heard))

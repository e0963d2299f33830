#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""faults.py PROGRAM LINK...: whatever strikes a machine, at whatever time, cold or cloned, over whatever link: the run
ends in time with the right verdict and leaves nothing. PROGRAM is faults.cpp; LINK nested means vhost-vsock in a nested
run, where a host has none of its own. vhost-device-vsock can't be cloned: with it every machine boots."""
import os
import shutil
import sys
import tempfile
import time

import expect

program = os.path.abspath(sys.argv[1])
wrong, heard = [], []
place = tempfile.mkdtemp(prefix="ktstr-faults-")
runtime = os.path.join(place, "runtime")
os.mkdir(runtime)
environment = {"TMPDIR": runtime, "XDG_RUNTIME_DIR": runtime,
               # Templates of its own: every one that is struck here is thrown away.
               "KTSTR_CACHE_DIR": expect.private_cache(os.path.join(place, "cache"), hidden=("templates", "locks", "tmp"))}

SILENT_MS = 3000
# What happens to the test of that name, what strikes it, and its verdict.
STRUCK = {
    "lives": (None, ("pass", None)),
    "panics_at_boot": (None, ("fail", "panic")),
    "complains_at_boot": (None, ("fail", "oops")),
    "complains_unheard_at_boot": (None, ("fail", "oops")),
    "killed_at_boot": ("kill-qemu@boot", ("inconclusive", "infrastructure")),
    "silent_at_boot": ("freeze-guest@boot", ("inconclusive", "boot_timeout")),
    "panics_in_body": (None, ("fail", "panic")),
    "killed_in_body": ("kill-qemu@body", ("inconclusive", "infrastructure")),
    "cut_in_body": ("cut-link@body", ("fail", "guest_exit")),
}
# A clone that does not wake is given up for a machine that boots, so these end cold however they began.
END_COLD = {"panics_at_boot", "complains_at_boot", "complains_unheard_at_boot", "killed_at_boot", "silent_at_boot"}
CLONED = {"virtio-serial", "vhost-vsock", "nested"}


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def run(case, *arguments):
    begun = time.monotonic()
    code, events, said, _ = expect.run(program, *arguments, environment=environment, timeout=1500)
    print(f"tried: {case}, {time.monotonic() - begun:.0f} s", flush=True)
    heard.append(said)
    require(expect.settled(lambda: not expect.processes_of(runtime)), f"{case}: left {expect.processes_of(runtime)}")
    require(expect.settled(lambda: not os.listdir(runtime)), f"{case}: left {os.listdir(runtime)}")
    return code, events, said


def column(link):
    """One link: every fault, cloned and booted, in one run."""
    where = ("--accel", "nested") if link == "nested" else ("--accel", "tcg", "--internal-link", link)
    faults = []
    for name, (strike, _) in STRUCK.items():
        for test in (name, name + "_cold") if strike else ():
            faults += ["--internal-fault", f"{strike}:{test}"]
            if name == "silent_at_boot":
                faults += ["--internal-fault", f"boot-limit-ms={SILENT_MS}:{test}"]
    code, events, said = run(link, *where, *faults)
    expected = {name + how: verdict for name, (_, verdict) in STRUCK.items() for how in ("", "_cold")}
    wrong.extend(f"{link}: {line}" for line in expect.compare(events, expected))
    require(code == 1, f"{link}: exit code {code}, expected 1\n{said}")
    if "lives_cold" not in events:
        return
    # What a machine takes here that nothing strikes is the unit, as slow as it was on this host in this run; the host's
    # own waits (at most 5 s after a link has closed) follow how much slower the guest says it is. The constant is for
    # whatever else this host had to do meanwhile: what hangs takes as long as its test's limit, 300 s.
    whole = max((event for name, event in events.items() if name in ("lives", "lives_cold")), key=lambda e: e["total_s"])
    for name, event in sorted(events.items()):
        limit = 5 * whole["total_s"] + SILENT_MS / 1000 + 5 * max(event["dilation"] or 1, whole["dilation"]) + 120
        boot = "clone" if link in CLONED and not name.endswith("_cold") and name not in END_COLD else "cold"
        require(event["total_s"] <= limit, f"{link}: {name}: took {event['total_s']:.1f} s, its limit is {limit:.1f} s")
        # In a nested run on a slow host a template may not be there in time, and says so; everything else holds for
        # the machine that boots instead.
        if link == "nested" and boot == "clone" and event["boot"] == "cold":
            require("booted cold: " in said, f"{link}: {name}: booted cold, and nothing says why")
        else:
            require(event["boot"] == boot, f"{link}: {name}: booted {event['boot']}, expected {boot}")
        print(f"{link:20} {name:24} {event['verdict']}/{event['reason']} {event['boot']:6} {event['total_s']:6.1f} s "
              f"of {limit:.0f}")
    for name, word in (("panics_at_boot", "Kernel panic"), ("complains_at_boot", "Oops: "),
                       ("killed_in_body", "SIGKILL"), ("killed_in_body_cold", "SIGKILL"), ("killed_at_boot_cold", "SIGKILL")):
        require(word in (events.get(name, {}).get("message") or ""), f"{link}: {name} does not say {word!r}")
    if link in CLONED:
        require("its kernel is not well: " in said and "Oops: " in said, f"{link}: a template that complained was kept")


def templates(link):
    """The machine that is to become a template is struck: its test gets one that boots, and says why."""
    for fault, words in ((["kill-qemu@boot:template"], "killed by SIGKILL"),
                         (["freeze-guest@boot:template", f"boot-limit-ms={SILENT_MS}:template"],
                          f"did not come up in {SILENT_MS // 1000} s"),
                         (["kill-qemu@save:template"], "killed by SIGKILL"),
                         (["freeze-qemu@save:template", f"save-limit-ms={SILENT_MS}:template"],
                          f"did not save its state in {SILENT_MS // 1000} s")):
        case = f"{link}: a template and {fault[0]}"
        arguments = [word for one in fault for word in ("--internal-fault", one)]
        # Of another shape than those that this cache may have a template of.
        code, events, said = run(case, "--accel", "tcg", "--internal-link", link, "--filter", "lives", "--topology",
                                 "1n1l1c1t", *arguments)
        require(code == 0 and events["lives"]["boot"] == "cold", f"{case}: exit code {code}, {events}")
        require(any("booted cold: " in line and words in line for line in said.splitlines()),
                f"{case}: does not say {words!r}\n{said}")


def device():
    """The user-space device stands still while the body runs: the guest can't be heard, and is not to blame."""
    test = "killed_in_body_cold"
    code, events, said = run("a vsock device that stands still", "--accel", "tcg", "--internal-link", "vhost-device-vsock",
                             "--filter", test, "--internal-fault", f"freeze-device@body:{test}")
    wrong.extend(expect.compare(events, {test: ("inconclusive", "infrastructure")}))
    require(code == 2 and "vhost-device-vsock stands still" in said, f"a device that stands still: exit code {code}\n{said}")


def comma():
    """A place for the run's files that would end a path in the words of the device."""
    odd = os.path.join(runtime, "a,b")
    os.mkdir(odd)
    code, events, said, _ = expect.run(program, "--accel", "tcg", "--internal-link", "vhost-device-vsock", "--filter",
                                       "lives_cold", environment={**environment, "TMPDIR": odd, "XDG_RUNTIME_DIR": odd})
    wrong.extend(expect.compare(events, {"lives_cold": ("pass", None)}))
    require(code == 0, f"a comma in TMPDIR: exit code {code}\n{said}")
    os.rmdir(odd)


for link in sys.argv[2:]:
    column(link)
    if link == "vhost-device-vsock":
        device()
        comma()
    if link in CLONED - {"nested"}:
        templates(link)
shutil.rmtree(place, ignore_errors=True)
expect.conclude(wrong, "\n".join(heard))

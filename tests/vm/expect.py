# SPDX-License-Identifier: MIT
"""Runs a test program and compares what it reported with what it had to report."""
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

# A shell starts its background jobs with SIGINT ignored, and ktstr leaves it so: not for the programs started from here.
signal.signal(signal.SIGINT, signal.default_int_handler)


def slowness():
    """How many times longer a process takes to start and end than on a quiet machine of today, at least 1."""
    begin = time.monotonic()
    for _ in range(5):
        subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
    return max(1.0, (time.monotonic() - begin) / 5 / 0.010)


def patience(seconds):
    """A limit in seconds that follows how slow this machine is now. It only ends what would never end: what is slow
    is bounded by the program under test, and what is too slow is no failure of it."""
    return seconds * 3 * slowness()


EMULATORS_FLAW = "the emulator executed code that the guest's kernel had replaced"


def run(program, *arguments, environment=None, timeout=900, depth=0):
    """Returns (exit code, {test name: its last "test" event}, everything else it said, its "check" and "metric" events)."""
    with tempfile.TemporaryDirectory(prefix="ktstr-expect-") as place:
        report = os.path.join(place, "report.json")
        done = subprocess.run(
            [program, "--json", report, "--artifacts", os.path.join(place, "artifacts"), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})}, timeout=patience(timeout))
        events = {}
        others = []
        if os.path.exists(report):
            for line in open(report):
                event = json.loads(line)
                if event["event"] == "test":
                    events[event["name"]] = event
                elif event["event"] in ("check", "metric"):
                    others.append(event)
        said = done.stdout.decode(errors="replace")
    # The one flaw of the emulator's that is known by its traces. What it struck has shown nothing, and is shown again.
    struck = [name for name, event in events.items() if EMULATORS_FLAW in (event["message"] or "")]
    if struck and depth < 2:
        print("struck by the emulator, and tried again:", *struck, flush=True)
        chosen = [word for name in struck for word in ("--filter", name)]
        kept = [word for at, word in enumerate(arguments)
                if word not in ("--filter", "--exclude") and (at == 0 or arguments[at - 1] not in ("--filter", "--exclude"))]
        code, again, more, others_again = run(program, *kept, *chosen, environment=environment, timeout=timeout,
                                              depth=depth + 1)
        events.update(again)
        others = [one for one in others if one.get("name") not in struck] + others_again
        said += more
        verdicts = {event["verdict"] for event in events.values()}
        if done.returncode in (1, 2):
            return (1 if "fail" in verdicts else 2 if "inconclusive" in verdicts else code), events, said, others
    return done.returncode, events, said, others


def distribution_kernels(cache):
    """The folders of the distribution's kernels in a cache, the newest last; those that somebody built there are none."""
    return sorted(os.path.join(cache, "kernels", name) for name in os.listdir(os.path.join(cache, "kernels"))
                  if "-ktstr-" not in name and os.path.exists(os.path.join(cache, "kernels", name, "vmlinux")))


def compare(events, expected):
    """Lines that say where events and expectations part; a test without an event is one of them."""
    wrong = []
    for name, (verdict, reason) in expected.items():
        event = events.get(name)
        if event is None:
            wrong.append(f"{name}: no event, expected {verdict}/{reason}")
        elif (event["verdict"], event["reason"]) != (verdict, reason):
            wrong.append(f"{name}: {event['verdict']}/{event['reason']} ({event['message']}), "
                         f"expected {verdict}/{reason}")
    for name in events.keys() - expected.keys():
        wrong.append(f"{name}: ran and nobody expects anything of it")
    return wrong


def private_cache(path, hidden=()):
    """A cache directory of its own that has everything the user's has, except `hidden` and notes about the host."""
    cache = os.environ.get("KTSTR_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ktstr")
    os.makedirs(path)
    if "templates" in hidden:  # those with a scheduler attached are made of them
        hidden = (*hidden, "attached", "attaches")
    for name in os.listdir(cache):
        if os.path.isdir(os.path.join(cache, name)) and name not in hidden:
            os.symlink(os.path.join(cache, name), os.path.join(path, name))
    return path


def processes_of(mark):
    """(pid, command line) of every living process but this one that has `mark`, a private path, in its environment:
    whatever a run starts inherits it. Reads /proc, because a bare machine has no ps."""
    found = []
    for entry in glob.glob("/proc/[0-9]*/environ"):
        try:
            if mark.encode() in open(entry, "rb").read():
                pid = int(entry.split("/")[2])
                state = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
                if pid != os.getpid() and state != "Z":
                    found.append((pid, open(f"/proc/{pid}/cmdline").read().replace("\0", " ")[:100]))
        except OSError:
            pass
    return found


def settled(check, seconds=20):
    """Whether check() becomes true: what a kill sets going takes a moment, and only its end counts."""
    if check():
        return True
    end = time.monotonic() + patience(seconds)
    while time.monotonic() < end:
        time.sleep(0.05)
        if check():
            return True
    return check()


def boots(events, said):
    """Lines that say which test booted cold without the one reason that counts: a template that can't be made in time on
    this host."""
    wrong = []
    for line in said.splitlines():
        if "booted cold: " in line and not re.search(r"did not come (up|to rest) in \d+ s", line):
            wrong.append(f"not for want of time: {line.strip()}")
    for name, event in events.items():
        if event.get("boot") == "cold" and "booted cold: " not in said:
            wrong.append(f"{name}: booted cold, and nothing says why")
        elif event.get("boot") not in ("clone", "cold"):
            wrong.append(f"{name}: booted {event.get('boot')}")
    return wrong


def conclude(wrong, said=""):
    """Prints what is wrong and leaves; the program's own words first, they explain it."""
    if wrong:
        print(said)
        print("\n".join("WRONG " + line for line in wrong))
        sys.exit(1)
    sys.exit(0)


# What the comparison is for: it must see a wrong verdict, a missing test and a surplus one.
assert compare({"a": {"verdict": "pass", "reason": None, "message": ""}}, {"a": ("fail", "check")})
assert compare({}, {"a": ("pass", None)})
assert compare({"a": {"verdict": "pass", "reason": None, "message": ""}}, {})
assert boots({"a": {"boot": "cold"}}, "pass a")
assert boots({"a": {"boot": None}}, "")
assert boots({"a": {"boot": "cold"}}, "note: booted cold: the clone did not come up (no hello in 300 s)")
assert not boots({"a": {"boot": "cold"}, "b": {"boot": "clone"}}, "note: booted cold: it did not come up in 192 s")
assert not compare({"a": {"verdict": "pass", "reason": None, "message": ""}}, {"a": ("pass", None)})

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cache.py TOOL: `ktstr cache` on a cache that the tool made itself, of kernel images that are none."""
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

tool = os.path.abspath(sys.argv[1])
wrong = []
place = tempfile.mkdtemp(prefix="ktstr-cache-")
cache = os.path.join(place, "cache")
DAY = 24 * 3600


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def run(expected, *arguments):
    done = subprocess.run([tool, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60, env={**os.environ, "KTSTR_CACHE_DIR": cache})
    print("tried:", " ".join(arguments), flush=True)
    require(done.returncode == expected,
            f"{arguments}: exit code {done.returncode}, expected {expected}:\n{done.stdout}{done.stderr}")
    return done


def entries():
    return json.loads(run(0, "cache", "list", "--json").stdout)


def lock_of(entry):
    return os.path.join(cache, "locks", f"{entry['kind']}.{entry['key']}.use")


def used_days_ago(entry, days):
    os.utime(lock_of(entry), times=(time.time() - days * DAY,) * 2)


done = run(0, "cache", "list")
require(not done.stdout and cache in done.stderr, f"an empty cache: {done.stdout}{done.stderr}")
require(entries() == [], "an empty cache: the JSON array has entries")

# ---- three images, a note, half an entry of a dead process, and what is not ktstr's ----------------
images = [os.path.join(place, name) for name in ("Image-one", "Image-two", "Image-three")]
for number, image in enumerate(images):
    with open(image, "wb") as out:
        out.write(b"\0" * 56 + b"ARM\x64" + bytes([number]) * 100)
    run(0, "kernel", "show", image)
for name, text in {"qemu/" + "0123456789abcdef" * 2: "QEMU emulator version 9.0.0\nand more\n",
                   "tmp/Xa81sZ/vmlinux": "half", "images/holidays/beach": "mine", "mine/file": "mine"}.items():
    os.makedirs(os.path.dirname(os.path.join(cache, name)), exist_ok=True)
    with open(os.path.join(cache, name), "w") as out:
        out.write(text)

found = entries()
kinds = [entry["kind"] for entry in found]
require(kinds == ["images"] * 3 + ["qemu", "tmp"], f"the list holds {kinds}")
named = {os.path.basename(entry["what"]): entry for entry in found}
one, two, three = (named.get(os.path.basename(image), {}) for image in images)
require(one and two and three, f"the list does not tell the images: {[entry['what'] for entry in found]}")
if wrong:
    print("\n".join("WRONG " + line for line in wrong))
    sys.exit(1)
for entry in found[:3]:
    require(re.fullmatch("[0-9a-f]{32}", entry["key"]), f"a short key in JSON: {entry['key']}")
    taken = sum(os.lstat(os.path.join(at, name)).st_blocks * 512
                for at, _, files in os.walk(entry["path"]) for name in [".", *files])
    require(entry["bytes_on_disk"] == taken, f"takes {taken} bytes on disk: {entry}")
    require(not entry["in_use"] and entry["damage"] is None and entry["last_use_ns"], f"unexpected: {entry}")

# ---- list and show --------------------------------------------------------------------------------
holder = open(lock_of(one))
fcntl.flock(holder, fcntl.LOCK_SH)
with open(os.path.join(two["path"], "image.info"), "a") as out:
    out.write("x")
said = run(0, "cache", "list").stdout
row = {entry["key"]: next((line for line in said.splitlines() if f"  {entry['key'][:8]} " in line), "")
       for entry in (one, two, three)}
require(f"(pid {os.getpid()})" in row[one["key"]] and "Image-one" in row[one["key"]], f"in use, not told:\n{said}")
require("DAMAGED" in row[two["key"]], f"damaged, not told:\n{said}")
require("in use" not in row[three["key"]] and "DAMAGED" not in row[three["key"]], f"neither, but told:\n{said}")
require("QEMU emulator version 9.0.0\n" in said and "left by a process that died" in said, f"no words:\n{said}")
require(re.search(r"^images +3 +\d+ \w+$", said, re.M) and re.search(r"^all +5 +\d+ \w+ ", said, re.M),
        f"no sums:\n{said}")
said = run(0, "cache", "show", three["key"][:12], "--verify").stdout
require(three["key"] in said and three["path"] in said and "every file was compared" in said, f"show:\n{said}")
require(f"(pid {os.getpid()})" in run(0, "cache", "show", "images/" + one["key"]).stdout, "show: not who uses it")
require("--damaged" in run(3, "cache", "show", two["key"]).stderr, "show: damage without a remedy")
require("ktstr cache list" in run(3, "cache", "show", "nothing").stderr, "show: no remedy for a name of nothing")
run(3, "cache", "show", "")

# ---- clean ----------------------------------------------------------------------------------------
for arguments in ((), ("--kind", "images"), ("--all", "--damaged"), ("--kind", "fish", "--all"), ("--limit", "fish"),
                  ("--unused", "-1"), ("--unused",), ("--unused", "1.5")):
    run(5, "cache", "clean", *arguments)
require("--unused DAYS" in run(5, "cache", "clean").stderr, "clean: does not ask what is to go")
require(len(entries()) == 5, "clean with bad usage deleted something")

said = run(0, "cache", "clean", "--damaged").stdout
require(f"removed images {two['key'][:8]}" in said and "1 removed" in said, f"--damaged:\n{said}")
require("left in tmp" in said and os.listdir(os.path.join(cache, "tmp")) == [], f"the dead process's is left:\n{said}")
require({entry["key"] for entry in entries() if entry["kind"] == "images"} == {one["key"], three["key"]},
        "--damaged deleted another")

used_days_ago(one, 50)
used_days_ago(three, 10)
require(run(0, "cache", "clean", "--unused", "11", "--kind", "images").stdout.startswith("0 removed"), "--unused 11")
done = run(3, "cache", "clean", "--limit", "1K")
require(f"images {one['key'][:8]}" in done.stderr and f"(pid {os.getpid()}): kept" in done.stderr,
        f"who uses it is not named:\n{done.stderr}")
require("come down to 1 KiB" in done.stderr, f"the limit is not reached and nothing says so:\n{done.stderr}")
require([entry["key"] for entry in entries()] == [one["key"]], "--limit: another than the used entry is left")
require(run(0, "cache", "clean", "--limit", "1G").stdout.startswith("0 removed"), "--limit 1G")
run(0, "cache", "clean", "--all")
require([entry["key"] for entry in entries()] == [one["key"]], "--all deleted what is in use")
holder.close()
run(0, "cache", "clean", "--all")
require(entries() == [], "--all left something")
require(os.listdir(os.path.join(cache, "locks")) == [], "locks of nothing are left")

# A kernel, as far as that is to be seen from outside, goes only by its name.
os.makedirs(os.path.join(cache, "kernels", "7.3-unit"))
with open(os.path.join(cache, "locks", "kernels.7.3-unit.use"), "w"):
    pass
done = run(0, "cache", "clean", "--unused", "0")
require("--kind kernels" in done.stderr and len(entries()) == 1, f"a kernel without being named:\n{done.stderr}")
run(0, "cache", "clean", "--unused", "0", "--kind", "kernels")
require(entries() == [], "a kernel that was named is left")
require(os.path.exists(os.path.join(cache, "images/holidays/beach")) and os.path.exists(os.path.join(cache, "mine/file")),
        "what is not ktstr's was deleted")

if wrong:
    print("\n".join("WRONG " + line for line in wrong))
    sys.exit(1)
shutil.rmtree(place)
print("ktstr cache does what it says")

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cells.py PROGRAM: two schedulers, two topologies and two kernels make eight cells of one test, which everything calls
by the same names, from --list to a report and the files of a failure. PROGRAM is that of cells.cpp."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import expect

program = os.path.abspath(sys.argv[1])
wrong = []
heard = ""
place = tempfile.mkdtemp(prefix="ktstr-cells-")
base = {"KTSTR_CACHE_DIR": expect.private_cache(os.path.join(place, "cache"),
                                                hidden=("templates", "payload", "initramfs", "locks", "tmp"))}


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def listed(*arguments):
    done = subprocess.run([program, "--list", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, **base})
    return done.returncode, done.stdout, done.stderr


# The distribution's kernel, and the same one under another name.
subprocess.run([program, "--dry-run", "--filter", "alone"], check=True, stdout=subprocess.DEVNULL)  # fetches it
kernels = expect.distribution_kernels(base["KTSTR_CACHE_DIR"])
require(kernels, "there is no kernel in the cache")
copy = os.path.join(place, "the-copy")
if kernels:
    os.symlink(kernels[-1], copy)
two = ("--kernel", "distro", "--kernel", copy)

# ---- names ----------------------------------------------------------------------------------------
schedulers, shapes, names = ("fake", "eevdf"), ("1n1l2c1t", "1n2l1c1t"), ("distro", "the-copy")
all_of_one = [f"same_work/{s}/{t}/{k}" for s in schedulers for t in shapes for k in names]
_, text, _ = listed(*two)
require(text.split() == all_of_one + [f"one_fails/{t}/{k}" for t in shapes for k in names] +
        [f"one_is_skipped/{s}/{k}" for s in schedulers for k in names] +
        ["alone/distro", "alone/the-copy", "outside"], f"--list with two kernels:\n{text}")
_, text, _ = listed("--filter", "same_work")
require(text.split() == [f"same_work/{s}/{t}" for s in schedulers for t in shapes], f"--list:\n{text}")
_, text, _ = listed("--filter", "same_work", "--topology", "1n1l4c1t")
require(text.split() == ["same_work/fake", "same_work/eevdf"], f"--list --topology:\n{text}")
_, text, _ = listed("--filter", "same_work", "--format", "json", *two)
facts = [(e["name"], e["test"], e["scheduler"], e["topology"], e["kernel"], e["cpus"]) for e in json.loads(text)]
require(facts == [(f"same_work/{s}/{t}/{k}", "same_work", s, t, path, 2) for s in schedulers for t in shapes
                  for k, path in zip(names, ("distro", copy))], f"--list --format json: {facts}")
code, text, said = listed("--kernel", copy, "--kernel", copy + "/.")
require(code == 5 and "tell apart --kernel" in said, f"one kernel twice: {code} {said}")
shards = [subprocess.run([program, "--list", *two], stdout=subprocess.PIPE, text=True,
                         env={**os.environ, **base, "TEST_TOTAL_SHARDS": "2", "TEST_SHARD_INDEX": str(i)}).stdout.split()
          for i in range(2)]
require(shards[0] and shards[1] and not set(shards[0]) & set(shards[1]) and
        set(all_of_one) <= set(shards[0]) | set(shards[1]), f"shards: {shards}")

# ---- a run ----------------------------------------------------------------------------------------
junit = os.path.join(place, "junit.xml")
report = os.path.join(place, "report.json")
artifacts = os.path.join(place, "artifacts", os.path.basename(program))
done = subprocess.run([program, "--accel", "tcg", *two, "--junit", junit, "--json", report, "--artifacts", os.path.dirname(artifacts),
                       "--keep"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                      env={**os.environ, **base}, timeout=expect.patience(900))
heard += done.stdout.decode(errors="replace")
events = [json.loads(line) for line in open(report)]
ends = {e["name"]: e for e in events if e["event"] == "test"}
expected = {name: ("pass", None) for name in all_of_one}
expected |= {f"one_fails/{t}/{k}": ("fail", "check") if t == shapes[1] else ("pass", None)
             for t in shapes for k in names}
expected |= {f"one_is_skipped/{s}/{k}": ("skip", "requirement") for s in schedulers for k in names}
expected |= {"alone/distro": ("pass", None), "alone/the-copy": ("pass", None), "outside": ("pass", None)}
wrong += expect.compare(ends, expected)
require(done.returncode == 1, f"exit code {done.returncode}, expected 1")
release = os.path.basename(kernels[-1]) if kernels else None
for name, e in ends.items():
    parts = name.split("/")
    require(e["test"] == parts[0], f"{name}: the test is {e['test']}")
    if name == "outside":
        require(e["scheduler"] is None and e["topology"] is None, f"{name}: {e['scheduler']} {e['topology']}")
        continue
    require(e["kernel"] == release, f"{name}: kernel {e['kernel']}, expected {release}")
    if parts[0] == "same_work":
        require((e["scheduler"], e["topology"]) == (parts[1], parts[2]), f"{name}: {e['scheduler']} {e['topology']}")
        output = os.path.join(artifacts, name.replace("/", "@") + "-1", "output.txt")
        said = open(output).read() if os.path.exists(output) else "no output"
        require(f"a machine of {parts[2]} under {parts[1]}\n" in said, f"{name} said {said!r}")
        require(e["boot"] == "clone", f"{name}: booted {e['boot']}")
# One for each shape and each kernel, however many cells need it.
require(heard.count("booting a template") == 4, f"{heard.count('booting a template')} templates were booted")
require({e["test"] for e in events if e["event"] == "check"} ==
        {f"one_fails/{shapes[1]}/{k}" for k in names}, "the failed checks belong to other cells")
cases = xml.etree.ElementTree.parse(junit).getroot().findall(".//testcase")
require(sorted(c.get("name") for c in cases) == sorted(ends), "JUnit has other names")
require(all(c.find("properties/property[@name='scheduler']").get("value") == c.get("name").split("/")[1]
            for c in cases if c.get("name").startswith("same_work/")), "JUnit has other schedulers")
require(sorted(os.listdir(artifacts)) == sorted(f"{name.replace('/', '@')}-1" for name, e in ends.items()
                                                if e["verdict"] != "skip"), f"artefacts: {os.listdir(artifacts)}")
again = f"--filter one_fails/{shapes[1]}/the-copy --seed"
require(again in heard, f"no replay of one_fails/{shapes[1]}/the-copy")

# ---- parts of it ----------------------------------------------------------------------------------
code, some, said, _ = expect.run(program, "--accel", "tcg", "--filter", "same_work/*/1n1l2c1t", "--exclude",
                                 "same_work/eevdf", environment=base)
heard += said
wrong += expect.compare(some, {"same_work/fake/1n1l2c1t": ("pass", None)})
require(code == 0 and "booting a template" not in said, f"a part: {code}")
code, some, said, _ = expect.run(program, "--accel", "tcg", "--tap", "--filter", "one_fails/1n2l1c1t", environment=base)
require(code == 1 and "not ok 1 - one_fails/1n2l1c1t\n" in said, f"TAP: {code}\n{said}")
# A fault for one cell of two.
code, some, said, _ = expect.run(program, "--accel", "tcg", "--filter", "one_fails", "--internal-fault",
                                 "kill-qemu@body:one_fails/1n1l2c1t", environment=base)
wrong += expect.compare(some, {"one_fails/1n1l2c1t": ("inconclusive", "infrastructure"),
                               "one_fails/1n2l1c1t": ("fail", "check")})
# The kernel that is not there is named, and only when a cell needs it.
missing = os.path.join(place, "no-such-kernel")
code, some, said, _ = expect.run(program, "--accel", "tcg", "--filter", "alone", "--kernel", "distro", "--kernel", missing,
                                 environment=base)
require(code == 3 and missing in said and not some, f"an unknown kernel: {code}\n{said}")
code, some, said, _ = expect.run(program, "--accel", "tcg", "--filter", "alone/distro", "--kernel", "distro", "--kernel",
                                 missing, environment=base)
wrong += expect.compare(some, {"alone/distro": ("pass", None)})

shutil.rmtree(place)
expect.conclude(wrong, heard)

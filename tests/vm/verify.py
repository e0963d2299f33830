#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""verify.py KTSTR SCHEDULER OBJECT SOURCE CLANG: what `ktstr verify` says of programs that the kernel takes, refuses and finds
dear: in its table, its files and its exit code, with a baseline and with two compilers."""
import json
import os
import subprocess
import sys
import tempfile

import expect

ktstr, scheduler, bpf_object, source, clang = map(os.path.abspath, sys.argv[1:])
wrong, heard = [], []
place = tempfile.TemporaryDirectory(prefix="ktstr-verify-")


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def path(name):
    return os.path.join(place.name, name)


def verify(*arguments):
    done = subprocess.run([ktstr, "verify", "--accel", "tcg", *arguments], cwd=place.name, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=expect.patience(300))
    heard.append(done.stderr + done.stdout)
    return done.returncode, done.stdout, done.stderr


def rows(file):
    return {one["program"]: one for one in json.load(open(path(file)))["programs"]}


# A program of a scheduler and an object, which are in order, become a baseline.
code, table, said = verify(scheduler, bpf_object, "--baseline", "base.json", "--save", "--markdown", "table.md")
require(code == 0, f"what is in order: exit code {code}")
known = rows("base.json")
require({"zoo_enqueue", "zoo_init", "keeper_enqueue", "keeper_dispatch", "keeper_init"} <= set(known), f"programs: {set(known)}")
for name, one in known.items():
    require(one["loaded"] and one["verdict"] == "ok" and one["insns"] > 0 and one["limit"] == 1000000, f"{name}: {one}")
    require({"total_states", "peak_states", "max_states_per_insn", "time_us"} <= set(one), f"{name} says too little: {one}")
require("| keeper.bpf.o | keeper\\_init |" in open(path("table.md")).read(), "Markdown")

# Compared with it; what it does not know is new, and what it has more than now is said.
base = json.load(open(path("base.json")))
for one in base["programs"]:
    if one["program"] == "keeper_init":
        one["insns"] -= 10
base["programs"] = [one for one in base["programs"] if one["program"] != "keeper_enqueue"]
json.dump(base, open(path("other.json"), "w"))
code, table, said = verify(bpf_object, "--baseline", "other.json", "--json", "result.json", "--warn-at", "1", "--fail-at", "1000")
require(code == 0, f"with a baseline: exit code {code}")
lines = {line.split()[1]: line.split() for line in table.splitlines() if line.startswith("keeper.bpf.o")}
require({name: line[-2:] for name, line in lines.items()} == {
    "keeper_enqueue": ["new", "warn"], "keeper_dispatch": ["+0", "warn"], "keeper_init": ["+10", "warn"]}, f"changes: {table}")
require(rows("result.json")["keeper_init"]["change"] == 10, "the change is not in the JSON")
require("of vm_zoo" in said and "were not verified now" in said, f"what is gone from the baseline: {said}")

# Sources, by two compilers of one version behind two names; one program is refused, and one is over its budget.
other = path("clang-other")
with open(other, "w") as script:
    script.write(f'#!/bin/sh\n[ "$1" = --version ] && echo "clang version 19.9.9" && exit\nexec "{clang}" "$@"\n')
os.chmod(other, 0o755)
before = open(path("base.json")).read()
code, table, said = verify(source, "--clang", clang, "--clang", other, "--fail-at", "2%", "--json", "refused.json")
require(code == 1, f"one that is refused: exit code {code}")
verdicts = [(line.split()[1], line.split()[3][:5], line.split()[-1]) for line in table.splitlines()
            if line.startswith("refused.bpf.c") and line.split()[-1] in ("ok", "refused", "over")]
require([one for one in verdicts if one[1] == "19.9."] == [("in_order", "19.9.", "ok"), ("refused_after_a_loop", "19.9.", "refused"),
                                                           ("large", "19.9.", "over")] and len(verdicts) == 6, f"verdicts: {verdicts}")
cause = "the verifier refuses refused_after_a_loop: R"
require(cause in table and "invalid mem access 'scalar' at refused.bpf.c:" in table, f"the cause: {table}")
require(rows("refused.json")["refused_after_a_loop"]["cause"].startswith(cause), "the cause is not in the JSON")
require("lines before are left out" in table or "times)" in table, "the log is shown line by line")

# What has no program that is loaded is no object in order, and neither is one whose maps the kernel refuses.
HEAD = """#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
char _license[] SEC("license") = "GPL";
"""
MAP = "struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 0); __type(key, int); __type(value, int); } wrong SEC(\".maps\");\n"
OPS = """SEC("struct_ops/left_out") void BPF_PROG(left_out, struct task_struct *p, u64 flags) { *(volatile int *)8 = 1; }
SEC("?.struct_ops.link") struct sched_ext_ops optional = { .enqueue = (void *)left_out, .name = "optional" };
"""
USED = """SEC("struct_ops/used") void BPF_PROG(used, struct task_struct *p, u64 flags) { }
SEC(".struct_ops.link") struct sched_ext_ops always = { .enqueue = (void *)used, .name = "always" };
"""


def made(name, text):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), "w") as file:
        file.write(HEAD + text)
    return path(name)


for name, text, words in (("maps.bpf.c", MAP, "wrong"), ("optional_program.bpf.c", MAP + 'SEC("?syscall") int no(void *c) { return 0; }\n', "wrong"),
                          ("optional_map.bpf.c", OPS, "it has no programs")):
    code, table, said = verify(made("odd/" + name, text), "--json", "odd.json")
    require(code == 1 and [(one["program"], one["verdict"]) for one in json.load(open(path("odd.json")))["programs"]] == [("", "refused")],
            f"{name}: exit code {code}\n{table}")
    require(words in table, f"{name}: why is not told: {table}")
# A program that is not loaded is not told of as one that is in order; files of one name are told apart.
code, table, said = verify(made("one/same.bpf.c", OPS + USED), made("other/same.bpf.c", MAP), "--json", "same.json")
require(code == 1, f"two of one name: exit code {code}")
told = [(one["object"], one["program"], one["verdict"]) for one in json.load(open(path("same.json")))["programs"]]
require(told == [("same.bpf.c", "used", "ok"), ("same.bpf.c#2", "", "refused")], f"two of one name: {told}")

# Nothing is verified on a kernel that is not there, and no baseline is made of half a run.
code, table, said = verify(bpf_object, "--kernel", "/no/such/kernel", "--baseline", "base.json", "--save")
require(code == 3 and "/no/such/kernel" in said and "ok" not in table.split(), f"no kernel: exit code {code}")
require(open(path("base.json")).read() == before, "half a run is the baseline now")
code, table, said = verify(source, "--clang", "clang-that-nobody-has")
require(code == 3 and "clang-that-nobody-has: there is none in PATH" in said, f"no such compiler: exit code {code}\n{said}")
expect.conclude(wrong, "\n".join(heard))

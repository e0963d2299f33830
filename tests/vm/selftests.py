#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""selftests.py KTSTR: `ktstr selftests` runs the kernel's own cases, as the sources of the kernel under test have them, and
two that are broken here on purpose make it fail; `ktstr smoke kernel` runs the schedulers of the same sources."""
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

import expect

ktstr = os.path.abspath(sys.argv[1])
wrong, heard = [], []
# Beside the cache where possible, so that a copy of the sources is made of links.
place = tempfile.TemporaryDirectory(prefix="ktstr-selftests-", dir=os.getcwd())
JUNIT = os.path.join(place.name, "report.xml")
# Flips static keys a thousand times while both CPUs run, which an emulated CPU does not survive every time: see
# docs/kernels.md. Everything else has to pass, but for what a machine of two CPUs cannot show.
EXCLUDED = "reload_loop"
SKIPPED = {"nohz_tick", "cyclic_kick_wait"}


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def run(*arguments, patience=2400):
    done = subprocess.run([ktstr, *arguments], cwd=place.name, text=True, errors="replace", stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=expect.patience(patience))
    heard.append(done.stderr + done.stdout)
    return done.returncode, done.stdout, done.stderr


def verdicts(table):
    """{name: the words of its one column} of a table as a terminal has it."""
    return {line.split()[0]: line.split(None, 1)[1].strip() for line in table.splitlines()[1:]}


# ---- lists of cases that are none, of a tree that builds no more than a list ----------------------------------------
SMALL = """all:
\t@mkdir -p $(OUTPUT)/build/obj/sched_ext $(OUTPUT)/build/obj/libbpf
\t@gcc -c runner.c -o $(OUTPUT)/build/obj/sched_ext/runner.o
\t@ar rc $(OUTPUT)/build/obj/libbpf/libbpf.a
\t@if [ -e edited ]; then echo more >> edited; fi
"""


def small(name, cases, edited=False):
    root = os.path.join(place.name, "small_" + name)
    at = os.path.join(root, "tools/testing/selftests/sched_ext")
    os.makedirs(at)
    os.mkdir(os.path.join(root, "include"))
    listed = "".join(case + "\\n" for case in cases)
    for path, text in ((os.path.join(root, "Makefile"), ""), (os.path.join(at, "Makefile"), SMALL),
                       (os.path.join(at, "runner.c"), f'#include <stdio.h>\nint main(void) {{ fputs("{listed}", stdout); }}\n')):
        with open(path, "w") as file:
            file.write(text)
    if edited:
        open(os.path.join(at, "edited"), "w").close()
    return run("selftests", root, "--list")


for name, cases, edited, wanted, words in (("good", ("one", "two"), False, 0, ""), ("none", (), False, 3, "it has no case"),
                                           ("path", ("one", "../../two"), False, 3, "a case is called '../../two'"),
                                           ("twice", ("one", "two", "one"), False, 3, "two cases are called one"),
                                           ("edited", ("one",), True, 3, "its sources changed meanwhile")):
    code, table, said = small(name, cases, edited)
    require(code == wanted and words in said, f"a list that is {name}: exit code {code}, expected {wanted}\n{said}")
    require(table == ("one\ntwo\n" if name == "good" else ""), f"a list that is {name}: {table}")

# ---- a copy of the sources with two cases more: an expectation turned round, a runner that leaves ------------------
code, source, said = run("kernel", "source", "distro")
source = source.strip()
if code != 0 or not os.path.isdir(source):
    require(False, f"no sources of the distribution's kernel: exit code {code}\n{said}")
    expect.conclude(wrong, "\n".join(heard))
tree = os.path.join(place.name, "tree")
if subprocess.run(["cp", "-al", source, tree], capture_output=True).returncode != 0:
    subprocess.run(["cp", "-a", "--remove-destination", source, tree], check=True)
folder = os.path.join(tree, "tools/testing/selftests/sched_ext")


def write(name, text):
    path = os.path.join(folder, name)
    if os.path.exists(path):
        os.unlink(path)  # it may be the cache's own file under another name
    with open(path, "w") as file:
        file.write(text)


with open(os.path.join(folder, "minimal.c")) as file:
    minimal = file.read()


def case(name, before, after):
    """A copy of `minimal` under another name, with one thing changed."""
    text = re.sub(r"scx_test minimal\b", f"scx_test {name}",
                  minimal.replace('"minimal"', f'"{name}"').replace("(&minimal)", f"(&{name})"))
    require(before in text, f"minimal.c has changed: it has no {before}")
    write(name + ".c", text.replace(before, after))


case("broken", "if (!link)", "if (link)")
case("leaves", "bpf_link__destroy(link);", "bpf_link__destroy(link); exit(0);")
with open(os.path.join(folder, "Makefile")) as file:
    makefile = file.read()
write("Makefile", makefile.replace("auto-test-targets :=", "auto-test-targets := broken leaves", 1))

code, table, said = run("selftests", tree, "--accel", "tcg", "--exclude", EXCLUDED, "--junit", JUNIT)
got = verdicts(table)
require(code == 1, f"with a broken case: exit code {code}")
require(len(got) >= 32, f"only {len(got)} cases were judged")
require(got.pop("broken", "absent") == "fail (check)", "the broken case does not fail")
require(re.search("broken on .*broken.c:[0-9]+: Failed to attach scheduler", said) is not None, "the cause is not told")
# A runner that comes to no result is no pass, whatever it ends with.
require(got.pop("leaves", "absent") == "fail (check)", "a runner that leaves without a result does not fail")
require("no result of leaves came" in said and "ended with 0" in said, "how the runner left is not told")
for name, word in got.items():
    require(word == "pass" or (name in SKIPPED and word == "skip (skipped)"), f"{name}: {word}")
require("no allowed NOHZ_FULL CPU" in said, "why a case is skipped is not told")
report = xml.parse(JUNIT).getroot()
require((report.get("tests"), report.get("failures"), report.get("errors")) == (str(len(got) + 2), "2", "0"),
        f"JUnit: {report.attrib}")

# ---- without it, and what is asked for wrongly ------------------------------------------------------------------
code, table, said = run("selftests", tree, "--accel", "tcg", "--filter", "minimal", "--filter", "exit")
require(code == 0 and verdicts(table) == {"exit": "pass", "minimal": "pass"}, f"two that pass: exit code {code}\n{table}")
require("building" not in said, "what was built is built again")
code, table, said = run("selftests", tree, "--accel", "tcg", "--filter", "nohz_tick")
require(code == 4, f"only a skipped case: exit code {code}")
# The same kernel twice is two columns: no verdict stands in another's place.
code, table, said = run("selftests", tree, "--accel", "tcg", "--filter", "exit", "--kernel", "distro", "--kernel", "distro")
require(code == 0 and len(table.splitlines()[0].split()) == 3 and table.splitlines()[1].split() == ["exit", "pass", "pass"],
        f"one kernel twice: exit code {code}\n{table}")
for arguments, wanted, words in ((("--filter", "no_such_case"), 5, "--list"), (("--topology", "round"), 5, "round"),
                                 (("--kernel", "/no/such/kernel"), 3, "/no/such/kernel")):
    code, table, said = run("selftests", tree, *arguments)
    require(code == wanted and words in said, f"{arguments}: exit code {code}, expected {wanted}\n{said}")
    require("pass" not in table, f"{arguments}: something passed")

# ---- the schedulers of the same sources -------------------------------------------------------------------------
code, table, said = run("smoke", "kernel", "--accel", "tcg", "--topology", "1n1l2c1t", "--seconds", "1")
got = verdicts(table)
require(got.get("scx_simple") == "pass" and len(got) >= 6, f"the kernel's schedulers: {table}")
require(code == (0 if set(got.values()) == {"pass"} else 1), f"the kernel's schedulers: exit code {code}")
expect.conclude(wrong, "\n".join(heard))

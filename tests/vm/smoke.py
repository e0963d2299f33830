#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""smoke.py KTSTR SCHEDULER: `ktstr smoke` judges each scheduler by what became of it, and its tables say so."""
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

import expect

ktstr, scheduler = map(os.path.abspath, sys.argv[1:])
wrong, heard = [], []
place = tempfile.TemporaryDirectory(prefix="ktstr-smoke-")
MARKDOWN, JUNIT = (os.path.join(place.name, name) for name in ("table.md", "report.xml"))


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def smoke(*arguments):
    done = subprocess.run([ktstr, "smoke", "--accel", "tcg", "--seconds", "1", *arguments], cwd=place.name, text=True,
                          errors="replace", stdin=subprocess.DEVNULL, capture_output=True, timeout=expect.patience(300))
    heard.append(done.stderr + done.stdout)
    return done.returncode, done.stdout, done.stderr


name = os.path.basename(scheduler)
code, table, said = smoke("--topology", "1n1l2c1t", "--topology", "1n1l1c1t", "eevdf", scheduler, "--junit", JUNIT)
require(code == 0, f"two that run well: exit code {code}")
require([line.split() for line in table.splitlines()] == [["scheduler", "1n1l2c1t", "1n1l1c1t"],
                                                          ["eevdf", "pass", "pass"], [name, "pass", "pass"]],
        f"two that run well: {table}")
require("4 of 4: " in said, "progress counts")
report = xml.parse(JUNIT).getroot()
require((report.get("tests"), report.get("failures"), report.get("errors")) == ("4", "0", "0"), f"JUnit: {report.attrib}")

# A program that is no scheduler comes to nothing, and is not taken for the kernel's own class.
code, table, said = smoke("--topology", "1n1l2c1t", "eevdf", "/bin/true", "--markdown", MARKDOWN, "--junit", JUNIT)
require(code == 1, f"no scheduler: exit code {code}")
require("fail (scheduler_attach)" in table and "exited with status 0" in said, f"no scheduler: {table}{said}")
text = open(MARKDOWN).read()
require("| eevdf | pass |" in text and "| true | fail (scheduler\\_attach) |" in text and "\n- true on 1n1l2c1t, fail" in text,
        f"Markdown: {text}")
report = xml.parse(JUNIT).getroot()
require((report.get("tests"), report.get("failures")) == ("2", "1"), f"JUnit: {report.attrib}")
require(os.path.isdir(os.path.join(place.name, "ktstr-artifacts", "true")), "what failed leaves its files")

# Two of one name are two rows: a pass does not stand in a failure's place.
os.symlink(scheduler, os.path.join(place.name, "true"))
code, table, said = smoke("--topology", "1n1l2c1t", "/bin/true", "true")
require(code == 1 and [line.split()[:2] for line in table.splitlines()[1:]] == [["true", "fail"], ["true#2", "pass"]],
        f"two of one name: exit code {code}, {table}")

for arguments, wanted, words in ((("/no/such/scheduler",), 3, "/no/such/scheduler"),
                                 (("--topology", "round", "eevdf"), 5, "round"),
                                 (("--kernel", "/no/such/kernel", "eevdf"), 3, "/no/such/kernel"),
                                 (("--seconds", "2", "eevdf"), 5, "--seconds")):
    code, table, said = smoke(*arguments)
    require(code == wanted and words in said, f"{arguments}: exit code {code}, expected {wanted}\n{said}")
    require("pass" not in table, f"{arguments}: something passed")
expect.conclude(wrong, "\n".join(heard))

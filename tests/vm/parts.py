#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""parts.py WITH WITHOUT -- an optional part that is linked is found on both sides, and one that is not is absent."""
import subprocess
import sys

import expect

having, lacking = sys.argv[1:]
wrong = []


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def parts_of(metrics):
    return [event["value"] for event in metrics if event["event"] == "metric" and event["metric"] == "parts"]


code, events, said, others = expect.run(having, "--accel", "tcg", environment={"GITHUB_ACTIONS": "true"})
wrong += expect.compare(events, dict.fromkeys(("part_in_a_machine", "part_on_the_host", "parts_counted"), ("pass", None)))
require(code == 0 and parts_of(others) == [2], f"with the parts: {code}, {parts_of(others)}\n{said}")
require("::error" not in said, f"annotates what has passed:\n{said}")
code, events, said, others = expect.run(having, "--accel", "tcg", "--filter", "part_in_a_machine", "--internal-fault",
                                        "wrong-topology:part_in_a_machine", environment={"GITHUB_ACTIONS": "true"})
require(code == 2 and "::warning file=" in said and "title=part_in_a_machine::present CPUs" in said,
        f"no annotation:\n{said}")
code, _, said, _ = expect.run(having, "--accel", "tcg", "--filter", "part_in_a_machine", "--internal-fault",
                              "wrong-topology:part_in_a_machine", environment={"GITHUB_ACTIONS": ""})
require(code == 2 and "::warning" not in said, f"annotates where nobody reads it:\n{said}")

code, events, said, others = expect.run(lacking, "--accel", "tcg", environment={"GITHUB_ACTIONS": "true"})
wrong += expect.compare(events, {"part_in_a_machine": ("fail", "check"), "part_on_the_host": ("fail", "check"),
                                 "parts_counted": ("pass", None)})
require(code == 1 and parts_of(others) == [0] and "::error" not in said, f"without them: {code}\n{said}")
symbols = subprocess.run(["nm", "-C", lacking], stdout=subprocess.PIPE, text=True, check=True).stdout
require("annotations" not in symbols, "a program without the part contains it")
expect.conclude(wrong)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""outcomes.py PROGRAM: every way a body can end is judged as what it is, in a clone and in a machine that booted."""
import re
import sys

import expect

EXPECTED = {
    "passes": ("pass", None),
    "passes_without_a_check": ("pass", None),
    "fails_a_check": ("fail", "check"),
    "fails_a_check_with_a_text": ("fail", "check"),
    "ends_at_a_require": ("fail", "check"),
    "fails_in_a_forked_child": ("fail", "check"),
    "a_forked_child_returns": ("fail", "check"),
    "throws_in_a_forked_child": ("fail", "exception"),
    "throws_unheard_in_a_forked_child": ("fail", "exception"),
    "a_global_fails_a_check": ("fail", "check"),
    "a_global_passes_a_check": ("pass", None),
    "skips_in_a_forked_child": ("fail", "exception"),
    "catches_in_a_forked_child": ("pass", None),
    "skips_at_length": ("skip", "skipped"),
    "throws_at_length": ("fail", "exception"),
    "fails_at_length": ("fail", "check"),
    "schedules_while_atomic": ("fail", "oops"),
    "prints_bugs": ("pass", None),
    "warns": ("pass", None),
    "fails_a_check_and_its_scenario": ("fail", "check"),
    "says_fail": ("fail", "check"),
    "says_skip": ("skip", "skipped"),
    "throws": ("fail", "exception"),
    "throws_an_int": ("fail", "exception"),
    "crashes": ("fail", "signal"),
    "aborts": ("fail", "signal"),
    "exits": ("fail", "exit"),
    "exits_with_zero": ("fail", "exit"),
    "eats_all_memory": ("fail", "oom"),
    "never_returns": ("fail", "timeout"),
    "leaves_processes_behind": ("pass", None),
    "panics": ("fail", "panic"),
    "oopses": ("fail", "oops"),
    "powers_off": ("fail", "guest_exit"),
    "stalls_rcu": ("fail", "lockup"),
    "writes_100_mb": ("fail", "check"),
    "sends_garbage": ("inconclusive", "infrastructure"),
    "sends_an_endless_frame": ("inconclusive", "infrastructure"),
    "measures": ("pass", None),
    "measures_and_crashes": ("fail", "signal"),
    "measures_what_is_no_number": ("pass", None),
    "on_the_host_measures": ("pass", None),
    "expected_to_fail_and_fails": ("pass", None),
    "expected_to_fail_and_passes": ("fail", "check"),
    "expected_to_fail_and_throws": ("fail", "exception"),
    "expected_to_fail_and_panics": ("fail", "panic"),
    "requires_kvm_here": ("skip", "requirement"),
    "wants_more_host_cpus_than_there_are": ("skip", "requirement"),
    "on_the_host_passes": ("pass", None),
    "on_the_host_kills_its_keeper": ("inconclusive", "infrastructure"),
    "on_the_host_leaves_processes_behind": ("pass", None),
    "on_the_host_crashes": ("fail", "signal"),
    "on_the_host_never_returns": ("fail", "timeout"),
}

program = sys.argv[1]
# The carrier a body can tamper with, see steal_link() there. Two host CPUs, so that the test that
# wants eight has something to be refused for wherever this runs.
wrong = []


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def run(expected, *arguments):
    code, events, said, others = expect.run(program, "--accel", "tcg", "--exclude", "*_and_waits", *arguments,
                                            environment={"KTSTR_CPU_CAP": "2"}, timeout=1500)
    found = expect.compare(events, expected)
    if code != 1:
        found.append(f"exit code {code}, expected 1 because tests failed")
    wrong.extend(f"{' '.join(arguments)}: {line}" for line in found)
    return events, said, *([e for e in others if e["event"] == kind] for kind in ("check", "metric"))


SERIAL = ("--internal-link", "virtio-serial")
events, said, checks, metrics = run(EXPECTED, *SERIAL)
# One of each kind in machines that booted: what is judged is the same, and how a body begins and how its reports, its
# console and its machine end there is what could differ.
BOOTED = ("passes", "fails_a_check", "a_global_fails_a_check", "a_forked_child_returns", "says_skip", "throws", "crashes",
          "exits", "eats_all_memory", "never_returns", "leaves_processes_behind", "panics", "schedules_while_atomic",
          "powers_off", "sends_garbage", "measures", "measures_and_crashes", "measures_what_is_no_number",
          "expected_to_fail_and_fails", "expected_to_fail_and_panics")
booted, said_cold, _, metrics_cold = run({name: EXPECTED[name] for name in BOOTED}, *SERIAL, "--no-clone",
                                         *(word for name in BOOTED for word in ("--filter", name)))
# What oopses is a module, and over virtio-serial a machine that boots has none; over vsock it has.
_, said_oops, _, _ = run({"oopses": EXPECTED["oopses"]}, "--no-clone", "--filter", "oopses")
require(events["passes"]["boot"] == "clone" and booted["passes"]["boot"] == "cold", "one run each, cloned and cold")
said += said_cold + said_oops
if not wrong:
    require(events["passes"]["checks"] == 2, "passes: two checks were made")
    require(events["passes_without_a_check"]["checks"] == 0, "passes_without_a_check: made none")
    require(events["crashes"]["checks"] == 1, "crashes: the check before the crash counts")
    require(events["panics"]["checks"] is None, "panics: nobody counted, so null and not 0")
    require("six == 7 (6 == 7)" in events["fails_a_check"]["message"], "fails_a_check: both operands")
    require("six == 7 (6 == 7): the number of legs" in events["fails_a_check_with_a_text"]["message"],
            "fails_a_check_with_a_text: the text behind both operands")
    require(any(c["test"] == "fails_a_check_with_a_text" and c["message"] == "the number of legs" and
                c["info"] == ["in turn 3"] for c in checks), "fails_a_check_with_a_text: text and line in its event")
    require("info: in turn 3" in said, "fails_a_check_with_a_text: the line is shown")
    require(re.search(r"outcomes\.cpp:\d+: not today$", events["says_skip"]["message"]), "says_skip: where")
    require("after the failed check: scenario: no cgroups today" in said, "a failed check hides the scenario's end")
    require("thrown on purpose" in events["throws"]["message"], "throws: the exception's own words")
    require("thrown by the child" in events["throws_in_a_forked_child"]["message"], "a forked child's own words")
    require("would rather not" in events["skips_in_a_forked_child"]["message"], "a forked child's skip is said")
    for name in ("skips_at_length", "throws_at_length"):
        require("at length " in events[name]["message"], f"{name}: the text's beginning is kept")
    require(len([c for c in checks if c["test"] == "fails_at_length"]) == 2, "long checks arrive, both of them")
    require("scheduling while atomic" in events["schedules_while_atomic"]["message"], "the kernel's own line")
    require("SEGV" in events["crashes"]["message"], "crashes: the signal's name")
    require("3" in events["exits"]["message"], "exits: the status")
    for measured in (metrics, metrics_cold):
        def told(test):
            return [(m["metric"], m["value"], m["unit"], m["better"]) for m in measured
                    if (m["name"], m["attempt"]) == (test, 1)]
        require(told("measures")[:3] == [("from/body", 123.4, "1/s", "higher"), ("from.thread", -0.00012, "s", "lower"),
                                         ("from_child", 1e300, "", "neither")], f"measures: {told('measures')[:3]}")
        require([m[1] for m in told("measures")[3:]] == list(range(97)), "measures: a hundred metrics and no more")
        require(told("measures_and_crashes") == [("before", 7, "", "neither")], "a crash leaves the metrics before it")
        require(told("measures_what_is_no_number") == [("sound", 1, "", "neither")], "NaN and a bad name are no metrics")
        require(told("on_the_host_measures") == ([("here", 2, "", "neither")] if measured is metrics else []),
                "a host_only body measures too")
    require("note: 103 metrics beyond the 100 of one test were dropped" in said, "measures: says what was dropped")
    require("note: metric 'quotient' was refused: its value is not a finite number (and 1 more)" in said,
            "measures_what_is_no_number: says what was refused")
    require("panic" in events["panics"]["message"], "panics: the kernel's own line")
    require("Oops: " in events["oopses"]["message"], "oopses: the kernel's own line")
    require(events["passes"]["steal_guest_ticks"] is None, "passes: no steal clock under tcg, so null")
    require(events["passes"]["steal_host_ns"] is not None, "passes: the host's wait was measured")
    require(events["passes"]["artifacts"] is None, "passes: leaves no files")
    require(events["panics"]["artifacts"] is not None, "panics: leaves its files")
    require(events["passes"]["dilation"] >= 1, "passes: dilation is measured")
    require("at_birth == 2 (1 == 2)" in events["a_global_fails_a_check"]["message"], "a global's check, with its operands")
    require(events["a_global_passes_a_check"]["checks"] == 1, "a global's check counts when it passes, too")
    require(any(c["test"] == "fails_in_a_forked_child" for c in checks), "a forked child's check arrives")
    require("bytes of output beyond the limit were dropped" in said, "writes_100_mb: says what was dropped")
    require("Kernel panic" in said, "panics: the console's last lines are shown")
expect.conclude(wrong, said)

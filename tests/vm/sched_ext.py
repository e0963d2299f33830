#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""sched_ext.py PROGRAM [--long]: BPF schedulers that stay, end and fail in every way, in clones and in machines that boot: each
gets its verdict and its reason, and a first line that names the cause. A template is the same for tests with and
without a scheduler, whichever of them boots it. A kernel without sched_ext is a skip. --long: the tests that take minutes, alone."""
import os
import shutil
import sys
import tempfile

import expect

program = os.path.abspath(sys.argv[1])
PASS, EXIT, ATTACH = ("pass", None), ("fail", "scheduler_exit"), ("fail", "scheduler_attach")
EXPECTED = {
    "runs_everybody": PASS,
    "is_asked_for_by_many": PASS,
    "nobody_to_ask_for": PASS,
    "nobody_to_detach": ("fail", "exception"),
    "attached_and_the_body_fails": ("fail", "check"),
    "with_libraries": PASS,
    "config_of_the_kernel": PASS,
    "has_all_that_it_wants": PASS,
    "without_a_program": PASS,
    "wants_a_newer_kernel": ("skip", "requirement"),
    "wants_what_is_not_there": ("inconclusive", "infrastructure"),
    "end_is_waited_for": PASS,
    "detached_and_nothing_more": PASS,
    "detached_whatever_it_does_with_signals": PASS,
    "attached_again_and_again": PASS,
    "detached_and_one_of_its_own": PASS,
    "switched_on_and_off": PASS,
    "switched_on_in_vain": ATTACH,
    "replaced_by_a_staged_one": PASS,
    "replaced_by_one_that_stays": PASS,
    "not_replaced_by_what_fails": PASS,
    "not_replaced_by_one_that_waits": ("fail", "timeout"),
    "replaced_and_the_new_one_ends": EXIT,
    "replaced_ten_times": PASS,
    "has_those_who_ask": PASS,
    "waited_for_for_ever": PASS,
    "attached_twice": ("fail", "exception"),
    "killed_and_waited_for": PASS,
    "record_of_error_bpf": PASS,
    "record_of_exit_bpf": PASS,
    "record_of_wrong_cpu": PASS,
    "record_of_bad_select": PASS,
    **{f"record_of_{fault}": PASS for fault in
       ("no_dsq", "twice", "vtime", "two_orders", "wrong_task", "bad_flags", "bad_kick", "two_kicks", "bad_perf",
        "moves_none", "no_idle", "restart", "long_words", "odd_words", "hotplug")},
    "record_of_stall": PASS,
    "record_of_sysrq": PASS,
    "ends_with_an_error": EXIT,
    "ends_and_the_body_passes": EXIT,
    "ends_and_comes_back": EXIT,
    "ends_and_is_brought_back": EXIT,
    "eats_all_memory": EXIT,
    "stalls": EXIT,
    "leaves": EXIT,
    "crashes": EXIT,
    "is_killed": EXIT,
    "refuses_to_start": ATTACH,
    "is_refused_by_the_verifier": ATTACH,
    "has_a_bad_argument": ATTACH,
    "forks_and_exits": ATTACH,
    "never_attaches": ATTACH,
    "is_of_another_kernel": ATTACH,
    "attached_a_score_of_times": PASS,
    "is_missing": ("inconclusive", "infrastructure"),
    "is_of_another_machine": ("inconclusive", "infrastructure"),
    "floods_its_output": PASS,
    "two_at_once": PASS,
}
MESSAGES = {
    "nobody_to_detach": "cannot detach the scheduler: this test has no scheduler with a program",
    "attached_twice": "cannot attach the scheduler: it is attached already",
    "ends_with_an_error": "the scheduler zoo ended: scx_bpf_error: on purpose, says \"zoo\"",
    "ends_and_the_body_passes": "the scheduler zoo ended: scx_bpf_error: on purpose, says \"zoo\"",
    "ends_and_comes_back": "the scheduler zoo ended: disabled by sysrq-S",
    "ends_and_is_brought_back": "ended: disabled by sysrq-S; it was attached again after that",
    "eats_all_memory": "its process was killed by SIGKILL because the guest ran out of memory",
    "replaced_and_the_new_one_ends": "the scheduler other ended: scx_bpf_error: on purpose",
    "stalls": "the scheduler zoo ended: runnable task stall: victim[",
    "leaves": "the scheduler zoo ended: unregistered from user space; its process exited with status 3",
    "crashes": "the scheduler zoo ended: unregistered from user space; its process was killed by SIGSEGV",
    "is_killed": "the scheduler zoo ended: unregistered from user space; its process was killed by SIGKILL",
    "refuses_to_start": "runtime error: ops.init() failed (-22); the scheduler zoo was not attached",
    "is_refused_by_the_verifier": "the verifier refuses zoo_enqueue: R",
    "has_a_bad_argument": "/ktstr/scheduler: unrecognized fault '--frobnicate'; the scheduler zoo was not attached",
    "forks_and_exits": "the scheduler zoo was not attached, and its process exited with status 0; one that goes",
    "never_attaches": "the scheduler zoo was not attached in ",
    "wants_a_newer_kernel": "the scheduler of_tomorrow needs a kernel from 99.1 on, and this is ",
    "switched_on_in_vain": "/sys/kernel/no_such_thing",
    "wants_what_is_not_there": "/proc/sys/kernel/no_such_thing: No such file or directory",
    "is_of_another_kernel": "Cannot find member of_another_kernel in kernel BTF",
    "is_missing": "cannot find the scheduler vm_zoo_that_nobody_built: no such program",
    "is_of_another_machine": "it is a program for aarch64",
}
NOTES = {
    "end_is_waited_for": "all tasks were back with the kernel's own in",
    "ends_with_an_error": "all tasks were back with the kernel's own in",
    "has_those_who_ask": "the scheduler ran only the tasks that ask for SCHED_EXT",
    "floods_its_output": "bytes of the scheduler's output beyond the limit were dropped",
}
LONG = ("attached_two_hundred_times", "replaced_fifty_times")

if "--long" in sys.argv:
    chosen = [word for name in LONG for word in ("--filter", name)]
    _, events, said, _ = expect.run(program, "--accel", "tcg", *chosen, timeout=7200)
    expect.conclude(expect.compare(events, dict.fromkeys(LONG, PASS)), said)

wrong = []
heard = ""
place = tempfile.mkdtemp(prefix="ktstr-sched-ext-")

# Beside the program: the first bytes of a program for another machine, which is all that anybody looks at.
foreign = os.path.join(os.path.dirname(program), "vm_zoo_of_another_machine")
with open(foreign, "wb") as file:
    file.write(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00\x01" + bytes(43))
os.chmod(foreign, 0o755)


def private(name):
    return {"KTSTR_CACHE_DIR": expect.private_cache(os.path.join(place, name),
                                                    hidden=("templates", "payload", "initramfs", "locks", "tmp"))}


first = private("first")
for boot, *how in (("clone", *(word for name in LONG for word in ("--exclude", name))), ("cold", "--no-clone", "--filter", "is_*", "--filter", "ends_*", "--filter", "refuses*",
                                "--filter", "with_libraries", "--filter", "end_is_waited_for",
                                "--filter", "config_of_the_kernel")):
    code, events, said, _ = expect.run(program, "--accel", "tcg", *how, environment=first, timeout=1500)
    heard += said
    expected = EXPECTED if boot == "clone" else {name: EXPECTED[name] for name in EXPECTED if name in events}
    wrong += [f"{boot}: {line}" for line in expect.compare(events, expected)]
    if code != 1:
        wrong.append(f"{boot}: exit code {code}, expected 1")
    for name, event in events.items():
        message = event["message"] or ""
        if EXPECTED[name][1] not in ("infrastructure", "requirement") and event["boot"] != boot:
            wrong.append(f"{name}: booted {event['boot']}, expected {boot}")
        if MESSAGES.get(name, "") not in message or "\n" in message:
            wrong.append(f"{boot}: {name}: {message}")
    # Once for each shape, whatever their schedulers are.
    templates = [line for line in said.splitlines() if "booting a template of " in line]
    if len(set(templates)) != len(templates) or bool(templates) != (boot == "clone"):
        wrong.append(f"{boot}: these templates were booted: {templates}")
    for name, note in NOTES.items():
        if name in events and note not in said:
            wrong.append(f"{boot}: {name}: no note that {note}")

# Whoever boots the template, the other one finds what it needs.
for order in (("with_libraries", "nobody_to_ask_for"), ("nobody_to_ask_for", "with_libraries")):
    cache = private(order[0])
    for name, templates in zip(order, (1, 0)):
        code, events, said, _ = expect.run(program, "--accel", "tcg", "--filter", name, environment=cache)
        heard += said
        wrong += [f"{order}: {line}" for line in expect.compare(events, {name: PASS})]
        if said.count("booting a template") != templates or any(e["boot"] != "clone" for e in events.values()):
            wrong.append(f"{order}: {name} is no clone of the one template")

# Its variable goes before everything else, and is named where it is wrong.
for value, expected in ((os.path.join(os.path.dirname(program), "vm_zoo"), PASS),
                        ("/no/such/program", ("inconclusive", "infrastructure"))):
    code, events, said, _ = expect.run(program, "--accel", "tcg", "--filter", "end_is_waited_for",
                                       environment={**first, "KTSTR_SCHEDULER_ZOO": value})
    heard += said
    wrong += [f"KTSTR_SCHEDULER_ZOO={value}: {line}"
              for line in expect.compare(events, {"end_is_waited_for": expected})]
    if expected != PASS and "KTSTR_SCHEDULER_ZOO" not in said:
        wrong.append("the variable that is wrong is not named")

# A kernel without sched_ext: the same one, by what its configuration says.
for kernel in expect.distribution_kernels(first["KTSTR_CACHE_DIR"])[-1:]:
    other = os.path.join(place, "kernel")
    shutil.copytree(kernel, other, symlinks=True)
    text = open(os.path.join(other, "config")).read()
    open(os.path.join(other, "config"), "w").write(
        text.replace("CONFIG_SCHED_CLASS_EXT=y", "# CONFIG_SCHED_CLASS_EXT is not set"))
    code, events, said, _ = expect.run(program, "--accel", "tcg", "--kernel", other, "--filter", "end_is_waited_for",
                                       environment=first)
    heard += said
    wrong += [f"without sched_ext: {line}"
              for line in expect.compare(events, {"end_is_waited_for": ("skip", "requirement")})]
    if code != 4 or "SCHED_CLASS_EXT" not in said:
        wrong.append(f"without sched_ext: exit code {code}, and SCHED_CLASS_EXT is " +
                     ("named" if "SCHED_CLASS_EXT" in said else "not named"))
os.remove(foreign)
shutil.rmtree(place)
expect.conclude(wrong, heard)

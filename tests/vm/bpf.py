#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bpf.py PROGRAM WITHOUT: what a body reads and writes of a running scheduler, in clones and in a machine that boots. A program
WITHOUT the part has nothing of libbpf in it."""
import os
import shutil
import subprocess
import sys
import tempfile

import expect

program, without = sys.argv[1:]
PASS = ("pass", None)
EXPECTED = dict.fromkeys(("globals", "maps", "a_write_reaches_the_scheduler", "deltas_of_steps", "what_the_verifier_made_of_it",
                          "mistakes", "after_its_end", "two_of_one_name"), PASS)
EXPECTED |= dict.fromkeys(("an_error_that_nobody_catches", "no_scheduler_to_read"), ("fail", "exception"))
EXPECTED |= dict.fromkeys(("an_object", "an_object_that_is_killed", "an_object_with_settings", "a_map_outlives_its_scheduler"), PASS)
EXPECTED["an_object_that_nobody_waits_for"] = ("fail", "scheduler_exit")
EXPECTED |= dict.fromkeys(("an_object_that_is_refused", "an_object_with_two", "an_object_with_nothing", "an_object_of_another_kernel",
                           "an_object_with_arguments", "an_object_with_no_such_global", "an_object_with_no_such_member",
                           "an_object_with_too_much", "an_object_with_a_struct", "an_object_with_a_blank",
                           "an_object_with_a_sign"), ("fail", "scheduler_attach"))
MESSAGES = {
    "an_object_that_nobody_waits_for": "the scheduler keeper ended: unregistered from user space; its process was killed by SIGKILL",
    "an_object_that_is_refused": "the verifier refuses keeper_enqueue: R",
    "an_object_with_two": "it has 2 struct_ops maps (keeper_twin, keeper), and a scheduler is one",
    "an_object_with_nothing": "it has no struct_ops map, so it is no scheduler",
    "an_object_of_another_kernel": "of_another_kernel",
    "an_object_with_arguments": "cannot set --slice: what a BPF object is given is NAME=NUMBER",
    "an_object_with_no_such_global": "cannot set nobody: the object has no global of that name, only ",
    "an_object_with_no_such_member": "cannot set ops.nobody: the kernel's struct_ops for schedulers has no such member",
    "an_object_with_too_much": "cannot set of_rodata=0x100000000: it does not fit into 32 bits",
    "an_object_with_a_blank": "cannot set limit= -1: ' -1' is no number",
    "an_object_with_a_sign": "cannot set limit=-1: it does not fit into 64 bits without a sign",
    "an_object_with_a_struct": "cannot set stats: it is no number of the object's own",
    "an_error_that_nobody_catches": "ktstr::bpf::access_error: cannot find the global 'no_such_thing' of the scheduler keeper",
    "no_scheduler_to_read": "no BPF scheduler is attached (sched_ext is 'disabled')",
}
code, events, said, others = expect.run(program, "--accel", "tcg")
wrong = expect.compare(events, EXPECTED)
if code != 1:
    wrong.append(f"exit code {code}, expected 1")
for name, words in MESSAGES.items():
    if words not in (events.get(name, {}).get("message") or ""):
        wrong.append(f"{name}: {events.get(name, {}).get('message')}")
steps = [event for event in others if event["event"] == "metric" and event["metric"].startswith("enqueued_in_step.")]
if len(steps) != 2 or any(event["value"] <= 0 for event in steps):
    wrong.append(f"metrics of steps: {steps}")
code, events, more, _ = expect.run(program, "--accel", "tcg", "--no-clone", "--filter", "maps")
said += more
wrong += expect.compare(events, {"maps": PASS})
code, events, more, _ = expect.run(program, "--accel", "tcg", "--no-clone", "--filter", "an_object")
said += more
wrong += expect.compare(events, {"an_object": PASS})
# Another build of the program in a clone of the same template: it is the current one that loads the object.
with tempfile.TemporaryDirectory(prefix="ktstr-bpf-") as place:
    other = os.path.join(place, "stripped")
    subprocess.run(["strip", "-o", other, program], check=True)
    code, events, more, _ = expect.run(other, "--accel", "tcg", "--filter", "an_object")
    said += more
    wrong += expect.compare(events, {"an_object": PASS})
# In a template with an object attached the program runs and its disk was read: a rebuilt one must find neither. The other build
# asks for a counter that is not there.
with tempfile.TemporaryDirectory(prefix="ktstr-bpf-") as place:
    built = os.path.join(place, os.path.basename(program))
    os.symlink(os.path.join(os.path.dirname(os.path.abspath(program)), "schedulers"), os.path.join(place, "schedulers"))
    private = {"KTSTR_CACHE_DIR": expect.private_cache(os.path.join(place, "cache"), hidden=("templates", "payload", "locks", "tmp"))}
    shutil.copy(program, built)
    code, events, more, _ = expect.run(built, "--accel", "tcg", "--filter", "an_object", "--repeat", "2", environment=private)
    said += more
    wrong += expect.compare(events, {"an_object": PASS})
    if events.get("an_object", {}).get("attach") != "template":
        wrong.append(f"an object is not attached in a template:\n{more}")
    code = open(built, "rb").read()
    if code.count(b"\0nr_enqueued\0") != 1:
        wrong.append("the name of the counter is not in the program once, so this shows nothing")
    with open(built + ".new", "wb") as file:
        file.write(code.replace(b"\0nr_enqueued\0", b"\0no_enqueued\0"))
    shutil.copymode(built, built + ".new")
    os.replace(built + ".new", built)
    for where, arguments in (("test", ()), ("template", ("--repeat", "2"))):
        _, events, more, _ = expect.run(built, "--accel", "tcg", "--filter", "an_object", *arguments, environment=private)
        said += more
        event = events.get("an_object", {})
        if (event.get("reason"), event.get("attach")) != ("exception", where) or "'no_enqueued'" not in event["message"]:
            wrong.append(f"a rebuilt program, attached in the {where}: its body did not run: {event}")
# A program without the part says before it boots anything what it lacks.
code, events, more, _ = expect.run(without, "--accel", "tcg", "--filter", "runs_everybody",
                                   environment={"KTSTR_SCHEDULER_ZOO": "schedulers/keeper.bpf.o"})
said += more
wrong += expect.compare(events, {"runs_everybody": ("inconclusive", "infrastructure")})
if "it is a BPF object, and this program has nothing that loads one; link ktstr::bpf" not in more:
    wrong.append("a program without the part does not say that it is missing")


def symbols(of):
    return subprocess.run(["nm", "-C", of], stdout=subprocess.PIPE, text=True, check=True).stdout


def libraries(of):
    return subprocess.run(["readelf", "-d", of], stdout=subprocess.PIPE, text=True, check=True).stdout


if "bpf_object__load" not in symbols(program):
    wrong.append("the program with the part has no libbpf in it, so this looks for the wrong thing")
if "bpf_object__" in symbols(without) or "libelf" in libraries(without) or "libbpf" in libraries(without):
    wrong.append(f"{without} has libbpf in it, and does not link the part")
expect.conclude(wrong, said)

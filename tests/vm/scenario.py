#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scenario.py PROGRAM: scenarios run, over each link that emulation can have."""
import sys

import expect

program = sys.argv[1]
EXPECTED = {
    "workers_run_and_report": ("pass", None),
    "no_step_is_no_work": ("pass", None),
    "a_mistake_is_the_tests_own": ("fail", "exception"),
    "seed_and_time_arrive": ("pass", None),
    "a_worker_crashes": ("fail", "worker"),
    "every_worker_crashes": ("fail", "worker"),
    "a_skip_hides_no_crash": ("fail", "worker"),
    "a_failed_check_says_more_than_a_crash": ("fail", "check"),
    "a_crash_is_what_is_tested": ("pass", None),
    "a_crash_is_never_expected": ("fail", "worker"),
    "workers_never_turn": ("fail", "worker"),
    "workers_without_any_time_need_not_turn": ("pass", None),
    "on_the_host_workers_run": ("pass", None),
    "on_the_host_a_worker_crashes": ("fail", "worker"),
}
NO_CGROUPS = ("inconclusive", "infrastructure")
MESSAGES = {
    "a_worker_crashes": "of cgroup victim in step 0: killed by SIGSEGV",
    "every_worker_crashes": "; and 1 more of the workers",
    "workers_never_turn": "worker 0 of cgroup idle in step 0: it never did one turn of its work; and 1 more",
}
wrong = []
heard = ""
for link in ("vhost-device-vsock", "virtio-serial"):
    code, events, said, _ = expect.run(program, "--accel", "tcg", "--seed", "42", "--internal-link", link)
    heard += said
    expected = dict(EXPECTED)
    # On a host where a body may not make cgroups no worker can run; that is said, and is no pass.
    if "cgroup" in (events.get("on_the_host_workers_run", {}).get("message") or ""):
        expected |= {name: NO_CGROUPS for name in EXPECTED if name.startswith("on_the_host_")}
    wrong += [f"over {link}: {line}" for line in expect.compare(events, expected)]
    wrong += [f"over {link}: {name}: the message is {events[name]['message']}" for name, text in MESSAGES.items()
              if name in events and text not in (events[name]["message"] or "")]
    if code != 1:
        wrong.append(f"over {link}: exit code {code}, expected 1")
expect.conclude(wrong, heard)

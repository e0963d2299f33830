#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""topologies.py PROGRAM: the guest's machine is exactly the one asked for, and a wrong one is caught."""
import sys

import expect

program = sys.argv[1]
shapes = ["1n1l1c1t", "1n2l4c1t", "1n3l5c1t", "2n4l2c2t", "4n8l4c1t", "1n8l8c1t"]
code, events, said, _ = expect.run(program, "--accel", "tcg", timeout=1500)
wrong = expect.compare(events, {"shape_" + s: ("pass", None) for s in shapes})
if code != 0:
    wrong.append(f"exit code {code}, expected 0")
for s in shapes:
    if events.get("shape_" + s, {}).get("topology") != s:
        wrong.append(f"shape_{s}: reported as {events.get('shape_' + s, {}).get('topology')}")

# The host asks the guest for another machine than it built: the proof must refuse it before the body.
code, events, mismatch, _ = expect.run(program, "--accel", "tcg", "--filter", "shape_1n1l1c1t",
                                       "--internal-fault", "wrong-topology")
wrong += expect.compare(events, {"shape_1n1l1c1t": ("inconclusive", "topology_mismatch")})
if code != 2:
    wrong.append(f"exit code {code} for a topology mismatch, expected 2")
expect.conclude(wrong, said + mismatch)

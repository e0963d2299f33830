#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cold_start.py PROGRAM [RUNS]: what ktstr adds to booting a kernel, under emulation with 2 vCPUs.

PROGRAM holds a test named `empty` with two CPUs (bench/empty.cpp). Timed in turn, in one run: PROGRAM from its
process's start to the moment its body begins, and QEMU from its start to the first line of a trivial static init,
with the same kernel file, the same QEMU and the same number of vCPUs. Prints medians and their ratio.
"""
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

program = os.path.abspath(sys.argv[1])
runs = int(sys.argv[2]) if len(sys.argv) > 2 else 7
place = tempfile.mkdtemp(prefix="ktstr-bench-")


def first_line(command, wanted):
    """Seconds from the command's start to the first line of its output that matches."""
    begun = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", bufsize=1)
    took = None
    for line in process.stdout:
        if took is None and re.search(wanted, line):
            took = time.monotonic() - begun
    process.wait()
    if took is None:
        sys.exit(f"cold_start: never saw {wanted!r} from {shlex.join(command)}")
    return took


dry = subprocess.run([program, "--filter", "empty", "--accel", "tcg", "--dry-run"], check=True, stdout=subprocess.PIPE,
                     text=True).stdout.splitlines()
words = shlex.split(next(line for line in dry if "-kernel" in line))
qemu, kernel = words[0], words[words.index("-kernel") + 1]

init = os.path.join(place, "init")
with open(init + ".c", "w") as out:
    out.write('#include <sys/reboot.h>\n#include <unistd.h>\n'
              'int main(void) { return write(1, "BODY\\n", 5) != 5 || reboot(RB_AUTOBOOT); }\n')
subprocess.run(["gcc", "-static", "-O2", init + ".c", "-o", init], check=True)
initrd = os.path.join(place, "initrd")
with open(initrd, "wb") as out:
    subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"init\n", stdout=out, cwd=place, check=True)
bare = [qemu, "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "256", "-nodefaults",
        "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
        "-append", "console=ttyS0 panic=-1 reboot=t quiet"]
ours = [program, "--filter", "empty", "--accel", "tcg", "--verbose", "--no-clone"]

first_line(ours, "empty: body"), first_line(bare, "BODY")  # not counted: caches fill
pairs = [(first_line(ours, "empty: body"), first_line(bare, "BODY")) for _ in range(runs)]
mine, theirs = (statistics.median(column) for column in zip(*pairs))
print(json.dumps({"runs": runs, "qemu": qemu, "kernel": kernel, "ktstr_s": round(mine, 3), "bare_s": round(theirs, 3),
                  "ratio_of_medians": round(mine / theirs, 3),
                  "ratio_min_max": [round(min(a / b for a, b in pairs), 3), round(max(a / b for a, b in pairs), 3)]}))

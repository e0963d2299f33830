#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""verify.py KTSTR: of `ktstr verify` what needs no machine: logs with their cause first and repeats once, budgets, baselines and
inputs that are none."""
import json
import os
import struct
import subprocess
import sys
import tempfile

ktstr = os.path.abspath(sys.argv[1])
wrong = []
place = tempfile.TemporaryDirectory(prefix="ktstr-verify-")


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def file(name, content):
    path = os.path.join(place.name, name)
    with open(path, "wb") as out:
        out.write(content if isinstance(content, bytes) else content.encode())
    return path


def verify(*arguments, path=None):
    environment = {**os.environ, "KTSTR_CACHE_DIR": os.path.join(place.name, "cache")}
    if path is not None:
        environment["PATH"] = path
    done = subprocess.run([ktstr, "verify", *arguments], cwd=place.name, text=True, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=100, env=environment)
    return done.returncode, done.stdout, done.stderr


# ---- logs -----------------------------------------------------------------------------------------
turn = "; sum += seen[i]; @ a.bpf.c:21\n{0}: (79) r1 = *(u64 *)(r2 +0)  ; R1_w=scalar(id={1})\n{2}: (15) if r1 == 0x28 goto pc+1 ; R1_w={1}\n"
loop = "".join(turn.format(3, n, 4) for n in range(50))
end = "; *nowhere = 1; @ a.bpf.c:26\n9: (7b) *(u64 *)(r3 +0) = r1\nR3 invalid mem access 'scalar'\n"
stats = "verification time 17 usec\nstack depth 0\nprocessed 160 insns (limit 1000000) max_states_per_insn 1 total_states 7 peak_states 7 mark_read 0\n"
code, said, _ = verify("--log", file("loop.log", "0: R1=ctx() R10=fp0\n" + loop + end + stats))
lines = said.splitlines()
require(code == 0 and lines[0] == "the verifier refuses it: R3 invalid mem access 'scalar' at a.bpf.c:26", f"the cause is not first: {said}")
require(said.count("(79) r1") == 1 and "(these 3 lines 50 times)" in said, f"a loop is not shown once: {said}")
require("(7b) *(u64 *)(r3 +0) = r1" in said and "0: R1=ctx()" in said, f"what is no repeat is gone: {said}")
# Two loops, one in the other, and nothing that repeats.
nested = "".join("1: (b7) r1 = 0\n" + "2: (07) r1 += 1\n" * 5 + "3: (95) exit\n" for _ in range(4))
code, said, _ = verify("--log", file("nested.log", nested + end + stats))
require("times)" in said and said.count("(b7) r1 = 0") == 1, f"a loop in a loop: {said}")
code, said, _ = verify("--log", file("plain.log", "".join(f"{n}: (b7) r{n % 10} = {n}\n" for n in range(50)) + end + stats))
require("times)" not in said and said.count("(b7)") == 50, f"what does not repeat is shown as it is: {said}")
code, said, _ = verify("--log", file("same.log", "a line\na line\n" + end + stats))
require("times)" not in said and said.count("a line") == 2, f"two equal lines are no loop: {said}")
long = file("long.log", "".join(f"{n}: (b7) r1 = {n}\n" for n in range(500)) + end + stats)
code, said, _ = verify("--log", long)
require(said.count("(b7)") < 80 and "lines before are left out; --full-logs" in said, "a long log is not cut")
code, said, _ = verify("--log", long, "--full-logs")
require(said.count("(b7)") == 500, "--full-logs leaves lines out")
# As libbpf prints it, among other lines.
code, said, _ = verify("--log", file("libbpf.log", "libbpf: prog 'mine': -- BEGIN PROG LOAD LOG --\n" + end + stats + "-- END PROG LOAD LOG --\n"))
require(said.startswith("the verifier refuses mine: R3 invalid"), f"a log of libbpf's: {said}")
code, said, _ = verify("--log", file("none.log", "\x1b[31mhello\n"))
require(code == 0 and said.startswith("\\x1b[31mhello\n"), f"no verifier's log: {said!r}")
require(verify("--log", file("empty.log", ""))[1].startswith("the log is empty"), "an empty log")
require(verify("--log", "/no/such/log")[0] == 3, "a log that is not there")

# ---- what is no order ------------------------------------------------------------------------------
source = file("a.bpf.c", "int x;\n")
plain = file("plain.o", b"\x7fELF" + bytes(100))
for arguments, wanted, words in (((), 5, "INPUT is required"),
                                 (("--log", long, source), 5, "verifies nothing"),
                                 ((source, "--warn-at", "0%"), 5, "--warn-at is '0%'"),
                                 ((source, "--fail-at", "101%"), 5, "--fail-at is '101%'"),
                                 ((source, "--fail-at", "many"), 5, "--fail-at is 'many'"),
                                 ((source, "--fail-at", "1.5%"), 5, "--fail-at is '1.5%'"),
                                 ((source, "--save"), 5, "--save needs --baseline FILE"),
                                 ((plain, "--clang", "clang-19"), 5, "--clang is for sources"),
                                 ((source, "--nonsense"), 5, "--nonsense"),
                                 (("/no/such/object",), 3, "/no/such/object"),
                                 ((plain,), 3, "there is no BPF object in it"),
                                 (("/bin/true",), 3, "there is no BPF object in it"),
                                 ((place.name,), 3, place.name)):
    code, said, told = verify(*arguments)
    require(code == wanted and words in told + said, f"{arguments}: exit code {code}, expected {wanted}\n{said}{told}")
# An object whose sections lie behind its end is none.
head = struct.pack("<4s12BHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, *[0] * 9, 1, 247, 1, 0, 0, 64, 0, 64, 0, 0, 64, 2, 0)
cut = head + struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) + struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, 192, 1 << 62, 0, 0, 0, 0)
code, said, told = verify(file("cut.o", cut))
require(code == 3 and "there is no BPF object in it" in told, f"an object that was cut: {code} {told}")

# ---- baselines --------------------------------------------------------------------------------------
for name, text, words in (("junk", "not json", "it is no file of `ktstr verify`"),
                          ("other", json.dumps({"a": 1}), "it is no file of `ktstr verify`"),
                          ("version", json.dumps({"ktstr_verify": 2, "programs": []}), "it is no file of `ktstr verify`"),
                          ("nameless", json.dumps({"ktstr_verify": 1, "programs": [{"object": 7}]}), "no text for what it is called"),
                          ("numbers", json.dumps({"ktstr_verify": 1, "programs": [7]}), "no text for what it is called")):
    path = file(name + ".json", text)
    for arguments in ((), ("--save",)):
        code, said, told = verify(source, "--baseline", path, *arguments)
        require(code == 3 and words in told, f"{name}: exit code {code}\n{told}")
    require(open(path).read() == text, f"{name}: was overwritten")
code, said, told = verify(source, "--baseline", os.path.join(place.name, "missing.json"))
require(code == 3 and "missing.json" in told, f"a baseline that is not there: {code} {told}")
print("\n".join("WRONG " + line for line in wrong))
sys.exit(1 if wrong else 0)

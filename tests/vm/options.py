#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""options.py PROGRAM: what --doctor, --dry-run and --shell promise, and what becomes of a KVM that dies. PROGRAM is
that of outcomes.cpp."""
import fcntl
import os
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

import expect

program = os.path.abspath(sys.argv[1])
wrong = []
place = tempfile.mkdtemp(prefix="ktstr-options-")
runtime = os.path.join(place, "runtime")
os.mkdir(runtime)
base = {**os.environ, "TMPDIR": runtime, "XDG_RUNTIME_DIR": runtime}


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def run(case, *arguments, typed="", environment=None):
    """Runs to the end with `typed` as standard input, which is no terminal."""
    done = subprocess.run([program, *arguments], input=typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=expect.patience(300), env={**base, **(environment or {})})
    print("tried:", case, flush=True)
    require(not os.listdir(runtime), f"{case}: files left behind: {os.listdir(runtime)}")
    return done


def stand_in(name, text):
    """A directory with a QEMU that is a script, to be put first in PATH."""
    path = os.path.join(place, name)
    os.makedirs(path)
    with open(os.path.join(path, "qemu-system-x86_64"), "w") as out:
        out.write("#!/bin/sh\n" + text)
    os.chmod(os.path.join(path, "qemu-system-x86_64"), 0o755)
    return path + ":" + os.environ["PATH"]


# ---- --doctor -------------------------------------------------------------------------------------
def available_mib():
    return int(re.search(r"MemAvailable:\s+(\d+)", open("/proc/meminfo").read())[1]) >> 10


done = run("--doctor", "--doctor", "--accel", "tcg")
require(done.returncode == 0, f"--doctor: exit code {done.returncode}:\n{done.stdout}{done.stderr}")
found = {m[2]: (m[1], m[3]) for m in re.finditer(r"^(ok|limited|MISSING) +(\S+(?: \S+)*?)  +(.*)$", done.stdout, re.M)}
for subject in ("CPUs", "memory", "cache", "QEMU", "KVM", "accelerator", "link", "kernel", "sched_ext"):
    require(subject in found, f"--doctor: says nothing of {subject}:\n{done.stdout}")
if not wrong:
    require(re.search(r"version \d+\.\d+.* at /", found["QEMU"][1]), f"--doctor: QEMU {found['QEMU']}")
    require(found["accelerator"] == ("ok", "tcg"), f"--doctor: accelerator {found['accelerator']}")
    require(re.match(r"\d+\.\d+", found["kernel"][1]), f"--doctor: kernel {found['kernel']}")
    said = re.fullmatch(r"(\d+) MiB available", found["memory"][1])
    require(said and 0.5 < int(said[1]) / available_mib() < 2, f"--doctor: memory {found['memory']}")
require(re.search(r"^  requires_kvm_here: .*KVM.*--accel", done.stdout, re.M),
        f"--doctor: not why requires_kvm_here would be skipped, or not what mends it:\n{done.stdout}")
require("1n1l2c1t" not in done.stderr and "fetch" not in done.stderr, f"--doctor: did something:\n{done.stderr}")
# What nested would not skip is not among what would be skipped.
done = run("--doctor for a nested run", "--doctor", "--accel", "nested")
require("requires_kvm_here" not in done.stdout, f"--doctor --accel nested: KVM is there:\n{done.stdout}")
nothing = os.path.join(place, "nothing")
os.mkdir(nothing)
done = run("--doctor without QEMU", "--doctor", environment={"PATH": nothing})
require(done.returncode == 3 and re.search("^MISSING +QEMU", done.stdout, re.M) and "apt install" in done.stdout,
        f"--doctor without QEMU: exit code {done.returncode}:\n{done.stdout}{done.stderr}")
done = run("--doctor with an empty cache", "--doctor", environment={"KTSTR_CACHE_DIR": os.path.join(place, "new")})
require(done.returncode == 3 and re.search("^MISSING +kernel", done.stdout, re.M)
        and "ktstr kernel fetch distro" in done.stdout,
        f"--doctor without a kernel: exit code {done.returncode}:\n{done.stdout}{done.stderr}")

# ---- --dry-run ------------------------------------------------------------------------------------
asked = os.path.join(place, "asked")
witness = stand_in("witness", f'echo "$*" >> {shlex.quote(asked)}\necho QEMU emulator version 9.0.0\n')
shapes = {"passes": "2,sockets=1,dies=1,cores=2,threads=1",
          "wants_more_host_cpus_than_there_are": "8,sockets=1,dies=1,cores=8,threads=1"}
filters = [word for name in (*shapes, "on_the_host_passes") for word in ("--filter", name)]


def dry(case, *arguments):
    done = run(case, "--dry-run", "--accel", "tcg", *arguments, environment={"PATH": witness})
    require(done.returncode == 0, f"{case}: exit code {done.returncode}:\n{done.stderr}")
    commands = {}
    for line in done.stdout.splitlines():
        if line.startswith("#"):  # a comment, for a shell too
            continue
        words = shlex.split(line)
        require(os.path.basename(words[0]) == "qemu-system-x86_64", f"{case}: starts with {words[0]}")
        value = {a: b for a, b in zip(words, words[1:]) if a.startswith("-")}
        commands[value["-name"].split(",")[0].removeprefix("ktstr-")] = value
        for file in ("-kernel", "-initrd"):
            require(os.path.isfile(value[file]), f"{case}: {file} {value[file]} is not there")
    return done.stdout, commands


said, commands = dry("--dry-run", *filters)
require({n: v["-smp"] for n, v in commands.items()} == shapes, f"--dry-run: -smp is not {shapes}:\n{said}")
require("# on_the_host_passes: host_only, no machine" in said, f"--dry-run: host_only:\n{said}")
require("a run clones" in said, f"--dry-run does not say that runs clone:\n{said}")
said, _ = dry("--dry-run --no-clone", "--no-clone", *filters)
require("a run clones" not in said, f"--dry-run --no-clone speaks of clones:\n{said}")
_, commands = dry("--dry-run with another topology", "--filter", "passes", "--topology", "2n4l2c2t")
require(commands["passes"]["-smp"] == "16,sockets=2,dies=2,cores=2,threads=2", f"--dry-run --topology: {commands}")
started = open(asked).read().splitlines()
require(set(started) == {"--version"}, f"--dry-run: QEMU was started with {started}")

# ---- KVM that dies --------------------------------------------------------------------------------
# QEMU's words when a kernel dies under KVM, from a QEMU that emulates; with --accel tcg it is honest.
real = shutil.which("qemu-system-x86_64")
dying = stand_in("dying", f"""
for word; do
    shift
    case $word in
        kvm) word=tcg; echo 'KVM internal error. Suberror: 1' >&2;;
        host,*) word=max;;
    esac
    set -- "$@" "$word"
done
exec {shlex.quote(real)} "$@"
""")
cache = expect.private_cache(os.path.join(place, "cache"), ("packages",))
dead = {"PATH": dying, "KTSTR_CACHE_DIR": cache}
trusting = ("--filter", "passes*", "--internal-fault", "trust-kvm")
code, events, said, _ = expect.run(program, *trusting, "--accel", "kvm", environment=dead)
print("tried: --accel kvm when KVM dies", flush=True)
wrong += expect.compare(events, {"passes": ("inconclusive", "infrastructure"),
                                 "passes_without_a_check": ("inconclusive", "infrastructure")})
require(code == 3, f"KVM dies, --accel kvm: exit code {code}, expected 3:\n{said}")
require(any("KVM internal error" in line and "use --accel tcg or --accel nested" in line for line in said.splitlines()),
        f"KVM dies, --accel kvm: no line with the cause and the remedy:\n{said}")
os.unlink(os.path.join(cache, "kvm-failed"))
code, events, said, _ = expect.run(program, *trusting, "--accel", "auto", environment=dead)
print("tried: --accel auto when KVM dies", flush=True)
wrong += expect.compare(events, {"passes": ("pass", None), "passes_without_a_check": ("pass", None)})
require(code == 0, f"KVM dies, --accel auto: exit code {code}, expected 0")
require({e["accel"] for e in events.values()} == {"tcg"}, f"KVM dies, --accel auto: {events}")
require("note: run again under emulation (tcg):" in said, f"KVM dies, --accel auto: does not say so:\n{said}")
code, events, said, _ = expect.run(program, *trusting, environment=dead)
print("tried: --accel auto after KVM died", flush=True)
require(code == 0 and "KVM failed here before (" in said and "run again" not in said,
        f"KVM died before: exit code {code}, or KVM was tried again, or nobody said why not:\n{said}")

# ---- --shell without a terminal -------------------------------------------------------------------
shell = ("--shell", "--accel", "tcg", "--filter", "passes")
release = found["kernel"][1].split(",")[0]
done = run("--shell with commands", *shell, typed="uname -r; nproc; echo aside >&2; exit 7\n")
require((done.returncode, done.stdout) == (7, f"{release}\n2\n"),
        f"--shell with commands: exit code {done.returncode}:\n{done.stdout}")
require("aside" in done.stderr.splitlines(), f"--shell: standard error does not come through:\n{done.stderr}")
done = run("--shell with nothing to do", *shell)
require((done.returncode, done.stdout) == (0, ""), f"--shell, no input: exit code {done.returncode}:\n{done.stdout}")
done = run("--shell that is killed", *shell, typed="kill -9 $$\n", environment={
    "TEST_TOTAL_SHARDS": "50", "TEST_SHARD_INDEX": "49"})
require(done.returncode == 128 + 9, f"--shell killed by a signal, in an empty shard: exit code {done.returncode}")
for case, arguments in (("of two tests", ("--filter", "passes*")), ("of a nested run", ("--accel", "nested"))):
    done = run(f"--shell {case}", *shell, *arguments)
    require(done.returncode == 5 and done.stderr.count("\n") == 1, f"--shell {case}: exit code {done.returncode}:\n"
            + done.stderr)
done = run("--shell without a machine", "--shell", "--filter", "on_the_host_passes")
require(done.returncode == 3 and "host_only" in done.stderr, f"--shell of host_only: {done.returncode} {done.stderr}")


# ---- --shell on a terminal ------------------------------------------------------------------------
class terminal:
    """A person at a terminal of 30 rows and 100 columns in which `--shell` runs."""

    def __init__(self, case):
        self.case = case
        self.here, there = os.openpty()
        self.there = there
        self.resize(30, 100)
        self.before = termios.tcgetattr(there)
        self.heard = b""
        self.shell = subprocess.Popen(
            [program, *shell], stdin=there, stdout=there, stderr=there, start_new_session=True, env=base,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, rows, columns):
        fcntl.ioctl(self.here, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def sees(self, pattern, seconds=120, typing=None):
        """What comes up to the pattern; the rest waits for the next call. Types `typing` once a second until then."""
        end = time.monotonic() + expect.patience(seconds)
        typed = 0
        while not (match := re.search(pattern, self.heard)):
            if typing and time.monotonic() > typed + 1:
                typed = time.monotonic()
                self.types(typing)
            if time.monotonic() > end or self.shell.poll() is not None:
                wrong.append(f"{self.case}: never saw {pattern}:\n{self.heard.decode(errors='replace')}")
                return ""
            if select.select([self.here], [], [], 0.2)[0]:
                self.heard += os.read(self.here, 65536)
        seen, self.heard = self.heard[:match.end()], self.heard[match.end():]
        return seen.decode(errors="replace")

    def types(self, text):
        os.write(self.here, text.encode())

    def code(self, seconds=60):
        """The exit code; the terminal must then be as it was."""
        try:
            code = self.shell.wait(expect.patience(seconds))
        except subprocess.TimeoutExpired:
            self.shell.kill()
            self.shell.wait()
            wrong.append(f"{self.case}: did not end")
            return None
        finally:
            print("tried:", self.case, flush=True)
        require(termios.tcgetattr(self.there) == self.before, f"{self.case}: the terminal is not as it was")
        require(not os.listdir(runtime), f"{self.case}: files left behind: {os.listdir(runtime)}")
        return code


prompt = b"passes# $"
person = terminal("--shell on a terminal")
person.sees(prompt)
person.types("uname -r; exec 3>&1; [ -t 0 ] && echo it is a ter''minal\r")
require(release + "\r\nit is a terminal\r\n" in person.sees(prompt), "--shell on a terminal: uname -r or the terminal")
# The command itself says that it runs: a ^C while bash still hands it the terminal can be lost on bash, or end it.
person.types("sh -c 'uname; nproc; echo rea\"\"dy; exec sleep 1000'\r")
person.sees(b"\r\nready\r\n")
person.types("\x03")
person.sees(prompt)
person.types("ls > /dev/null; echo size=$LINES,$COLUMNS\r")
person.sees(b"size=30,100\r\n")
person.resize(41, 132)
# The host looks once a second, so the question is put again until the answer changes.
person.sees(b"size=41,132\r\n", typing="ls > /dev/null; echo size=$LINES,$COLUMNS\r")
person.types("echo all sa''id\r")
person.sees(b"\r\nall said\r\n" + prompt)
person.types("exit 7\r")
require((code := person.code()) == 7, f"--shell on a terminal: exit code {code}")

person = terminal("--shell left with ^D")
person.sees(prompt)
person.types("\x04")
require((code := person.code()) == 0, f"--shell left with ^D: exit code {code}")

person = terminal("--shell told to end")
person.sees(prompt)
person.shell.send_signal(signal.SIGTERM)
require((code := person.code()) == 3, f"--shell told to end: exit code {code}")

person = terminal("--shell whose terminal goes away")
person.sees(prompt)
os.close(person.here)
try:
    person.shell.wait(expect.patience(60))
except subprocess.TimeoutExpired:
    person.shell.kill()
    wrong.append("--shell whose terminal goes away: did not end")
require(not os.listdir(runtime), f"--shell whose terminal goes away: files left behind: {os.listdir(runtime)}")
print("tried: --shell whose terminal goes away", flush=True)

shutil.rmtree(place, ignore_errors=True)
expect.conclude(wrong)

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bpf.py TOOL KERNEL CLANG BPFTOOL LIBBPF_ROOT COMPILER KEPT: `ktstr kernel btf` of a kernel's image in both its forms,
and `ktstr bpf`, which builds schedulers with these tools and says of tools that are too old what helps. The program of
examples/schedulers/ktstr_simple.bpf.c is KEPT, for whoever has a machine to run it in."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

tool, kernel, clang, bpftool, libbpf, compiler, kept = map(os.path.abspath, sys.argv[1:])
root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
simple = os.path.join(root, "examples/schedulers/ktstr_simple.bpf.c")
zoo = os.path.join(root, "tests/vm/schedulers/zoo.bpf.c")
wrong = []
place = tempfile.mkdtemp(prefix="ktstr-bpf-")
out = os.path.join(place, "out")
os.mkdir(out)


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def write(name, text, mode=0o644):
    path = os.path.join(place, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def libbpf_says(version):
    """A folder for PKG_CONFIG_LIBDIR: this libbpf under any version."""
    library = next(at for at, _, files in os.walk(os.path.join(libbpf, "usr/lib")) if "libbpf.a" in files)
    return os.path.dirname(write(f"pkgconfig-{version}/libbpf.pc",
                                 f"includedir={libbpf}/usr/include\nlibdir={library}\nName: libbpf\nDescription: it\n"
                                 f"Version: {version}\nCflags:\nLibs:\n"))


TOOLS = {"KTSTR_CACHE_DIR": os.path.join(place, "cache"), "KTSTR_BPF_CLANG": clang, "KTSTR_BPFTOOL": bpftool,
         "PKG_CONFIG_LIBDIR": libbpf_says("1.4.6"), "PKG_CONFIG_PATH": ""}


def run(expected, *arguments, environment={}):
    done = subprocess.run([tool, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=200, env={**os.environ, **TOOLS, **environment})
    print("tried:", *arguments, *(f"{name}={value}" for name, value in environment.items()), flush=True)
    require(done.returncode == expected,
            f"{arguments} {environment}: exit code {done.returncode}, expected {expected}:\n{done.stdout}{done.stderr}")
    return done


def content(path):
    with open(path, "rb") as file:
        return file.read()


# ---- kernel btf -----------------------------------------------------------------------------------
raw = run(0, "kernel", "btf", kernel).stdout.strip()
btf = content(raw) if os.path.exists(raw) else b""
require(btf[:3] == b"\x9f\xeb\x01" and len(btf) > 1 << 20, f"no BTF at '{raw}': {len(btf)} bytes, {btf[:8]}")
packed = os.path.join(os.path.dirname(kernel), "bzImage")
if os.path.exists(packed):
    copy = os.path.join(place, "packed.btf")
    run(0, "kernel", "btf", packed, "-o", copy)
    require(content(copy) == btf, "bzImage and vmlinux of one kernel have different BTF")
else:
    require("CI" not in os.environ, f"no {packed} to compare with")
header = run(0, "kernel", "btf", kernel, "--format", "c", "-o", "-").stdout
require("struct task_struct {" in header and "struct sched_ext_ops {" in header, f"vmlinux.h: {header[:300]}")
none = os.path.join(place, "Image")
with open(none, "wb") as file:
    file.write(b"\0" * 56 + b"ARM\x64" + bytes(100))
require("CONFIG_DEBUG_INFO_BTF=y" in run(3, "kernel", "btf", none).stderr, "an image without BTF: no remedy")
kinds = run(0, "cache", "list").stdout
require(re.search("^btf +[0-9a-f]{8} .* types of kernel [0-9]", kinds, re.M) and "vmlinux.h of kernel " in kinds,
        f"the cache does not list what was made:\n{kinds}")

# ---- bpf build ------------------------------------------------------------------------------------
program = os.path.join(out, "my-scheduler")
build = ("bpf", "build", "--kernel", kernel, "--compiler", compiler)
said = run(0, *build, simple, "-o", program, "--depfile", program + ".d")
require(not said.stdout and "warning" not in said.stderr, f"a build is not silent:\n{said.stdout}{said.stderr}")
if wrong:
    print("\n".join("WRONG " + line for line in wrong))
    sys.exit(1)
require(content(os.path.join(program + ".bpf", "my-scheduler.bpf.o"))[:4] == b"\x7fELF", "the object is none")
rule = content(program + ".d").decode()
require(rule.startswith(program + ":") and simple in rule and "vmlinux.h" in rule, f"depfile:\n{rule[:500]}")


def start(*arguments, program=program):
    return subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)


done = start("--help")
require(done.returncode == 0 and done.stdout.startswith("my-scheduler: "), f"--help: {done}")
done = start("--fast")
require(done.returncode == 1 and "unknown argument '--fast'" in done.stderr, f"an unknown argument: {done}")
if not os.path.exists("/sys/kernel/sched_ext"):
    done = start()
    require(done.returncode == 1 and "my-scheduler: not loaded: " in done.stderr, f"without sched_ext: {done}")

shutil.copy(program, kept)

run(0, *build, zoo, "-D", 'ZOO_NAME="zoo"', "--loader", zoo.replace(".bpf.c", ".cpp"), "-o", os.path.join(out, "zoo"))
require(os.access(os.path.join(out, "zoo"), os.X_OK), "no program with a loader of one's own")

faulty = write("faulty.bpf.c", "int f(void) { return nothing; }\n")
said = run(3, *build, faulty, "-o", program)
require("nothing" in said.stderr and "cannot compile" in said.stderr, f"a fault of the source: {said.stderr}")
require(not os.path.exists(program), "the program of before is left after a build that failed")

# ---- tools that are too old, or none ---------------------------------------------------------------
said = run(0, "bpf", "tools").stdout
for path in (clang, bpftool, os.path.join(libbpf, "usr/include")):
    require(path in said, f"bpf tools does not name {path}:\n{said}")


def fake(name, text):
    return write(name, f"#!/bin/sh\necho '{text}'\n", 0o755)


def refused(what, words, environment):
    for arguments in (("bpf", "tools"), (*build, simple, "-o", program)):
        said = run(3, *arguments, environment=environment).stderr
        for word in words:
            require(word in said, f"{what}: {arguments[1]} does not say '{word}':\n{said}")


old_clang = fake("old/clang", "Debian clang version 14.0.6")
empty = os.path.join(place, "empty")
os.mkdir(empty)
refused("an old clang that is named", ["14.0.6", "16", "install clang-19"], {"KTSTR_BPF_CLANG": old_clang})
refused("an old clang in PATH", ["14.0.6", "install clang-19"],
        {"KTSTR_BPF_CLANG": "", "PATH": os.path.dirname(old_clang)})
refused("no clang", ["none in PATH", "install clang-19"], {"KTSTR_BPF_CLANG": "", "PATH": empty})
refused("an old bpftool", ["5.10.223", "ktstr package fetch bpftool/bookworm-backports"],
        {"KTSTR_BPFTOOL": fake("old/bpftool", "bpftool v5.10.223")})
refused("an old libbpf", ["1.1.2", "ktstr package fetch libbpf-dev/bookworm-backports"],
        {"PKG_CONFIG_LIBDIR": libbpf_says("1.1.2")})
refused("no libbpf", ["libbpf", "ktstr package fetch libbpf-dev/bookworm-backports"], {"PKG_CONFIG_LIBDIR": empty})
# An old one is passed over where a newer one is there.
os.symlink(clang, os.path.join(os.path.dirname(old_clang), "clang-18"))
said = run(0, "bpf", "tools", environment={
    "KTSTR_BPF_CLANG": "", "PATH": os.path.dirname(fake("older/clang-19", "clang version 15.0.7")) + ":"
    + os.path.dirname(old_clang) + ":" + os.environ["PATH"]}).stdout
require(os.path.join(os.path.dirname(old_clang), "clang-18") in said, f"a newer clang is not taken:\n{said}")

if wrong:
    print("\n".join("WRONG " + line for line in wrong))
    sys.exit(1)
shutil.rmtree(place)
print("ktstr bpf builds schedulers, and names what is too old")

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kernel_build.py TOOL KERNEL: `ktstr kernel build` on a tree that stands in for the kernel's: a makefile with the targets
that are used, whose image is a copy of KERNEL (a bzImage, or nothing where there is none), and build tools that only tell
their versions."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

tool, image = os.path.abspath(sys.argv[1]), sys.argv[2]
wrong = []
place = tempfile.mkdtemp(prefix="ktstr-kernel-build-")
cache, tree, programs = (os.path.join(place, name) for name in ("cache", "tree", "bin"))
LOGS = os.path.join(cache, "logs")

MAKEFILE = """VERSION = 9
PATCHLEVEL = 1
SUBLEVEL = 2
EXTRAVERSION = -rc1
allnoconfig:
    @mkdir -p $(O)/include/config
    @python3 configure.py $(KCONFIG_ALLCONFIG) Kconfig lib/Kconfig.debug > $(O)/.config
olddefconfig:
    @echo seen >> $(O)/targets
bzImage:
    @if [ -n "$(LLVM)$(KCFLAGS)$(GIVEN)" ]; then echo "error: built by LLVM=$(LLVM) KCFLAGS=$(KCFLAGS) GIVEN=$(GIVEN)"; exit 2; fi
    @if [ "$$LC_ALL" != C ]; then echo "error: the language is $$LC_ALL"; exit 2; fi
    @if [ -e kernel/edited.c ]; then echo more >> kernel/edited.c; fi
    @if [ -e kernel/broken.c ]; then echo "  CC      kernel/broken.o"; echo "kernel/broken.c:1:1: error: expected a semicolon"; exit 2; fi
    @if [ -e kernel/slow.c ]; then echo $$$$ > $(SLOW); sleep 600; fi
    @echo "  CC      kernel/fork.o"
    @grep -q seen $(O)/targets
    @mkdir -p $(O)/arch/x86/boot $(O)/arch/arm64/boot
    @cp image $(O)/arch/x86/boot/bzImage
    @echo 9.1.2-rc1$(LOCALVERSION)`cat names` > $(O)/include/config/kernel.release
""".replace("\n    ", "\n\t")
# Takes an option whose dependencies are taken too; knows none but those of the Kconfig files.
CONFIGURE = r'''
import re, sys
wanted = dict(re.findall(r"^CONFIG_(\w+)=(.*)$", open(sys.argv[1]).read(), re.M))
known = {}
for path in sys.argv[2:]:
    for line in open(path):
        if line.startswith("config "):
            current = line.split()[1]
            known[current] = []
        elif line.strip().startswith("depends on ") and "PAHOLE" not in line:
            known[current].append(line.split()[2])
print("CONFIG_STAND_IN=y")
for name, value in sorted(wanted.items()):
    if name in known and all(wanted.get(other, "n") == "y" for other in known[name]):
        print(f"CONFIG_{name}={value}")
'''


def require(condition, sentence):
    if not condition:
        wrong.append(sentence)


def write(path, text, mode=0o644):
    path = os.path.join(place, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def fake(name, text):
    return write(f"bin/{name}", f"#!/bin/sh\n{text}\n", 0o755)


# What would build another kernel under the same name, and another language.
STRAY = {"LLVM": "1", "KCFLAGS": "-O1", "MAKEFLAGS": "-- GIVEN=y", "LC_ALL": "xx_YY"}
ENVIRONMENT = {**os.environ, **STRAY, "KTSTR_CACHE_DIR": cache, "PATH": programs + ":/usr/bin:/bin", "SLOW": os.path.join(place, "slow")}


def build(expected, *arguments, path=None):
    done = subprocess.run([tool, "kernel", "build", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=300,
                          env={**ENVIRONMENT, **({"PATH": path} if path else {})})
    print("tried:", *arguments, flush=True)
    require(done.returncode == expected,
            f"{arguments}: exit code {done.returncode}, expected {expected}:\n{done.stdout}{done.stderr}")
    return done


def refused(what, words, *arguments, expected=3, path=None):
    before = kernels()
    said = build(expected, *arguments, path=path).stderr
    for word in words:
        require(word in said, f"{what}: no '{word}' in:\n{said}")
    require(kernels() == before, f"{what}: something new is in the cache: {kernels()}")
    left = os.listdir(os.path.join(cache, "tmp")) if os.path.isdir(os.path.join(cache, "tmp")) else []
    require(not left, f"{what}: half of it is left: {left}")


def kernels():
    folder = os.path.join(cache, "kernels")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


# ---- tools and a tree --------------------------------------------------------------------------------
for name, version in {"gcc": "gcc (stand-in) 12.2.0", "ld": "GNU ld 2.40", "pahole": "v1.24"}.items():
    fake(name, f"case $1 in --version) echo '{version}';; *) cat > /dev/null;; esac")
for name in ("flex", "bison", "bc"):
    fake(name, "exit 1")
root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
options = set()
for name in ("base", "x86_64", "aarch64", "sched_ext", "steal", "debug"):
    with open(os.path.join(root, "guest-kernel-config", name + ".config")) as file:
        options.update(line.split("=")[0][7:] for line in file if line.startswith("CONFIG_"))
# One of ktstr's that tests can do without is not known to this kernel, and one depends on what nobody asks for.
options -= {"DEBUG_INFO_BTF", "SCHED_AUTOGROUP", "TASKSTATS"}
write("tree/Kconfig", "".join(f"config {name}\n\tbool\n" for name in sorted(options))
      + "config TASKSTATS\n\tbool\n\tdepends on MOON\nconfig GOOD\n\tbool\nconfig PICKY\n\tbool\n\tdepends on MOON\n")
write("tree/lib/Kconfig.debug", "config DEBUG_INFO_BTF\n\tbool\n\tdepends on PAHOLE_VERSION >= 122\nconfig OTHER\n\tbool\n")
write("tree/Makefile", MAKEFILE)
write("tree/configure.py", CONFIGURE)
write("tree/names", "")
write("tree/tools/readme", "")
write("tree/include/readme", "")
write("tree/kernel/fork.c", "")
if os.path.exists(image):
    shutil.copy(image, os.path.join(tree, "image"))
else:
    require("CI" not in os.environ, f"no kernel image {image} to build with")
    with open(os.path.join(tree, "image"), "wb") as out:  # an arm64 image: looked into no further
        out.write(b"\0" * 56 + b"ARM\x64" + bytes(100))

# ---- a build, found again, and what makes another of it ----------------------------------------------
first = build(0, tree)
release = first.stdout.strip()
require(release.startswith("9.1.2-rc1-ktstr-"), f"the release: {release}")
require("TASKSTATS" in first.stderr and "MOON" in first.stderr, f"a wanted option that is missing is not told:\n{first.stderr}")
require("SCHED_AUTOGROUP" not in first.stderr, f"an option that this kernel does not know is complained of:\n{first.stderr}")
entry = os.path.join(cache, "kernels", release)
for name in ("bzImage", "config", "kernel.info", "build.log"):
    require(os.path.exists(os.path.join(entry, name)), f"the entry has no {name}")
require(not os.path.exists(os.path.join(entry, "out")) and not os.listdir(LOGS), "objects or a log are left behind")
require("built" in subprocess.run([tool, "kernel", "list"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True).stdout,
        "kernel list does not show it")
listed = json.loads(subprocess.run([tool, "kernel", "list", "--json"], env=ENVIRONMENT, stdout=subprocess.PIPE).stdout)
require([(one["release"], one["source"], one["damage"]) for one in listed] == [(release, "built", None)], f"listed: {listed}")
shown = subprocess.run([tool, "kernel", "show", release], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
require(shown.returncode == 0 and "sched_ext  yes" in shown.stdout and "boots      yes" in shown.stdout, f"shown: {shown.stdout}")
again = build(0, tree)
require(again.stdout == first.stdout and "building" not in again.stderr, f"it is built twice:\n{again.stderr}")
good = write("good.config", "# what one wants\nCONFIG_GOOD=y\n")
other = build(0, tree, "--config", good).stdout
require(other != first.stdout and "CONFIG_GOOD=y" in open(os.path.join(cache, "kernels", other.strip(), "config")).read(),
        "a fragment changes nothing")
write("tree/kernel/fork.c", "int changed;\n")
require(build(0, tree).stdout not in (first.stdout, other), "another source is not another kernel")
write("tree/kernel/fork.c", "")
require(build(0, tree).stdout == first.stdout, "the first source again is not the first kernel")
fake("pahole", "echo v1.25")
require(build(0, tree).stdout != first.stdout, "another pahole is not another kernel")

# ---- a tarball -----------------------------------------------------------------------------------------
tarball = os.path.join(place, "linux-9.1.tar.gz")
subprocess.run(["tar", "-czf", tarball, "-C", place, "tree"], check=True)
packed = build(0, tarball)
require(os.path.exists(os.path.join(cache, "kernels", packed.stdout.strip(), "config")), "none of a tarball")
require(not os.path.exists(os.path.join(cache, "kernels", packed.stdout.strip(), "source")), "sources are left in the entry")
write("broken.tar.gz", "this is none")
refused("a tarball that is none", ["broken.tar.gz"], os.path.join(place, "broken.tar.gz"))

# ---- what is wrong is named, with what helps, and nothing is left ----------------------------------------
refused("an option that depends on another", ["CONFIG_PICKY is n", "asks for y", "depends on MOON"], tree, "--config",
        write("picky.config", "CONFIG_PICKY=y\n"))
refused("an option that is none of this kernel's", ["CONFIG_TYPO", "knows no such option"], tree, "--config",
        write("typo.config", "CONFIG_TYPO=y\n"))
refused("a name that is none", ["words.config:1", "no option"], tree,
        "--config", write("words.config", "CONFIG_ONE MORE=y\n"))
refused("a fragment that is none", ["words2.config:2", "no option"], tree, "--config",
        write("words2.config", "CONFIG_GOOD=y\nplease build quickly\n"))
refused("no such fragment", ["--config"], tree, "--config", os.path.join(place, "nothing.config"), expected=5)
refused("no such source", ["/no/such/tree"], "/no/such/tree")
os.mkdir(os.path.join(place, "empty"))
refused("a folder that is no tree", ["no tree of the kernel's"], os.path.join(place, "empty"))
write("tree/.config", "")
refused("a tree that was configured", [".config is there", "mrproper", "--kernel"], tree)
os.unlink(os.path.join(tree, ".config"))
write("tree/kernel/broken.c", "x")
refused("a source that does not compile", ["expected a semicolon", ".log"], tree)
require(any("expected a semicolon" in open(os.path.join(LOGS, name)).read() for name in os.listdir(LOGS)), "no log is kept")
os.unlink(os.path.join(tree, "kernel/broken.c"))
write("tree/kernel/edited.c", "")
refused("a tree that is edited while it is built", ["its sources changed meanwhile"], tree)
os.unlink(os.path.join(tree, "kernel/edited.c"))
write("tree/names", "-mine")
refused("a name of its own", ["CONFIG_LOCALVERSION"], tree)
write("tree/names", "")
fake("pahole", "echo v1.15")
refused("an old pahole", ["pahole is 1.15", "1.22", "dwarves"], tree)
os.unlink(os.path.join(programs, "pahole"))
only = os.path.join(place, "only")
os.mkdir(only)
for name in ("make", "python3", "sh", "cp", "mkdir", "cat", "grep", "echo", "tar", "gzip", "sleep", "xz"):
    if found := shutil.which(name, path="/usr/bin:/bin"):
        os.symlink(found, os.path.join(only, name))
os.unlink(os.path.join(programs, "flex"))
refused("tools that are missing", ["flex", "pahole", "apt-get install", "dwarves"], tree, path=programs + ":" + only)
fake("flex", "exit 1")
fake("pahole", "echo v1.25")

# ---- programs for it are of its sources, not of another version's ------------------------------------------------
write("tree/Makefile", MAKEFILE.replace("PATCHLEVEL = 1", "PATCHLEVEL = 2"))
source = subprocess.run([tool, "kernel", "source", release], env=ENVIRONMENT, capture_output=True, text=True)
require(source.returncode == 3 and "is of 9.2.2-rc1 by now" in source.stderr, f"sources of another version: {source}")
write("tree/Makefile", MAKEFILE)
source = subprocess.run([tool, "kernel", "source", release], env=ENVIRONMENT, capture_output=True, text=True)
require((source.returncode, source.stdout.strip()) == (0, os.path.realpath(tree)), f"its own sources: {source}")

# ---- interrupted, nothing half-made is left ---------------------------------------------------------------
write("tree/kernel/slow.c", "")
before = kernels()
os.mkfifo(ENVIRONMENT["SLOW"])
running = subprocess.Popen([tool, "kernel", "build", tree], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True)
with open(ENVIRONMENT["SLOW"]) as pipe:  # opens when the makefile has come so far
    sleeper = pipe.read().strip()
running.send_signal(signal.SIGINT)
out, said = running.communicate(timeout=60)
require(running.returncode == 3 and "interrupted" in said, f"interrupted: exit code {running.returncode}\n{said}")
require(kernels() == before and not os.listdir(os.path.join(cache, "tmp")), "an interrupted build leaves something")
require(not os.path.exists(f"/proc/{sleeper}"), "an interrupted build leaves processes")

if wrong:
    print("\n".join("WRONG " + line for line in wrong))
    sys.exit(1)
shutil.rmtree(place)
print("ktstr kernel build: builds once, compares the configuration, names what is missing, leaves nothing half-made")

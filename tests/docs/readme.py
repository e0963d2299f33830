#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""readme.py SOURCE_DIR COMPILER OBJECT... -- README's shell lines are run, on its own C++ code, in their order.

OBJECTs are the main file, compiled: a shell line that compiles it gets them instead, which is all that is not done as
it stands there. Other stand-ins: what is installed goes to a folder of this test and leaves the ktstr command and the
examples out; `./bootstrap` itself is what runs this, so of its lines only the commands are looked up."""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

import blocks

# What stands for a compiler: the main file's objects in place of its source.
COMPILER = """#!/usr/bin/env python3
import os, sys
objects, given = {objects!r}, []
for argument in sys.argv[1:]:
    if argument.endswith(".cpp") and argument.startswith({prefix!r}):
        given += objects
        objects = []
    else:
        given.append(argument)
sys.exit("the line compiles no main file") if objects else os.execv({compiler!r}, [{compiler!r}] + given)
"""
CMAKE = """#!/bin/sh
[ "$1" = -S ] && set -- "$@" -DKTSTR_BUILD_TOOL=OFF -DKTSTR_BUILD_EXAMPLES=OFF "-DCMAKE_INSTALL_PREFIX={prefix}"
exec {cmake} "$@"
"""


def which(name):
    found = subprocess.run(["sh", "-c", f"command -v {name}"], text=True, stdout=subprocess.PIPE).stdout.strip()
    return found or sys.exit(f"{name} is not installed; run ./bootstrap deps")


class book:
    def __init__(self, source, compiler, objects, place):
        self.source, self.place = source, place
        self.prefix = place / "prefix"
        (place / "bin").mkdir()
        self.tool("g++", COMPILER.format(objects=objects, prefix=str(self.prefix), compiler=which(compiler)))
        self.tool("cmake", CMAKE.format(cmake=which("cmake"), prefix=self.prefix))
        self.environment = {**os.environ, "PATH": f"{place}/bin:{place}:{os.environ['PATH']}", "KTSTR_ACCEL": "tcg",
                            "PKG_CONFIG_PATH": f"{self.prefix}/share/pkgconfig"}
        self.environment.pop("CXX", None)

    def tool(self, name, text):
        (self.place / "bin" / name).write_text(text)
        (self.place / "bin" / name).chmod(0o755)

    def run(self, line, cwd, stdin=None):
        print(f"$ {line}", flush=True)
        done = subprocess.run(["bash", "-e", "-u", "-o", "pipefail", "-c", line], cwd=cwd, env=self.environment,
                              text=True, errors="replace", input=stdin or "", stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=600)
        print(done.stdout, flush=True)
        if done.returncode != 0:
            sys.exit(f"WRONG README.md: `{line}` ended with {done.returncode}")
        return done.stdout

    def line(self, line):
        word = shlex.split(line, comments=True)[0]
        if word == "./bootstrap":
            command = shlex.split(line, comments=True)[1]
            if not re.search(rf"^  {command} ", self.run("./bootstrap help", self.source), re.MULTILINE):
                sys.exit(f"WRONG README.md: `{line}`: ./bootstrap knows no such command")
        elif word == "cmake":
            line = line.replace("/usr/local", shlex.quote(str(self.prefix)))
            line = line.replace("-B build", f"-B {self.place}/build").replace("--build build", f"--build {self.place}/build")
            self.run(line.replace("--install build", f"--install {self.place}/build"), self.source)
        elif word == "my_tests" and "--shell" in line:
            if "shells say hello" not in self.run(line, self.place, "echo shells say hello\nexit\n"):
                sys.exit(f"WRONG README.md: `{line}`: no shell answered")
        else:
            self.run(line, self.place)


def main():
    source, compiler, objects = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:]
    path = source / "README.md"
    code = [text for _, text in blocks.blocks(path, "cpp")]
    lines = [line for _, text in blocks.blocks(path, "sh") for line in text.splitlines() if line.strip()]
    # Installing comes last in README, and everything is done with what it installs.
    lines.sort(key=lambda line: not line.startswith("cmake"))
    with tempfile.TemporaryDirectory(prefix="ktstr-readme-") as place:
        stand_in = book(source, compiler, objects, pathlib.Path(place))
        (stand_in.place / "a.cpp").write_text(code[0])
        for line in lines:
            stand_in.line(line)
    words = {shlex.split(line, comments=True)[0] for line in lines}
    if len(code) != 1 or words != {"./bootstrap", "cmake", "g++", "my_tests"}:
        sys.exit(f"WRONG README.md has {len(code)} C++ blocks, and shell lines of {sorted(words)}")


main()

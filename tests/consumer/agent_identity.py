#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""agent_identity.py SOURCE_DIR WORK_DIR GENERATOR COMPILER -- the identity of the guest's agent follows its headers.

Clones keep the agent of their template, which is known by this identity: one that stays the same when a header of the
guest changes would run an old agent. CMake and Meson have to agree, and notice a change by themselves."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

source, work, generator, compiler = sys.argv[1:]
source, work = pathlib.Path(source).resolve(), pathlib.Path(work).resolve()
shutil.rmtree(work, ignore_errors=True)
tree = work / "tree"
for part in ("include", "cmake"):
    shutil.copytree(source / part, tree / part)
for part in ("CMakeLists.txt", "meson.build"):
    shutil.copy(source / part, tree)


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "CXX": compiler})
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout}")


def identity(build):
    return re.search(r'KTSTR_AGENT_IDENTITY "([0-9a-f]{64})"', (work / build / "ktstr_main_host.cpp").read_text())[1]


def differ(name):
    """The identities before and after a change of a header, and after it is taken back."""
    header = tree / "include" / "ktstr" / name
    text = header.read_text()
    header.write_text(text + "// changed\n")
    run("cmake", "--build", work / "cmake")
    changed = identity("cmake")
    run("meson", "compile", "-C", work / "meson")
    if identity("meson") != changed:
        sys.exit(f"CMake and Meson see {name} change differently")
    header.write_text(text)
    return changed


run("cmake", "-S", tree, "-B", work / "cmake", "-G", generator, f"-DCMAKE_CXX_COMPILER={compiler}",
    *(f"-DKTSTR_BUILD_{part}=OFF" for part in ("TESTS", "EXAMPLES", "TOOL")), "-DKTSTR_INSTALL=OFF")
# As a subproject, so that nothing is compiled.
project = work / "project"
(project / "subprojects").mkdir(parents=True)
(project / "subprojects" / "ktstr").symlink_to(tree)
(project / "meson.build").write_text("project('p', 'cpp', default_options: ['cpp_std=c++20'])\n"
                                     "configure_file(input: subproject('ktstr').get_variable('main_sources')[0], "
                                     "output: 'ktstr_main_host.cpp', copy: true)\n")
run("meson", "setup", work / "meson", project)
before = identity("cmake")
if identity("meson") != before:
    sys.exit("CMake and Meson compute different identities")
for name in ("guest/init.hpp", "base/error.hpp", "wire/message.hpp", "version.hpp"):
    if differ(name) == before:
        sys.exit(f"{name} changed, and the identity of the agent did not")
for name in ("host/run/runner.hpp", "parts/annotations.hpp"):
    if differ(name) != before:
        sys.exit(f"{name} is not of the agent, and changed its identity")
run("cmake", "--build", work / "cmake")
if identity("cmake") != before:
    sys.exit("the same headers gave another identity")
print("ok: the identity follows the guest's headers, with CMake and with Meson")

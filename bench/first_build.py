#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""first_build.py [--tree DIR]... [--types Release,Debug] [--compiler g++]: what the first build of a user's project costs.

Each tree (default: this one) is installed, and a project of three test files and two programs is built against it, one
compiler at a time. Prints the CPU time of the whole build, and CPU time and peak memory of ktstr's main in it. Trees take
turns within one run: only figures of one run can be compared."""
import argparse
import pathlib
import resource
import subprocess
import sys
import tempfile

PROJECT = """cmake_minimum_required(VERSION 3.25)
project(first_build CXX)
set(CMAKE_CXX_STANDARD 20)
enable_testing()
find_package(ktstr REQUIRED)
ktstr_add_test(first SOURCES one.cpp two.cpp)
ktstr_add_test(second SOURCES three.cpp)
"""
TEST = """#include <ktstr/ktstr.hpp>
KTSTR_TEST(test_NAME, llcs = 1, cores = 2, threads = 1) {
    KTSTR_CHECK(2 + 2 == 4);
}
"""


def run(*command):
    """CPU seconds of a command and all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"ended with {done.returncode}: {command}\n{done.stdout}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def launch(log, *command):
    """As the compiler's launcher: runs it and notes what it took."""
    status = subprocess.run(command).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(log, "a") as out:
        print(used.ru_utime + used.ru_stime, used.ru_maxrss // 1024, command[-1], file=out)
    return status


def install(tree, place, compiler):
    run("cmake", "-S", tree, "-B", place / "tree", f"-DCMAKE_CXX_COMPILER={compiler}", "-DKTSTR_BUILD_TESTS=OFF",
        "-DKTSTR_BUILD_EXAMPLES=OFF", "-DKTSTR_BUILD_TOOL=OFF")
    run("cmake", "--install", place / "tree", "--prefix", place / "prefix")


def first_build(place, kind, compiler):
    """(the build's CPU seconds, [(CPU seconds, MB, file) of each compiled file])"""
    project, log = place / kind, place / f"{kind}.log"
    project.mkdir()
    (project / "CMakeLists.txt").write_text(PROJECT)
    for name in ("one", "two", "three"):
        (project / f"{name}.cpp").write_text(TEST.replace("NAME", name))
    run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={place / 'prefix'}", f"-DCMAKE_BUILD_TYPE={kind}",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        f"-DCMAKE_CXX_COMPILER_LAUNCHER={sys.executable};-B;{pathlib.Path(__file__).resolve()};--launch;{log}")
    seconds = run("cmake", "--build", project / "build", "--parallel", "1")
    compiled = [line.split(" ", 2) for line in log.read_text().splitlines()]
    return seconds, [(float(cpu), int(mb), pathlib.Path(file).name) for cpu, mb, file in compiled]


def main():
    if sys.argv[1:2] == ["--launch"]:
        return launch(*sys.argv[2:])
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tree", action="append", type=pathlib.Path)
    arguments.add_argument("--types", default="Release,Debug")
    arguments.add_argument("--compiler", default="g++")
    given = arguments.parse_args()
    trees = given.tree or [pathlib.Path(__file__).resolve().parent.parent]
    with tempfile.TemporaryDirectory(prefix="ktstr-first-build-") as scratch:
        places = [pathlib.Path(scratch, str(number)) for number in range(len(trees))]
        for tree, place in zip(trees, places):
            place.mkdir()
            install(tree, place, given.compiler)
        for kind in given.types.split(","):
            first = None
            for tree, place in zip(trees, places):
                seconds, compiled = first_build(place, kind, given.compiler)
                mains = [one for one in compiled if "ktstr_main" in one[2]]
                cpu, peak = sum(one[0] for one in mains), max(one[1] for one in mains)
                first = first or (cpu, peak, seconds)
                print(f"{kind:8} {tree}: main {cpu:.1f} s ({cpu / first[0]:.2f}), {peak} MB ({peak / first[1]:.2f}); "
                      f"first build {seconds:.1f} s ({seconds / first[2]:.2f})")
                for one in compiled:
                    print(f"         {one[0]:6.1f} s {one[1]:5} MB  {one[2]}", flush=True)
    return 0


sys.exit(main())

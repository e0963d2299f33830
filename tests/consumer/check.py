#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check.py KIND SOURCE_DIR BUILD_DIR WORK_DIR GENERATOR COMPILER -- ktstr as a user's project takes it in.

KIND is find_package, compiled_main, add_subdirectory or meson. Builds the project of that name beside this file against the tree
(for find_package: against what its build installs), runs the test that needs no machine, and reads what the user's
test runner knows of the tests.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ("host", "guest", "reports", "entry")
NAMES = {"sum_on_the_host", "large_machine_small_budget", "larger_than_most_hosts"}


def run(*command, cwd=None, environment=None, ok=(0,)):
    print("$", *command, flush=True)
    done = subprocess.run([str(part) for part in command], cwd=cwd, text=True, stdout=subprocess.PIPE,
                          env={**os.environ, **(environment or {})})
    if done.returncode not in ok:
        sys.exit(f"ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def equal(got, wanted, what):
    if got != wanted:
        sys.exit(f"{what}: got {got!r}, wanted {wanted!r}")
    print(f"ok: {what}")


def check_program(program):
    equal(set(run(program, "--list").split()), NAMES, "--list names the tests")


    said = run(program, "--filter", "sum_on_the_host", environment={"KTSTR_SCHEDULER_NOBODY": "/p"})
    equal("KTSTR_SCHEDULER_NOBODY changes nothing" in said, True, "a scheduler's variable that changes nothing is told")
    run(program, "--filter", "sum_on_the_host", environment={"KTSTR_SCHEDULER_EEVDF": "/p"}, ok=(5,))
    run(program, "--list", environment={"KTSTR_SCHEDULER_EEVDF": "/p"})


def check_own_main(program):
    check_program(program)
    equal(run(program, "greet"), "my own main\n", "a program that keeps its main() is its own")
    run(program, "--filter", "sum_on_the_host")  # whose body has a keeper


def check_ctest(build):
    shown = json.loads(run("ctest", "--show-only=json-v1", cwd=build))
    known = {test["name"]: {p["name"]: p["value"] for p in test["properties"]} for test in shown["tests"]}
    equal({name for name in known if not name.startswith("own/")}, NAMES, "every test is registered by its name")
    equal({name[4:] for name in known if name.startswith("own/")}, NAMES, "and so are those of a program with its own main()")
    known = {name: facts for name, facts in known.items() if name in NAMES}
    host = min(224, os.cpu_count())
    for name, processors in (("large_machine_small_budget", 1), ("larger_than_most_hosts", host)):
        equal(known[name].get("PROCESSORS", 1), processors, f"PROCESSORS of {name}")
    equal(known["sum_on_the_host"]["TIMEOUT"], 53 * 20 + 3 * 130.0, "TIMEOUT of sum_on_the_host")
    equal(known["large_machine_small_budget"]["TIMEOUT"], 106 * 20 + 3 * 160.0, "TIMEOUT of large_machine_small_budget")
    equal(known["sum_on_the_host"]["LABELS"], ["arithmetic", "mine", "quick"], "LABELS of sum_on_the_host")
    equal({facts["SKIP_RETURN_CODE"] for facts in known.values()}, {4}, "SKIP_RETURN_CODE of all")
    run("ctest", "-R", "^(own/)?sum_on_the_host$", "--no-tests=error", "--output-on-failure", cwd=build)
    print("ok: the test that needs no machine passes under ctest")


def cmake_build(project, work, generator, compiler, *args):
    build = work / "build"
    run("cmake", "-S", HERE / project, "-B", build, "-G", generator, f"-DCMAKE_CXX_COMPILER={compiler}", *args)
    run("cmake", "--build", build)
    check_program(build / "my_tests")
    check_own_main(build / "own_main")
    check_ctest(build)


def find_package(source, tree_build, work, generator, compiler):
    prefix = work / "prefix"
    run("cmake", "--install", tree_build, "--prefix", prefix)
    installed = {path.relative_to(prefix / "include").as_posix() for path in (prefix / "include").rglob("*")
                 if path.is_file()}
    headers = {path.relative_to(source / "include").as_posix() for path in (source / "include").rglob("*.hpp")}
    equal(installed, headers, "all headers and nothing else is installed under include/")
    cmake_build("find_package", work, generator, compiler, f"-DCMAKE_PREFIX_PATH={prefix}",
                "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    commands = json.loads((work / "build" / "compile_commands.json").read_text())
    of_main = {pathlib.Path(one["file"]).name: one["command"] for one in commands if "ktstr_main_" in one["file"]
               and "entry" not in one["file"]}
    equal(sorted(pathlib.Path(one["file"]).name for one in commands if "/ktstr_main_" in one["command"].split(" -o ")[1]
                 .split(".dir/")[0]), sorted(of_main), "what a library brings is not in the program twice")
    equal({name for name, command in of_main.items() if "-DOF_HELPERS" in command}, set(of_main),
          "the main is compiled with a library's options")


def compiled_main(source, tree_build, work, generator, compiler):
    tree, prefix = work / "tree", work / "prefix"
    run("cmake", "-S", source, "-B", tree, "-G", generator, f"-DCMAKE_CXX_COMPILER={compiler}", "-DKTSTR_INSTALL_MAIN=ON",
        "-DKTSTR_BUILD_TESTS=OFF", "-DKTSTR_BUILD_EXAMPLES=OFF", "-DKTSTR_BUILD_TOOL=OFF")
    run("cmake", "--build", tree)
    run("cmake", "--install", tree, "--prefix", prefix)
    # What it does not depend on may differ; a warning's option must be no reason to refuse it.
    cmake_build("compiled_main", work, generator, compiler, f"-DCMAKE_PREFIX_PATH={prefix}",
                "-DCMAKE_CXX_FLAGS=-O1 -g -Wall -DMINE=1")
    built = {path.name for path in (work / "build").rglob("*.o")}
    equal(built, {"my_tests.cpp.o", "own_main.cpp.o"}, "nothing of ktstr is compiled in a project with COMPILED_MAIN")

    without = work / "without"
    run("cmake", "--install", tree_build, "--prefix", without)
    for case, words, *arguments in (
            ("another option", "compiled with '', and this directory with '-fsanitize=address'",
             f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_CXX_FLAGS=-fsanitize=address"),
            ("another mode of the library", "-D_GLIBCXX_DEBUG", f"-DCMAKE_PREFIX_PATH={prefix}",
             "-DCMAKE_CXX_FLAGS=-D_GLIBCXX_DEBUG"),
            ("no compiled main", "was installed without a COMPILED_MAIN", f"-DCMAKE_PREFIX_PATH={without}")):
        refused(case, words, generator, compiler, work, *arguments)
    facts = prefix / "share/cmake/ktstr/ktstr-targets.cmake"
    facts.write_text(facts.read_text().replace('"GNU ', '"GNU 1.').replace('"Clang ', '"Clang 1.'))
    refused("another compiler", "the COMPILED_MAIN is of", generator, compiler, work, f"-DCMAKE_PREFIX_PATH={prefix}")


    # A project that takes ktstr in as a folder is not refused for what only that folder knows.
    run("cmake", "-S", HERE / "add_subdirectory", "-B", work / "taken-in", "-G", generator,
        f"-DCMAKE_CXX_COMPILER={compiler}", f"-DKTSTR_SOURCE_DIR={source}", "-DKTSTR_INSTALL_MAIN=ON", "-DMAIN=COMPILED_MAIN")


def refused(case, words, generator, compiler, work, *arguments):
    """The project is not even configured, with these words in the reason."""
    done = subprocess.run(["cmake", "-S", str(HERE / "compiled_main"), "-B", str(work / case.replace(" ", "-")), "-G",
                           generator, f"-DCMAKE_CXX_COMPILER={compiler}", *arguments], capture_output=True, text=True)
    said = " ".join(done.stderr.split())
    if done.returncode == 0 or words not in said or "leave COMPILED_MAIN out" not in said:
        sys.exit(f"{case}: ended with {done.returncode} and said {done.stderr}")
    print("ok: refused:", case)


def add_subdirectory(source, _, work, generator, compiler):
    cmake_build("add_subdirectory", work, generator, compiler, f"-DKTSTR_SOURCE_DIR={source}")
    if (work / "build" / "ktstr" / "bin").exists():
        sys.exit("a project that takes ktstr in builds its command too, unasked")


def meson(source, _, work, __, compiler):
    if not shutil.which("meson"):
        print("skipped: meson is not installed; run ./bootstrap deps")
        sys.exit(1 if "CI" in os.environ else 4)
    environment = {"CXX": compiler}
    project = work / "project"
    shutil.copytree(HERE / "meson", project)
    for file in ("my_tests.cpp", "own_main.cpp"):
        shutil.copy(HERE / file, project)
    (project / "subprojects").mkdir()
    (project / "subprojects" / "ktstr").symlink_to(source)
    run("meson", "setup", work / "build", project, environment=environment)
    run("meson", "compile", "-C", work / "build")
    check_program(work / "build" / "my_tests")
    check_own_main(work / "build" / "own_main")
    tested = run("meson", "test", "-C", work / "build", "--verbose")
    if "1/1 my_tests OK" not in " ".join(tested.split()) or "1 subtests passed" not in tested:
        sys.exit(f"meson did not see one TAP test pass:\n{tested}")
    print("ok: meson reads the TAP lines")

    # The tree's own meson.build: what it installs serves a plain compiler call through pkg-config.
    prefix = work / "prefix"
    run("meson", "setup", work / "tree", source, "--prefix", prefix, environment=environment)
    run("meson", "install", "-C", work / "tree", "--no-rebuild")
    found = {"PKG_CONFIG_PATH": str(prefix / "share" / "pkgconfig")}
    version = run("pkg-config", "--modversion", "ktstr", environment=found).strip()
    main_sources = run("pkg-config", "--variable=main_sources", "ktstr", environment=found).split()
    equal(main_sources, [str(prefix / f"share/cmake/ktstr/ktstr_main_{part}.cpp") for part in PARTS],
          f"main_sources of ktstr {version}'s ktstr.pc")
    flags = run("pkg-config", "--cflags", "ktstr", environment=found).split()
    run(compiler, "-std=c++20", "-fsyntax-only", *flags, HERE / "my_tests.cpp")
    run(compiler, "-std=c++20", "-fsyntax-only", *flags, *main_sources, HERE / "own_main.cpp")
    equal(run("pkg-config", "--variable=no_main_sources", "ktstr", environment=found).split(), main_sources[:-1],
          "no_main_sources")
    print("ok: pkg-config's flags compile a test file and the main files")


def main():
    kind, source, tree_build, work, generator, compiler = sys.argv[1:]
    work = pathlib.Path(work).resolve() / kind
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    consumers = {"find_package": find_package, "compiled_main": compiled_main,
                 "add_subdirectory": add_subdirectory, "meson": meson}
    consumers[kind](pathlib.Path(source).resolve(), tree_build, work, generator, compiler)


main()

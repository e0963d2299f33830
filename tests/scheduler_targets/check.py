#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check.py BUILD_DIR [CMAKE_ARG...] -- ktstr_add_test(... SCHEDULERS) and ktstr_add_bpf_scheduler(), with every generator
that is here: what is built with what, what is found beside a test program, and what is refused with which words."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# `bpf build SOURCE... --output PROGRAM --depfile FILE ...`: the program is a file with these arguments.
TOOL = """#!/usr/bin/env python3
import json, os, pathlib, sys
words = sys.argv[1:]
assert words[:2] == ["bpf", "build"], words
program, depfile = (words[words.index(option) + 1] for option in ("--output", "--depfile"))
if os.path.exists(program):
    os.remove(program)
if "fault" in pathlib.Path(words[2]).read_text():
    sys.exit(words[2] + ":7:3: error: what the compiler says")
pathlib.Path(program).write_text(json.dumps(words))
os.chmod(program, 0o755)
pathlib.Path(depfile).write_text(program + ": " + os.path.dirname(program) + "/../header.h\\n")
"""


def run(*command, ok=True):
    done = subprocess.run([str(part) for part in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if ok and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done


def require(condition, what):
    if not condition:
        raise AssertionError(what)


def build(place, *arguments, ok=True):
    return run("cmake", "--build", place, *arguments, ok=ok)


def sources(place):
    (place / "beside.cpp").write_text((HERE / "elsewhere/scheduler.cpp").read_text())
    (place / "one.bpf.c").write_text("// SPDX-License-Identifier: MIT\n")


def what_is_built(place, configure):
    sources(place)
    (place / "header.h").write_text("")
    (place / "listing.json").write_text('[{"name": "t", "cpus": 1, "timeout_s": 1}]')
    tool = place / "tool"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    configure(place, f"-DKTSTR_TOOL={tool}")
    far, of_bpf = place / "elsewhere/bin/another_name", place / "of_bpf_ktstr/of_bpf"

    # A test program is built with its schedulers, and each is found beside it.
    build(place, "--target", "tests")
    require(os.readlink(place / "far") == str(far) and far.exists(), "far is not beside the tests")
    require(os.readlink(place / "of_bpf") == str(of_bpf) and of_bpf.exists(), "of_bpf is not beside the tests")
    require((place / "beside").is_file() and not (place / "beside").is_symlink(), "a link stands in a program's place")
    require(not (place / "plain_ktstr/plain").exists(), "what no test names was built with them")
    words = json.loads(of_bpf.read_text())
    wanted = ["bpf", "build", f"{place}/one.bpf.c", f"{HERE}/two.bpf.c", "--output", str(of_bpf), "--depfile",
              f"{of_bpf}.d", "--compiler", words[9], "--loader", f"{HERE}/elsewhere/scheduler.cpp", "--kernel", "7.3",
              "-I", f"{HERE}/elsewhere", "-D", "ONE=1", "-D", 'TWO="t w o"']
    require(words == wanted, f"the ktstr command got {words}, not {wanted}")

    # All the rest, by the target's own name too; then nothing is left to do.
    build(place, "--target", "plain")
    require(f"{HERE}/two.bpf.c" in json.loads((place / "plain_ktstr/plain").read_text())[-1:], "a path of a kernel")
    build(place)
    require(os.readlink(place / "my::far") == str(far), "an alias is not beside the tests")
    require("Building the BPF scheduler" not in build(place).stdout, "a second build builds schedulers again")
    # What its depfile names, and the command itself, are reasons to build it again.
    for reason in (place / "header.h", place / "one.bpf.c", tool):
        of_bpf.write_text("old")
        os.utime(of_bpf, (os.stat(reason).st_mtime - 60,) * 2)
        reason.touch()
        build(place, "--target", "tests")
        require((place / "of_bpf").read_text() != "old", f"{reason} changed and of_bpf is the old one")

    # A scheduler that is not there keeps no test from being known.
    far.unlink()
    known = json.loads(subprocess.run(["ctest", "--show-only=json-v1"], cwd=place, check=True,
                                      stdout=subprocess.PIPE).stdout)["tests"]
    require({test["name"] for test in known} == {"t", "pre/t"}, f"CTest knows {known}")

    # A fault of its sources is what the build says, and no program is left to be tested.
    (place / "one.bpf.c").write_text("fault")
    done = build(place, "--target", "tests", ok=False)
    require(done.returncode != 0 and "one.bpf.c:7:3: error: what the compiler says" in done.stdout, done.stdout)
    require((place / "of_bpf").is_symlink() and not (place / "of_bpf").exists(), "the scheduler of before is found")
    (place / "one.bpf.c").write_text("")
    # An executable is as its last good build.
    (place / "beside.cpp").write_text("#error fault")
    done = build(place, "--target", "tests", ok=False)
    require(done.returncode != 0 and (place / "beside").is_file(), "a failed build took the executable of before away")
    sources(place)

    # A file that the build did not make is not thrown away.
    for program in ("tests", "far"):
        (place / program).unlink()
    (place / "far").write_text("mine")
    done = build(place, "--target", "tests", ok=False)
    said = " ".join(done.stdout.split())
    require(done.returncode != 0 and f"{place}/far is in the way" in said, done.stdout)
    require((place / "far").read_text() == "mine", "the file in the way was written to")
    (place / "far").unlink()

    # A link is there after every build, and none to what is no longer named; what the other program names stays.
    build(place, "--target", "tests")
    (place / "of_bpf").unlink()
    build(place, "--target", "tests")
    require((place / "of_bpf").is_symlink(), "a link that was deleted is not laid again")
    configure(place, "-DSCHEDULERS=beside")
    build(place, "--target", "tests")
    require(not (place / "far").is_symlink(), "a link to a scheduler that is no longer named")
    require((place / "my::far").is_symlink() and (place / "of_bpf").is_symlink(), "another program's link was taken away")
    # Nor where a program names none at all any more; somebody else's link is not ours.
    configure(place, "-DSCHEDULERS=far;plain")
    build(place, "--target", "tests")
    require((place / "far").is_symlink() and (place / "plain").is_symlink(), "the links of a new list")
    (place / "plain").unlink()
    (place / "plain").symlink_to("/mine")
    configure(place, "-DSCHEDULERS=")
    build(place, "--target", "tests")
    require(not (place / "far").is_symlink() and os.readlink(place / "plain") == "/mine", "the links of an empty list")


def configurations(place, configure):
    """Two that share a folder: the links lead to what was built last."""
    sources(place)
    (place / "listing.json").write_text("[]")
    out = place / "out"
    configure(place, "-DKTSTR_TOOL=/nowhere", "-DSCHEDULERS=far", f"-DCMAKE_RUNTIME_OUTPUT_DIRECTORY={out}$<0:>")
    for config in ("Debug", "Release", "Debug"):
        build(place, "--target", "tests", "--config", config)
        require(os.readlink(out / "far") == str(place / "elsewhere/bin" / config / "another_name"),
                f"after a build of {config} far is {os.readlink(out / 'far')}")


FAULTS = [  # what is said, what is written
    ("SCHEDULERS names 'nobody', which is no target at this place; define it above",
     "ktstr_add_test(t SOURCES a.cpp SCHEDULERS nobody COMPILED_MAIN)"),
    ("SCHEDULERS names 'a_library', which is no program (STATIC_LIBRARY); name an executable or",
     "ktstr_add_test(t SOURCES a.cpp SCHEDULERS a_library COMPILED_MAIN)"),
    ("SCHEDULERS names 'nothing_built', which is no program (UTILITY)",
     "ktstr_add_test(t SOURCES a.cpp SCHEDULERS nothing_built COMPILED_MAIN)"),
    ("ktstr_add_bpf_scheduler(b): SOURCES names no file", "ktstr_add_bpf_scheduler(b)"),
    ("ktstr_add_bpf_scheduler(b): unknown argument 'FAST'", "ktstr_add_bpf_scheduler(b FAST SOURCES two.bpf.c)"),
    (f"ktstr_add_bpf_scheduler(b): SOURCES names {HERE}/none.bpf.c, which does not exist",
     "ktstr_add_bpf_scheduler(b SOURCES none.bpf.c)"),
    (f"ktstr_add_bpf_scheduler(b): LOADER names {HERE}/none.cpp, which does not exist",
     "ktstr_add_bpf_scheduler(b SOURCES two.bpf.c LOADER none.cpp)"),
]


def what_is_refused(place, configure):
    sources(place)
    for words, line in FAULTS:
        done = configure(place, "-DKTSTR_TOOL=/nowhere", f"-DFAULT={line}", ok=False)
        require(done.returncode != 0 and words in " ".join(done.stdout.split()), f"{line}: {done.stdout}")
    configure(place, "-DKTSTR_TOOL=/nowhere", "-DFAULT=")
    done = configure(place, "-DKTSTR_TOOL=", ok=False)
    words = ("ktstr_add_bpf_scheduler(of_bpf): there is no ktstr command to build it with: this ktstr was installed or taken in "
             "without; install it with -DKTSTR_BUILD_TOOL=ON (with add_subdirectory(), set that variable before), or name")
    require(done.returncode != 0 and words in " ".join(done.stdout.split()), done.stdout)


def main():
    base, arguments = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    generators = [name for name, tool in (("Ninja", "ninja"), ("Ninja Multi-Config", "ninja"), ("Unix Makefiles", "make"))
                  if shutil.which(tool)]
    shutil.rmtree(base, ignore_errors=True)
    failed = not generators
    for generator in generators:
        def configure(place, *more, ok=True):
            return run("cmake", "-S", HERE, "-B", place, "-G", generator, *arguments, *more, ok=ok)
        for check in (configurations,) if "Multi" in generator else (what_is_built, what_is_refused):
            place = base / generator.split()[-1] / check.__name__
            place.mkdir(parents=True)
            try:
                check(place, configure)
                print(f"ok   {check.__name__} with {generator}")
            except AssertionError as complaint:
                failed = True
                print(f"FAIL {check.__name__} with {generator}: {complaint}")
    return 1 if failed else 0


sys.exit(main())

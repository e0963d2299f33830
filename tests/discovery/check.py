#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check.py BUILD_DIR [CMAKE_ARG...] -- what CTest learns from a test program's `--list --format json`.

Builds the project beside this file and reads CTest's own account of it (`ctest --show-only=json-v1`).
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def run(*command, cwd, ok=True, stderr=subprocess.STDOUT):
    done = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=stderr)
    if ok and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done


class Project:
    def __init__(self, build, cmake_args):
        self.build = build
        self.listing = build / "listing.json"
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir(parents=True)
        self.list([])
        run("cmake", "-S", HERE, "-B", build, *cmake_args, cwd=build)

    def list(self, tests):
        self.listing.write_text(tests if isinstance(tests, str) else json.dumps(tests))

    def rebuild(self, tests, ok=True):
        """Links anew, so that discovery runs, with these tests listed."""
        self.list(tests)
        for program in ("after_build", "before_test"):
            (self.build / program).unlink(missing_ok=True)
        return run("cmake", "--build", ".", cwd=self.build, ok=ok)

    def known(self):
        """CTest's tests of the program asked after the build: name -> {command, property: value}."""
        shown = json.loads(run("ctest", "--show-only=json-v1", cwd=self.build, stderr=None).stdout)
        tests = {}
        for test in shown["tests"]:
            facts = {p["name"]: p["value"] for p in test.get("properties", [])}
            tests[test["name"]] = {"command": test.get("command", []), **facts}
        return tests


def test(name, **facts):
    full = dict(name=name, file="/src/a.cpp", line=12, topology="1n1l2c1t", tags=[], cpus=2, memory_mib=256,
                timeout_s=42, requirements=[], cpu_budget=None)
    full.update(facts)
    return full


def equal(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


@check
def every_fact_arrives(project):
    host = os.cpu_count()
    project.rebuild([test("small", cpus=1, tags=["quick", "numa"], timeout_s=10, limit_s=60),
                     test("pair", cpus=2),
                     test("budgeted", cpus=64, cpu_budget=1),
                     test("large", cpus=4096, timeout_s=1.5)])
    known = project.known()
    equal(set(known), {f"{prefix}{name}" for prefix in ("", "pre/") for name in ("small", "pair", "budgeted", "large")},
          "names")
    small = known["small"]

    def processors(name):
        return known[name].get("PROCESSORS", 1)  # CTest leaves its default out

    equal(processors("pair"), min(2, host), "PROCESSORS is the test's CPUs")
    equal(small["TIMEOUT"], 60 * 20 + 3 * 125.0, "TIMEOUT is 20 times an attempt's limit, and three boots")
    equal(small["SKIP_RETURN_CODE"], 4, "SKIP_RETURN_CODE")
    equal(small["LABELS"], ["extra", "numa", "quick"], "LABELS: the target's and the tags")
    equal(small["COST"], 7.0, "a property of the target")
    equal(small["command"], [str(project.build / "after_build"), "--filter", "small", "--accel", "two words"],
          "command")
    equal(processors("budgeted"), 1, "PROCESSORS is the budget where there is one")
    equal(processors("large"), host, "PROCESSORS is capped at the host's CPUs")
    equal(known["large"]["TIMEOUT"], 2 * 20 + 3 * (120 + 5 * 4096.0), "TIMEOUT of a fraction is rounded up")
    equal(known["pre/small"]["LABELS"], ["numa", "quick"], "LABELS of the tags")
    equal(known["pre/small"]["command"], [str(project.build / "before_test"), "--filter", "small",
                                           "--accel", "nested", "--retries", "1", "--repeat=2"],
          "command with a prefix")
    equal(known["pre/small"]["TIMEOUT"], 4 * 1575 + 3600.0, "TIMEOUT of a nested run has room for two machines more, "
          "and for each attempt")


@check
def outcomes_are_told_apart(project):
    project.rebuild([test("passes"), test("fails"), test("skips")])
    done = run("ctest", "-E", "pre/", cwd=project.build, ok=False)
    for line in ("passes ...........................   Passed", "skips ............................***Skipped",
                 "fails ............................***Failed"):
        if line not in done.stdout:
            raise AssertionError(f"ctest does not say '{line}':\n{done.stdout}")
    equal(done.returncode, 8, "ctest's exit code with one failed test")


@check
def no_tests(project):
    done = project.rebuild([])
    if "has no tests" not in done.stdout:
        raise AssertionError(f"the build does not say that there are no tests:\n{done.stdout}")
    equal(project.known(), {}, "tests of an empty program")


@check
def unusual_names(project):
    names = ["with space", "semi;colon", "a},{b", 'quote"d', "dollar${x}", "back\\slash", "hash#", "[open", "close]",
             "größe", "Suite/case.0"]
    project.rebuild([test(name, tags=["a b"]) for name in names])
    known = project.known()
    for name in names:
        facts = known.get(name)
        if facts is None:
            raise AssertionError(f"{name!r} is not registered; CTest knows {sorted(known)}")
        equal(facts["command"][1:3], ["--filter", name], f"command of {name!r}")
        equal(facts["LABELS"], ["a b", "extra"], f"labels of {name!r}")


@check
def cells_are_tests(project):
    names = ["wakes/scx_simple/1n1l4c1t", "wakes/eevdf/1n1l4c1t", "wakes/eevdf/2n4l2c2t/7.3.4+deb13-cloud-amd64"]
    project.rebuild([test(name, test="wakes", cpus=1) for name in names])
    known = project.known()
    for name in names:
        equal(known[name]["command"][1:3], ["--filter", name], f"command of {name!r}")
        equal(known["pre/" + name]["command"][1:3], ["--filter", name], f"command of {name!r} with a prefix")
    done = run("ctest", "-R", "^wakes/eevdf/", cwd=project.build)
    if "100% tests passed, 0 tests failed out of 2" not in done.stdout:
        raise AssertionError(f"ctest does not run cells by the beginning of their names:\n{done.stdout}")


@check
def names_are_those_that_the_arguments_make(project):
    (project.build / "named.json").write_text(json.dumps([test("wakes/old"), test("wakes/new")]))
    (project.build / "named").unlink()
    project.rebuild([])
    known = project.known()
    (project.build / "named.json").unlink()
    equal(set(known), {"wakes/old", "wakes/new"}, "names of a program with --kernel twice")
    equal(known["wakes/new"]["command"][1:], ["--filter", "wakes/new", "--accel", "tcg", "--topology", "1n1l4c1t",
                                              "--retries", "2", "--kernel=old", "--kernel", "new"], "command")
    (project.build / "named").unlink()
    project.rebuild([])


@check
def many_tests_in_reasonable_time(project):
    tests = [test(f"test_number_{i}", cpus=i % 3 + 1, tags=["t"]) for i in range(2000)]
    started = os.times()
    project.rebuild(json.dumps(tests, indent=1))
    ended = os.times()
    # CPU time, because other work on this machine is not discovery's fault.
    took = ended.children_user + ended.children_system - started.children_user - started.children_system
    equal(len(project.known()), 4000, "tests of two programs with 2,000 each")
    # About 3 s on a quiet machine. Taking them out of the whole text one by one would be 40 s, and 160 s for twice
    # as many.
    if took > 30:
        raise AssertionError(f"discovering 2,000 tests took {took:.0f} s of CPU time")


@check
def newer_listing_is_asked_for_again(project):
    project.rebuild([test("old")])
    project.rebuild([test("new")])
    equal(set(project.known()), {"new", "pre/new"}, "names after building again")


@check
def a_program_that_cannot_list_fails_the_build(project):
    for listing, wanted in (("{ no json", "printed no JSON array"), ('{"name": "x"}', "printed no JSON array"),
                            ('[{"line": 1}]', "names a test without a name")):
        done = project.rebuild(listing, ok=False)
        if done.returncode == 0 or wanted not in " ".join(done.stdout.split()):
            raise AssertionError(f"listing {listing!r} gave {done.returncode} and not '{wanted}':\n{done.stdout}")
    project.listing.unlink()
    (project.build / "after_build").unlink(missing_ok=True)
    done = run("cmake", "--build", ".", "--target", "after_build", cwd=project.build, ok=False)
    if done.returncode == 0 or "no listing.json here" not in done.stdout:
        raise AssertionError(f"a program that fails to list gave {done.returncode}:\n{done.stdout}")


@check
def a_program_not_built_is_a_failed_test(project):
    project.list([test("one")])
    for file in ("after_build", "before_test", "after_build_ktstr_tests.cmake", "before_test_ktstr_tests.cmake"):
        (project.build / file).unlink(missing_ok=True)
    equal(set(project.known()), {"after_build_NOT_BUILT", "before_test_NOT_BUILT"}, "names without programs")
    equal(run("ctest", cwd=project.build, ok=False).returncode, 8, "ctest's exit code without programs")


def main():
    project = Project(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:])
    failed = 0
    for function in CHECKS:
        try:
            function(project)
            print(f"ok   {function.__name__}")
        except AssertionError as complaint:
            failed += 1
            print(f"FAIL {function.__name__}: {complaint}")
    return 1 if failed else 0


sys.exit(main())

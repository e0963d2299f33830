#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Proves that no way of building loses a test.

    run.py COMPILER INCLUDE_DIR [SCRATCH_DIR]

Builds the same two test files and a program that lists what is registered, at several optimisation
levels, with link-time optimisation, with --gc-sections, without PIE, static and with sanitizers; then
a program without any test; then tests of the same name in two files, which the linker must refuse
and name both. A way of building that this machine lacks is reported and left out, never passed
over in silence; the plain ones must be there.
"""
import pathlib
import subprocess
import sys
import tempfile

LISTER = r"""
#include <ktstr/ktstr.hpp>
#include <cstdio>
namespace ktstr::detail {
void report_check(const check_record&) {}
void end_body_failed() { throw 1; }
void end_body_skipped(std::string_view, std::string_view, int) { throw 2; }
}
int main() {
    ktstr::context ctx({});
    for (const ktstr::test_case* test : ktstr::registered_tests()) {
        test->body(ctx);
        std::printf("%.*s\n", static_cast<int>(test->name.size()), test->name.data());
    }
}
"""
FIRST = r"""
#include <ktstr/ktstr.hpp>
KTSTR_TEST(first_one, llcs = 2) {}
KTSTR_TEST(first_two) { KTSTR_CHECK(ctx.seed() == 0); }
namespace { KTSTR_TEST(first_hidden) {} }
"""
SECOND = r"""
#include <ktstr/ktstr.hpp>
namespace of_a_user { KTSTR_TEST(second_one, tags = {"smoke"}) {} }
"""
SAME_NAME = r"""
#include <ktstr/ktstr.hpp>
namespace of_another { KTSTR_TEST(first_one) {} }
"""
WANTED = ["first_hidden", "first_one", "first_two", "second_one"]

SECTIONS = ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]
# name, flags, whether every machine can do it
WAYS = [
    ("-O0", ["-O0"], True),
    ("-O2", ["-O2"], True),
    ("-O3 --gc-sections", ["-O3", *SECTIONS], True),
    ("-O0 --gc-sections", ["-O0", *SECTIONS], True),
    ("-flto", ["-O2", "-flto"], False),
    ("-flto --gc-sections", ["-O2", "-flto", *SECTIONS], False),
    ("no PIE", ["-O2", "-fno-pie", "-no-pie", *SECTIONS], True),
    ("static", ["-O2", "-static", *SECTIONS], False),
    ("sanitizers", ["-O1", "-fsanitize=address,undefined", *SECTIONS], False),
    ("lld --gc-sections", ["-O2", "-fuse-ld=lld", *SECTIONS], False),
]


def run(command):
    return subprocess.run(command, capture_output=True, text=True)


def main():
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    compiler, include = sys.argv[1:3]
    bad = 0

    def report(good, what, detail=""):
        nonlocal bad
        bad += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}" + (f":\n{detail}" if not good else ""))

    with tempfile.TemporaryDirectory(prefix="ktstr-registration-",
                                     dir=sys.argv[3] if len(sys.argv) == 4 else None) as scratch:
        files = {}
        for name, text in {"lister": LISTER, "first": FIRST, "second": SECOND,
                           "same_name": SAME_NAME}.items():
            files[name] = str(pathlib.Path(scratch, name + ".cpp"))
            pathlib.Path(files[name]).write_text(text)
        program = str(pathlib.Path(scratch, "program"))
        probe = str(pathlib.Path(scratch, "probe.cpp"))
        pathlib.Path(probe).write_text("int main() {}\n")

        def build(flags, *names):
            return run([compiler, "-std=c++20", "-I", include, *flags,
                        *(files[n] for n in names), "-o", program])

        for way, flags, everywhere in WAYS:
            if not everywhere and run([compiler, *flags, probe, "-o", program]).returncode != 0:
                print(f"none {way}: this machine cannot link so")
                continue
            built = build(flags, "lister", "first", "second")
            if built.returncode != 0:
                report(False, way, built.stderr)
                continue
            ran = run([program])
            got = sorted(ran.stdout.split())
            report(ran.returncode == 0 and got == WANTED, way,
                   f"exit {ran.returncode}, got {got}\n{ran.stderr}")

        for way, flags in [("no test at all", ["-O0"]),
                           ("no test at all, --gc-sections", ["-O2", *SECTIONS])]:
            built = build(flags, "lister")
            ran = run([program]) if built.returncode == 0 else built
            report(ran.returncode == 0 and ran.stdout == "", way, ran.stdout + ran.stderr)

        built = build(["-O0"], "lister", "first", "same_name")
        said = built.stderr
        report(built.returncode != 0 and "ktstr_test_first_one" in said and "first.cpp" in said and
               "same_name.cpp" in said, "one name in two files is a link error naming both", said)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

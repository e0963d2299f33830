#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""example_repository.py SOURCE_DIR TREE_BUILD GENERATOR COMPILER OBJECT... -- examples/03_scheduler, a scheduler's repository
in miniature, copied to a folder of its own, does with an installed ktstr what it is there for: CMake and Meson build
the scheduler and its tests, which pass; a fault of the scheduler is a failed test of its own kind, and one that does not
compile is what the build says.

OBJECTs are the main, compiled: whoever compiles its sources gets them, which is all that is not done as a user does it
(tests/consumer compiles them)."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import expect

source, tree_build, generator, compiler = pathlib.Path(sys.argv[1]).resolve(), *sys.argv[2:5]
OBJECTS = {part: next(path for path in sys.argv[5:] if f"ktstr_main_{part}.cpp" in path)
           for part in ("host", "guest", "reports")}
COMPILER = """#!/usr/bin/env python3
import os, re, shutil, sys
words = sys.argv[1:]
part = [found.group(1) for found in (re.search("/ktstr_main_([a-z]+)[.]cpp$", word) for word in words) if found]
if not part or part[0] not in {objects!r} or "-c" not in words:
    os.execv({compiler!r}, [{compiler!r}] + words)
shutil.copy({objects!r}[part[0]], words[words.index("-o") + 1])
if "-MF" in words:
    open(words[words.index("-MF") + 1], "w").write(words[words.index("-o") + 1] + ":\\n")
"""
TESTS = {"everybody_runs", "weight_counts", "who_wakes_is_served", "it_leaves_in_order", "it_is_updated"}
begin = time.monotonic()
wrong, heard = [], []


def say(what):
    print(f"{time.monotonic() - begin:5.0f} s  {what}", flush=True)


def require(condition, what):
    if not condition:
        wrong.append(what)


def run(*command, cwd, ok=True, **environment):
    done = subprocess.run([str(word) for word in command], cwd=cwd, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **ENVIRONMENT, **environment}, timeout=expect.patience(600))
    heard.append(f"$ {' '.join(map(str, command))}\n{done.stdout}")
    if ok and done.returncode != 0:
        expect.conclude([f"{command} ended with {done.returncode}"], heard[-1])
    return done


place = pathlib.Path(tempfile.mkdtemp(prefix="ktstr-repository-"))
prefix, repository, build, meson = (place / name for name in ("prefix", "repository", "build", "meson"))
stand_in = place / "c++"
stand_in.write_text(COMPILER.format(compiler=shutil.which(compiler), objects=OBJECTS))
stand_in.chmod(0o755)
ENVIRONMENT = {"CXX": str(stand_in), "KTSTR_ACCEL": "tcg", "PATH": f"{prefix}/bin:{os.environ['PATH']}",
               "PKG_CONFIG_PATH": f"{prefix}/share/pkgconfig:{os.environ.get('PKG_CONFIG_PATH', '')}"}
run("cmake", "--install", tree_build, "--prefix", prefix, cwd=place)
# Links within the tree become files: outside it they would lead nowhere.
shutil.copytree(source / "examples/03_scheduler", repository)
scheduler = repository / "src/ktstr_simple.bpf.c"
whole = scheduler.read_text()
say("installed and copied")

# ---- CMake -----------------------------------------------------------------------------------------
run("cmake", "-S", repository, "-B", build, "-G", generator, f"-DCMAKE_PREFIX_PATH={prefix}", cwd=place)
run("cmake", "--build", build, cwd=place)
say("built with CMake")
program = build / "ktstr_simple_tests"
require(set(run(program, "--list", cwd=place).stdout.split()) == TESTS, f"--list does not name {TESTS}")
passed = run("ctest", "--output-on-failure", "--no-tests=error", cwd=build, ok=False).stdout
require("100% tests passed, 0 tests failed out of 5" in passed, f"ctest:\n{passed}")
say("tests passed under ctest")

# A scheduler that takes nobody out of its queue: the next build and run are about that one, by hand and under CTest.
taking = "    scx_bpf_dsq_move_to_local(SHARED);\n"
require(whole.count(taking) == 1, "the scheduler has another line that takes tasks out of its queue")
scheduler.write_text(whole.replace(taking, ""))
run("cmake", "--build", build, cwd=place)
code, events, said, _ = expect.run(program, "--filter", "everybody_runs", environment=ENVIRONMENT)
heard.append(said)
wrong += expect.compare(events, {"everybody_runs": ("fail", "scheduler_exit")})
require(code == 1 and "runnable task stall" in said, f"exit code {code}, and the stall is not what is said")
failed = run("ctest", "-R", "everybody_runs", cwd=build, ok=False).stdout
require("0% tests passed, 1 tests failed out of 1" in failed, f"ctest with a faulty scheduler:\n{failed}")
say("a faulty scheduler failed")

# One that does not compile: the compiler's own word comes first, and nothing of before is left to be tested.
scheduler.write_text(whole.replace(taking, "    scx_bpf_dsq_move_to_local(SHARED;\n"))
done = run("cmake", "--build", build, cwd=place, ok=False)
errors = [line for line in done.stdout.splitlines() if "error:" in line or "cannot " in line]
require(done.returncode != 0 and errors and errors[0].startswith(f"{scheduler}:") and "expected ')'" in errors[0],
        f"not the compiler's error comes first: {errors}")
done = run("ctest", "-R", "everybody_runs", "--output-on-failure", cwd=build, ok=False)
require(done.returncode != 0 and "build it" in done.stdout and str(build / "ktstr_simple_ktstr/ktstr_simple") in done.stdout,
        f"a scheduler that is not built: {done.stdout}")
say("what does not compile was said")

# ---- Meson -----------------------------------------------------------------------------------------
scheduler.write_text(whole)
run("meson", "setup", meson, repository, cwd=place)
run("meson", "compile", "-C", meson, cwd=place)
say("built with Meson")
passed = run("meson", "test", "-C", meson, "--verbose", cwd=place).stdout
require("5 subtests passed" in passed, f"meson test:\n{passed}")
say("tests passed under meson test")
scheduler.write_text(whole.replace(taking, "    scx_bpf_dsq_move_to_local(SHARED;\n"))
done = run("meson", "compile", "-C", meson, cwd=place, ok=False)
require(done.returncode != 0 and "expected ')'" in done.stdout, f"meson compile: {done.stdout}")
say("done")
shutil.rmtree(place)
expect.conclude(wrong, "\n".join(heard))

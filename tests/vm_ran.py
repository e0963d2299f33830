#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vm_ran.py BUILD_DIR JUNIT_FILE -- the tests that boot machines really ran.

CTest counts a skipped test as fine. A suite whose machines did not boot has shown nothing, so here a test labelled
`vm` that did not run is a failure. Whether one that ran also passed is CTest's exit code.
"""
import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

RAN = {"run", "fail"}


def complaints(shown, junit):
    """One line for each vm test of `ctest --show-only=json-v1` that did not run according to CTest's JUnit file."""
    status = {case.get("name"): case.get("status")
              for case in xml.etree.ElementTree.fromstring(junit).iter("testcase")}
    wanted = [test["name"] for test in shown["tests"]
              for prop in test.get("properties", []) if prop["name"] == "LABELS" and "vm" in prop["value"]]
    if not wanted:
        return ["no test has the label vm, so no machine was tested"]
    return [f"{name} boots a machine and did not run: {status.get(name, 'missing from the report')}"
            for name in wanted if status.get(name) not in RAN]


def main():
    build, junit = sys.argv[1:]
    shown = json.loads(subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, check=True,
                                      stdout=subprocess.PIPE).stdout)
    found = complaints(shown, pathlib.Path(junit).read_text())
    print("\n".join(f"error: {line}" for line in found) or "every test that boots a machine ran")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

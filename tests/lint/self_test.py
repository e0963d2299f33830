#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The lints catch what they are for and stay quiet otherwise."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import reference  # noqa: E402
import rooms  # noqa: E402
import text  # noqa: E402
import versions  # noqa: E402

import vm_ran  # noqa: E402

MAP = """
| Room | What | May include | Weight |
| --- | --- | --- | --- |
| `base/` | ground | | light |
| `topology/` | shape | `base` | light |
| `host/` | outside | `base` `topology` | heavy |
| `guest/` | inside | `base` | heavy |
| `ktstr.hpp` | door | `topology` | light |

| Room | What | May include |
| --- | --- | --- |
| `host/vm/` | machines | |
| `host/plan/` | what to do | `vm` |
| `guest/work/` | work | |
"""
TREE = {
    "README.md": MAP,
    "base/error.hpp": "#include <string>\n#include <unistd.h>\n",
    "topology/topology.hpp": "#include <ktstr/base/small.hpp>\n#include <ktstr/version.hpp>\n#include <array>\n",
    "host/run.hpp": "#include <ktstr/topology/topology.hpp>\n#include <fmt/format.h>\n#include <memory>\n",
    "host/vm/machine.hpp": "#include <ktstr/topology/topology.hpp>\n",
    "host/plan/list.hpp": "#include <ktstr/host/vm/machine.hpp>\n#include <ktstr/host/plan/list.hpp>\n",
    "guest/work/loop.hpp": "#include <ktstr/base/error.hpp>\n",
    "guest/init.hpp": "#include <ktstr/base/error.hpp>\n#include <ktstr/guest/work/loop.hpp>\n#include <sys/mount.h>\n",
    "ktstr.hpp": "#include <ktstr/topology/topology.hpp>\n",
}


class Rooms(unittest.TestCase):
    def faults(self, **changes):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, content in {**TREE, **{k.replace("__", "/") + "": v for k, v in changes.items()}}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(content)
            return rooms.faults(root)

    def one_fault(self, wanted, name, content):
        found = self.faults(**{name: content})
        self.assertEqual(len(found), 1, found)
        self.assertIn(wanted, found[0])

    def test_quiet(self):
        self.assertEqual(self.faults(), [])

    def test_wrong_direction(self):
        found = self.faults(**{"base/up.hpp": "#pragma once\n#include <ktstr/topology/topology.hpp>\n"})
        self.assertEqual(len(found), 2, found)
        self.assertIn("base/up.hpp:2: room 'base' may not include 'topology'", found[0])
        self.assertIn("in a circle: base -> topology -> base", found[1])

    def test_host_and_guest(self):
        self.one_fault("room 'host' may not include 'guest'", "host/x.hpp", "#  include <ktstr/guest/init.hpp>\n")
        self.one_fault("room 'guest' may not include 'host'", "guest/x.hpp", "#include <ktstr/host/run.hpp>\n")

    def test_map_must_not_join_the_sides(self):
        changed = MAP.replace("`base` `topology` | heavy", "`base` `topology` `guest` | heavy")
        self.one_fault("never include each other", "README.md", changed)

    def test_nothing_names_an_optional_part(self):
        row = "| `parts/` | extras | `host` | optional |\n"
        part = {"parts/a.hpp": "#include <ktstr/host/run.hpp>\n"}
        self.assertEqual(self.faults(**{"README.md": MAP.replace("| `ktstr.hpp`", row + "| `ktstr.hpp`"), **part}), [])
        changed = MAP.replace("| `ktstr.hpp` | door | `topology`", row + "| `ktstr.hpp` | door | `topology` `parts`")
        found = self.faults(**{"README.md": changed, **part})
        self.assertEqual(len(found), 1, found)
        self.assertIn("'ktstr.hpp' may include 'parts', which is optional", found[0])

    def test_unknown_room(self):
        self.one_fault("no room called 'util'", "util/helpers.hpp", "")

    def test_room_without_row(self):
        found = self.faults(**{"README.md": MAP.replace("| `guest/` | inside | `base` | heavy |\n", "")})
        self.assertEqual(len(found), 2, found)  # a file each
        self.assertIn("no room called 'guest'", found[0])

    def test_row_without_room(self):
        self.one_fault("'wire' is on the map but not in the tree", "README.md",
                       MAP + "| `wire/` | bytes | `base` | light |\n")

    def test_part_includes_what_its_row_does_not_allow(self):
        changed = MAP.replace("what to do | `vm` |", "what to do | |")
        self.one_fault("list.hpp:1: room 'host/plan' may not include 'host/vm'", "README.md", changed)

    def test_two_parts_include_each_other(self):
        found = self.faults(**{"host/vm/up.hpp": "#include <ktstr/host/plan/list.hpp>\n"})
        self.assertEqual(len(found), 2, found)
        self.assertIn("up.hpp:1: room 'host/vm' may not include 'host/plan'", found[0])
        self.assertIn("in a circle: host/plan -> host/vm -> host/plan", found[1])

    def test_circle_on_the_map(self):
        self.one_fault("in a circle: host/plan -> host/vm -> host/plan", "README.md",
                       MAP.replace("machines | |", "machines | `plan` |"))

    def test_circle_of_three(self):
        changed = MAP.replace("machines | |", "machines | `link` |") + "| `host/link/` | wires | `plan` |\n"
        found = self.faults(**{"README.md": changed, "host/link/a.hpp": ""})
        self.assertEqual(len(found), 1, found)
        self.assertIn("in a circle: host/link -> host/plan -> host/vm -> host/link", found[0])

    def test_part_includes_the_room_around_it(self):
        found = self.faults(**{"guest/work/up.hpp": "#include <ktstr/guest/init.hpp>\n"})
        self.assertEqual(len(found), 2, found)
        self.assertIn("up.hpp:1: room 'guest/work' may not include 'guest'", found[0])
        self.assertIn("in a circle: guest -> guest/work -> guest", found[1])

    def test_part_without_row(self):
        found = self.faults(**{"host/extra/a.hpp": "", "host/extra/b.hpp": ""})
        self.assertEqual(len(found), 1, found)
        self.assertIn("no room called 'host/extra'", found[0])

    def test_part_row_without_folder(self):
        self.one_fault("'host/gone' is on the map but not in the tree", "README.md", MAP + "| `host/gone/` | - | |\n")

    def test_part_may_include_what_has_no_row(self):
        self.one_fault("'host/vm' may include 'host/nothing', which has no row", "README.md",
                       MAP.replace("machines | |", "machines | `nothing` |"))

    def test_architecture_outside_its_table(self):
        for text in ('"-machine q35"', '"console=ttyS0"', "EM_X86_64", '"qemu-system-x86_64"', '"arch/x86/boot"'):
            self.one_fault("belongs to one architecture", "host/vm/a.hpp", f"const auto x = {text};\n")
        self.assertEqual(self.faults(**{"host/vm/architecture.hpp": 'const auto x = "q35";\n',
                                        "host/vm/a.hpp": "int x;  // as q35 has it\n#if defined(__x86_64__)\n#endif\n"}),
                         [])

    def test_missing_map(self):
        self.one_fault("no table", "README.md", "nothing here\n")

    def test_heavy_include_in_a_light_room(self):
        for name in ("fmt/format.h", "nlohmann/json.hpp", "sys/socket.h", "iostream", "filesystem"):
            self.one_fault(f"light and may not include <{name}>", "topology/x.hpp", f"#include <{name}>\n")

    def test_dear_include_behind_the_front_door(self):
        self.one_fault("<ktstr/ktstr.hpp> reaches this file", "topology/topology.hpp", "#include <memory>\n")

    def test_dear_include_elsewhere(self):
        self.assertEqual(self.faults(**{"topology/other.hpp": "#include <memory>\n"}), [])

    def test_quoted_include(self):
        self.one_fault("write <ktstr/base/error.hpp>", "topology/x.hpp", '#include "ktstr/base/error.hpp"\n')


class Text(unittest.TestCase):
    GOOD = "// SPDX-License-Identifier: MIT\n#pragma once\nint x;\n"

    def one_fault(self, wanted, name, content):
        found = text.faults_in(name, content.encode())
        self.assertEqual(len(found), 1, found)
        self.assertIn(wanted, found[0])

    def test_quiet(self):
        self.assertEqual(text.faults_in("a.hpp", self.GOOD.encode()), [])
        self.assertEqual(text.faults_in("run.py", b"#!/usr/bin/env python3\n# SPDX-License-Identifier: MIT\n"), [])
        self.assertEqual(text.faults_in("notes.md", "a\tb: größe\n".encode()), [])

    def test_faults(self):
        self.one_fault("a.hpp:3: a tab", "a.hpp", self.GOOD.replace("int x", "int\tx"))
        self.one_fault("a.hpp:3: blanks at the end", "a.hpp", self.GOOD.replace("x;", "x; "))
        self.one_fault("no newline at the end", "a.hpp", self.GOOD[:-1])
        self.one_fault("blank line at the end", "a.hpp", self.GOOD + "\n")
        self.one_fault("no SPDX", "a.hpp", "#pragma once\n")
        self.one_fault("no #pragma once", "a.hpp", "// SPDX-License-Identifier: MIT\n")
        self.one_fault("blanks at the end", "notes.md", "a \n")
        found = text.faults_in("notes.md", b"gr\xf6sse\n")
        self.assertIn("not UTF-8", found[0])

    def test_compile_fail_files_begin_with_their_error(self):
        self.assertEqual(text.faults_in("tests/compile_fail/a.cpp", b"// EXPECT: no\nint x;\n"), [])
        self.one_fault("a tab", "tests/compile_fail/a.cpp", "// EXPECT: no\nint\tx;\n")

    def test_golden_files_are_as_printed(self):
        self.assertEqual(text.faults_in("tests/golden/console.txt", b"a \t"), [])


class Reference(unittest.TestCase):
    """On the tree's own headers, each with one change."""

    def made(self, header="", old="", new=""):
        def headers(name):
            content = (pathlib.Path(__file__).resolve().parents[2] / "include/ktstr" / name).read_text()
            if name == header:
                self.assertIn(old, content)
                content = content.replace(old, new, 1)
            return content
        return reference.made(headers)

    def test_each_source_shows(self):
        as_it_is = self.made()
        self.assertEqual(as_it_is, self.made())
        for header, old, new in (
                ("test/keys.hpp", "KEY(no_clone)", "KEY(no_clone) KEY(no_clone)"),
                ("test/spec.hpp", "skip under emulation", "skip elsewhere"),
                ("check/verdict.hpp", "killed for memory", "killed"),
                ("check/verdict.hpp", "if (r <= reason::oracle)", "if (r <= reason::worker)"),
                ("scenario/work.hpp", "spins = 1024", "spins = 1025"),
                ("scenario/work.hpp", "Spins, then yields.", "Spins, and yields."),
                ("../../tests/golden/cli/help.txt", "at least one failed", "one failed"),
                ("host/report/event.hpp", '"mask"', '"masked_by"'),
                ("host/report/event.hpp", "as it was called", "its name")):
            self.assertNotEqual(as_it_is, self.made(header, old, new), (header, old))

    def test_what_cannot_be_read_is_an_error(self):
        for header, old, new in (
                ("test/keys.hpp", "KEY(no_clone)", "KEY(no_clone) KEY(unheard_of)"),
                ("test/spec.hpp", "///< skip under emulation", ""),
                ("check/verdict.hpp", "///< killed for memory", ""),
                ("check/verdict.hpp", "if (r == reason::none)", "if (r > reason::none)"),
                ("scenario/work.hpp", "KIND(mixed)", "KIND(mixed) KIND(unheard_of)"),
                ("scenario/work.hpp", "/// Spins, then yields.", ""),
                ("../../tests/vm/work.cpp", "KTSTR_TEST(mixed,", "KTSTR_TEST(mixture,"),
                ("host/report/event.hpp", '{"mask", in_json', "{mask, in_json")):
            self.assertRaises(reference.trouble, self.made, header, old, new)


class Versions(unittest.TestCase):
    FILES = {
        "CMakeLists.txt": "cmake_minimum_required(VERSION 3.22)\nproject(\n  ktstr\n  VERSION 1.2.3\n  LANGUAGES CXX)\n",
        "meson.build": "project('ktstr', 'cpp', version: '1.2.3')\n",
        "include/ktstr/version.hpp": '#define KTSTR_VERSION_MAJOR 1\n#define KTSTR_VERSION_MINOR 2\n'
                                     '#define KTSTR_VERSION_PATCH 3\nconstexpr auto version = "1.2.3";\n',
    }

    def test_agree(self):
        self.assertEqual(set(versions.versions(self.FILES.__getitem__).values()), {"1.2.3"})

    def test_differ(self):
        for name, content in self.FILES.items():
            files = {**self.FILES, name: content.replace("3'", "4'").replace("2.3", "2.4", 1)}
            self.assertEqual(len(set(versions.versions(files.__getitem__).values())), 2, name)


class VmRan(unittest.TestCase):
    SHOWN = {"tests": [
        {"name": "boots", "properties": [{"name": "LABELS", "value": ["vm"]}]},
        {"name": "unit.base", "properties": [{"name": "LABELS", "value": ["unit"]}]},
        {"name": "plain"},
    ]}

    def complaints(self, *cases):
        body = "".join(f'<testcase name="{name}" status="{status}"/>' for name, status in cases)
        return vm_ran.complaints(self.SHOWN, f"<testsuite>{body}</testsuite>")

    def test_quiet(self):
        self.assertEqual(self.complaints(("boots", "run"), ("unit.base", "notrun")), [])

    def test_failed_is_ctests_business(self):
        self.assertEqual(self.complaints(("boots", "fail")), [])

    def test_skipped(self):
        self.assertIn("boots", self.complaints(("boots", "notrun"), ("unit.base", "run"))[0])

    def test_disabled(self):
        self.assertIn("boots", self.complaints(("boots", "disabled"))[0])

    def test_missing(self):
        self.assertIn("boots", self.complaints(("unit.base", "run"))[0])

    def test_no_vm_tests_at_all(self):
        self.assertIn("no test has the label vm", vm_ran.complaints({"tests": []}, "<testsuite/>")[0])


unittest.main()

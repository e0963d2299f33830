#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""reference.py SOURCE_DIR [--write] -- docs/reference.md says what the headers say; --write makes it so.

It is put together from the keys of KTSTR_TEST, the kinds of work, the reasons, the text of --help and the fields of the JSON events, and
their comments. What is not written as this expects it is an error here, not a gap there."""
import pathlib
import re
import sys

PLACE = "docs/reference.md"
HEAD = """# Reference

Made of the headers by `python3 tests/lint/reference.py . --write`; do not edit. What keys, reasons and fields promise is the public contract.

"""


class trouble(Exception):
    pass


def take(pattern, text, what):
    found = re.search(pattern, text, re.DOTALL)
    if not found:
        raise trouble(f"{what} is not where it was")
    return found[1]


def table(head, rows):
    cells = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in cells) + "\n"


def members(text):
    """{name: (type, default, comment)} of the lines that declare a struct's members, as clang-format leaves them."""
    found, above, last = {}, [], None
    for line in text.splitlines():
        line = line.strip()
        declared = re.match(r"([\w:<>,* ]+?)\s*(?:\b(\w+))(?:\s*=\s*(.*?)|\{\})?;\s*(?://.*)?$", line)
        if line.startswith("///<") and last:  # goes on below its member
            found[last][2].append(line[4:].strip())
        elif line.startswith("///"):
            above.append(line[3:].strip())
        elif declared and "(" not in line.split(";")[0]:
            last = declared[2]
            beside = re.search(r"///< (.*)$", line)
            found[last] = (declared[1].strip(), declared[3] or "", above + ([beside[1]] if beside else []))
            above = []
        elif line and not line.startswith("//"):
            above, last = [], None
        elif not line:
            last = None
    return {name: (kind, default, " ".join(comment)) for name, (kind, default, comment) in found.items()}


def keys(headers):
    source = headers("test/keys.hpp")
    names = re.findall(r"KEY\((\w+)\)", take(r"define KTSTR_DETAIL_KEYS\(KEY\) \\\n(.*?)\n// clang-format on", source,
                                             "the list of keys"))
    spec = members(take(r"struct test_spec \{(.*?)constexpr topology shape", headers("test/spec.hpp"), "test_spec"))
    kinds = {"std::optional<int>": "= number", "bool": "flag", "std::chrono::milliseconds": "= duration",
             "std::optional<std::chrono::milliseconds>": "= duration", "words": "= {\"text\", ...}",
             "const ktstr::scheduler*": "= scheduler", "scheduler_list": "= {scheduler, ...}"}
    rows = []
    for name in names:
        if name not in spec or not spec[name][2] or spec[name][0] not in kinds:
            raise trouble(f"the key {name} has no comment, or a new type, in test_spec: {spec.get(name)}")
        rows.append([f"`{name}`", kinds[spec[name][0]], spec[name][2]])
    return "## Keys of KTSTR_TEST\n\n" + table(["Key", "Value", "What it says"], rows)


def reasons(headers):
    source = headers("check/verdict.hpp")
    names, texts, part = [], {}, ""
    for line in take(r"enum class reason : std::uint8_t \{(.*?)\n\};", source, "the reasons").splitlines():
        if match := re.match(r"\s*// (.*)", line):
            part = match[1]
        elif match := re.match(r"\s*(\w+),\s*(?:///< (.*))?$", line):
            names.append(match[1])
            texts[match[1]] = (part, match[2] or "")
        elif line.strip():
            raise trouble(f"among the reasons: {line}")
    judged = take(r"constexpr verdict verdict_of\(reason r\) \{(.*?)\n\}", source, "verdict_of()")
    rules = re.findall(r"if \(r (==|<=) reason::(\w+)\)\s*return verdict::(\w+);", judged)
    last = take(r"\n    return verdict::(\w+);\s*$", judged, "the end of verdict_of()")
    if len(rules) != judged.count("if ("):
        raise trouble("verdict_of() is more than comparisons with reasons")
    rows = []
    for at, name in enumerate(names):
        verdict = next((verdict for sign, bound, verdict in rules
                        if (name == bound if sign == "==" else at <= names.index(bound))), last)
        if name == "none":
            continue
        if not texts[name][1]:
            raise trouble(f"the reason {name} has no comment")
        rows.append([f"`{name}`", f"`{verdict}`", texts[name][0], texts[name][1]])
    return "## Reasons\n\nWhat happened, when it is not a plain pass.\n\n" + table(
        ["Reason", "Verdict", "Where", "What happened"], rows)


def events(headers):
    source = headers("host/report/event.hpp")
    text = "## JSON\n\n`--json FILE` writes one object a line. What is unknown is null, never 0.\n\n"
    told = 0
    for event, body in re.findall(r"\nstruct (\w+) \{\n(.*?)\n\};\n", source, re.DOTALL):
        listed = re.search(r"static void fields\(auto& e, auto& f\) \{\n(.*?)\n    \}", body, re.DOTALL)
        if not listed:
            continue
        fields = re.findall(r'f\(\{"(\w+)", ([^{}]*)\},\s*e\.(\w+)\);', listed[1])
        if len(fields) != listed[1].count(";"):
            raise trouble(f"{event}: its fields are not listed as this expects")
        fields = [field for field in fields if "in_json" in field[1]]
        if not fields:
            continue
        told += 1
        known = members(body)
        rows = []
        for name, how, member in fields:
            kind, _, comment = known.get(member, ("", "", ""))
            absent = "optional<" in kind or "or_null" in how or kind == "reason"
            plain = re.sub(r"std::optional<(.*)>", r"\1", kind)
            word = ("list of text" if "vector" in plain else
                    "text" if plain in ("std::string", "verdict", "reason", "ktstr::better", "metric_source") else
                    "true or false" if plain == "bool" else "number" if plain else None)
            if word is None:
                raise trouble(f"{event}: the field {name} comes from no member")
            rows.append([f"`{name}`", word + (" or null" if absent else ""), comment])
        fixed = [f'`"{key}": "{value}"`' for key, value in re.findall(r'\b(event|phase) = "(\w+)"', body)]
        text += f"### {', '.join(fixed)}\n\n" + table(["Field", "Value", ""], rows)
    if told < 4:
        raise trouble(f"{told} events are written as JSON")
    return text


def kinds_of_work(headers):
    source = headers("scenario/work.hpp")
    names = re.findall(r"KIND\((\w+)\)", take(r"define KTSTR_DETAIL_WORK_KINDS\(KIND\) \\\n(.*?)\n// clang-format on", source,
                                             "the list of kinds of work"))
    proofs = headers("../../tests/vm/work.cpp")
    rows = []
    for name in names:
        found = re.search(r"((?:/// [^\n]*\n)+)struct " + name + r" \{\n(.*?)\n\};", source, re.DOTALL)
        if not found:
            raise trouble(f"the kind of work {name} has no comment, or no struct")
        text = " ".join(line[4:] for line in found[1].splitlines())
        own = [line for line in found[2].splitlines() if not line.strip().startswith("static constexpr")]
        takes = re.search(r"members\(\) (?:const )?\{ return (.*?); \}", found[2])
        parameters = []
        for parameter, (kind, default, comment) in members("\n".join(own)).items():
            default = re.sub(r"std::chrono::(\w+)seconds\{(\d+)\}",
                             lambda m: m[2] + {"milli": "ms", "micro": "us", "nano": "ns"}[m[1]], default)
            parameters.append(f"`{parameter} = {default}`" + (f" {comment}" if comment else ""))
        if f"KTSTR_TEST({name}," not in proofs:
            raise trouble(f"the kind of work {name} has no test of its name in tests/vm/work.cpp")
        rows.append([f"`{name}`", f"`{takes[1]}`" if takes else "1", "; ".join(parameters), text])
    return ("## Kinds of work\n\n`ktstr::work::NAME{.parameter = value}`. Workers: how many do it together; a work group has so many or a "
            "multiple. The test of each, which sees in a guest what the kernel does by it, has its name in "
            "[tests/vm/work.cpp](../tests/vm/work.cpp).\n\n" +
            table(["Kind", "Workers", "Parameters", "What it does"], rows))


def made(headers):
    """The whole text; `headers` gives a header's."""
    help_text = headers("../../tests/golden/cli/help.txt")  # the unit tests hold --help to it
    return (HEAD + keys(headers) + kinds_of_work(headers) + reasons(headers) + "## Arguments, environment, exit codes\n\n```text\n" +
            help_text.replace("./my_tests", "my_tests").strip() + "\n```\n\n" + events(headers)).rstrip() + "\n"


def main():
    root = pathlib.Path(sys.argv[1])
    place = root / PLACE
    try:
        due = made(lambda name: (root / "include" / "ktstr" / name).read_text())
    except trouble as why:
        print(f"reference.py: {why}; mend the header or this script")
        return 1
    if place.exists() and place.read_text() == due:
        return 0
    if "--write" in sys.argv:
        place.write_text(due)
        return 0
    print(f"{PLACE} is not what the headers say; run python3 tests/lint/reference.py . --write")
    return 1


if __name__ == "__main__":
    sys.exit(main())

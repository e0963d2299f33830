// SPDX-License-Identifier: MIT
// Arguments and environment: what is accepted, what is refused and how that is said.
#include <ktstr/host/cli/parse.hpp>
#include <ktstr/host/cli/replay.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <variant>
#include <vector>

#include "report_golden.hpp"

using namespace ktstr;
using namespace ktstr::host;
using namespace ktstr::host::test;

namespace {

using words = std::vector<std::string>;

std::variant<options, cli_exit> parse(words arguments, const environment& variables = {}) {
    arguments.insert(arguments.begin(), "./my_tests");
    return parse_options(arguments, variables);
}

options accepted(const words& arguments, const environment& variables = {}) {
    const auto parsed = parse(arguments, variables);
    if (const auto* refused = std::get_if<cli_exit>(&parsed))
        FAIL("refused: " << refused->err);
    return std::get<options>(parsed);
}

/// The one line that a refusal prints; checks that it is one, and exit code 5.
std::string refused(const words& arguments, const environment& variables = {}) {
    const auto parsed = parse(arguments, variables);
    REQUIRE(std::holds_alternative<cli_exit>(parsed));
    const auto& exit = std::get<cli_exit>(parsed);
    CHECK(exit.code == 5);
    CHECK(exit.out.empty());
    CHECK(exit.err.starts_with("ktstr: cannot use "));
    CHECK(exit.err.find('\n') == exit.err.size() - 1);
    return exit.err;
}

bool mentions(const std::string& text, std::initializer_list<std::string_view> parts) {
    for (const auto part : parts)
        if (text.find(part) == std::string::npos) {
            UNSCOPED_INFO("missing: " << part << " in: " << text);
            return false;
        }
    return true;
}

}  // namespace

TEST_CASE("no arguments: run everything", "[cli]") {
    const auto o = accepted({});
    CHECK(o.program == "./my_tests");
    CHECK_FALSE((o.list || o.dry_run || o.shell || o.doctor || o.until_fail || o.tap || o.keep ||
                 o.verbose || o.quiet || o.no_clone || o.seed_was_given));
    CHECK(o.filters.empty());
    CHECK(o.accel == accel_wish::automatic);
    CHECK(o.kernels.empty());
    CHECK_FALSE((o.jobs || o.repeat || o.junit || o.json || o.topology || o.artifacts || o.part ||
                 o.cpu_cap || o.lock_dir));
    CHECK(o.retries == 0);
    CHECK_FALSE(o.stdout_is_report());
}

TEST_CASE("every argument reaches its option", "[cli]") {
    const auto o = accepted(
        {"--filter",   "a*",       "--filter=b?", "--tag",        "smoke",       "--exclude",
         "c",          "--accel",  "tcg",         "--kernel",     "distro",      "--jobs",
         "3",          "--repeat", "5",           "--until-fail", "--retries",   "2",
         "--seed",     "7",        "--junit",     "j.xml",        "--json",      "-",
         "--topology", "2n4l2c2t", "--no-clone",  "--keep",       "--artifacts", "dir",
         "--verbose",  "--color",  "always"});
    CHECK(o.filters == words{"a*", "b?"});
    CHECK(o.tags == words{"smoke"});
    CHECK(o.excludes == words{"c"});
    CHECK(o.accel == accel_wish::tcg);
    CHECK(o.kernels == std::vector<std::string>{"distro"});
    CHECK(o.jobs == 3);
    CHECK(o.repeat == 5);
    CHECK(o.until_fail);
    CHECK(o.retries == 2);
    CHECK(o.seed == 7);
    CHECK(o.seed_was_given);
    CHECK(o.junit == "j.xml");
    CHECK(o.json == "-");
    CHECK(o.topology == topology{.numa_nodes = 2, .llcs = 4, .cores = 2, .threads = 2});
    CHECK(o.no_clone);
    CHECK(o.keep);
    CHECK(o.artifacts == "dir");
    CHECK(o.verbose);
    CHECK(o.color == color_wish::always);
    CHECK(o.stdout_is_report());
    CHECK(accepted({"--list", "--format", "json"}).format == list_format::json);
    CHECK(accepted({"--list"}).list);
    CHECK(accepted({"--dry-run"}).dry_run);
    CHECK(accepted({"--shell"}).shell);
    CHECK(accepted({"--doctor"}).doctor);
    CHECK(accepted({"--tap"}).tap);
    CHECK(accepted({"--quiet"}).quiet);
}

TEST_CASE("values arrive as they were typed", "[cli]") {
    CHECK(accepted({"--filter", "{}"}).filters == words{"{}"});
    CHECK(accepted({"--filter", "[a,b]", "--filter", "c,d"}).filters == words{"[a,b]", "c,d"});
    CHECK(accepted({"--kernel", "-odd", "--kernel", "distro"}).kernels ==
          std::vector<std::string>{"-odd", "distro"});
    CHECK(accepted({"--kernel=a=b"}).kernels == std::vector<std::string>{"a=b"});
    CHECK(accepted({"--artifacts", "with space"}).artifacts == "with space");
}

TEST_CASE("of several values the last counts", "[cli]") {
    CHECK(accepted({"--jobs", "3", "--jobs", "4"}).jobs == 4);
    CHECK(accepted({"--list", "--list"}).list);
}

TEST_CASE("--jobs takes a positive number or auto", "[cli]") {
    CHECK(accepted({"--jobs", "1"}).jobs == 1);
    CHECK_FALSE(accepted({"--jobs", "auto"}).jobs);
    CHECK_FALSE(accepted({"--jobs", "auto"}, {{"KTSTR_JOBS", "3"}}).jobs);
    for (const std::string bad : {"0", "-1", "abc", "3x", "1.5", " 3", "99999999999", "+3"}) {
        CHECK(mentions(refused({"--jobs", bad}), {"--jobs ", "number", "auto"}));
        CHECK(mentions(refused({}, {{"KTSTR_JOBS", bad}}), {"KTSTR_JOBS=", "number", "auto"}));
    }
    CHECK(mentions(refused({"--jobs", "abc"}), {"--jobs abc"}));
    CHECK(mentions(refused({}, {{"KTSTR_JOBS", "abc"}}), {"KTSTR_JOBS=abc"}));
}

TEST_CASE("--seed takes 64 bits, decimal or hexadecimal", "[cli]") {
    CHECK(accepted({"--seed", "0"}).seed == 0);
    CHECK(accepted({"--seed", "18446744073709551615"}).seed == 18446744073709551615u);
    CHECK(accepted({"--seed", "0xFFFFFFFFFFFFFFFF"}).seed == 18446744073709551615u);
    CHECK(accepted({"--seed", "0x2a"}).seed == 42);
    for (const std::string bad :
         {"18446744073709551616", "-1", "0x", "2a", "0x10000000000000000", "one", "0x-1"})
        CHECK(mentions(refused({"--seed", bad}), {"--seed " + bad, "0x"}));
}

TEST_CASE("without --seed there is a random one", "[cli]") {
    const auto first = accepted({});
    CHECK_FALSE(first.seed_was_given);
    // Equal once in four thousand million; three in a row do not happen.
    CHECK_FALSE((first.seed == accepted({}).seed && first.seed == accepted({}).seed));
}

TEST_CASE("bad values are refused by name with what would do", "[cli]") {
    CHECK(mentions(refused({"--accel", "xen"}), {"--accel xen", "auto, kvm, tcg or nested"}));
    CHECK(mentions(refused({"--color", "red"}), {"--color red", "auto, always or never"}));
    CHECK(mentions(refused({"--list", "--format", "xml"}), {"--format xml", "text or json"}));
    CHECK(mentions(refused({"--repeat", "0"}), {"--repeat 0", "positive"}));
    CHECK(mentions(refused({"--retries", "-1"}), {"--retries -1", "from 0"}));
    CHECK(mentions(refused({"--topology", "4cpus"}), {"--topology 4cpus", "1n2l4c1t"}));
    CHECK(mentions(refused({"--topology", "2n3l1c1t"}), {"--topology 2n3l1c1t", "multiple"}));
    CHECK(mentions(refused({"--topology", "1n99l99c9t"}), {"--topology", "252"}));
    CHECK(mentions(refused({"--junit", "-"}), {"--junit -", "path"}));
}

TEST_CASE("a value may not be missing or empty", "[cli]") {
    for (const std::string name :
         {"--filter", "--tag", "--exclude", "--accel", "--kernel", "--topology", "--jobs",
          "--repeat", "--retries", "--seed", "--junit", "--json", "--artifacts", "--color"}) {
        CHECK(mentions(refused({name}), {name, "missing"}));
        CHECK(mentions(refused({name + "="}), {name, "missing"}));
        CHECK(mentions(refused({name, ""}), {name, "missing"}));
        CHECK(mentions(refused({name, "--list"}), {name, "missing"}));
        CHECK(mentions(refused({name + "=", "x"}), {name, "missing"}));
    }
    CHECK(mentions(refused({"--list=yes"}), {"--list yes", "no value"}));
}

TEST_CASE("positional arguments are refused with a way out", "[cli]") {
    CHECK(mentions(refused({"two_llcs"}), {"two_llcs", "--filter two_llcs"}));
    CHECK(mentions(refused({"--list", "a b"}), {"--filter 'a b'"}));
    CHECK(mentions(refused({"--", "two_llcs"}), {"--filter two_llcs"}));
    CHECK(mentions(refused({"--", "--list"}), {"--list"}));
    CHECK(mentions(refused({"-"}), {"--filter -"}));
    CHECK(mentions(refused({"5"}), {"--filter 5"}));
    CHECK(mentions(refused({""}), {"''"}));
}

TEST_CASE("unknown arguments are refused with the nearest known one", "[cli]") {
    CHECK(mentions(refused({"--fitler", "x"}), {"--fitler", "did you mean --filter?"}));
    CHECK(mentions(refused({"--jobs=3", "--accelerator"}), {"--accelerator", "--help"}));
    CHECK(mentions(refused({"--verbos"}), {"did you mean --verbose?"}));
    CHECK(mentions(refused({"-x"}), {"-x"}));
    CHECK(mentions(refused({"--lis=t"}), {"did you mean --list?"}));
    CHECK_FALSE(mentions(refused({"--internal-no-mas"}), {"--internal-no-mask?"}));
}

TEST_CASE("a hostile value stays on its line", "[cli]") {
    const auto text = refused({"--jobs", "a\nb\x1b[2J\xff"});
    CHECK(mentions(text, {"a\\nb\\x1b[2J"}));
    CHECK(refused({"--jobs", std::string(100000, 'x')}).size() < 400);
}

TEST_CASE("only the last of several values is judged", "[cli]") {
    CHECK(accepted({"--jobs", "abc", "--jobs", "4"}).jobs == 4);
    CHECK(mentions(refused({"--jobs", "4", "--jobs", "abc"}), {"--jobs abc"}));
}

TEST_CASE("a letter is an argument as well", "[cli]") {
    CHECK(mentions(refused({"--filter", "-h"}), {"--filter", "missing"}));
    CHECK(mentions(refused({"-h=x"}), {"--help x", "no value"}));
}

TEST_CASE("what excludes each other is refused", "[cli]") {
    CHECK(mentions(refused({"--json", "-", "--tap"}), {"--json -", "--tap"}));
    CHECK(mentions(refused({"--quiet", "--verbose"}), {"--quiet", "--verbose"}));
    CHECK(mentions(refused({"--list", "--doctor"}), {"--list", "--doctor"}));
    CHECK(mentions(refused({"--shell", "--dry-run"}), {"--shell", "--dry-run"}));
    CHECK(mentions(refused({"--format", "json"}), {"--format", "--list"}));
    CHECK(mentions(refused({"--json", "a", "--junit", "a"}), {"--json a", "--junit"}));
    CHECK(accepted({"--json", "file", "--tap", "--junit", "j.xml"}).tap);
}

TEST_CASE("a machine inside another is not shown", "[cli]") {
    CHECK(mentions(refused({"--shell", "--accel", "nested"}), {"--shell", "--accel tcg"}));
    CHECK(mentions(refused({"--dry-run"}, {{"KTSTR_ACCEL", "nested"}}),
                   {"--dry-run", "--accel tcg"}));
    CHECK(accepted({"--doctor", "--accel", "nested"}).doctor);
    CHECK(accepted({"--shell", "--accel", "tcg"}, {{"KTSTR_ACCEL", "nested"}}).shell);
}

TEST_CASE("variables count where no argument is given", "[cli]") {
    const environment variables{
        {"KTSTR_KERNEL", "/boot/vmlinuz"},
        {"KTSTR_ACCEL", "kvm"},
        {"KTSTR_JOBS", "3"},
        {"KTSTR_CPU_CAP", "8"},
        {"KTSTR_LOCK_DIR", "/l"},
        {"KTSTR_ARTIFACTS", "/a"},
        {"NO_COLOR", "1"},
    };
    auto o = accepted({}, variables);
    CHECK(o.kernels == std::vector<std::string>{"/boot/vmlinuz"});
    CHECK(o.accel == accel_wish::kvm);
    CHECK(o.jobs == 3);
    CHECK(o.cpu_cap == 8);
    CHECK(o.lock_dir == "/l");
    CHECK(o.artifacts == "/a");
    CHECK(o.color == color_wish::never);
    o = accepted({"--kernel", "distro", "--accel", "tcg", "--jobs", "1", "--artifacts", "x",
                  "--color", "auto"},
                 variables);
    CHECK(o.kernels == std::vector<std::string>{"distro"});
    CHECK(o.accel == accel_wish::tcg);
    CHECK(o.jobs == 1);
    CHECK(o.artifacts == "x");
    CHECK(o.color == color_wish::automatic);
}

TEST_CASE("an empty variable is unset, a bad one is refused unless an argument wins", "[cli]") {
    CHECK_FALSE(accepted({}, {{"KTSTR_JOBS", ""}, {"KTSTR_CPU_CAP", ""}}).jobs);
    CHECK(accepted({}, {{"NO_COLOR", ""}}).color == color_wish::automatic);
    CHECK(mentions(refused({}, {{"KTSTR_ACCEL", "fast"}}), {"KTSTR_ACCEL=fast", "kvm"}));
    CHECK(mentions(refused({}, {{"KTSTR_CPU_CAP", "0"}}), {"KTSTR_CPU_CAP=0", "positive"}));
    CHECK(mentions(refused({"--list"}, {{"KTSTR_JOBS", "abc"}}), {"KTSTR_JOBS=abc"}));
    CHECK(accepted({"--jobs", "2"}, {{"KTSTR_JOBS", "abc"}}).jobs == 2);
}

TEST_CASE("sharding variables of Bazel and GoogleTest", "[cli]") {
    const std::string prefix = GENERATE(as<std::string>(), "TEST_", "GTEST_");
    const std::string total = prefix + "TOTAL_SHARDS";
    const std::string index = prefix + "SHARD_INDEX";
    const auto o =
        accepted({}, {{total, "3"}, {index, "2"}, {prefix + "SHARD_STATUS_FILE", "/tmp/status"}});
    CHECK(o.part == shard{2, 3, "/tmp/status"});
    CHECK_FALSE(accepted({}, {{total, ""}, {index, ""}}).part);
    CHECK(mentions(refused({}, {{total, "3"}}), {total + "=3", index}));
    CHECK(mentions(refused({}, {{index, "0"}}), {index + "=0", total}));
    CHECK(mentions(refused({}, {{total, "0"}, {index, "0"}}), {total + "=0", "positive"}));
    CHECK(mentions(refused({}, {{total, "many"}, {index, "0"}}), {total + "=many"}));
    CHECK(mentions(refused({}, {{total, "3"}, {index, "3"}}), {index + "=3", "0 to 2"}));
    CHECK(mentions(refused({}, {{total, "3"}, {index, "-1"}}), {index + "=-1", "0 to 2"}));
    CHECK(mentions(refused({}, {{total, "3"}, {index, "x"}}), {index + "=x", "0 to 2"}));
}

TEST_CASE("Bazel's sharding variables come before GoogleTest's", "[cli]") {
    CHECK(accepted({}, {{"GTEST_TOTAL_SHARDS", "9"},
                        {"GTEST_SHARD_INDEX", "8"},
                        {"TEST_TOTAL_SHARDS", "2"},
                        {"TEST_SHARD_INDEX", "1"}})
              .part == shard{1, 2, ""});
}

TEST_CASE("internal switches work and stay hidden", "[cli]") {
    const auto o = accepted({"--internal-no-mask", "--internal-link", "virtio-serial",
                             "--internal-body", "9", "--internal-fault", "kill-qemu@body",
                             "--internal-fault", "boot-limit-ms=20:one", "--filter", "t"},
                            {{"TEST_TOTAL_SHARDS", "2"}, {"TEST_SHARD_INDEX", "1"}});
    CHECK(o.internal.no_mask);
    CHECK(o.internal.link == link_kind::virtio_serial);
    CHECK(o.internal.body_fd == 9);
    CHECK(o.internal.faults.has(fault::kill_qemu_in_body, "any"));
    CHECK_FALSE(o.internal.faults.has(fault::kill_qemu_at_boot, "any"));
    CHECK(o.internal.faults.boot_limit("one") == std::chrono::milliseconds(20));
    CHECK_FALSE(o.internal.faults.boot_limit("other"));
    CHECK_FALSE(o.internal.faults.save_limit("one"));
    CHECK(o.internal.faults.words() == words{"kill-qemu@body", "boot-limit-ms=20:one"});
    const auto at_save = accepted({"--internal-fault", "freeze-qemu@save:template",
                                   "--internal-fault", "save-limit-ms=30:template"})
                             .internal.faults;
    CHECK(at_save.has(fault::freeze_qemu_at_save, "template"));
    CHECK_FALSE(at_save.has(fault::freeze_qemu_at_start, "template"));
    CHECK(at_save.save_limit("template") == std::chrono::milliseconds(30));
    CHECK_FALSE(at_save.boot_limit("template"));
    for (const auto* word : {"a", "a@body", "kill-qemu", "kill-qemu@", "cut-link@later",
                             "boot-limit-ms=", "boot-limit-ms=-1", "boot-limit-ms=1s"})
        CHECK(mentions(refused({"--internal-fault", word}), {word, "no such fault"}));
    CHECK_FALSE(o.part);  // its runner has dealt out the tests already
    CHECK_FALSE(accepted({"--internal-link", "auto"}).internal.link);
    CHECK(mentions(refused({"--internal-link", "x"}), {"--internal-link x", "vhost-vsock"}));
    CHECK(mentions(refused({"--internal-body", "9"}), {"--filter"}));
    CHECK(help_text("x").find("internal") == std::string::npos);
}

TEST_CASE("--help and --version win over everything else", "[cli]") {
    for (const std::string name : {"--help", "-h"}) {
        const auto parsed = parse({"--jobs", "abc", name, "positional"}, {{"KTSTR_JOBS", "x"}});
        REQUIRE(std::holds_alternative<cli_exit>(parsed));
        const auto& exit = std::get<cli_exit>(parsed);
        CHECK(exit.code == 0);
        CHECK(exit.err.empty());
        CHECK(exit.out.starts_with("Usage: ./my_tests [arguments]\n"));
        CHECK(exit.out.find("PROGRAM") == std::string::npos);
    }
    const auto parsed = parse({"--version"});
    REQUIRE(std::holds_alternative<cli_exit>(parsed));
    CHECK(std::get<cli_exit>(parsed).code == 0);
    CHECK(std::get<cli_exit>(parsed).out == "ktstr 0.1.0\n");
}

TEST_CASE("the help knows every argument, and no other", "[cli]") {
    const auto text = help_text("my_tests");
    for (const auto& group : detail::argument_groups)
        for (const auto& a : group.arguments) {
            const std::string line_start = "\n  " + std::string(a.name);
            CHECK((text.find(line_start + ' ') != std::string::npos ||
                   text.find(line_start + ',') != std::string::npos) == !group.title.empty());
            CHECK(detail::find_argument(a.name) == &a);
            CHECK((a.set != nullptr || a.name == "--help" || a.name == "--version"));
        }
    for (auto at = text.find("--"); at != std::string::npos; at = text.find("--", at + 2)) {
        const auto rest = text.substr(at);
        const auto name = rest.substr(0, rest.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", 2));
        INFO(name);
        CHECK(detail::find_argument(name) != nullptr);
    }
    for (const auto& v : detail::known_variables)
        CHECK((v.as.empty() || detail::find_argument(v.as) != nullptr));
    for (const char* variable : {"KTSTR_KERNEL", "KTSTR_ACCEL", "KTSTR_CACHE_DIR", "KTSTR_JOBS",
                                 "KTSTR_CPU_CAP", "KTSTR_LOCK_DIR", "KTSTR_ARTIFACTS", "NO_COLOR",
                                 "TEST_TOTAL_SHARDS", "GTEST_SHARD_INDEX"})
        CHECK(text.find(variable) != std::string::npos);
    // It is read on terminals of 80 columns... with room for 20 more.
    for (std::size_t begin = 0; begin < text.size();) {
        const auto end = text.find('\n', begin);
        CHECK(end - begin <= 100);
        begin = end + 1;
    }
}

TEST_CASE("the help is as agreed", "[cli][golden]") {
    const auto parsed = parse({"--help"});
    require_golden("cli/help.txt", std::get<cli_exit>(parsed).out);
}

TEST_CASE("a replay command holds what decides the outcome", "[cli]") {
    auto o = accepted({"--seed", "7", "--jobs", "3", "--verbose"});
    CHECK(replay_command(o, "two_llcs") == "./my_tests --filter two_llcs --seed 7");
    o = accepted({"--seed", "7", "--topology", "1n2l4c1t", "--no-clone"},
                 {{"KTSTR_KERNEL", "/my kernel"}, {"KTSTR_ACCEL", "tcg"}});
    CHECK(replay_command(o, "t") ==
          "./my_tests --filter t --seed 7 --accel tcg --kernel '/my kernel' --topology 1n2l4c1t "
          "--no-clone");
    o = accepted({"--seed", "7"}, {{"KTSTR_SCHEDULER_SCX_B", "/b c"},
                                   {"KTSTR_CPU_CAP", "2"},
                                   {"KTSTR_SCHEDULER_SCX_A", "/a"},
                                   {"KTSTR_SCHEDULER_SCX_C", ""}});
    CHECK(replay_command(o, "t") ==
          "KTSTR_CPU_CAP=2 KTSTR_SCHEDULER_SCX_A=/a KTSTR_SCHEDULER_SCX_B='/b c' ./my_tests "
          "--filter t --seed 7");
}

TEST_CASE("the environment of the process is read", "[cli]") {
    ::setenv("KTSTR_TEST_VARIABLE", "a=b", 1);
    ::setenv("KTSTR_TEST_EMPTY", "", 1);
    const auto variables = environment::of_process();
    CHECK(variables.get("KTSTR_TEST_VARIABLE") == "a=b");
    CHECK_FALSE(variables.get("KTSTR_TEST_EMPTY"));
    CHECK_FALSE(variables.get("KTSTR_TEST_MISSING"));
    ::unsetenv("KTSTR_TEST_VARIABLE");
    ::unsetenv("KTSTR_TEST_EMPTY");
}

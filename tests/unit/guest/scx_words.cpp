// SPDX-License-Identifier: MIT
// What kernels say of their BPF schedulers, as they have said it, and what is made of it.
#include <ktstr/guest/scx_words.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>
#include <vector>

using namespace ktstr;
using namespace ktstr::guest;

namespace {

constexpr scx_sources all{.claim = true, .record = true, .down = true};

constexpr std::string_view claim =
    "       scheduler-101     [000] ...1.     4.774614: sched_ext_exit: sched simple level 0 "
    "sub_cgroup_id 0 cgrp_path / kind 64\n";
constexpr std::string_view record =
    " sched_ext_helpe-103     [001] ...1.     4.844667: scx_end: (scx_log_sched_disable+0x4/0x9b) "
    "kind=64 code=0 reason=\"unregistered from user space\" msg=\"\"\n";
constexpr std::string_view down =
    " sched_ext_helpe-103     [001] ...1.     4.874667: scx_down: "
    "(kthread_worker_fn+0xaa/0x2b0 <- scx_disable_workfn)\n";

std::vector<scx_news> hear(std::string_view trace, scx_sources sources = all) {
    scx_words words(sources);
    words.trace(trace, true);
    return words.take();
}

std::string uevent(std::string_view action, std::string_view path) {
    std::string text(action);
    (text += '@') += path;
    text += '\0';
    text += "ACTION=add";
    text += '\0';
    text += "SCXOPS=simple";
    text += '\0';
    text += "SEQNUM=665";
    text += '\0';
    return text;
}

}  // namespace

TEST_CASE("an attach is the kernel's uevent", "[scx]") {
    scx_words words(all);
    words.uevent(uevent("add", "/devices/virtual/bdi/7:0"));
    words.uevent(uevent("add", "/kernel/sched_ext"));
    words.uevent("");
    CHECK(words.take().empty());
    words.uevent(uevent("add", "/kernel/sched_ext/root"));
    const auto news = words.take();
    REQUIRE(news.size() == 1);
    CHECK(news[0].what == scx_news::kind::attached);
    CHECK(news[0].name == "simple");
    CHECK(words.take().empty());
}

TEST_CASE("an end is told twice: when it is decided, and when it is over", "[scx]") {
    scx_words words(all);
    words.trace(claim, true);
    auto news = words.take();
    REQUIRE(news.size() == 1);
    CHECK(news[0].what == scx_news::kind::leaving);
    words.trace(record, true);
    CHECK(words.take().empty());
    // In whatever pieces it comes.
    words.trace(down.substr(0, 30), false);
    words.trace(down.substr(30), false);
    words.trace({}, true);
    news = words.take();
    REQUIRE(news.size() == 1);
    CHECK(news[0].what == scx_news::kind::ended);
    CHECK(news[0].end.record.kind == scx_exit_kind::unregistered);
    CHECK(news[0].end.record.reason == "unregistered from user space");
    CHECK(news[0].end.record.message.empty());
    CHECK(news[0].end.record.dump.empty());
    CHECK(news[0].end.fell_back_ns == 100'053'000U);
    // The next one begins anew.
    words.trace(claim, true);
    CHECK(words.take().size() == 1);
}

TEST_CASE("an error brings its message and its dump, whatever is in them", "[scx]") {
    const std::string head = "    kworker/u8:1-37      [001] d.h2.    12.000001: ";
    const std::string text =
        head + "sched_ext_exit: sched zoo level 0 sub_cgroup_id 0 cgrp_path / kind 1025\n" + head +
        "sched_ext_dump: zoo: root\n" + head + "sched_ext_dump: \n" + head +
        "sched_ext_dump:   scx_bpf_error (says \"a\")\n" + head +
        "scx_end: (scx_log_sched_disable+0x4/0x9b) kind=1025 code=-3 reason=\"scx_bpf_error\" "
        "msg=\"says \"a\"\nand msg=\"b\" kind=7\"\n" +
        head + "scx_down: (kthread_worker_fn+0xaa/0x2b0 <- scx_disable_workfn)\n";
    const auto news = hear(text);
    REQUIRE(news.size() == 2);
    const auto& end = news[1].end.record;
    CHECK(end.kind == scx_exit_kind::error_bpf);
    CHECK(end.code == -3);
    CHECK(end.message == "says \"a\"\nand msg=\"b\" kind=7");
    CHECK(end.dump == "zoo: root\n\n  scx_bpf_error (says \"a\")\n");
}

TEST_CASE("a dump that never ends is cut, and says so", "[scx]") {
    std::string text;
    for (int i = 0; i < 20'000; ++i)
        text += "             zoo-37      [001] d.h2.    12.000001: sched_ext_dump: 0123456789\n";
    std::string exit(claim), end(record);
    exit.replace(exit.find("kind 64"), 7, "kind 1026");
    end.replace(end.find("kind=64"), 7, "kind=1026");
    const auto news = hear(exit + text + end + std::string(down));
    REQUIRE(news.size() == 2);
    CHECK(news[1].end.record.dump.size() < scx_words::longest_dump + 100);
    CHECK(news[1].end.record.dump.ends_with("(cut here)\n"));
}

TEST_CASE("a sub-scheduler's end is not the scheduler's", "[scx]") {
    std::string sub(claim);
    sub.replace(sub.find("level 0"), 7, "level 1");
    CHECK(hear(sub).empty());
    std::string parent(record);
    parent.replace(parent.find("kind=64"), 7, "kind=68");
    CHECK(hear(std::string(claim) + parent + std::string(down)).size() == 1);
    // One that goes by itself has the same kinds as its parent.
    std::string its(record);
    its.replace(its.find("kind=64"), 7, "level=2 kind=64");
    CHECK(hear(sub + its).empty());
    CHECK(hear(std::string(claim) + its + std::string(down)).size() == 1);
    its.replace(its.find("level=2"), 7, "level=0");
    CHECK(hear(std::string(claim) + its + std::string(down)).size() == 2);
}

TEST_CASE("an attach that is over is no attach, and the next one comes behind the end", "[scx]") {
    const std::string end = std::string(claim) + std::string(record) + std::string(down);
    const auto add = uevent("add", "/kernel/sched_ext/root");
    const auto remove = uevent("remove", "/kernel/sched_ext/root");
    using kind = scx_news::kind;
    const auto kinds = [](scx_words& words) {
        std::vector<kind> told;
        for (const auto& one : words.take())
            told.push_back(one.what);
        return told;
    };
    const std::vector life{kind::attached, kind::leaving, kind::ended};

    // Its whole life between two looks, and that of the next one.
    scx_words words(all);
    words.trace(end, true);
    for (const auto& one : {add, remove})
        words.uevent(one);
    CHECK(kinds(words) == life);
    words.trace(end, true);
    for (const auto& one : {add, remove, add})
        words.uevent(one);
    CHECK(kinds(words) == std::vector{kind::attached, kind::leaving, kind::ended, kind::attached});
    words.trace(claim, true);
    CHECK(kinds(words) == std::vector{kind::leaving});
    words.trace(std::string(record) + std::string(down), true);
    words.uevent(remove);
    CHECK(kinds(words) == std::vector{kind::ended});

    // It is known to leave before it is known to have come.
    scx_words late(all);
    late.trace(claim, true);
    late.uevent(add);
    CHECK(kinds(late) == std::vector{kind::attached, kind::leaving});
    late.uevent(remove);
    late.uevent(add);
    CHECK(kinds(late).empty());  // the next one, before the end of this one is told
    late.trace(std::string(record) + std::string(down), true);
    CHECK(kinds(late) == std::vector{kind::ended, kind::attached});

    // One that did not come up, and one that did.
    scx_words again(all);
    again.trace(end, true);
    CHECK(kinds(again) == std::vector{kind::leaving, kind::ended});
    again.uevent(add);
    CHECK(kinds(again) == std::vector{kind::attached});
}

TEST_CASE("a dump in a trace of its own is its end's", "[scx]") {
    std::string exit(claim), end(record);
    exit.replace(exit.find("kind 64"), 7, "kind 1026");
    end.replace(end.find("kind=64"), 7, "kind=1026");
    scx_words words(all);
    words.dump("             zoo-37      [001] d.h2.    12.000001: sched_ext_dump: one\n", false);
    words.dump("             zoo-37      [001] d.h2.    12.000001: sched_ext_dump: tw", false);
    words.dump("o\n", true);
    words.trace(exit + end + std::string(down), true);
    const auto news = words.take();
    REQUIRE(news.size() == 2);
    CHECK(news[1].end.record.dump == "one\ntwo\n");
}

TEST_CASE("what is no event is no news", "[scx]") {
    for (const std::string_view junk :
         {"CPU:0 [LOST 5 EVENTS]\n", "\n", "sched_ext_exit: kind 64\n",
          "             zoo-37      [001] d.h2.    12.000001: sched_switch: kind 64\n",
          "             zoo-x       [001] d.h2.    12.000001: sched_ext_exit: level 0 kind 64\n",
          "             zoo-37      [001] d.h2.    12: sched_ext_exit: level 0 kind 64\n",
          "             zoo-37      [001] d.h2.    12.000001: sched_ext_exit: level 0 kind\n",
          "             zoo-37      [001] d.h2.    12.000001: scx_end: kind=64 reason=\"\n",
          "             zoo-37      [001]\n"})
        CHECK(hear(junk).empty());
}

TEST_CASE("without the probes the kernel's log says how it ended", "[scx]") {
    scx_words words;
    words.uevent(uevent("add", "/kernel/sched_ext/root"));
    (void)words.take();
    words.log("sched_ext: BPF scheduler \"zoo\" enabled");
    CHECK(words.take().empty());
    words.log("sched_ext: BPF scheduler \"zoo\" disabled (runnable task stall)");
    words.log("sched_ext: zoo: victim[106] failed to run for 2.724s");
    words.log("   scx_watchdog_workfn+0x1b6/0x260");
    CHECK(words.take().size() == 1);
    words.looked_disabled();  // too early: it is still there
    CHECK_FALSE(words.must_look());
    words.uevent(uevent("remove", "/kernel/sched_ext/root"));
    CHECK(words.must_look());
    words.looked_disabled();
    const auto news = words.take();
    REQUIRE(news.size() == 1);
    CHECK(news[0].end.record.kind == scx_exit_kind::error_stall);
    CHECK(news[0].end.record.message == "victim[106] failed to run for 2.724s");
    CHECK_FALSE(news[0].end.fell_back_ns);

    // Where both speak, the record counts and the log is left alone.
    scx_words both(all);
    both.log("sched_ext: BPF scheduler \"zoo\" disabled (runnable task stall)");
    CHECK(both.take().empty());
}

TEST_CASE("the best of a scheduler's last words", "[scx]") {
    CHECK(last_words("").empty());
    CHECK(last_words("\n \r\n").empty());
    CHECK(last_words("one\ntwo\n") == "two");
    CHECK(last_words("scx_simple: invalid option -- 'z'\nusage: scx_simple [-f]\n  -h help\n") ==
          "scx_simple: invalid option -- 'z'");
    CHECK(last_words("a\nlibbpf: failed to attach\nx") == "libbpf: failed to attach");
    const std::string begin =
        "libbpf: prog 'zoo_enqueue': BPF program load failed: -EACCES\n"
        "libbpf: prog 'zoo_enqueue': -- BEGIN PROG LOAD LOG --\n"
        "0: R1=ctx() R10=fp0\n"
        "; *nowhere = 1; @ zoo.bpf.c:89\n"
        "42: (7b) *(u64 *)(r8 +0) = r1\n"
        "R8 invalid mem access 'scalar'\n";
    const std::string end =
        "processed 18 insns (limit 1000000) max_states_per_insn 0\n"
        "-- END PROG LOAD LOG --\n"
        "libbpf: prog 'zoo_enqueue': failed to load: -13\n";
    CHECK(last_words(begin + end) ==
          "the verifier refuses zoo_enqueue: R8 invalid mem access 'scalar' at zoo.bpf.c:89");
    CHECK(last_words(begin +
                     "\nVerification failed: Register Type Safety: Invalid dereference\n\n"
                     "Reason:\n  R8 is an integer.\n\nAt:\n  zoo_enqueue @ zoo.bpf.c:89:18\n"
                     "Suggestion:\n  Do not.\n\n" +
                     end) ==
          "the verifier refuses zoo_enqueue: R8 invalid mem access 'scalar' at zoo.bpf.c:89:18: R8 "
          "is an "
          "integer.");
    // A log that was cut before its end.
    CHECK(last_words(begin) == "libbpf: prog 'zoo_enqueue': BPF program load failed: -EACCES");
}

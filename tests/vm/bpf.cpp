// SPDX-License-Identifier: MIT
// What a body reads and writes of a running scheduler by ktstr::bpf, and whatever can be wrong with a name, a type or a
// moment. Read by bpf.py.
#include <ktstr/bpf.hpp>
#include <ktstr/ktstr.hpp>

#include <array>
#include <chrono>
#include <compare>
#include <string>
#include <string_view>

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace std::chrono_literals;
using std::uint64_t;

bool load_second(const char* path, uint64_t count);
bool attach_second();
void end_second();

namespace {

constexpr ktstr::scheduler keeper{
    .name = "keeper",
    .binary = "vm_keeper",
    .cores = 2,
    .files = {{.path = "/keeper.bpf.o", .from = "schedulers/keeper.bpf.o"}}};

// Objects, which the test program's own part loads.
constexpr ktstr::scheduler object{
    .name = "object", .binary = "schedulers/keeper.bpf.o", .cores = 2};
constexpr ktstr::scheduler refused{.name = "refused", .binary = "schedulers/keeper_refused.bpf.o"};
constexpr ktstr::scheduler twice{.name = "twice", .binary = "schedulers/keeper_twice.bpf.o"};
constexpr ktstr::scheduler nothing{.name = "nothing", .binary = "schedulers/keeper_nothing.bpf.o"};
constexpr ktstr::scheduler stranger{.name = "stranger",
                                    .binary = "schedulers/keeper_stranger.bpf.o"};
constexpr ktstr::scheduler with_arguments{
    .name = "with_arguments", .binary = "schedulers/keeper.bpf.o", .args = {"--slice"}};
constexpr ktstr::scheduler with_settings{.name = "with_settings",
                                         .binary = "schedulers/keeper.bpf.o",
                                         .args = {"of_rodata=5000", "limit=0xffffffffffffffff",
                                                  "ops.flags=8"}};  // SCX_OPS_SWITCH_PARTIAL
constexpr ktstr::scheduler with_no_such_global{
    .name = "no_such_global", .binary = "schedulers/keeper.bpf.o", .args = {"nobody=1"}};
constexpr ktstr::scheduler with_no_such_member{
    .name = "no_such_member", .binary = "schedulers/keeper.bpf.o", .args = {"ops.nobody=1"}};
constexpr ktstr::scheduler with_too_much{
    .name = "too_much", .binary = "schedulers/keeper.bpf.o", .args = {"of_rodata=0x100000000"}};
constexpr ktstr::scheduler with_a_blank{
    .name = "blank", .binary = "schedulers/keeper.bpf.o", .args = {"limit= -1"}};
constexpr ktstr::scheduler with_a_sign{
    .name = "sign", .binary = "schedulers/keeper.bpf.o", .args = {"limit=-1"}};
constexpr ktstr::scheduler with_a_struct{
    .name = "a_struct", .binary = "schedulers/keeper.bpf.o", .args = {"stats=1"}};

struct slot {
    uint64_t hits;
    unsigned cpu;
    unsigned pad;
};
struct pair {
    unsigned one;
    unsigned other;
};
enum class mood : unsigned { calm, busy = 7 };

/// The words of whatever `call` throws, or nothing.
template <class Call>
std::string words_of(const Call& call) {
    try {
        call();
    } catch (const ktstr::bpf::access_error& why) {
        return why.what();
    }
    return "";
}

bool has(const std::string& words, std::string_view part) {
    return words.find(part) != words.npos;
}

/// Load on every CPU, so that tasks are enqueued.
void run_a_step(ktstr::context& ctx) {
    const auto done = ktstr::execute_steps(ctx, {{.setup = {ctx.cgroup_def("load").workers(4)}}});
    KTSTR_CHECK(done.all_completed());
}

}  // namespace

KTSTR_TEST(globals, scheduler = keeper, duration = 500ms) {
    const auto bpf = ktstr::bpf::of(ctx);
    KTSTR_CHECK(bpf.ops_name() == "keeper");
    KTSTR_CHECK(bpf.global<uint64_t>("limit").read() == 7);
    KTSTR_CHECK(bpf.global<uint64_t>(".data:limit").read() == 7);
    KTSTR_CHECK(bpf.global<unsigned>("of_rodata").read() == 20000);
    KTSTR_CHECK(bpf.global<int>("stats.below_zero").read() == -5);
    KTSTR_CHECK(bpf.global<mood>("stats.mood").read() == mood::busy);
    KTSTR_CHECK(bpf.global<uint64_t>("stats.local.hits").read() == 11);
    KTSTR_CHECK(bpf.global<unsigned>("stats.in_nameless").read() == 77);
    KTSTR_CHECK(bpf.global<unsigned short>("stats.small[2]").read() == 300);
    KTSTR_CHECK(bpf.global<bool>("stats.on").read());
    KTSTR_CHECK(bpf.global<std::string>("stats.label").read() == "a keeper");
    KTSTR_CHECK(bpf.global<uint64_t>("many[99]").read() == 1);
    const auto local = bpf.global<std::array<uint64_t, 2>>("stats.local").read();
    KTSTR_CHECK(local[0] == 11 && local[1] == 1);
}

KTSTR_TEST(maps, scheduler = keeper, duration = 500ms) {
    const auto bpf = ktstr::bpf::of(ctx);
    run_a_step(ctx);
    KTSTR_CHECK(bpf.map("counts").at<uint64_t>(0) > 0);
    KTSTR_CHECK(bpf.map("counts").at<uint64_t>(3) == 0);
    KTSTR_CHECK(bpf.map("slots").at<slot>(1).cpu == 3);
    KTSTR_CHECK(bpf.map("slots").at<uint64_t>(1, ".hits") == 22);
    const auto each = bpf.map("on_each_cpu").per_cpu<slot>(0);
    KTSTR_REQUIRE(each.size() == 2);
    for (unsigned cpu = 0; cpu < 2; ++cpu)
        if (each[cpu].hits > 0)
            KTSTR_CHECK(each[cpu].cpu == cpu);
    KTSTR_CHECK(bpf.map("on_each_cpu").sum<uint64_t>(0, ".hits") >= each[0].hits + each[1].hits);
    KTSTR_CHECK(each[0].hits + each[1].hits > 0);

    const auto hash = bpf.map("a_hash_with_a_long_name");
    KTSTR_CHECK(hash.facts().type == "hash");
    KTSTR_CHECK(hash.at<slot>(1ULL << 40).hits == 22);
    KTSTR_CHECK(!hash.find<slot>(5).has_value());
    hash.write(5, slot{.hits = 1, .cpu = 0, .pad = 0});
    hash.write<uint64_t>(5, 9, ".hits");
    KTSTR_CHECK(hash.at<uint64_t>(5, ".hits") == 9);
    KTSTR_CHECK(hash.keys<uint64_t>().size() == 2);
    KTSTR_CHECK(hash.erase(5));
    KTSTR_CHECK(!hash.erase(5));
    KTSTR_CHECK(bpf.map("of_pairs").at<unsigned>(pair{1, 2}) == 5);
    KTSTR_CHECK(bpf.map("of_pairs").keys<pair>().size() == 1);
    bpf.map("counts").write<uint64_t>(3, 4);
    KTSTR_CHECK(bpf.map("counts").at<uint64_t>(3) == 4);
}

KTSTR_TEST(a_write_reaches_the_scheduler, scheduler = keeper, duration = 500ms) {
    const auto bpf = ktstr::bpf::of(ctx);
    const auto others = bpf.global<uint64_t>("stats.enqueued").read();
    bpf.global<uint64_t>("limit").write(1000);
    run_a_step(ctx);
    KTSTR_CHECK(bpf.global<uint64_t>("seen_limit").read() == 1000);
    KTSTR_CHECK(bpf.global<uint64_t>("stats.enqueued").read() > others);
}

KTSTR_TEST(deltas_of_steps, scheduler = keeper, duration = 500ms) {
    const auto bpf = ktstr::bpf::of(ctx);
    const auto maps = {std::string_view("counts"), std::string_view("on_each_cpu"),
                       std::string_view("a_hash_with_a_long_name")};
    auto before = bpf.snapshot(maps);
    bool moved = false;
    for (int step = 0; step < 2; ++step) {
        run_a_step(ctx);
        if (step == 1)
            bpf.map("a_hash_with_a_long_name").write(1, slot{});
        auto after = bpf.snapshot(maps);
        const auto did = after - before;
        KTSTR_CHECK(did.of("nr_enqueued") > 0);
        KTSTR_CHECK(did.of("counts[0]") > 0);
        KTSTR_CHECK(did.of("on_each_cpu[0].hits") > 0);
        KTSTR_CHECK(did.of("stats.local.hits") == 0);
        KTSTR_CHECK(did.of("stats.below_zero") == 0);
        KTSTR_CHECK(did.of("kernel:nr_rejected") == 0);
        KTSTR_CHECK(did.of("kernel:SCX_EV_BYPASS_ACTIVATE") == 0);
        KTSTR_CHECK(has(words_of([&] { (void)did.of("kernel:SCX_EV_NOTHING"); }), "they have "));
        for (const auto& one : did.changed())
            moved = moved || one.path == "nr_enqueued";
        if (step == 1)
            KTSTR_CHECK(has(words_of([&] { (void)did.of("a_hash_with_a_long_name[1].hits"); }),
                            "it was not there in the first snapshot"));
        ctx.metric("enqueued_in_step." + std::to_string(step),
                   static_cast<double>(did.of("nr_enqueued")));
        before = std::move(after);
    }
    KTSTR_CHECK(moved);
    KTSTR_CHECK(before.of("stats.below_zero") == -5);
    KTSTR_CHECK(has(words_of([&] { (void)before.of("nr_enqeued"); }), "it has "));
}

KTSTR_TEST(what_the_verifier_made_of_it, scheduler = keeper, duration = 500ms) {
    const auto programs = ktstr::bpf::of(ctx).programs();
    KTSTR_CHECK(programs.size() == 3);
    bool named = false;
    for (const auto& one : programs) {
        KTSTR_CHECK(one.verified_insns > 0, "{}", one.name);
        KTSTR_CHECK(one.share() < 0.5, "{}", one.name);
        named = named || one.name == "keeper_dispatch";
    }
    KTSTR_CHECK(named);
}

KTSTR_TEST(mistakes, scheduler = keeper, duration = 500ms) {
    const auto bpf = ktstr::bpf::of(ctx);
    const auto global = [&](auto type, const char* path) {
        return words_of([&] { (void)bpf.template global<decltype(type)>(path); });
    };
    KTSTR_CHECK(has(
        global(uint64_t{}, "nr_enqeued"),
        "cannot find the global 'nr_enqeued' of the scheduler keeper: there is no such global"));
    KTSTR_CHECK(has(global(uint64_t{}, "nr_enqeued"), "nr_enqueued"));
    KTSTR_CHECK(has(global(uint64_t{}, ".bss:limit"), "there is no such global; there are "));
    KTSTR_CHECK(has(global(uint64_t{}, ".nothing:limit"), "it has no section .nothing"));
    KTSTR_CHECK(has(global(unsigned{}, "limit"), "bytes, and not an unsigned integer of 4 bytes"));
    KTSTR_CHECK(has(global(std::int64_t{}, "limit"), "and not a signed integer of 8 bytes"));
    KTSTR_CHECK(has(global(1.0, "limit"), "and not a floating-point number of 8 bytes"));
    KTSTR_CHECK(has(global(slot{}, "stats"), "it is struct keeper_stats of "));
    KTSTR_CHECK(has(global(slot{}, "limit"), "and not a struct of 16 bytes"));
    KTSTR_CHECK(has(global(std::string{}, "limit"), "and not text"));
    KTSTR_CHECK(has(global(uint64_t{}, "stats.local.hit"), "it has hits, misses"));
    KTSTR_CHECK(has(global(uint64_t{}, "limit.hits"), "there is no field 'hits' in "));
    KTSTR_CHECK(
        has(global(uint64_t{}, "many[100]"), "it has 100 elements, and [100] is none of them"));
    KTSTR_CHECK(has(global(uint64_t{}, "many[one]"), "is no index"));
    KTSTR_CHECK(has(global(uint64_t{}, "limit[0]"), "there is no [0] in "));
    KTSTR_CHECK(has(global(unsigned{}, "stats.narrow"), "is a bit-field"));
    KTSTR_CHECK(
        has(words_of([&] { bpf.global<unsigned>("of_rodata").write(1); }), "it is in .rodata"));

    KTSTR_CHECK(has(words_of([&] { (void)bpf.map("count"); }), "there is no such map; there are "));
    KTSTR_CHECK(has(words_of([&] { (void)bpf.map("news"); }), "of the type ringbuf"));
    KTSTR_CHECK(has(words_of([&] { (void)bpf.map("counts").at<uint64_t>(4); }),
                    "there is no key 4; the array has 4 elements"));
    KTSTR_CHECK(has(words_of([&] { bpf.map("counts").write<uint64_t>(4, 1); }),
                    "there is no key 4; the array has 4 elements"));
    KTSTR_CHECK(has(words_of([&] { (void)bpf.map("counts").erase(1); }),
                    "elements of an array are always there"));
    KTSTR_CHECK(
        has(words_of([&] { (void)bpf.map("counts").at<uint64_t>(-1); }), "there is no key "));
    KTSTR_CHECK(has(words_of([&] { (void)bpf.map("counts").at<uint64_t>(1ULL << 32); }),
                    "does not fit into 4 bytes"));
    KTSTR_CHECK(has(words_of([&] { (void)bpf.map("counts").at<unsigned>(0); }),
                    "and not an unsigned integer of 4 bytes"));
    KTSTR_CHECK(has(words_of([&] { (void)bpf.map("slots").at<uint64_t>(0, ".hit"); }),
                    "it has hits, cpu, pad"));
    KTSTR_CHECK(
        has(words_of([&] { (void)bpf.map("on_each_cpu").at<slot>(0); }), "ask per_cpu() or sum()"));
    KTSTR_CHECK(has(words_of([&] { (void)bpf.map("slots").per_cpu<slot>(0); }), "ask at()"));
    KTSTR_CHECK(has(words_of([&] { (void)bpf.map("of_pairs").at<unsigned>(7); }),
                    "and this one is a number"));
    KTSTR_CHECK(has(words_of([&] { (void)bpf.map("of_pairs").at<unsigned>(slot{}); }),
                    "keys have 8 bytes, and this one 16"));
    const auto hash = bpf.map("a_hash_with_a_long_name");
    KTSTR_CHECK(has(words_of([&] { (void)hash.at<slot>(6); }), "there is no key 6 in the hash"));
    KTSTR_CHECK(has(words_of([&] { (void)hash.keys<unsigned>(); }),
                    "and not an unsigned integer of 4 bytes"));
    KTSTR_CHECK(
        has(words_of([&] { hash.write<uint64_t>(6, 1, ".hits"); }), "there is no key 6 yet"));
    std::string full;
    for (int i = 0; i < 8 && full.empty(); ++i)
        full = words_of([&] { hash.write(i, slot{}); });
    KTSTR_CHECK(has(full, "the map is full"));
}

KTSTR_TEST(after_its_end, scheduler = keeper, duration = 500ms) {
    const auto bpf = ktstr::bpf::of(ctx);
    const auto limit = bpf.global<uint64_t>("limit");
    const auto before = bpf.snapshot();
    ctx.scheduler().detach();
    KTSTR_CHECK(has(words_of([&] { (void)limit.read(); }), "the scheduler has ended; "));
    KTSTR_CHECK(
        has(limit.try_read().error().message(),
            "cannot read the global 'limit' of the scheduler keeper: the scheduler has ended"));
    KTSTR_CHECK(has(words_of([&] { limit.write(1); }), "the scheduler has ended"));
    KTSTR_CHECK(
        has(words_of([&] { (void)bpf.map("counts").at<uint64_t>(0); }), "the scheduler has ended"));
    KTSTR_CHECK(has(words_of([&] { (void)bpf.snapshot(); }), "the scheduler has ended"));
    KTSTR_CHECK(limit.last() == 7);
    KTSTR_CHECK(has(words_of([&] { (void)ktstr::bpf::of(ctx); }),
                    "no BPF scheduler is attached (sched_ext is 'disabled')"));
    ctx.scheduler().attach();
    KTSTR_CHECK(has(words_of([&] { (void)limit.read(); }),
                    "the scheduler has ended, and another attach took its place"));
    const auto again = ktstr::bpf::of(ctx);
    KTSTR_CHECK(again.global<uint64_t>("limit").read() == 7);
    KTSTR_CHECK(has(words_of([&] { (void)(again.snapshot() - before); }), "of different attaches"));
}

KTSTR_TEST(two_of_one_name, scheduler = keeper, duration = 500ms) {
    constexpr uint64_t mark = 1ULL << 50;
    KTSTR_REQUIRE(load_second("/keeper.bpf.o", mark));
    KTSTR_CHECK(ktstr::bpf::of(ctx).map("counts").at<uint64_t>(0) < mark);
    ctx.scheduler().detach();
    KTSTR_REQUIRE(attach_second());
    const auto bpf = ktstr::bpf::of(ctx);
    KTSTR_CHECK(bpf.map("counts").at<uint64_t>(0) >= mark);
    end_second();
    KTSTR_CHECK(
        has(words_of([&] { (void)bpf.map("counts").at<uint64_t>(0); }), "the scheduler has ended"));
}

KTSTR_TEST(an_error_that_nobody_catches, scheduler = keeper, duration = 500ms) {
    KTSTR_CHECK(ktstr::bpf::of(ctx).global<int>("no_such_thing").read() == 0);
}

KTSTR_TEST(no_scheduler_to_read, cores = 2, duration = 500ms) {
    (void)ktstr::bpf::of(ctx);
}

// ---- definitions that are objects ----------------------------------------------------------------------

KTSTR_TEST(an_object, scheduler = object, duration = 500ms) {
    KTSTR_CHECK(ctx.scheduler().ops_name() == "keeper");
    const auto bpf = ktstr::bpf::of(ctx);
    const auto before = bpf.snapshot();
    run_a_step(ctx);
    KTSTR_CHECK((bpf.snapshot() - before).of("nr_enqueued") > 0);
    ctx.scheduler().restart();
    KTSTR_CHECK(ctx.scheduler().enabled());
    ctx.scheduler().detach();
    const auto end = ctx.scheduler().wait_exit(10s);
    KTSTR_REQUIRE(end.has_value());
    KTSTR_CHECK(end->kind == ktstr::scx_exit_kind::unregistered);
}

KTSTR_TEST(a_map_outlives_its_scheduler, scheduler = object, duration = 500ms) {
    const auto counts = ktstr::bpf::of(ctx).map("counts");
    counts.write(1U, std::uint64_t{4711});
    counts.pin("/sys/fs/bpf/counts");
    const auto fails = [&](const char* path) {
        try {
            counts.pin(path);
            return false;
        } catch (const ktstr::bpf::access_error&) {
            return true;
        }
    };
    KTSTR_CHECK(fails("/sys/fs/bpf/counts"));
    KTSTR_CHECK(fails("/tmp/counts"));
    ctx.scheduler().detach();
    KTSTR_CHECK(fails("/sys/fs/bpf/other"));
    const char path[] = "/sys/fs/bpf/counts";
    union bpf_attr attr {};
    attr.pathname = reinterpret_cast<std::uintptr_t>(path);
    const long fd = ::syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof attr);
    KTSTR_REQUIRE(fd >= 0);
    const std::uint32_t key = 1;
    std::uint64_t value = 0;
    attr = {};
    attr.map_fd = static_cast<std::uint32_t>(fd);
    attr.key = reinterpret_cast<std::uintptr_t>(&key);
    attr.value = reinterpret_cast<std::uintptr_t>(&value);
    KTSTR_CHECK(::syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof attr) == 0);
    KTSTR_CHECK(value == 4711U);
}

KTSTR_TEST(an_object_that_is_killed, scheduler = object, duration = 500ms) {
    ctx.scheduler().kill();
    const auto end = ctx.scheduler().wait_exit(10s);
    KTSTR_REQUIRE(end.has_value());
    KTSTR_CHECK(end->kind == ktstr::scx_exit_kind::unregistered);
}

KTSTR_TEST(an_object_that_nobody_waits_for, scheduler = object, duration = 500ms) {
    ctx.scheduler().kill();
    while (ctx.scheduler().enabled())
        ::usleep(10'000);
    run_a_step(ctx);
}

KTSTR_TEST(an_object_that_is_refused, scheduler = refused, cores = 2) {}
KTSTR_TEST(an_object_with_two, scheduler = twice, cores = 2) {}
KTSTR_TEST(an_object_with_nothing, scheduler = nothing, cores = 2) {}
KTSTR_TEST(an_object_of_another_kernel, scheduler = stranger, cores = 2) {}
KTSTR_TEST(an_object_with_settings, scheduler = with_settings, duration = 500ms) {
    KTSTR_CHECK(ctx.scheduler().partial());
    const auto bpf = ktstr::bpf::of(ctx);
    KTSTR_CHECK(bpf.global<std::uint32_t>("of_rodata").read() == 5000);
    KTSTR_CHECK(bpf.global<std::uint64_t>("limit").read() == ~std::uint64_t{0});
}
KTSTR_TEST(an_object_with_arguments, scheduler = with_arguments, cores = 2) {}
KTSTR_TEST(an_object_with_no_such_global, scheduler = with_no_such_global, cores = 2) {}
KTSTR_TEST(an_object_with_no_such_member, scheduler = with_no_such_member, cores = 2) {}
KTSTR_TEST(an_object_with_too_much, scheduler = with_too_much, cores = 2) {}
KTSTR_TEST(an_object_with_a_blank, scheduler = with_a_blank, cores = 2) {}
KTSTR_TEST(an_object_with_a_sign, scheduler = with_a_sign, cores = 2) {}
KTSTR_TEST(an_object_with_a_struct, scheduler = with_a_struct, cores = 2) {}

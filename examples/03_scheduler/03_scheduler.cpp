#include <ktstr/ktstr.hpp>
using namespace ktstr;
using namespace std::chrono_literals;

constexpr scheduler simple{.name = "scx_simple", .binary = "scx_simple"};

KTSTR_TEST(simple_runs_everybody, scheduler = simple, llcs = 2, cores = 2, duration = 2s) {
    KTSTR_REQUIRE(ctx.scheduler().enabled());
    auto const result = execute_steps(ctx, {step{.setup = {ctx.cgroup_def("load").workers(8).work(spin_wait{})}, .hold = hold::full}});
    KTSTR_CHECK(result.all_completed());
    KTSTR_CHECK(ctx.scheduler().ops_name() == "simple");
}

KTSTR_TEST(its_end_is_seen, scheduler = simple, duration = 1s) {
    ctx.scheduler().detach();
    auto const end = ctx.scheduler().wait_exit(5s);
    KTSTR_REQUIRE(end.has_value());
    KTSTR_CHECK(end->kind == scx_exit_kind::unregistered);
    KTSTR_CHECK(!ctx.scheduler().enabled());
}

KTSTR_TEST(same_load_under_both, schedulers = {simple, eevdf}, cores = 2, duration = 1s) {
    auto const result = execute_steps(ctx, {step{.setup = {ctx.cgroup_def("load").workers(4)}, .hold = hold::full}});
    KTSTR_CHECK(result.all_completed());
}

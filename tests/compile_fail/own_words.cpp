// COMPILES
// A file with words of its own for what ktstr has words for, in three ways of writing a test.
#include <ktstr/ktstr.hpp>

struct step {
    int hold = 1;
};
struct op {};
struct hold {};
struct topology {};
struct check {};
struct scheduler {};
struct context {};
struct error {};
enum class verdict { guilty };
enum class reason { none };
constexpr int version = 3;
constexpr int full = 4;
int result = version;

// Nothing is brought in at all.
KTSTR_TEST(qualified, cores = 2, duration = 1s) {
    const auto run =
        execute_steps(ctx, {{.setup = {ctx.cgroup_def("load").workers(4).work(ktstr::spin_wait{})}},
                            {.setup = {ctx.cgroup_def("more")}, .hold = ktstr::hold::frac(0.5)}});
    const step own{.hold = version};
    KTSTR_CHECK(run.completed_workers() == 6, "after {} steps", own.hold);
    KTSTR_REQUIRE(ctx.topology().total_cpus() == 2);
    KTSTR_CHECK(verdict::guilty == verdict::guilty);
}

using namespace ktstr::dsl;

KTSTR_TEST(with_the_small_namespace, duration = 1s) {
    const scenario_step first{.setup = {cgroup_def{.name = "load"}.workers(2)}, .hold = hold_full};
    const auto run = execute_steps(
        ctx, {first,
              {.setup = {ctx.cgroup_def("a").work(spin_wait{})}, .hold = hold_share(0.5)},
              {.hold = hold_for(std::chrono::milliseconds(20))}});
    const step own{};
    const hold mine{};
    const topology shape{};
    const op none{};
    const check done{};
    static_cast<void>(mine), static_cast<void>(shape), static_cast<void>(none),
        static_cast<void>(done);
    KTSTR_CHECK(run.all_completed() && own.hold == 1);
}

namespace all_of_it {
using namespace ktstr;
KTSTR_TEST(with_everything_where_nothing_collides, duration = 1s) {
    KTSTR_CHECK(execute_steps(ctx, {{.setup = {ctx.cgroup_def("a")}}}).all_completed());
}
}  // namespace all_of_it

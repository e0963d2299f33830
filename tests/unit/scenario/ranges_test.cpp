// SPDX-License-Identifier: MIT
// Results and CPU sets are ranges: for the standard's algorithms and views, and for range-v3's.
#include <ktstr/ktstr.hpp>

#if __has_include(<range/v3/algorithm/count_if.hpp>)
#    include <range/v3/algorithm/count_if.hpp>
#    include <range/v3/algorithm/minmax.hpp>
#    include <range/v3/numeric/accumulate.hpp>
#    include <range/v3/range/conversion.hpp>
#    include <range/v3/view/filter.hpp>
#    include <range/v3/view/join.hpp>
#    include <range/v3/view/transform.hpp>
#    define KTSTR_TEST_RANGE_V3 1
#endif

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <iterator>
#include <ranges>
#include <vector>

using namespace std::chrono_literals;

namespace {

using ktstr::cgroup_report;
using ktstr::cpu_set;
using ktstr::scenario_result;
using ktstr::step_result;
using ktstr::worker_report;

template <class Range, class Element>
concept sized_range_of = std::ranges::random_access_range<const Range> &&
    std::ranges::sized_range<const Range> && std::ranges::common_range<const Range> &&
    std::same_as<std::ranges::range_value_t<const Range>, Element>;

static_assert(sized_range_of<scenario_result, step_result>);
static_assert(sized_range_of<step_result, cgroup_report>);
static_assert(sized_range_of<cgroup_report, worker_report>);
static_assert(std::ranges::forward_range<const cpu_set>);
static_assert(std::ranges::common_range<const cpu_set>);
static_assert(std::ranges::sized_range<const cpu_set>);
static_assert(std::same_as<std::ranges::range_value_t<const cpu_set>, int>);
// For algorithms older than C++20, which ask the iterator what it is.
static_assert(std::same_as<std::iterator_traits<cpu_set::iterator>::iterator_category,
                           std::input_iterator_tag>);

scenario_result sample() {
    const auto worker = [](std::chrono::milliseconds cpu_time, bool completed = true) {
        return worker_report{.iterations = 1, .cpu_time = cpu_time, .completed = completed};
    };
    return {.steps = {step_result(1s, {{"a", {worker(10ms), worker(30ms)}}, {"b", {worker(20ms)}}}),
                      step_result(1s, {{"a", {worker(5ms, false)}}})}};
}

}  // namespace

// The views of libstdc++ 12 are more than clang 14 can compile, and not ktstr's doing.
#if !defined(__clang__) || __clang_major__ >= 16

TEST_CASE("results go through the standard's views and algorithms", "[ranges]") {
    const auto result = sample();
    const auto& workers = result.steps[0].cgroup("a")->workers();
    CHECK(std::ranges::max(workers | std::views::transform(&worker_report::cpu_time)) == 30ms);
    CHECK(std::ranges::all_of(result.steps[0], &cgroup_report::all_completed));
    CHECK(std::ranges::count_if(result, &step_result::all_completed) == 1);
    auto every = result | std::views::join | std::views::join;
    CHECK(std::ranges::distance(every) == result.worker_count());
}

TEST_CASE("CPU sets go through the standard's views and algorithms", "[ranges]") {
    const auto cpus = cpu_set::of(1, 2, 5, 200);
    CHECK(std::ranges::equal(cpus, std::vector{1, 2, 5, 200}));
    CHECK(cpus.size() == 4);
    CHECK(std::ranges::count_if(cpus, [](int cpu) { return cpu % 2 == 0; }) == 2);
    auto even = cpus | std::views::filter([](int cpu) { return cpu % 2 == 0; });
    CHECK(std::ranges::equal(even, std::vector{2, 200}));
    CHECK(std::vector<int>(cpus.begin(), cpus.end()).size() == 4);
    CHECK(std::ranges::empty(cpu_set{}));
}

#endif

#ifdef KTSTR_TEST_RANGE_V3

static_assert(ranges::random_access_range<const scenario_result>);
static_assert(ranges::random_access_range<const step_result>);
static_assert(ranges::random_access_range<const cgroup_report>);
static_assert(ranges::sized_range<const cgroup_report>);
static_assert(ranges::forward_range<const cpu_set>);
static_assert(ranges::sized_range<const cpu_set>);

TEST_CASE("results and CPU sets go through range-v3's", "[ranges]") {
    const auto result = sample();
    const auto& load = *result.steps[0].cgroup("a");
    const auto [least, most] =
        ranges::minmax(load | ranges::views::transform(&worker_report::cpu_time));
    CHECK(least == 10ms);
    CHECK(most == 30ms);
    auto every = result | ranges::views::join | ranges::views::join;
    CHECK(ranges::accumulate(every, 0ns, std::plus<>{}, &worker_report::cpu_time) == 65ms);

    const auto cpus = cpu_set::of(1, 2, 5, 200);
    const auto even = cpus | ranges::views::filter([](int cpu) { return cpu % 2 == 0; }) |
                      ranges::to<std::vector<int>>();
    CHECK(even == std::vector{2, 200});
    CHECK(ranges::count_if(cpus, [](int cpu) { return cpu > 1; }) == 3);
}

#endif

// SPDX-License-Identifier: MIT
#include <ktstr/ktstr.hpp>

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <string>
#include <string_view>

#include "test_called.hpp"

namespace {

int bodies_run = 0;
ktstr::check_record last_check;

}  // namespace

// The guest's part, for the one check in spec_test.cpp.
namespace ktstr::detail {
void report_check(const check_record& record) {
    last_check = record;
}
void end_body_failed() {
    throw 1;
}
void end_body_skipped(std::string_view, std::string_view, int) {
    throw 2;
}
}  // namespace ktstr::detail

KTSTR_TEST(counts_itself, llcs = 2, cores = 4) {
    ++bodies_run;
    KTSTR_CHECK(ctx.topology().total_cpus() == 8);
}

TEST_CASE("all tests of all files are registered, each once") {
    std::set<std::string_view> names;
    for (const ktstr::test_case* test : ktstr::registered_tests())
        CHECK(names.insert(test->name).second);
    CHECK(names.size() == ktstr::registered_tests().size());
    for (const char* name : {"counts_itself", "plain", "in_namespace", "in_unnamed_namespace"}) {
        INFO(name);
        CHECK(names.contains(name));
    }
    CHECK_FALSE(ktstr::registered_tests().empty());
}

TEST_CASE("a body runs with the context it is given") {
    ktstr::context ctx({.topology = {.numa_nodes = 1, .llcs = 2, .cores = 4},
                        .duration = std::chrono::seconds{5},
                        .seed = 42,
                        .test_name = "counts_itself",
                        .dilation = 9.5});
    CHECK(ctx.duration() == std::chrono::seconds{5});
    CHECK(ctx.seed() == 42);
    CHECK(ctx.test_name() == "counts_itself");
    CHECK(ctx.dilation() == 9.5);
    CHECK(ctx.cgroup_def("load").name == "load");

    const int before = bodies_run;
    test_called("counts_itself").body(ctx);
    CHECK(bodies_run == before + 1);
    CHECK(last_check.passed);
    test_called("in_namespace").body(ctx);
    CHECK(last_check.passed);
    CHECK(last_check.expression == "ctx.seed() == 42");
}

TEST_CASE("the version is one and the same for people and the preprocessor") {
    const std::string text = std::to_string(KTSTR_VERSION_MAJOR) + "." +
                             std::to_string(KTSTR_VERSION_MINOR) + "." +
                             std::to_string(KTSTR_VERSION_PATCH);
    CHECK(text == ktstr::version);
    CHECK(KTSTR_VERSION == 100);
}

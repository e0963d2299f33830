// SPDX-License-Identifier: MIT
#include <ktstr/topology/preset.hpp>

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <string>
#include <string_view>

using ktstr::find_preset;
using ktstr::topology;

static_assert(find_preset("numa4-12llc") ==
              topology{.numa_nodes = 4, .llcs = 12, .cores = 8, .threads = 2});

TEST_CASE("24 presets, each a shape a machine can have, each name and shape once") {
    CHECK(ktstr::presets.size() == 24);
    std::set<std::string_view> names;
    std::set<std::string> shapes;
    for (const ktstr::preset& p : ktstr::presets) {
        INFO(p.name);
        CHECK(names.insert(p.name).second);
        CHECK(shapes.insert(to_text(p.shape).str()).second);
        CHECK(ktstr::topology_problem(p.shape).empty());
        CHECK(find_preset(p.name) == p.shape);
    }
}

TEST_CASE("names tell the truth about the shape") {
    for (const ktstr::preset& p : ktstr::presets) {
        INFO(p.name);
        if (p.name.ends_with("-nosmt") || p.name.starts_with("tiny") || p.name.starts_with("odd"))
            CHECK(p.shape.threads == 1);
        if (p.name.starts_with("smt"))
            CHECK(p.shape.threads == 2);
        if (p.name.starts_with("numa"))
            CHECK(p.shape.numa_nodes == p.name[4] - '0');
        else
            CHECK(p.shape.numa_nodes == 1);
    }
    CHECK(find_preset("max-cpu")->total_cpus() == 252);
    CHECK(find_preset("max-cpu-nosmt")->total_cpus() == 252);
    CHECK(find_preset("near-max-llc")->total_cpus() == 240);
}

TEST_CASE("an unknown name is no preset") {
    CHECK_FALSE(find_preset("tiny").has_value());
    CHECK_FALSE(find_preset("").has_value());
}

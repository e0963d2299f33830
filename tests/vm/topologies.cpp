// SPDX-License-Identifier: MIT
// Machines of every shape, looked at by the body with its own eyes: the harness has proved them
// before, and this proves the prover. Reads sysfs afresh and shares no code with it.
#include <ktstr/ktstr.hpp>

#include <fstream>
#include <string>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

std::string line_of(const std::string& path) {
    std::ifstream in(path);
    std::string line;
    std::getline(in, line);
    return line;
}

std::string cpu_path(int cpu) {
    return "/sys/devices/system/cpu/cpu" + std::to_string(cpu);
}

std::string range(int first, int count) {
    return count == 1 ? std::to_string(first)
                      : std::to_string(first) + '-' + std::to_string(first + count - 1);
}

void look(context& ctx) {
    const auto& t = ctx.topology();
    KTSTR_CHECK(line_of("/sys/devices/system/cpu/online") == range(0, t.total_cpus()));
    KTSTR_CHECK(line_of("/sys/devices/system/node/online") == range(0, t.num_numa_nodes()));
    const int per_llc = t.total_cpus() / t.num_llcs();
    const int per_node = t.total_cpus() / t.num_numa_nodes();
    for (int cpu = 0; cpu < t.total_cpus(); ++cpu) {
        KTSTR_CHECK(line_of(cpu_path(cpu) + "/cache/index3/shared_cpu_list") ==
                    range(cpu / per_llc * per_llc, per_llc));
        KTSTR_CHECK(line_of(cpu_path(cpu) + "/topology/thread_siblings_list") ==
                    range(cpu / t.threads * t.threads, t.threads));
        // Several LLCs in one package: the package is the node.
        KTSTR_CHECK(line_of(cpu_path(cpu) + "/topology/package_cpus_list") ==
                    range(cpu / per_node * per_node, per_node));
    }
    for (int node = 0; node < t.num_numa_nodes(); ++node) {
        const auto path = "/sys/devices/system/node/node" + std::to_string(node);
        KTSTR_CHECK(line_of(path + "/cpulist") == range(node * per_node, per_node));
        std::string distances;
        for (int to = 0; to < t.num_numa_nodes(); ++to)
            distances += (to == 0 ? "" : " ") + std::to_string(t.distance(node, to));
        KTSTR_CHECK(line_of(path + "/distance") == distances);
    }
}

}  // namespace

KTSTR_TEST(shape_1n1l1c1t, cores = 1, duration = 1s) {
    look(ctx);
}
KTSTR_TEST(shape_1n2l4c1t, llcs = 2, cores = 4, duration = 1s) {
    look(ctx);
}
KTSTR_TEST(shape_1n3l5c1t, llcs = 3, cores = 5, duration = 1s) {
    look(ctx);
}
KTSTR_TEST(shape_2n4l2c2t, numa_nodes = 2, llcs = 4, cores = 2, threads = 2, duration = 1s) {
    look(ctx);
}
KTSTR_TEST(shape_4n8l4c1t, numa_nodes = 4, llcs = 8, cores = 4, duration = 1s) {
    look(ctx);
}
KTSTR_TEST(shape_1n8l8c1t, llcs = 8, cores = 8, duration = 1s) {
    look(ctx);
}

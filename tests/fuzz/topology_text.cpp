// SPDX-License-Identifier: MIT
// Fuzzes what people and sysfs write about machines, 2n4l2c2t and 0-3,8: whatever is accepted is
// understood the same when it is written out again.
#include <ktstr/topology/cpu_set.hpp>
#include <ktstr/topology/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto shape = ktstr::parse_topology(text)) {
        if (shape->total_cpus() < 1)
            std::abort();
        const auto written = ktstr::to_text(*shape);
        if (ktstr::parse_topology(std::string_view(written)) != shape)
            std::abort();
    }
    if (const auto cpus = ktstr::parse_cpu_list(text)) {
        const auto written = ktstr::to_text(*cpus);
        if (ktstr::parse_cpu_list(written) != cpus)
            std::abort();
    }
    return 0;
}

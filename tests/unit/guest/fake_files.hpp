// SPDX-License-Identifier: MIT
// A directory that lives as long as a test, and a sysfs made of plain files in it.
#pragma once

#include <ktstr/topology/topology.hpp>

#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>

#include <stdlib.h>
#include <unistd.h>

namespace ktstr::guest::testing {

class scratch_directory {
public:
    scratch_directory() {
        // A fake sysfs is hundreds of files: in memory where there is such a place.
        const std::filesystem::path memory = "/dev/shm";
        const auto above =
            ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
        std::string name = (above / "ktstr-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr)
            throw std::runtime_error("cannot make " + name);
        path_ = name;
    }
    scratch_directory(const scratch_directory&) = delete;
    scratch_directory& operator=(const scratch_directory&) = delete;
    ~scratch_directory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

    /// Writes a file, with the directories above it. Returns its path.
    std::string write(const std::string& name, const std::string& text) const {
        const auto file = path_ / name;
        std::filesystem::create_directories(file.parent_path());
        std::FILE* out = std::fopen(file.c_str(), "w");
        if (out == nullptr || std::fputs(text.c_str(), out) < 0 || std::fclose(out) != 0)
            throw std::runtime_error("cannot write " + file.string());
        return file.string();
    }
    void remove(const std::string& name) const { std::filesystem::remove_all(path_ / name); }

private:
    std::filesystem::path path_;
};

/// What Linux shows in /sys for a machine; every file can be overwritten or removed afterwards.
class fake_sysfs : public scratch_directory {
public:
    explicit fake_sysfs(const topology& machine) {
        const auto line = [](const cpu_set& set) { return to_text(set) + '\n'; };
        for (const char* file : {"present", "online", "possible"})
            write("devices/system/cpu/" + std::string(file), line(machine.all_cpus()));
        for (int cpu = 0; cpu < machine.total_cpus(); ++cpu) {
            const auto siblings = machine.smt_siblings(cpu);
            cache(cpu, 0, 1, "Data", siblings);
            cache(cpu, 1, 1, "Instruction", siblings);
            cache(cpu, 2, 2, "Unified", siblings);
            cache(cpu, 3, 3, "Unified", machine.cpus_in_llc(machine.llc_of(cpu)));
            write(cpu_file(cpu, "topology/thread_siblings_list"), line(siblings));
        }
        // Entries beside the nodes, as the kernel has them.
        write("devices/system/node/online", "0\n");
        write("devices/system/node/power/control", "auto\n");
        for (int node = 0; node < machine.num_numa_nodes(); ++node) {
            std::string row;
            for (int to = 0; to < machine.num_numa_nodes(); ++to)
                row += (to > 0 ? " " : "") + std::to_string(machine.distance(node, to));
            write(node_file(node, "cpulist"), line(machine.cpus_in_node(node)));
            write(node_file(node, "distance"), row + '\n');
        }
    }

    void cache(int cpu, int index, int level, const char* type, const cpu_set& shared) const {
        const auto directory = "cache/index" + std::to_string(index) + '/';
        write(cpu_file(cpu, directory + "level"), std::to_string(level) + '\n');
        write(cpu_file(cpu, directory + "type"), std::string(type) + '\n');
        write(cpu_file(cpu, directory + "shared_cpu_list"), to_text(shared) + '\n');
    }

    [[nodiscard]] static std::string cpu_file(int cpu, const std::string& name) {
        return "devices/system/cpu/cpu" + std::to_string(cpu) + '/' + name;
    }
    [[nodiscard]] static std::string node_file(int node, const std::string& name) {
        return "devices/system/node/node" + std::to_string(node) + '/' + name;
    }
};

}  // namespace ktstr::guest::testing

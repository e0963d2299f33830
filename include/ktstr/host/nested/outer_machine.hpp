// SPDX-License-Identifier: MIT
// The machine around a nested run: emulated, with AMD's virtualization, and in it QEMU, the kernels of
// the machines inside, and this program. Like a test's machine it is a clone wherever that is possible:
// its template has loaded its modules and holds templates of the inner machines in its memory. Host
// side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/content_hash.hpp>
#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cell/kernel_names.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/clone/machine_template.hpp>
#include <ktstr/host/clone/payload.hpp>
#include <ktstr/host/initramfs/initramfs.hpp>
#include <ktstr/host/kernel/modules.hpp>
#include <ktstr/host/kernel/needs.hpp>
#include <ktstr/host/machine/boot_limit.hpp>
#include <ktstr/host/process/run_tool.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/host/setup/scheduler_program.hpp>
#include <ktstr/host/vm/architecture.hpp>
#include <ktstr/host/vm/host_tsc.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/wire/boot.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

namespace ktstr::host {

/// Where things lie in the outer machine, beside QEMU in /usr/bin.
inline constexpr std::string_view nested_kernels_dir = "/ktstr/kernels";
inline constexpr std::string_view nested_schedulers_dir = "/ktstr/schedulers";

namespace detail {

/// The firmware files, from the directories that QEMU itself names.
[[nodiscard]] inline result<std::vector<guest_file>> find_firmware(
    const std::filesystem::path& qemu_path) {
    tool_command ask;
    ask.argv = {qemu_path.string(), "-L", "help"};
    auto said = run_tool(std::move(ask));
    if (!said)
        return std::move(said).error();
    std::vector<guest_file> files;
    for (const auto name : machine_architecture.firmware) {
        std::string_view rest = said->out;
        while (!rest.empty()) {
            const auto end = rest.find('\n');
            const auto candidate = std::filesystem::path(rest.substr(0, end)) / name;
            rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
            if (::access(candidate.c_str(), R_OK) != 0)
                continue;
            files.push_back(
                {.guest_path = "/usr/share/qemu/" + std::string(name), .host_path = candidate});
            break;
        }
    }
    return files;
}

/// The arguments by which the run inside has this run's kernels, each in a directory with the name that
/// it has in the names of cells: so they are the same on both sides.
[[nodiscard]] inline std::vector<std::string> inner_kernels(const options& wanted) {
    auto names = kernel_names(wanted.kernels);  // whatever is wrong with them was seen long before
    if (!names || names->empty())
        names = std::vector<std::string>{"kernel"};
    std::vector<std::string> directories;
    for (const auto& name : *names)
        directories.push_back(std::string(nested_kernels_dir) + '/' + name);
    return directories;
}

/// A kernel for inner machines, with the modules of its link and of its clones, unpacked, because the
/// outer machine has no tool to unpack them with.
[[nodiscard]] inline result<std::vector<guest_file>> pack_inner_kernel(const kernel_setup& its,
                                                                       const std::string& root) {
    const auto& kernel = its.kernel;
    std::vector<guest_file> files;
    files.push_back(
        {.guest_path = root + (kernel.pvh ? "/vmlinux" : "/bzImage"), .host_path = kernel.image});
    if (!kernel.config.empty())
        files.push_back({.guest_path = root + "/config", .host_path = kernel.config});
    auto names = modules_of_link(its.config, link_kind::vhost_vsock);
    names.insert(names.end(), clone_modules.begin(), clone_modules.end());
    auto modules = modules_for(kernel, names);
    if (!modules)
        return std::move(modules).error();
    std::string depends, before;
    for (const auto& module : *modules) {
        auto content = read_module(module.path);
        if (!content)
            return std::move(content).error();
        files.push_back({.guest_path = root + "/modules/" + module.name + ".ko",
                         .content = std::move(*content)});
        depends += module.name + ".ko:" + before + '\n';
        before = ' ' + module.name + ".ko" + before;
    }
    files.push_back({.guest_path = root + "/modules/modules.dep", .content = depends});
    return files;
}

/// Puts the programs of the cells' schedulers into the outer machine, and the host's files that they bring.
/// Returns the variables by which the run inside finds the programs: each definition has its own, whatever
/// its program was called out here.
[[nodiscard]] inline result<std::vector<std::string>> pack_schedulers(
    const cell_list& cells, const std::filesystem::path& beside, initramfs_input& input) {
    std::map<std::string, std::filesystem::path> programs;
    std::set<const scheduler*> seen;
    std::set<std::string> files;
    std::vector<const scheduler*> all;
    for (const cell& one : cells)
        if (one.has_machine())
            for (const scheduler* its : one.its_schedulers())
                if (seen.insert(its).second)
                    all.push_back(its);
    for (const scheduler* const one : all) {
        const scheduler& its = *one;
        if (its.has_program()) {
            auto program = find_scheduler_program(its, beside);
            if (!program)
                return std::move(program).error();
            const auto variable = scheduler_variable(its.name);
            const auto [known, fresh] = programs.emplace(variable, *program);
            if (!fresh && known->second != *program)
                return plain_error(
                    "run nested with two schedulers of the variable", variable,
                    "it can't name both " + known->second.string() + " and " + program->string(),
                    "give one of them another name");
        }
        // Where the run inside looks, whose working directory is the root.
        for (const auto& file : its.files) {
            auto planted = file_of_scheduler(its, file, beside);
            if (!planted)
                return std::move(planted).error();
            const auto inside =
                (std::filesystem::path("/") / std::filesystem::path(file.from)).lexically_normal();
            if (!file.from.empty() && files.insert(inside.string()).second)
                input.files.push_back(
                    {.guest_path = inside.string(), .host_path = planted->host_path});
        }
    }
    std::vector<std::string> variables;
    for (const auto& [variable, program] : programs) {
        const auto inside = std::string(nested_schedulers_dir) + '/' + variable;
        input.programs.push_back({.host_path = program, .guest_path = inside});
        variables.push_back(variable + '=' + inside);
    }
    return variables;
}

/// Where the libraries of the run inside lie: it has no cache of the loader's to look them up in.
[[nodiscard]] inline result<std::string> library_directories(const host_facts& host) {
    const auto closure = find_libraries(host.program, std::array{host.qemu.path});
    if (!closure)
        return closure.error();
    std::set<std::string> seen;
    std::string list;
    for (const auto& library : closure->libraries)
        if (const auto directory = library.path.parent_path().string();
            seen.insert(directory).second)
            list += (list.empty() ? "" : ":") + directory;
    return list;
}

/// One cell of each kind of inner machine that can be a clone.
struct inner_kinds {
    cell_list cells;
    std::string text;  ///< what makes their machines differ, for a key
    int vcpus = 1;     ///< of the largest machine, clone or not
    int memory_mib = 256;
    int templates_mib = 0;
};

[[nodiscard]] inline inner_kinds kinds_of(const cell_list& cells) {
    inner_kinds kinds;
    std::map<std::string, const cell*> found;
    for (const cell& one : cells) {
        if (!one.has_machine())
            continue;
        const auto& spec = one.spec();
        const auto& shape = one.topology;
        // An inner machine's initramfs is small beside the outer one's; its rule is what counts.
        const int memory = memory_rule(shape.total_cpus(), spec.memory_mib, 64U << 20);
        kinds.vcpus = std::max(kinds.vcpus, shape.total_cpus());
        kinds.memory_mib = std::max(kinds.memory_mib, memory);
        if (spec.no_clone || spec.performance_mode)
            continue;
        std::string text(to_text(shape));
        text += ' ' + std::to_string(one.kernel);
        text += ' ' + std::to_string(memory);
        for (const auto& word : one.scheduler->kernel_args)
            text += ' ' + std::string(word);
        for (const auto& word : spec.kernel_args)
            text += ' ' + std::string(word);
        if (found.emplace(std::move(text), &one).second)
            kinds.templates_mib += memory;
    }
    for (const auto& [text, one] : found) {
        kinds.text += text + '\n';
        kinds.cells.push_back(*one);
    }
    return kinds;
}

/// The tree of its files but for the test program, as an identity and as a size.
struct tree_facts {
    std::string id;
    std::uint64_t bytes = 0;
};

[[nodiscard]] inline result<tree_facts> facts_of(const initramfs_input& input) {
    const auto tree = plant(input, base_for::all);
    if (!tree)
        return tree.error();
    tree_facts facts;
    facts.id = id_of(*tree);
    for (const auto& [path, node] : tree->nodes())
        facts.bytes += node.source.empty() ? node.content.size() : node.identity.size;
    return facts;
}

}  // namespace detail

/// The machine around the tests, before it is known whether it boots or is a clone.
struct outer_machine {
    host::machine machine;
    initramfs_input files;                 ///< what it boots from, the test program as its /init
    std::string files_id;                  ///< of all of them but the test program
    detail::inner_kinds kinds;             ///< of machines in it
    std::vector<std::string> environment;  ///< of the run in it

    /// As a clone: what its devices begin with, and what must stay while it runs.
    std::filesystem::path state;
    std::string template_key;
    std::shared_ptr<unique_fd> template_directory;  ///< see cache_entry
    std::shared_ptr<void> in_use;

    [[nodiscard]] bool is_clone() const noexcept { return !state.empty(); }
    /// Where the test program lies in it.
    [[nodiscard]] std::string program() const { return is_clone() ? wire::program_path : "/init"; }
};

/// The kernel that the outer machine itself runs: the first one of those inside.
[[nodiscard]] inline std::size_t outer_kernel(const cell_list& cells) {
    const auto needed = kernels_of(cells);
    return needed.empty() ? 0 : *needed.begin();
}

[[nodiscard]] inline result<outer_machine> plan_outer_machine(const options& wanted,
                                                              const run_setup& run,
                                                              const cell_list& cells) {
    outer_machine outer;
    const auto& setup = run.kernels[outer_kernel(cells)];
    auto& input = outer.files;
    input.init = run.host.program;
    auto names = first_modules(setup.config);
    names.insert(names.end(), machine_architecture.kvm.begin(), machine_architecture.kvm.end());
    names.insert(names.end(), nested_modules.begin(), nested_modules.end());
    names.insert(names.end(), vsock_modules.begin(), vsock_modules.end());
    if (setup.link == link_kind::virtio_serial || setup.clone_link == link_kind::virtio_serial)
        names.insert(names.end(), virtio_serial_modules.begin(), virtio_serial_modules.end());
    if (setup.why_cold.empty())
        names.insert(names.end(), clone_modules.begin(), clone_modules.end());
    auto modules = modules_for(setup.kernel, names);
    if (!modules)
        return std::move(modules).error();
    input.modules = std::move(*modules);
    input.programs.push_back({.host_path = run.host.qemu.path,
                              .guest_path = "/usr/bin/" + std::string(machine_architecture.qemu)});
    auto schedulers = detail::pack_schedulers(cells, run.host.program.path().parent_path(), input);
    if (!schedulers)
        return std::move(schedulers).error();
    std::vector<result<std::vector<guest_file>>> parts{detail::find_firmware(run.host.qemu.path)};
    const auto directories = detail::inner_kernels(wanted);
    for (const auto which : kernels_of(cells))
        parts.push_back(detail::pack_inner_kernel(run.kernels[which], directories[which]));
    for (auto& part : parts) {
        if (!part)
            return std::move(part).error();
        for (auto& file : *part)
            input.files.push_back(std::move(file));
    }
    auto libraries = detail::library_directories(run.host);
    if (!libraries)
        return std::move(libraries).error();
    outer.environment = {"PATH=/usr/bin:/bin:/", "HOME=/root", "TMPDIR=/tmp",
                         "KTSTR_CACHE_DIR=/tmp/cache", "LD_LIBRARY_PATH=" + *libraries};
    outer.environment.insert(outer.environment.end(), schedulers->begin(), schedulers->end());
    const auto facts = detail::facts_of(input);
    if (!facts)
        return facts.error();
    outer.files_id = facts->id;

    outer.kinds = detail::kinds_of(cells);
    auto& m = outer.machine;
    // More CPUs than any test has vCPUs, so that an unmasked machine is never short of them and a
    // masked one is short for that reason alone.
    m.topology = {.numa_nodes = 1,
                  .llcs = 1,
                  .cores = std::min(outer.kinds.vcpus + 2, max_vcpus),
                  .threads = 1};
    m.accel = accelerator::tcg;
    m.nested_virtualization = true;
    // The templates and the memory of their clones lie in a tmpfs, which takes half of memory at most.
    m.memory_mib =
        2 * (outer.kinds.memory_mib * wanted.jobs.value_or(1) + outer.kinds.templates_mib) + 512 +
        static_cast<int>((facts->bytes + run.host.program.bytes().size()) * 3 >> 20) +
        64 * m.topology.total_cpus();
    // A program that grows by a line is no other machine.
    m.memory_mib = (m.memory_mib + 255) / 256 * 256;
    m.kernel = setup.kernel.image;
    m.link = setup.link;
    return outer;
}

/// Makes it a machine that boots.
[[nodiscard]] inline result<void> boot_outer_machine(outer_machine& outer,
                                                     const kernel_setup& setup) {
    auto built = build_initramfs(outer.files, {});
    if (!built)
        return std::move(built).error();
    auto& m = outer.machine;
    m.boot = machine::boot_kind::cold;
    m.link = setup.link;
    m.initrd = built->path;
    m.tsc_khz = host_tsc_khz();
    m.ram.clear();
    m.disks.clear();
    outer.state.clear();
    outer.in_use = built->in_use;
    return {};
}

namespace detail {

/// The run that makes the templates of the inner machines, as the guest reads it. It is the program
/// that boots the template, and everything that it leaves belongs to kinds of machines and to contents
/// by their own keys, as in any cache: another build of the program finds its own or makes it.
[[nodiscard]] inline guest_file first_command(const outer_machine& outer, const options& wanted,
                                              const host_facts& host) {
    wire::first_command command{.environment = outer.environment};
    const auto add = [&command](auto... words) {
        (command.arguments.emplace_back(std::move(words)), ...);
    };
    add("/init", "--accel", "kvm", "--internal-calibration", std::to_string(host.calibration_ns),
        "--internal-templates");
    for (const auto& directory : inner_kernels(wanted))
        add("--kernel", directory);
    if (wanted.topology)
        add("--topology", to_text(*wanted.topology));
    if (wanted.internal.link)
        add("--internal-link", to_text(*wanted.internal.link));
    for (const cell& one : outer.kinds.cells)
        add("--filter", one.name);
    return {.guest_path = wire::first_command_path, .content = to_text(command)};
}

}  // namespace detail

/// Makes it a clone of its template, which boots now if there is none. What the template holds besides
/// its own kind of machine is in its key: every file in it but the test program, whose place the
/// current one takes, and the kinds of the templates in its memory.
[[nodiscard]] inline result<void> clone_outer_machine(outer_machine& outer, const options& wanted,
                                                      const host_facts& host,
                                                      const kernel_setup& setup,
                                                      const std::filesystem::path& private_dir,
                                                      const std::vector<int>& process_cpus,
                                                      int stop_fd, const progress_callback& say) {
    const cache in(host.cache_root);
    initramfs_input disks;
    disks.init = host.program;
    disks.modules = outer.files.modules;
    auto files = build_payload(in, disks, say);
    if (!files)
        return std::move(files).error();
    auto m = outer.machine;
    m.link = setup.clone_link;
    content_hash contents;
    contents.add(outer.files_id).add(files->base_id).add(outer.kinds.text);
    contents.add(std::string_view(wanted.internal.link ? to_text(*wanted.internal.link) : ""));
    template_request request{.machine = m,
                             .qemu = host.qemu,
                             .links = host.links,
                             .private_dir = private_dir,
                             .disk = files->program,
                             .disk_sizes = files->sizes,
                             .program_id = host.program.id(),
                             .agent_id = host.agent_id,
                             .base_id = contents.hex(),
                             .kernel_release = setup.kernel.release,
                             .process_cpus = process_cpus,
                             .stop_fd = stop_fd};
    for (const cell& one : outer.kinds.cells)
        request.work += boot_limit(accelerator::kvm, one.topology.total_cpus(), 3);
    auto key = template_key(request);
    if (!key)
        return std::move(key).error();
    initramfs archive;
    auto source = obtain_template(
        in, *key, request, say,
        [&]() -> result<std::filesystem::path> {
            if (say)
                say("booting the machine around nested runs, with " +
                    std::to_string(outer.kinds.cells.size()) +
                    " templates in it, once; its clones start at once");
            auto input = outer.files;
            if (!outer.kinds.cells.empty())
                input.files.push_back(detail::first_command(outer, wanted, host));
            auto built = build_initramfs(input, say);
            if (!built)
                return std::move(built).error();
            const auto facts = detail::facts_of(outer.files);
            if (!facts)
                return facts.error();
            if (facts->id != outer.files_id)
                return plain_error("boot", "the machine around nested runs",
                                   "a file of it changed meanwhile", "run again");
            archive = std::move(*built);
            return archive.path;
        },
        template_cache_limit);
    if (!source)
        return std::move(source).error();
    m.boot = machine::boot_kind::clone;
    m.ram = source->ram;
    m.disks = {files->program, files->files};
    outer.machine = std::move(m);
    outer.state = source->state;
    outer.template_key = std::move(*key);
    outer.template_directory = source->directory;
    outer.in_use = std::make_shared<std::pair<machine_template, payload>>(std::move(*source),
                                                                          std::move(*files));
    return {};
}

}  // namespace ktstr::host

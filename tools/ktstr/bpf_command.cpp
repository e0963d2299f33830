// SPDX-License-Identifier: MIT
// `ktstr bpf build|tools`, see bpf_build.hpp; a file of its own because it is compiled by itself. Host side.
#include "bpf_command.hpp"

#include <ktstr/host/process/stop_signal.hpp>

#include <fmt/format.h>

#include <memory>

#include "bpf_build.hpp"

namespace ktstr::tool {

void add_bpf_command(CLI::App& app, int& status) {
    CLI::App* const bpf = app.add_subcommand("bpf", "Programs of sched_ext schedulers");
    bpf->require_subcommand(1);

    CLI::App* const tools =
        bpf->add_subcommand("tools", "Which clang, bpftool and libbpf are used");
    tools->callback([&status] {
        const auto in = host::cache::open();
        if (!in) {
            status = cannot(in.error());
            return;
        }
        const auto found = find_bpf_toolchain(*in);
        if (!found) {
            status = cannot(found.error());
            return;
        }
        fmt::print(
            "clang    {:<10} {}\nbpftool  {:<10} {}\nlibbpf   {:<10} {}\nheaders  {:<10} {}\n",
            found->clang.version, found->clang.path, found->bpftool.version, found->bpftool.path,
            found->libbpf_version, found->library.string(), "", found->include.string());
    });

    CLI::App* const build =
        bpf->add_subcommand("build", "A scheduler's program of its BPF sources");
    const auto wanted = std::make_shared<bpf_build>();
    wanted->compiler = "c++";
    build->add_option("SOURCE", wanted->sources, "BPF sources, *.bpf.c")
        ->required()
        ->check(CLI::ExistingFile);
    build->add_option("-o,--output", wanted->program, "The program")->required();
    build->add_option("--loader", wanted->loader, "Its user-space half; without, ktstr's own")
        ->check(CLI::ExistingFile);
    build->add_option("--kernel", wanted->kernel, "distro, host, a path, or a cached release");
    build->add_option("--compiler", wanted->compiler, "For the user-space half")
        ->capture_default_str();
    build->add_option("--depfile", wanted->depfile, "Lists what was read, for make and ninja");
    build->add_option("-I,--include", wanted->includes, "Where headers are")
        ->allow_extra_args(false);
    build->add_option("-D,--define", wanted->definitions, "A macro")->allow_extra_args(false);
    build->callback([=, &status] {
        const host::stop_signal stop;  // ends what it waits for, in order
        if (const auto done = build_bpf(*wanted); !done)
            status = cannot(done.error());
    });
}

}  // namespace ktstr::tool

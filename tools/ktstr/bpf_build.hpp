// SPDX-License-Identifier: MIT
// One program of a sched_ext scheduler's BPF sources: vmlinux.h of the kernel under test, the object, and a
// user-space half, which is ktstr's own where none is given, and else finds a skeleton. Host side.
#pragma once

#include <ktstr/host/kernel/resolve_kernel.hpp>
#include <ktstr/host/vm/architecture.hpp>

#include <fmt/format.h>

#include <cctype>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include "bpf_toolchain.hpp"
#include "ktstr_bpf_loader.hpp"
#include "subcommand.hpp"
#include "vmlinux_header.hpp"

namespace ktstr::tool {

struct bpf_build {
    std::vector<std::string> sources;  ///< of the BPF side
    std::string program;               ///< what is made
    std::string loader;                ///< the user-space half; empty: ktstr's own
    std::string kernel;                ///< see host::kernel_request
    std::string compiler;              ///< for the user-space half
    std::string depfile;               ///< empty: none
    std::vector<std::string> includes, definitions;
};

namespace detail {

/// A name that C takes: "scx-mine" is "scx_mine".
inline std::string c_name(std::string name) {
    for (char& c : name)
        if (std::isalnum(static_cast<unsigned char>(c)) == 0)
            c = '_';
    if (name.empty() || (name[0] >= '0' && name[0] <= '9'))
        name.insert(name.begin(), '_');
    return name;
}

/// Runs a compiler, whose own messages are what the user wants to read.
inline result<void> compile(std::vector<std::string> argv, const std::string& what,
                            const std::string& object) {
    const auto done = host::run_tool({.argv = argv});
    if (!done)
        return done.error();
    fmt::print(stderr, "{}{}", done->out, done->err);
    if (done->exit_code == 0)
        return {};
    std::string hint;
    for (const std::string_view library : {"-lelf", "-lz"})
        if (done->err.find("cannot find " + std::string(library)) != std::string::npos)
            hint = library == "-lelf" ? "install libelf-dev" : "install zlib1g-dev";
    return plain_error(
        what, object,
        argv.front() + " ended with " + std::to_string(done->exit_code) + ", see above", hint);
}

/// What a compiler's depfile lists, without the target's name.
inline std::string dependencies_in(const std::filesystem::path& depfile) {
    const auto text = host::detail::read_text(depfile);
    if (!text)
        return {};
    const std::size_t colon = text->find(": ");
    std::string list = colon == std::string::npos ? std::string() : text->substr(colon + 2);
    while (!list.empty() && (list.back() == '\n' || list.back() == ' '))
        list.pop_back();
    return list;
}

/// Writes what differs only: a skeleton of the same object must not make its readers build again.
inline result<void> put_file(const std::filesystem::path& path, std::string_view text) {
    if (const auto there = host::detail::read_text(path); there && *there == text)
        return {};
    return host::detail::write_text(path, text);
}

inline std::string escaped_for_make(std::string_view path) {
    std::string text;
    for (const char c : path) {
        if (c == ' ' || c == '#')
            text += '\\';
        if (c == '$')
            text += '$';
        text += c;
    }
    return text;
}

/// The text as a string of C's.
inline std::string in_quotes(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            quoted += '\\';
        quoted += c;
    }
    return quoted + '"';
}

/// The object of one BPF source, and beside it OBJECT.d with what was read. `header` is the folder of vmlinux.h.
inline result<void> compile_bpf(const bpf_toolchain& tools, const std::filesystem::path& header,
                                const std::filesystem::path& source, const std::string& object,
                                const std::vector<std::string>& includes,
                                const std::vector<std::string>& definitions) {
    std::vector<std::string> argv{
        tools.clang.path, "-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall",
        // Without it anonymous members of named types vanish from vmlinux.h.
        "-fms-extensions", "-Wno-microsoft-anon-tag", "-Wno-missing-declarations",
        // Ninja and make wait for the end to show this.
        "-fno-color-diagnostics",
        "-D__TARGET_ARCH_" + std::string(host::machine_architecture.source_folder),
        "-I" + source.parent_path().string()};
    for (const std::string& directory : includes)
        argv.push_back("-I" + directory);
    for (const std::string& definition : definitions)
        argv.push_back("-D" + definition);
    for (const std::string& system : {header.string(), tools.include.string()}) {
        argv.emplace_back("-isystem");
        argv.push_back(system);
    }
    argv.insert(argv.end(), {"-MD", "-MF", object + ".d", "-c", source.string(), "-o", object});
    return compile(argv, "compile", source.string());
}

/// One alone is linked too: that leaves out what only a debugger wants, most of the object.
inline result<void> link_bpf(const bpf_toolchain& tools, const std::vector<std::string>& objects,
                             const std::string& into, const std::string& name) {
    std::vector<std::string> link{tools.bpftool.path, "gen", "object", into};
    link.insert(link.end(), objects.begin(), objects.end());
    if (auto linked = host::run_tool_ok({.argv = link}, "link the BPF objects of", name); !linked)
        return linked.error();
    return {};
}

/// NAME.skel.h, for a user-space half of the scheduler's own.
inline result<void> put_skeleton(const bpf_toolchain& tools, const std::string& object,
                                 const std::filesystem::path& directory, const std::string& name) {
    auto made = host::run_tool_ok(
        {.argv = {tools.bpftool.path, "gen", "skeleton", object, "name", c_name(name) + "_bpf"}},
        "make the skeleton of", name);
    if (!made)
        return made.error();
    std::string text = std::move(made->out);
    if (too_old(tools.libbpf_version, libbpf_with_links))
        for (std::size_t at = 0; (at = text.find("map->link = ", at)) != std::string::npos;) {
            const std::size_t start = text.rfind('\n', at) + 1;
            text.erase(start, text.find('\n', at) + 1 - start);
            at = start;
        }
    return put_file(directory / (name + ".skel.h"), text);
}

}  // namespace detail

/// Makes the program; what was there before is gone when this fails.
inline result<void> build_bpf(const bpf_build& wanted) {
    namespace fs = std::filesystem;
    const auto in = host::cache::open();
    if (!in)
        return in.error();
    const fs::path program = fs::absolute(wanted.program);
    const std::string name = program.filename().string();
    std::error_code failed;
    fs::remove(program, failed);
    const auto tools = find_bpf_toolchain(*in);
    if (!tools)
        return tools.error();
    const auto kernel = host::resolve_kernel({wanted.kernel, true, say});
    if (!kernel)
        return kernel.error();
    const auto header = obtain_vmlinux_header(*in, *kernel, tools->bpftool, say);
    if (!header)
        return header.error();

    const fs::path work = program.parent_path() / (name + ".bpf");
    fs::create_directories(work, failed);
    if (failed)
        return system_error("create", work.string(), "", failed.value());
    std::string dependencies;
    std::vector<std::string> objects;
    for (std::size_t i = 0; i < wanted.sources.size(); ++i) {
        const fs::path source = fs::absolute(wanted.sources[i]);
        const std::string object = work / (std::to_string(i) + ".o");
        if (auto done = detail::compile_bpf(*tools, header->path, source, object, wanted.includes,
                                            wanted.definitions);
            !done)
            return done;
        dependencies += ' ' + detail::dependencies_in(object + ".d");
        objects.push_back(object);
    }
    const std::string bpf_object = work / (name + ".bpf.o");
    if (auto linked = detail::link_bpf(*tools, objects, bpf_object, name); !linked)
        return linked;

    std::vector<std::string> argv{wanted.compiler, "-O2", "-g", "-Wall"};
    std::string loader = wanted.loader;
    if (loader.empty()) {
        loader = work / "loader.cpp";
        if (auto done = detail::put_file(loader, loader_source); !done)
            return done;
        argv.push_back("-DKTSTR_BPF_NAME=" + detail::in_quotes(name));
        // It goes through the assembler's quotes too.
        const std::string in_assembler = detail::in_quotes(bpf_object);
        argv.push_back("-DKTSTR_BPF_OBJECT=" +
                       detail::in_quotes(in_assembler.substr(1, in_assembler.size() - 2)));
    } else if (auto done = detail::put_skeleton(*tools, bpf_object, work, name); !done) {
        return done;
    }
    // Beside its place, then renamed: nobody ever starts half a program.
    const std::string fresh = work / (name + ".new");
    if (fs::path(loader).extension() != ".c")
        argv.emplace_back("-std=c++20");
    for (const std::string& directory : wanted.includes)
        argv.push_back("-I" + directory);
    for (const std::string& definition : wanted.definitions)
        argv.push_back("-D" + definition);
    argv.insert(argv.end(), {"-isystem", work.string(), "-isystem", tools->include.string(), "-MD",
                             "-MF", fresh + ".d", fs::absolute(loader).string(), "-o", fresh,
                             tools->library.string(), "-lelf", "-lz"});
    if (auto done = detail::compile(argv, "build the program of", name); !done)
        return done;
    dependencies += ' ' + detail::dependencies_in(fresh + ".d");
    if (::rename(fresh.c_str(), program.c_str()) != 0)
        return system_error("write", program.string());
    if (!wanted.depfile.empty())
        return host::detail::write_text(
            wanted.depfile, detail::escaped_for_make(wanted.program) + ':' + dependencies + '\n');
    return {};
}

}  // namespace ktstr::tool

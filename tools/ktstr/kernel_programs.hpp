// SPDX-License-Identifier: MIT
// Programs that live in the kernel's own sources, built by the kernel's own makefiles for one kernel: the sched_ext
// selftests and the schedulers of tools/sched_ext. In the cache by the content of what they are built from. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/cache/content_hash.hpp>
#include <ktstr/host/kernel/kernel_btf.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

#include "bpf_toolchain.hpp"
#include "kernel_source.hpp"
#include "run_make.hpp"

namespace ktstr::tool {

inline constexpr std::string_view selftests_kind = "selftests";
inline constexpr std::string_view selftests_folder = "tools/testing/selftests/sched_ext";
inline constexpr std::string_view schedulers_folder = "tools/sched_ext";

/// The runner, linked statically, and the names of its cases in the order in which it knows them.
struct built_selftests {
    std::filesystem::path runner, list;
    std::vector<std::string> cases;
    std::shared_ptr<unique_fd> in_use;
};

struct built_schedulers {
    std::vector<std::filesystem::path> programs;
    std::shared_ptr<unique_fd> in_use;
};

namespace detail {

/// What their makefiles need beside clang. Asks the compiler, which knows where it looks.
inline result<std::string> find_program_tools(const std::string& what) {
    for (const auto& [program, package] :
         {std::pair{"make", "make"}, std::pair{"gcc", "gcc"}, std::pair{"ar", "binutils"}})
        if (!host::find_tool(program))
            return plain_error("build", what, std::string(program) + " is not there",
                               std::string("install it (Debian: apt-get install ") + package + ")");
    const auto probe =
        host::run_tool({.argv = {"gcc", "-E", "-x", "c", "-o", "/dev/null", "-"},
                        .input = "#include <libelf.h>\n#include <gelf.h>\n#include <zlib.h>\n"});
    if (!probe)
        return probe.error();
    if (probe->exit_code != 0)
        return plain_error("build", what, first_error(probe->err),
                           "install it (Debian: apt-get install libelf-dev zlib1g-dev)");
    const auto version = host::run_tool_ok({.argv = {"gcc", "--version"}}, "ask", "gcc");
    if (!version)
        return version.error();
    return version->out.substr(0, version->out.find('\n'));
}

/// Their names as files of the folder, sorted so that a name stands before each name that it is a part of: the runner's
/// `-t` takes a part of a name, and so begins with the case that is meant.
inline std::vector<std::string> selftest_objects(const std::filesystem::path& folder) {
    std::vector<std::string> found;
    std::error_code failed;
    for (std::filesystem::directory_iterator at(folder, failed), end; !failed && at != end;
         at.increment(failed))
        if (const std::string name = at->path().filename();
            name.ends_with(".o") && name.find(".bpf.") == std::string::npos)
            found.push_back(name);
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
        return std::pair(a.size(), a) < std::pair(b.size(), b);
    });
    return found;
}

/// Runs one of those makefiles with everything it makes in `out`.
inline result<void> make_in_tree(const kernel_source& source, std::string_view folder,
                                 const std::filesystem::path& out, const host::cache_entry& btf,
                                 const std::string& clang, const std::string& what,
                                 const std::filesystem::path& log) {
    std::error_code failed;
    std::filesystem::create_directories(out / "stand-in", failed);
    if (failed)
        return host::cache_error("create", out, failed.value());
    // They ask the linker for zstd, which a libelf may use or not; one that does brings its own. An archive with nothing
    // in it is what the name needs where the package for developers is not installed.
    if (auto written = host::detail::write_text(out / "stand-in/libzstd.a", "!<arch>\n"); !written)
        return written;
    const auto jobs = ::sysconf(_SC_NPROCESSORS_ONLN);
    make_order order;
    order.arguments = {"-j" + std::to_string(std::max(1L, jobs)),
                       "-C",
                       (source.tree / folder).string(),
                       "O=" + out.string(),
                       "OUTPUT=" + out.string(),
                       "CLANG=" + clang,
                       "VMLINUX_BTF=" + (btf.path / host::btf_file).string()};
    if (folder == schedulers_folder)
        order.arguments.emplace_back("all");
    const char* const own = std::getenv("LIBRARY_PATH");
    order.environment = {"LIBRARY_PATH=" + (out / "stand-in").string() +
                         (own != nullptr ? ":" + std::string(own) : "")};
    order.log = log;
    order.what = what;
    return run_make(order);
}

/// Cases are asked for by name, and are folders' names: so each has one of its own, which is no path.
inline result<void> require_case_names(const std::string& what, std::string_view list) {
    std::vector<std::string_view> names;
    for (const auto name : host::detail::lines_of(list))
        if (!name.empty())
            names.push_back(name);
    if (names.empty())
        return plain_error("use", what, "it has no case");
    for (const auto name : names)
        if (name.find('/') != name.npos || name.front() == '.' ||
            std::any_of(name.begin(), name.end(), [](char c) { return c <= ' ' || c > '~'; }))
            return plain_error("use", what, "a case is called '" + host::one_line(name) + "'",
                               "give it a name of letters and digits");
    std::sort(names.begin(), names.end());
    if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end())
        return plain_error("use", what, "two cases are called " + std::string(*twice));
    return {};
}

/// Of a build that goes on or failed: it has to outlive the entry's temporary directory.
inline std::filesystem::path log_of(const host::cache& in, std::string_view name) {
    return in.root() / "logs" / (std::string(name) + ".log");
}

/// A name for all that the programs are built from; kernels' own headers come out of the BTF.
inline result<std::string> content_of_tools(const kernel_source& source) {
    if (!source.id.empty())
        return source.id;
    return hash_tree(
        source.tree,
        {"Makefile", "tools/arch", "tools/bpf", "tools/build", "tools/include", "tools/lib",
         "tools/scripts", "tools/sched_ext", "kernel/bpf", "include", "scripts/bpf_doc.py",
         "scripts/subarch.include", "tools/testing/selftests/lib.mk",
         "tools/testing/selftests/kselftest.h", "tools/testing/selftests/kselftest_harness.h",
         std::string(selftests_folder)});
}

struct program_build {
    std::string key, content, clang, what;
    host::cache_entry btf;
    std::filesystem::path log;
};

/// What a build depends on, as a key.
inline result<program_build> plan_programs(const host::cache& in, const kernel_source& source,
                                           const host::kernel& of, std::string_view folder,
                                           std::string_view rule,
                                           const host::progress_callback& say) {
    program_build plan;
    plan.what = std::string(folder) + " for kernel " + of.release;
    if (!std::filesystem::is_directory(source.tree / folder))
        return plain_error("build", plan.what, source.name + " has no " + std::string(folder),
                           "sched_ext came with 6.12");
    auto clang = find_clang();
    if (!clang)
        return clang.error();
    plan.clang = clang->path;
    auto gcc = find_program_tools(plan.what);
    if (!gcc)
        return gcc.error();
    auto btf = host::obtain_btf(in, of, say);
    if (!btf)
        return btf.error();
    plan.btf = *std::move(btf);
    auto content = content_of_tools(source);
    if (!content)
        return content.error();
    plan.content = *std::move(content);
    plan.key = host::content_hash{}
                   .add(rule)
                   .add(folder)
                   .add(std::string_view{plan.content})
                   .add(std::string_view{plan.btf.content.id})
                   .add(std::string_view{clang->version})
                   .add(std::string_view{*gcc})
                   .hex();
    plan.log = log_of(in, plan.key);
    if (const auto failed = host::make_cache_directory(plan.log.parent_path()))
        return host::cache_error("create", plan.log.parent_path(), failed.value());
    return plan;
}

}  // namespace detail

[[nodiscard]] inline result<built_selftests> obtain_selftests(const host::cache& in,
                                                              const kernel_source& source,
                                                              const host::kernel& of,
                                                              const host::progress_callback& say) {
    const auto plan =
        detail::plan_programs(in, source, of, selftests_folder, "ktstr selftests 1", say);
    if (!plan)
        return plan.error();
    host::cache::make_options options;
    options.what = plan->what;
    options.progress = say;
    options.durable = false;
    auto entry = in.obtain(
        selftests_kind, plan->key, options,
        [&](const std::filesystem::path& directory) -> result<void> {
            if (say)
                say("building " + plan->what + " from " + source.name + ", once");
            const auto out = directory / "out";
            std::error_code ignored;
            std::filesystem::remove(plan->log, ignored);
            if (auto made = detail::make_in_tree(source, selftests_folder, out, plan->btf,
                                                 plan->clang, plan->what, plan->log);
                !made)
                return made;
            // Their program asks for libraries; the guest has none of them, so the same objects are linked once more.
            const auto objects = out / "build/obj/sched_ext";
            make_order link;
            link.program = "gcc";
            link.arguments = {"-static", "-o", (directory / "runner").string()};
            for (const auto& object : detail::selftest_objects(objects))
                link.arguments.push_back((objects / object).string());
            link.arguments.insert(link.arguments.end(),
                                  {(out / "build/obj/libbpf/libbpf.a").string(), "-lelf", "-lz",
                                   "-L" + (out / "stand-in").string(), "-lzstd", "-lpthread"});
            link.log = plan->log;
            link.what = "the runner of " + plan->what;
            if (auto linked = run_make(link); !linked)
                return linked;
            auto listed = host::run_tool_ok({.argv = {(directory / "runner").string(), "-l"}},
                                            "ask for its cases", link.what);
            if (!listed)
                return listed.error();
            if (auto listing = detail::require_case_names(link.what, listed->out); !listing)
                return listing;
            if (auto same =
                    require_unchanged(plan->what, plan->content, detail::content_of_tools(source));
                !same)
                return same;
            std::filesystem::remove_all(out, ignored);
            std::filesystem::rename(plan->log, directory / "log", ignored);
            if (auto written = host::detail::write_text(directory / "cases", listed->out); !written)
                return written;
            return host::detail::write_text(directory / "about", plan->what + '\n');
        });
    if (!entry)
        return entry.error();
    built_selftests built{entry->path / "runner", entry->path / "cases", {}, entry->in_use};
    const auto list = host::detail::read_text(built.list);
    if (!list)
        return list.error();
    for (const auto name : host::detail::lines_of(*list))
        if (!name.empty())
            built.cases.emplace_back(name);
    return built;
}

[[nodiscard]] inline result<built_schedulers> obtain_kernel_schedulers(
    const host::cache& in, const kernel_source& source, const host::kernel& of,
    const host::progress_callback& say) {
    const auto plan =
        detail::plan_programs(in, source, of, schedulers_folder, "ktstr schedulers 1", say);
    if (!plan)
        return plan.error();
    host::cache::make_options options;
    options.what = plan->what;
    options.progress = say;
    options.durable = false;
    auto entry = in.obtain(
        selftests_kind, plan->key, options,
        [&](const std::filesystem::path& directory) -> result<void> {
            if (say)
                say("building " + plan->what + " from " + source.name + ", once");
            const auto out = directory / "out";
            std::error_code failed;
            std::filesystem::remove(plan->log, failed);
            if (auto made = detail::make_in_tree(source, schedulers_folder, out, plan->btf,
                                                 plan->clang, plan->what, plan->log);
                !made)
                return made;
            if (auto same =
                    require_unchanged(plan->what, plan->content, detail::content_of_tools(source));
                !same)
                return same;
            std::filesystem::rename(out / "build/bin", directory / "bin", failed);
            if (failed)
                return host::cache_error("store", directory / "bin", failed.value());
            std::filesystem::remove_all(out, failed);
            std::filesystem::rename(plan->log, directory / "log", failed);
            return host::detail::write_text(directory / "about", plan->what + '\n');
        });
    if (!entry)
        return entry.error();
    built_schedulers built{{}, entry->in_use};
    std::error_code failed;
    for (std::filesystem::directory_iterator at(entry->path / "bin", failed), end;
         !failed && at != end; at.increment(failed))
        if (::access(at->path().c_str(), X_OK) == 0)
            built.programs.push_back(at->path());
    std::sort(built.programs.begin(), built.programs.end());
    if (built.programs.empty())
        return plain_error("find", "the programs of " + plan->what, "its makefile made none");
    return built;
}

}  // namespace ktstr::tool

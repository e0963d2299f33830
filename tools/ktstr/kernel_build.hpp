// SPDX-License-Identifier: MIT
// Builds a kernel that ktstr can test with: the fragments of guest-kernel-config/ and the user's, a configuration that is
// compared with what they asked for, a build outside of the source tree, and an entry of the cache. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/cache/content_hash.hpp>
#include <ktstr/host/kernel/cached_kernel.hpp>
#include <ktstr/host/kernel/fetch_kernel.hpp>
#include <ktstr/host/kernel/kernel_btf.hpp>
#include <ktstr/host/kernel/kernel_config.hpp>
#include <ktstr/host/kernel/kernel_image.hpp>
#include <ktstr/host/kernel/needs.hpp>
#include <ktstr/host/vm/architecture.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

#include "kernel_programs.hpp"
#include "kernel_source.hpp"
#include "ktstr_kernel_fragments.hpp"
#include "run_make.hpp"
#include "subcommand.hpp"

namespace ktstr::tool {

struct kernel_build_order {
    std::string source = "linux-source";
    std::vector<std::string> fragments;  ///< the user's, after ktstr's own
    int jobs = 0;                        ///< 0: one for each CPU
};

namespace detail {

/// One option of a fragment; "n" is also what "# CONFIG_X is not set" says.
struct wanted_option {
    std::string name, value, from;
    bool is_own =
        false;  ///< of ktstr's fragments: wanted, and its absence no error unless a test needs it
};

/// The options of a fragment, in its order; a line that is none is an error.
inline result<void> read_fragment(std::string_view text, const std::string& from, bool is_own,
                                  std::map<std::string, wanted_option>& into) {
    int number = 0;
    for (std::string_view line : host::detail::lines_of(text)) {
        ++number;
        while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '\t'))
            line.remove_suffix(1);
        std::string name, value;
        constexpr std::string_view unset = " is not set";
        if (line.starts_with("# CONFIG_") && line.ends_with(unset)) {
            name = line.substr(9, line.size() - 9 - unset.size());
            value = "n";
        } else if (line.empty() || line[0] == '#') {
            continue;
        } else if (const auto equal = line.find('=');
                   line.starts_with("CONFIG_") && equal != std::string_view::npos) {
            name = line.substr(7, equal - 7);
            value = line.substr(equal + 1);
        }
        const bool is_name = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
            return host::detail::is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                   c == '_';
        });
        if (!is_name || value.empty())
            return plain_error(
                "read the fragment", from + ":" + std::to_string(number),
                "'" + host::one_line(line) + "' is no option",
                "write CONFIG_NAME=y, CONFIG_NAME=VALUE or # CONFIG_NAME is not set");
        into[name] = {name, value, from, is_own};
    }
    return {};
}

/// As kconfig reads it.
inline std::string fragment_text(const std::map<std::string, wanted_option>& options) {
    std::string text;
    for (const auto& [name, option] : options)
        text += option.value == "n" ? "# CONFIG_" + name + " is not set\n"
                                    : "CONFIG_" + name + '=' + option.value + '\n';
    return text;
}

/// What each option of the tree depends on, as its Kconfig files say; those that have no line are in it with "".
inline std::map<std::string, std::string> dependencies_in(const std::filesystem::path& tree,
                                                          const std::vector<std::string>& of) {
    std::map<std::string, std::string> found;
    std::error_code failed;
    for (std::filesystem::recursive_directory_iterator at(tree, failed), end; !failed && at != end;
         at.increment(failed)) {
        const auto& path = at->path().native();
        const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
        if (name == ".git" || name == "Documentation")
            at.disable_recursion_pending();
        std::error_code ignored;
        if (!name.starts_with("Kconfig") || !at->is_regular_file(ignored))
            continue;
        const auto text = host::detail::read_text(at->path());
        if (!text)
            continue;
        std::string current;
        for (std::string_view line : host::detail::lines_of(*text)) {
            const bool is_entry = line.starts_with("config ") || line.starts_with("menuconfig ");
            if (is_entry) {
                current = line.substr(line.find(' ') + 1);
                current.erase(current.find_last_not_of(" \t") + 1);
                if (std::find(of.begin(), of.end(), current) == of.end())
                    current.clear();
                else
                    found[current];
                continue;
            }
            if (!line.empty() && line[0] != '\t' && line[0] != ' ' && line[0] != '#')
                current.clear();
            const auto start = line.find("depends on ");
            if (!current.empty() && start != std::string_view::npos &&
                line.find_first_not_of(" \t") == start) {
                auto& all = found[current];
                all += (all.empty() ? "" : " && ") + host::one_line(line.substr(start + 11));
            }
        }
    }
    return found;
}

/// Compares a configuration with what was asked for. An error names each option that is missing and needed or of the
/// user's own; `say` hears of the rest.
inline result<void> verify_config(const host::kernel_config& got,
                                  const std::map<std::string, wanted_option>& wanted,
                                  const std::filesystem::path& tree, const std::string& what,
                                  const host::progress_callback& say) {
    const auto value_of = [&](const std::string& name) {
        return std::string(got.value(name).value_or("n"));
    };
    std::vector<const wanted_option*> missing;
    for (const auto& [name, option] : wanted) {
        if (value_of(name) == option.value)
            continue;
        const auto need =
            std::find_if(host::config_needs.begin(), host::config_needs.end(),
                         [&, &name = name](const auto& one) { return one.option == name; });
        if (need != host::config_needs.end() && !need->instead.empty() &&
            got.tristate(need->instead) == 'y')
            continue;
        missing.push_back(&option);
    }
    if (missing.empty())
        return {};
    std::vector<std::string> names;
    for (const auto* one : missing)
        names.push_back(one->name);
    const auto dependencies = dependencies_in(tree, names);
    std::string faults;
    for (const auto* one : missing) {
        const auto known = dependencies.find(one->name);
        std::string text = fmt::format("CONFIG_{} is {}, {} asks for {}", one->name,
                                       value_of(one->name), one->from, one->value);
        if (known == dependencies.end())
            text += ", and this kernel knows no such option";
        else if (!known->second.empty())
            text += ", and it depends on " + known->second;
        const bool needed = std::any_of(
            host::config_needs.begin(), host::config_needs.end(), [&](const auto& need) {
                return need.option == one->name && need.when != host::kernel_need::nested;
            });
        if (one->is_own && (known == dependencies.end() || !needed)) {
            // Options come and go; those of ktstr's that a kernel does not have are no fault of anybody's.
            if (say && known != dependencies.end())
                say("wanted, and not there: " + text);
            continue;
        }
        faults += (faults.empty() ? "" : "; ") + text;
    }
    if (!faults.empty())
        return plain_error("configure", what, faults,
                           "add what it depends on to a fragment, or leave it out");
    return {};
}

/// 124 of "v1.24"; 0: it does not say.
inline int pahole_number(std::string_view said) {
    const auto text = version_in(said);
    const auto dot = text.find('.');
    if (dot == std::string::npos)
        return 0;
    int major = 0, minor = 0;
    std::from_chars(text.data(), text.data() + dot, major);
    std::from_chars(text.data() + dot + 1, text.data() + text.size(), minor);
    return major * 100 + minor;
}

/// What this tree's CONFIG_DEBUG_INFO_BTF depends on: 122 of "PAHOLE_VERSION >= 122".
inline int pahole_wanted(const std::filesystem::path& tree) {
    const auto text = host::detail::read_text(tree / "lib/Kconfig.debug");
    if (!text)
        return 0;
    bool inside = false;
    for (std::string_view line : host::detail::lines_of(*text)) {
        if (line.starts_with("config "))
            inside = line == "config DEBUG_INFO_BTF";
        constexpr std::string_view asks = "PAHOLE_VERSION >= ";
        if (const auto at = line.find(asks); inside && at != std::string_view::npos) {
            int number = 0;
            std::from_chars(line.data() + at + asks.size(), line.data() + line.size(), number);
            return number;
        }
    }
    return 0;
}

inline std::string dotted(int pahole) {
    return fmt::format("{}.{:02}", pahole / 100, pahole % 100);
}

/// The programs that build a kernel, in one hash; everything that is missing is named at once, before anything is built.
inline result<std::string> find_build_tools(const std::string& what) {
    std::string missing, packages;
    const auto lack = [&](std::string_view name, std::string_view package) {
        missing += (missing.empty() ? "" : ", ") + std::string(name);
        packages += ' ' + std::string(package);
    };
    for (const auto& [program, package] :
         {std::pair{"make", "make"}, std::pair{"gcc", "gcc"}, std::pair{"ld", "binutils"},
          std::pair{"flex", "flex"}, std::pair{"bison", "bison"}, std::pair{"bc", "bc"},
          std::pair{"pahole", "dwarves"}})
        if (!host::find_tool(program))
            lack(program, package);
    if (host::find_tool("gcc"))
        for (const auto& [header, package] :
             {std::pair{"libelf.h", "libelf-dev"}, std::pair{"openssl/opensslv.h", "libssl-dev"}}) {
            const std::string line = fmt::format("#include <{}>\n", header);
            const auto probe = host::run_tool(
                {.argv = {"gcc", "-E", "-x", "c", "-o", "/dev/null", "-"}, .input = line});
            if (!probe)
                return probe.error();
            if (probe->exit_code != 0)
                lack(header, package);
        }
    if (!missing.empty())
        return plain_error("build", what, "missing on this host: " + missing,
                           "install it (Debian: apt-get install" + packages + ")");
    host::content_hash hash;
    for (const auto* program : {"gcc", "ld", "pahole"}) {
        const auto said = host::run_tool_ok({.argv = {program, "--version"}}, "ask", program);
        if (!said)
            return said.error();
        hash.add(std::string_view{said->out});
    }
    return hash.hex();
}

inline result<void> check_pahole(const std::filesystem::path& tree, const std::string& what,
                                 const host::progress_callback& say) {
    const auto said = host::run_tool_ok({.argv = {"pahole", "--version"}}, "ask", "pahole");
    if (!said)
        return said.error();
    const int have = pahole_number(said->out), wanted = pahole_wanted(tree);
    if (wanted != 0 && have < wanted)
        return plain_error(
            "build", what,
            fmt::format("pahole is {}, and the BTF of this kernel needs {}: it would be built "
                        "without, and no sched_ext scheduler could be loaded",
                        have == 0 ? "of unknown version" : dotted(have), dotted(wanted)),
            "install a newer dwarves or pahole package, and put it first in PATH");
    constexpr int with_kfuncs = 126;
    if (say && have != 0 && have < with_kfuncs)
        say(
            fmt::format("pahole {} builds BTF without the marks of kfuncs, which came with {}: "
                        "vmlinux.h of this kernel "
                        "will not declare them",
                        dotted(have), dotted(with_kfuncs)));
    return {};
}

/// A tree in which somebody has configured or built: kbuild refuses to build it elsewhere.
inline result<void> require_clean_tree(const std::filesystem::path& tree) {
    std::error_code ignored;
    for (const auto& left :
         {std::string(".config"), std::string("include/config"),
          "arch/" + std::string(host::machine_architecture.source_folder) + "/include/generated"})
        if (std::filesystem::exists(tree / left, ignored))
            return plain_error("build a kernel of", tree.string(),
                               left + " is there: it was configured or built in place",
                               "run `make -C " + tree.string() +
                                   " mrproper` (and keep its .config elsewhere), or test what is "
                                   "built there with --kernel " +
                                   tree.string());
    return {};
}

/// A name for all that a kernel is built from.
inline result<std::string> content_of(const source_origin& origin) {
    if (origin.tree.empty())
        return origin.id;
    std::vector<std::string> parts;
    std::error_code failed;
    for (std::filesystem::directory_iterator at(origin.tree, failed), end; !failed && at != end;
         at.increment(failed))
        if (const std::string name = at->path().filename();
            name != ".git" && name != "Documentation")
            parts.push_back(name);
    if (failed)
        return system_error("read", origin.tree.string(), {}, failed.value());
    return hash_tree(origin.tree, parts);
}

/// Progress on a terminal: one line that is written anew; elsewhere a line now and then.
class build_progress {
public:
    explicit build_progress(std::string what) : what_(std::move(what)) {}
    build_progress(const build_progress&) = delete;
    ~build_progress() {
        if (is_terminal_ && shown_)
            std::fputs("\r\x1b[K", stderr);
    }

    void operator()(std::size_t made, std::string_view file) {
        const auto now = std::chrono::steady_clock::now();
        const auto pause = is_terminal_ ? std::chrono::milliseconds(200) : std::chrono::seconds(60);
        if (now - last_ < pause)
            return;
        last_ = now;
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - start_).count();
        const auto line =
            fmt::format("{}: {} files in {} s, {}", what_, made, seconds, host::one_line(file, 60));
        if (!is_terminal_)
            return say(line);
        shown_ = true;
        fmt::print(stderr, "\r\x1b[Kktstr: {}", line);
        std::fflush(stderr);
    }

private:
    std::string what_;
    bool is_terminal_ = ::isatty(2) != 0;
    bool shown_ = false;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), last_ = start_;
};

/// Takes the image out of a build, as the entry of a fetched kernel has it.
inline result<void> store_build(const std::filesystem::path& out,
                                const std::filesystem::path& directory, const std::string& release,
                                bool wants_btf, host::detail::info_map info) {
    const auto image = out / host::machine_architecture.compressed_image;
    std::error_code failed;
    std::filesystem::copy_file(image, directory / "bzImage", failed);
    if (failed)
        return system_error("find the image that was built", image.string(), {}, failed.value());
    std::filesystem::copy_file(out / ".config", directory / "config", failed);
    if (failed)
        return host::cache_error("store", directory / "config", failed.value());
    const auto whole = host::mapped_file::open(directory / "bzImage");
    if (!whole)
        return whole.error();
    std::optional<host::mapped_file> elf;
    if (host::kind_of_image(whole->bytes()) == host::image_kind::bzimage) {
        if (auto done = host::extract_vmlinux(directory / "bzImage", directory / "vmlinux"); !done)
            return done;
        auto mapped = host::mapped_file::open(directory / "vmlinux");
        if (!mapped)
            return mapped.error();
        elf.emplace(*std::move(mapped));
        if (wants_btf && !host::btf_of_image(elf->bytes()))
            return plain_error("use kernel", release,
                               "its image has no BTF, though CONFIG_DEBUG_INFO_BTF is y",
                               "see what pahole said in the build's log");
        const bool pvh = host::has_pvh_note(elf->bytes());
        info["pvh"] = pvh ? "1" : "0";
        elf.reset();
        if (!pvh)
            std::filesystem::remove(directory / "vmlinux", failed);
    }
    return host::detail::write_text(directory / "kernel.info", host::detail::info_text(info));
}

}  // namespace detail

/// Builds it, or finds it built: the entry's key is its release, which carries a hash of sources, configuration, tools.
[[nodiscard]] inline result<host::kernel> build_kernel(const host::cache& in,
                                                       const kernel_build_order& order) {
    std::map<std::string, detail::wanted_option> wanted;
    for (const auto& [name, text] : kernel_fragments)
        if (auto read = detail::read_fragment(text, std::string(name), true, wanted); !read)
            return read.error();
    for (const auto& path : order.fragments) {
        const auto text = host::detail::read_text(path);
        if (!text)
            return text.error();
        if (auto read = detail::read_fragment(*text, path, false, wanted); !read)
            return read.error();
    }
    const auto tools = detail::find_build_tools("a kernel of " + order.source);
    if (!tools)
        return tools.error();
    const auto origin = find_source(in, order.source, say);
    if (!origin)
        return origin.error();
    const auto part = obtain_tools_source(in, *origin, say);
    if (!part)
        return part.error();
    if (!origin->tree.empty()) {
        if (auto clean = detail::require_clean_tree(origin->tree); !clean)
            return clean.error();
        say("reading " + origin->name);
    }
    const auto content = detail::content_of(*origin);
    if (!content)
        return content.error();
    const auto version = detail::version_of_tree(part->tree);
    if (!version)
        return version.error();
    const std::string text = detail::fragment_text(wanted);
    const std::string suffix = "-ktstr-" + host::content_hash{}
                                               .add("ktstr kernel 1")
                                               .add(std::string_view{*content})
                                               .add(std::string_view{text})
                                               .add(std::string_view{*tools})
                                               .hex()
                                               .substr(0, 8);
    const std::string release = *version + suffix;
    const std::string what = "kernel " + release;
    const auto log = detail::log_of(in, release);
    if (const auto failed = host::make_cache_directory(log.parent_path()))
        return host::cache_error("create", log.parent_path(), failed.value());

    host::cache::make_options options;
    options.what = what;
    options.progress = say;
    options.check_every_time = host::detail::is_kernel_file_checked;
    const auto entry = in.obtain(
        host::kernels_kind, release, options,
        [&](const std::filesystem::path& directory) -> result<void> {
            const bool unpacks = origin->tree.empty();
            if (auto space = host::require_space(
                    in.root(), std::uint64_t{unpacks ? 5120u : 3072u} << 20, "build a kernel");
                !space)
                return space;
            const auto out = directory / "out";
            const auto tree = unpacks ? directory / "source" : origin->tree;
            std::error_code failed;
            std::filesystem::remove(log, failed);
            std::filesystem::create_directories(out, failed);
            if (failed)
                return host::cache_error("create", out, failed.value());
            if (unpacks) {
                say("unpacking " + origin->name);
                std::filesystem::create_directories(tree, failed);
                if (auto done =
                        unpack_source(origin->tarball, tree, {"Documentation/translations"});
                    !done)
                    return done;
            }
            if (auto fit = detail::check_pahole(tree, what, say); !fit)
                return fit;
            if (auto written = host::detail::write_text(out / "ktstr.config", text); !written)
                return written;
            make_order make;
            make.log = log;
            make.what = what;
            const std::vector<std::string> always = {"-C", tree.string(), "O=" + out.string(),
                                                     "LOCALVERSION=" + suffix};
            const auto run = [&](const std::vector<std::string>& targets) {
                make.arguments = always;
                make.arguments.insert(make.arguments.end(), targets.begin(), targets.end());
                return run_make(make);
            };
            say("configuring " + what + " of " + origin->name);
            if (auto done =
                    run({"KCONFIG_ALLCONFIG=" + (out / "ktstr.config").string(), "allnoconfig"});
                !done)
                return done;
            if (auto done = run({"olddefconfig"}); !done)
                return done;
            const auto config = host::kernel_config::read(out / ".config");
            if (!config)
                return config.error();
            if (auto right = detail::verify_config(*config, wanted, tree, what, say); !right)
                return right;
            say("building " + what + "; the log is " + log.string());
            {
                detail::build_progress progress("building " + what);
                make.progress = [&](std::size_t made, std::string_view file) {
                    progress(made, file);
                };
                const auto jobs = order.jobs > 0 ? static_cast<long>(order.jobs)
                                                 : ::sysconf(_SC_NPROCESSORS_ONLN);
                std::vector<std::string> targets{
                    "-j" + std::to_string(std::max(1L, jobs)),
                    std::filesystem::path(host::machine_architecture.compressed_image).filename()};
                const bool has_modules = config->text().find("=m\n") != std::string::npos;
                if (has_modules)
                    targets.emplace_back("modules");
                if (auto done = run(targets); !done)
                    return done;
                if (has_modules) {
                    if (auto done = run({"INSTALL_MOD_PATH=" + (out / "installed").string(),
                                         "INSTALL_MOD_STRIP=1", "modules_install"});
                        !done)
                        return done;
                    const auto modules = out / "installed/lib/modules" / release;
                    for (const auto* link : {"build", "source"})
                        std::filesystem::remove(modules / link, failed);
                    if (auto moved = host::detail::move_file(modules, directory / "modules");
                        !moved)
                        return moved;
                }
            }
            const auto named = host::detail::read_text(out / "include/config/kernel.release");
            if (!named)
                return named.error();
            if (named->substr(0, named->find('\n')) != release)
                return plain_error("use", what, "it calls itself " + host::one_line(*named),
                                   "set no CONFIG_LOCALVERSION in a fragment");
            if (auto same = require_unchanged(what, *content, detail::content_of(*origin)); !same)
                return same;
            host::detail::info_map info{{"release", release},
                                        {"source", "built"},
                                        {"suite", "-"},
                                        {"pvh", "0"},
                                        {"built-from", origin->name}};
            const auto space = origin->name.find(' ');
            if (!origin->id.starts_with("linux-source-")) {
                info["source-path"] = origin->name;
            } else {
                info["source-package"] = origin->name.substr(0, space);
                info["package-version"] = origin->name.substr(space + 1);
            }
            if (auto stored = detail::store_build(out, directory, release,
                                                  config->tristate("DEBUG_INFO_BTF") == 'y', info);
                !stored)
                return stored;
            std::filesystem::remove_all(out, failed);
            if (unpacks)
                std::filesystem::remove_all(tree, failed);
            std::filesystem::rename(log, directory / "build.log", failed);
            return {};
        });
    if (!entry)
        return entry.error();
    return host::kernel_of_entry(*entry);
}

}  // namespace ktstr::tool

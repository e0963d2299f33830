// SPDX-License-Identifier: MIT
// `ktstr verify PROGRAM|OBJECT|SOURCE...`: each BPF program through the verifier of each kernel, in a machine for each kernel, and what
// that took beside its limit, its budgets and a baseline. Host side.
#include "verify_command.hpp"

#include <ktstr/embed.hpp>
#include <ktstr/host/cache/temporary_directory.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/text/terminal.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <elf.h>
#include <unistd.h>

#include "bpf_build.hpp"
#include "ktstr_bpf_verifier.hpp"
#include "subcommand.hpp"
#include "table.hpp"
#include "verifier_log.hpp"
#include "verify_names.hpp"

namespace ktstr::tool {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double usual_limit = 1e6;

/// Of the verifier's limit: "50%", or a number of instructions.
struct budget {
    double value = 0;
    bool is_share = true;

    [[nodiscard]] bool reached(std::uint64_t insns, double limit) const {
        return is_share ? static_cast<double>(insns) * 100 >= value * limit
                        : static_cast<double>(insns) >= value;
    }
};

/// Nothing: the text is none.
std::optional<budget> budget_of(std::string_view text) {
    budget found;
    found.is_share = text.ends_with('%');
    if (found.is_share)
        text.remove_suffix(1);
    std::uint64_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || read.ec != std::errc() || read.ptr != text.data() + text.size() ||
        number == 0 || (found.is_share && number > 100))
        return std::nullopt;
    found.value = static_cast<double>(number);
    return found;
}

struct verify_order {
    std::vector<std::string> inputs, kernels, clangs, includes, definitions;
    std::string accel = "auto", artifacts = "ktstr-artifacts", compiler = "c++", log,
                warn_at = "50%", fail_at = "90%";
    std::optional<std::string> markdown, json, baseline;
    bool save = false, full_logs = false;
    budget warn, fail;
};

/// One object that goes into a machine.
struct bpf_object {
    std::string name;   ///< of its file; of several in one program with a number
    std::string clang;  ///< what made it, where that was us
    std::string bytes;
};

struct row {
    std::string object, program, kernel, clang;
    bool is_loaded = false;
    std::string cause;  ///< in one line, of what is not loaded
    std::string log;
    verifier_stats stats;
    std::optional<std::int64_t> change;  ///< of the instructions, against the baseline
    bool is_new = false;                 ///< the baseline does not know it
    std::string verdict;                 ///< "ok", "warn", "over", "refused"

    [[nodiscard]] double limit() const {
        return stats.limit ? static_cast<double>(*stats.limit) : usual_limit;
    }
    [[nodiscard]] std::string key() const {
        return object + '\n' + program + '\n' + kernel + '\n' + clang;
    }
    [[nodiscard]] bool is_bad() const { return verdict == "refused" || verdict == "over"; }
};

// ---- objects ------------------------------------------------------------------------------------------

/// How many bytes an ELF file at the beginning of `bytes` has; 0: it is no BPF object.
std::size_t size_of_object(std::string_view bytes) {
    Elf64_Ehdr head{};
    if (bytes.size() < sizeof head || !bytes.starts_with("\177ELF"))
        return 0;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB ||
        head.e_machine != EM_BPF || head.e_type != ET_REL ||
        head.e_shentsize != sizeof(Elf64_Shdr) || head.e_shnum == 0 ||
        head.e_shoff > bytes.size() ||
        (bytes.size() - head.e_shoff) / sizeof(Elf64_Shdr) < head.e_shnum)
        return 0;
    std::uint64_t end = head.e_shoff + std::uint64_t{head.e_shnum} * sizeof(Elf64_Shdr);
    for (unsigned i = 0; i < head.e_shnum; ++i) {
        Elf64_Shdr section{};
        std::memcpy(&section, bytes.data() + head.e_shoff + i * sizeof section, sizeof section);
        if (section.sh_type == SHT_NOBITS)
            continue;
        if (section.sh_offset > bytes.size() || section.sh_size > bytes.size() - section.sh_offset)
            return 0;
        end = std::max(end, section.sh_offset + section.sh_size);
    }
    return static_cast<std::size_t>(end);
}

/// The file itself, or all objects that lie in a program, as skeletons put them there.
result<std::vector<bpf_object>> objects_in(const std::string& path) {
    const auto bytes = host::detail::read_text(path);
    if (!bytes)
        return bytes.error();
    std::vector<std::string_view> found;
    const std::string_view all = *bytes;
    for (std::size_t at = 0; (at = all.find("\177ELF", at)) != all.npos;) {
        const auto size = size_of_object(all.substr(at));
        if (size != 0)
            found.push_back(all.substr(at, size));
        at += std::max<std::size_t>(size, 4);
    }
    if (found.empty())
        return plain_error(
            "verify", path, "there is no BPF object in it",
            "give an object, a program with a skeleton that is not packed, or a source *.bpf.c");
    std::vector<bpf_object> objects;
    const auto name = fs::path(path).filename().string();
    for (std::size_t i = 0; i < found.size(); ++i)
        objects.push_back({found.size() == 1 ? name : fmt::format("{}#{}", name, i + 1), "",
                           std::string(found[i])});
    return objects;
}

/// Files of one name in several folders are several rows, and several keys of a baseline.
void number_names(std::vector<bpf_object>& objects) {
    std::map<std::pair<std::string, std::string>, int> seen;
    for (auto& one : objects)
        if (const int number = ++seen[{one.name, one.clang}]; number > 1)
            one.name += fmt::format("#{}", number);
}

bool is_source(const std::string& path) {
    return path.ends_with(".c");
}

/// The toolchain with each of the clangs that were asked for.
result<std::vector<bpf_toolchain>> toolchains(const verify_order& order, const host::cache& in) {
    const auto base = find_bpf_toolchain(in);
    if (!base)
        return base.error();
    if (order.clangs.empty())
        return std::vector{*base};
    std::vector<bpf_toolchain> all;
    for (const auto& wanted : order.clangs) {
        const auto path = wanted.find('/') == wanted.npos ? detail::in_path(wanted) : wanted;
        const auto version = path.empty() ? std::string() : detail::ask_version(path);
        if (version.empty())
            return plain_error(
                "use --clang", wanted,
                path.empty() ? "there is none in PATH" : "it does not tell its version");
        if (detail::too_old(version, oldest_clang))
            return plain_error(
                "use --clang", wanted,
                "it is " + version + ", and " + std::string(oldest_clang) + " or newer is needed");
        all.push_back(*base);
        all.back().clang = {path, version};
    }
    return all;
}

/// The sources compiled for one kernel by each clang.
result<std::vector<bpf_object>> compiled(const verify_order& order, const host::cache& in,
                                         const std::string& kernel, const fs::path& work) {
    std::vector<bpf_object> objects;
    if (std::none_of(order.inputs.begin(), order.inputs.end(), is_source))
        return objects;
    const auto tools = toolchains(order, in);
    if (!tools)
        return tools.error();
    const auto found = host::resolve_kernel({kernel, true, say});
    if (!found)
        return found.error();
    const auto header = obtain_vmlinux_header(in, *found, tools->front().bpftool, say);
    if (!header)
        return header.error();
    for (const auto& source : order.inputs)
        for (const auto& with : *tools) {
            if (!is_source(source))
                continue;
            const auto name = fs::path(source).filename().string();
            const std::string compiled = work / (name + ".o"), linked = work / (name + ".linked.o");
            if (auto done = detail::compile_bpf(with, header->path, source, compiled,
                                                order.includes, order.definitions);
                !done)
                return done.error();
            if (auto done = detail::link_bpf(with, {compiled}, linked, name); !done)
                return done.error();
            auto bytes = host::detail::read_text(linked);
            if (!bytes)
                return bytes.error();
            objects.push_back({name, "clang " + with.clang.version, *std::move(bytes)});
        }
    return objects;
}

// ---- the machine --------------------------------------------------------------------------------------

/// The program that loads them there.
result<void> build_verifier(const verify_order& order, const host::cache& in,
                            const fs::path& work) {
    bpf_toolchain tools;
    if (auto done = detail::find_libbpf(in, tools); !done)
        return done;
    const std::string source = work / "verifier.cpp";
    if (auto done = detail::put_file(source, verifier_source); !done)
        return done;
    // Static: it is planted as a file, without libraries of its own.
    std::vector<std::string> argv{order.compiler,
                                  "-std=c++20",
                                  "-O1",
                                  "-static",
                                  "-isystem",
                                  tools.include.string(),
                                  source,
                                  "-o",
                                  (work / verifier_file).string(),
                                  (tools.library.parent_path() / "libbpf.a").string(),
                                  "-lelf",
                                  "-lz"};
    auto done = host::run_tool({.argv = argv});
    if (done && done->exit_code != 0 && done->err.find("ZSTD_") != std::string::npos) {
        argv.emplace_back("-lzstd");  // newer libelf's
        done = host::run_tool({.argv = argv});
    }
    if (!done)
        return done.error();
    if (done->exit_code == 0)
        return {};
    fmt::print(stderr, "{}{}", done->out, done->err);
    return plain_error("build", "the program that loads the objects",
                       order.compiler + " failed, see above",
                       "install libelf-dev and zlib1g-dev; --compiler names another C++ compiler");
}

/// The rows that the verifier's program told; nothing: it did not come to its end.
std::optional<std::vector<row>> rows_of(std::string_view output,
                                        const std::vector<bpf_object>& objects) {
    std::vector<row> rows;
    std::vector<bool> is_told(objects.size());
    bool is_whole = false;
    for (const auto& line : lines_in(output)) {
        std::istringstream words(line);
        std::string tag;
        std::size_t number = 0;
        int failed = 0;
        words >> tag;
        if (line.starts_with('|') && !rows.empty()) {
            rows.back().log += line.substr(1) + '\n';
            continue;
        }
        is_whole = is_whole || line == "@end";
        if (tag != "@object" && tag != "@program")
            continue;
        row next;
        if (!(words >> number) || number >= objects.size() ||
            (tag == "@program" && !(words >> next.program)) || !(words >> failed))
            return std::nullopt;
        is_told[number] = true;
        next.object = objects[number].name;
        next.clang = objects[number].clang;
        next.is_loaded = failed == 0;
        words >> std::ws;
        std::getline(words, next.cause);
        if (!next.is_loaded && next.cause.empty())
            next.cause = std::strerror(failed);
        rows.push_back(std::move(next));
    }
    if (!is_whole || std::find(is_told.begin(), is_told.end(), false) != is_told.end())
        return std::nullopt;
    for (auto& one : rows) {
        one.stats = stats_in(one.log);
        if (one.is_loaded && !one.stats.insns)
            return std::nullopt;  // no verifier has said anything of it
        if (!one.is_loaded && one.log.find("processed ") != std::string::npos)
            one.cause = cause_in(one.program, one.log);
        one.cause = host::one_line(one.cause);
        one.program = host::one_line(one.program);
    }
    return rows;
}

struct told {
    std::vector<row> rows;
    int status = 0;
};

/// One machine, with all objects.
told verify_on(const verify_order& order, const std::string& kernel,
               const std::vector<bpf_object>& objects, const fs::path& work) {
    const auto refuse = [&](int status, const std::string& why) {
        say(fmt::format("{}: {}", kernel.empty() ? "the default kernel" : kernel, why));
        return told{{}, status};
    };
    std::string bundle;
    for (const auto& one : objects)
        bundle += fmt::format("{}\n", one.bytes.size()) + one.bytes;
    if (auto done = host::detail::write_text(work / bundle_file, bundle); !done)
        return refuse(exit_cannot, done.error().message());
    run_options how;
    how.arguments = {"--quiet", "--accel", order.accel, "--artifacts",
                     (work / "artifacts").string()};
    if (!kernel.empty())
        how.arguments.insert(how.arguments.end(), {"--kernel", kernel});
    const auto result = run_cell("ktstr_verify", how);
    if (result.ending == cell_ending::misused || result.ending == cell_ending::stopped ||
        !result.verdict)
        return refuse(result.ending == cell_ending::misused ? exit_usage : exit_cannot,
                      result.message);
    const bool is_told = result.verdict == verdict::fail && result.reason == reason::check &&
                         result.failed_checks.size() == 1 &&
                         result.failed_checks[0].expression.starts_with(all_is_told);
    const auto output = result.artifacts
                            ? host::detail::read_text(*result.artifacts + "/output.txt")
                            : ktstr::result<std::string>(std::string());
    if (!is_told) {
        std::error_code ignored;
        if (result.artifacts) {
            const auto kept = fs::path(order.artifacts) / "verify";
            fs::remove_all(kept, ignored);
            fs::create_directories(kept.parent_path(), ignored);
            fs::copy(*result.artifacts, kept, fs::copy_options::recursive, ignored);
        }
        return refuse(result.verdict == verdict::fail           ? 1
                      : result.verdict == verdict::inconclusive ? 2
                                                                : exit_cannot,
                      host::one_line(result.message) +
                          (ignored ? "" : "; its files are in " + order.artifacts + "/verify"));
    }
    if (!output)
        return refuse(exit_cannot, output.error().message());
    auto rows = rows_of(*output, objects);
    if (!rows)
        return refuse(
            exit_cannot,
            "the program in the machine did not tell all that it had to, see --artifacts");
    for (auto& one : *rows)
        one.kernel = result.kernel.value_or(kernel);
    return {*std::move(rows), 0};
}

// ---- baseline and reports -----------------------------------------------------------------------------

json as_json(const std::vector<row>& rows) {
    json list = json::array();
    const auto put = [](json& into, const char* name, const std::optional<std::uint64_t>& value) {
        if (value)
            into[name] = *value;
    };
    for (const auto& one : rows) {
        json next{{"object", one.object}, {"program", one.program},  {"kernel", one.kernel},
                  {"clang", one.clang},   {"loaded", one.is_loaded}, {"verdict", one.verdict}};
        put(next, "insns", one.stats.insns);
        put(next, "limit", one.stats.limit);
        put(next, "total_states", one.stats.states);
        put(next, "peak_states", one.stats.peak_states);
        put(next, "max_states_per_insn", one.stats.states_per_insn);
        put(next, "time_us", one.stats.time_us);
        if (!one.is_loaded)
            next["cause"] = one.cause;
        if (one.change)
            next["change"] = *one.change;
        list.push_back(std::move(next));
    }
    return {{"ktstr_verify", 1}, {"programs", std::move(list)}};
}

/// The rows of a baseline, of which only the names and the instructions count.
result<std::vector<row>> read_baseline(const std::string& path) {
    const auto text = host::detail::read_text(path);
    if (!text)
        return text.error();
    const auto fault = [&](const char* why) {
        return plain_error("read the baseline", path, why,
                           "make it with --baseline FILE --save, or with --json FILE");
    };
    const json all = json::parse(*text, nullptr, false);
    if (!all.is_object() || all.value("ktstr_verify", json()) != 1 || !all.contains("programs") ||
        !all["programs"].is_array())
        return fault("it is no file of `ktstr verify`");
    std::vector<row> rows;
    for (const auto& one : all["programs"]) {
        row next;
        for (const auto& [name, into] :
             {std::pair{"object", &next.object}, std::pair{"program", &next.program},
              std::pair{"kernel", &next.kernel}, std::pair{"clang", &next.clang}}) {
            if (!one.is_object() || !one.contains(name) || !one[name].is_string())
                return fault("one of its programs has no text for what it is called");
            *into = one[name];
        }
        if (one.contains("insns") && one["insns"].is_number_unsigned())
            next.stats.insns = one["insns"].get<std::uint64_t>();
        rows.push_back(std::move(next));
    }
    return rows;
}

void compare_with(const std::vector<row>& baseline, std::vector<row>& rows) {
    for (auto& one : rows) {
        const auto old = std::find_if(baseline.begin(), baseline.end(),
                                      [&](const row& other) { return other.key() == one.key(); });
        one.is_new = old == baseline.end();
        if (!one.is_new && old->stats.insns && one.stats.insns)
            one.change = static_cast<std::int64_t>(*one.stats.insns) -
                         static_cast<std::int64_t>(*old->stats.insns);
    }
    std::vector<std::string> gone;
    for (const auto& old : baseline)
        if (std::none_of(rows.begin(), rows.end(),
                         [&](const row& one) { return one.key() == old.key(); }))
            gone.push_back(host::one_line(old.program + " of " + old.object + " on " + old.kernel +
                                          (old.clang.empty() ? "" : " with ") + old.clang));
    if (!gone.empty())
        say(fmt::format("the baseline has {}{}, which {} not verified now", gone.front(),
                        gone.size() == 1 ? "" : fmt::format(" and {} more", gone.size() - 1),
                        gone.size() == 1 ? "was" : "were"));
}

void judge(const verify_order& order, std::vector<row>& rows) {
    for (auto& one : rows)
        one.verdict =
            !one.is_loaded                                                         ? "refused"
            : one.stats.insns && order.fail.reached(*one.stats.insns, one.limit()) ? "over"
            : one.stats.insns && order.warn.reached(*one.stats.insns, one.limit()) ? "warn"
                                                                                   : "ok";
}

table table_of(const std::vector<row>& rows, bool has_baseline) {
    const auto some = [&](auto member) {
        return std::any_of(rows.begin(), rows.end(),
                           [&](const row& one) { return !(one.*member).empty(); });
    };
    const bool has_clangs = some(&row::clang);
    table all{{"object", "program", "kernel"}};
    if (has_clangs)
        all[0].emplace_back("clang");
    for (const char* name : {"insns", "share", "states", "peak", "ms"})
        all[0].emplace_back(name);
    if (has_baseline)
        all[0].emplace_back("change");
    all[0].emplace_back("verdict");
    const auto number = [](const std::optional<std::uint64_t>& value) {
        return value ? std::to_string(*value) : "-";
    };
    for (const auto& one : rows) {
        all.push_back({one.object, one.program.empty() ? "-" : one.program, one.kernel});
        auto& line = all.back();
        if (has_clangs)
            line.push_back(one.clang.empty() ? "-" : one.clang.substr(one.clang.find(' ') + 1));
        const auto& stats = one.stats;
        line.push_back(number(stats.insns));
        line.push_back(stats.insns ? fmt::format("{:.2f}%", static_cast<double>(*stats.insns) *
                                                                100 / one.limit())
                                   : "-");
        line.push_back(number(stats.states));
        line.push_back(number(stats.peak_states));
        line.push_back(stats.time_us
                           ? fmt::format("{:.1f}", static_cast<double>(*stats.time_us) / 1000)
                           : "-");
        if (has_baseline)
            line.push_back(one.is_new   ? "new"
                           : one.change ? fmt::format("{:+}", *one.change)
                                        : "-");
        line.push_back(one.verdict);
    }
    return all;
}

/// The cause, then the log with its repeats shown once; of a long one the end.
std::string rejection(const std::string& cause, const std::string& log, bool is_full) {
    constexpr std::size_t most = 60;
    std::string text = cause + '\n';
    const auto lines = collapsed(lines_in(log));
    const std::size_t first = is_full || lines.size() <= most ? 0 : lines.size() - most;
    if (first > 0)
        text += fmt::format("  ({} lines before are left out; --full-logs shows them)\n", first);
    for (std::size_t i = first; i < lines.size(); ++i)
        text += "  " + host::one_line(lines[i]) + '\n';
    return text;
}

std::string rejections(const verify_order& order, const std::vector<row>& rows) {
    std::string text;
    for (const auto& one : rows)
        if (!one.is_loaded)
            text +=
                fmt::format("\n{}{}{} on {}{}{}: {}", one.object, one.program.empty() ? "" : " ",
                            one.program, one.kernel, one.clang.empty() ? "" : " with ", one.clang,
                            rejection(one.cause, one.log, order.full_logs));
    return text;
}

/// All rows of all kernels, or the exit code for what could not be done.
int verify(const verify_order& order) {
    std::vector<row> baseline;
    const bool has_baseline =
        order.baseline && (!order.save || ::access(order.baseline->c_str(), F_OK) == 0);
    if (has_baseline) {
        auto read = read_baseline(*order.baseline);
        if (!read)
            return cannot(read.error());
        baseline = *std::move(read);
    }
    std::vector<bpf_object> given;
    for (const auto& input : order.inputs) {
        if (is_source(input))
            continue;
        auto found = objects_in(input);
        if (!found)
            return cannot(found.error());
        given.insert(given.end(), std::make_move_iterator(found->begin()),
                     std::make_move_iterator(found->end()));
    }
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    const auto work = host::temporary_directory::create(in->root() / "tmp");
    if (!work)
        return cannot(work.error());
    if (auto done = build_verifier(order, *in, work->path()); !done)
        return cannot(done.error());
    // The definition of the machine names its files from the working directory on.
    if (::chdir(work->path().c_str()) != 0)
        return cannot(system_error("enter", work->path().string()));

    const auto kernels = order.kernels.empty() ? std::vector<std::string>{""} : order.kernels;
    std::vector<row> rows;
    int status = 0;
    for (const auto& kernel : kernels) {
        auto objects = compiled(order, *in, kernel, work->path());
        if (!objects) {
            status = std::max(status, cannot(objects.error()));
            continue;
        }
        objects->insert(objects->begin(), given.begin(), given.end());
        number_names(*objects);
        say(fmt::format(
            "verifying {} on {}",
            objects->size() == 1 ? "an object" : fmt::format("{} objects", objects->size()),
            kernel.empty() ? "the default kernel" : kernel));
        auto some = verify_on(order, kernel, *objects, work->path());
        if (some.status == exit_usage)
            return exit_usage;
        status = std::max(status, some.status);
        rows.insert(rows.end(), std::make_move_iterator(some.rows.begin()),
                    std::make_move_iterator(some.rows.end()));
    }
    judge(order, rows);
    if (has_baseline)
        compare_with(baseline, rows);
    const auto words = table_of(rows, has_baseline);
    if (!rows.empty())
        fmt::print("{}{}", on_a_terminal(words), rejections(order, rows));
    std::fflush(stdout);
    std::vector<std::pair<std::string, std::string>> files;
    if (order.markdown) {
        const auto logs = rejections(order, rows);
        files.emplace_back(*order.markdown,
                           as_markdown(words) + (logs.empty() ? "" : "\n```" + logs + "```\n"));
    }
    const auto as_text = as_json(rows).dump(2) + '\n';
    if (order.json)
        files.emplace_back(*order.json, as_text);
    // Half a run is no baseline.
    if (order.save && status == 0)
        files.emplace_back(*order.baseline, as_text);
    for (const auto& [path, text] : files)
        if (const auto written = host::detail::write_text(path, text); !written)
            return cannot(written.error());
    if (order.save && status != 0)
        say("the baseline is as it was, because not everything was verified");
    const bool is_bad =
        std::any_of(rows.begin(), rows.end(), [](const row& one) { return one.is_bad(); });
    return is_bad ? 1 : status;
}

int show_log(const std::string& path, bool is_full) {
    const auto text = host::detail::read_text(path);
    if (!text)
        return cannot(text.error());
    const auto cause = text->find("-- BEGIN PROG LOAD LOG --") == std::string::npos
                           ? cause_in("it", *text)
                           : host::one_line(cause_in_output(*text));
    fmt::print("{}", rejection(cause.empty() ? "the log is empty" : cause, *text, is_full));
    return 0;
}

std::string absolute(const std::string& path) {
    return path.empty() ? path : fs::absolute(path).string();
}

}  // namespace

void add_verify_command(CLI::App& app, int& status) {
    CLI::App* const command = app.add_subcommand(
        "verify", "What kernels' verifiers make of BPF programs: instructions, states, time");
    const auto order = std::make_shared<verify_order>();
    command->add_option(
        "INPUT", order->inputs,
        "Objects, programs of schedulers with their objects in them, or sources (*.bpf.c)");
    command->add_option("--kernel", order->kernels, "As for tests; repeatable")
        ->allow_extra_args(false);
    command->add_option("--clang", order->clangs, "For sources, a name or a path; repeatable")
        ->allow_extra_args(false);
    command->add_option("-I,--include", order->includes, "Where sources' headers are")
        ->allow_extra_args(false);
    command->add_option("-D,--define", order->definitions, "A macro for sources")
        ->allow_extra_args(false);
    command
        ->add_option("--warn-at", order->warn_at,
                     "Of the verifier's limit, as 50%, or a number of instructions")
        ->capture_default_str();
    command->add_option("--fail-at", order->fail_at, "The same; reached, the exit code is 1")
        ->capture_default_str();
    command->add_option("--baseline", order->baseline,
                        "What to compare with: a file of --save or --json");
    command->add_flag("--save", order->save,
                      "Make the result the new baseline, when everything was verified");
    command->add_option("--json", order->json, "The result as JSON, into this file");
    command->add_option("--markdown", order->markdown, "The table as Markdown, into this file");
    command->add_flag("--full-logs", order->full_logs,
                      "All lines of what the verifier says of programs that it refuses");
    command->add_option(
        "--log", order->log,
        "Verify nothing: show this log of a verifier, the cause first and repeats once");
    command->add_option("--accel", order->accel, "As for tests")->capture_default_str();
    command
        ->add_option("--artifacts", order->artifacts, "Where the files of a machine go that failed")
        ->capture_default_str();
    command->add_option("--compiler", order->compiler, "For the program that loads them")
        ->capture_default_str();
    command->callback([=, &status] {
        const auto misused = [&](const std::string& why) {
            say(why);
            status = exit_usage;
        };
        if (!order->log.empty()) {
            if (!order->inputs.empty())
                return misused("--log shows a log and verifies nothing: leave out " +
                               order->inputs.front());
            status = show_log(order->log, order->full_logs);
            return;
        }
        if (order->inputs.empty())
            return misused("verify: INPUT is required: an object, a program or a source");
        const auto warn = budget_of(order->warn_at), fail = budget_of(order->fail_at);
        if (!warn || !fail)
            return misused(fmt::format("{} is '{}': give 1% to 100%, or a number of instructions",
                                       warn ? "--fail-at" : "--warn-at",
                                       warn ? order->fail_at : order->warn_at));
        if (order->save && !order->baseline)
            return misused("--save needs --baseline FILE, which says where to");
        if (!order->clangs.empty() &&
            std::none_of(order->inputs.begin(), order->inputs.end(), is_source))
            return misused("--clang is for sources (*.bpf.c), and none is given");
        order->warn = *warn;
        order->fail = *fail;
        // The command goes into another folder.
        for (auto* const list : {&order->inputs, &order->includes})
            for (auto& path : *list)
                path = absolute(path);
        for (auto& kernel : order->kernels)
            if (kernel.find('/') != kernel.npos)
                kernel = absolute(kernel);
        for (auto& clang : order->clangs)
            if (clang.find('/') != clang.npos)
                clang = absolute(clang);
        for (auto* const path : {&order->markdown, &order->json, &order->baseline})
            if (*path)
                *path = absolute(**path);
        order->artifacts = absolute(order->artifacts);
        for (const auto& input : order->inputs)
            if (::access(input.c_str(), R_OK) != 0) {
                status =
                    cannot(system_error("read", input, "give an object, a program or a source"));
                return;
            }
        status = verify(*order);
    });
}

}  // namespace ktstr::tool

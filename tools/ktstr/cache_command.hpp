// SPDX-License-Identifier: MIT
// `ktstr cache list|show|clean`: everything that ktstr keeps on this disk, in words, and how to have
// less of it. Kernels have more to tell in `ktstr kernel`. Host side.
#pragma once

#include <ktstr/host/cache/clean.hpp>
#include <ktstr/host/cache/survey.hpp>
#include <ktstr/host/kernel/cached_kernel.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "subcommand.hpp"
#include "vmlinux_header.hpp"

namespace ktstr::tool {

namespace detail {

/// "4 KiB", "106 MiB", "2.1 GiB".
inline std::string size_text(std::uint64_t bytes) {
    if (bytes < 1024)
        return fmt::format("{} B", bytes);
    if (bytes < (std::uint64_t{1} << 20))
        return fmt::format("{} KiB", (bytes + 512) >> 10);
    if (bytes < (std::uint64_t{1} << 30))
        return fmt::format("{} MiB", (bytes + 524288) >> 20);
    return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30));
}

/// The first line of a small file in the cache, fit for a terminal; empty if there is none.
inline std::string line_of(const std::filesystem::path& path) {
    std::string text = host::detail::read_text(path).value_or("");
    text.resize(std::min(text.find('\n'), text.size()));
    for (char& c : text)
        c = static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? '?' : c;
    return text;
}

/// What an entry is. Those of older versions of ktstr say less of themselves.
inline std::string words_of(const host::surveyed_entry& entry) {
    const std::string about = line_of(entry.path / "about");
    const auto with = [&](std::string words) {
        return about.empty() ? words : words + " of " + about;
    };
    if (entry.kind == "kernels") {
        const auto info = host::detail::read_info(entry.path / "kernel.info");
        if (const auto from = host::detail::info_value(info, "built-from"); !from.empty())
            return "kernel built from " + from;
        return fmt::format("kernel {}, {} {}", host::detail::info_value(info, "package-version"),
                           host::detail::info_value(info, "source"),
                           host::detail::info_value(info, "suite"));
    }
    if (entry.kind == "packages") {
        const auto slash = entry.key.find('/');
        return fmt::format("package {} {}", entry.key.substr(0, slash),
                           entry.key.substr(slash + 1));
    }
    if (entry.kind == "apt")
        return "package lists of " + entry.key.substr(0, entry.key.rfind('-'));
    if (entry.kind == "images") {
        const auto info = host::detail::read_info(entry.path / "image.info");
        const auto image = host::detail::info_value(info, "image");
        return "kernel " + host::detail::info_value(info, "release") +
               (image.empty() ? "" : " of " + image);
    }
    if (entry.kind == "btf") {
        std::error_code ignored;
        const bool header = std::filesystem::exists(entry.path / vmlinux_header_file, ignored);
        return (header ? "vmlinux.h of kernel " : "types of kernel ") + about;
    }
    if (entry.kind == "initramfs")
        return entry.key.starts_with("base-") ? "libraries and modules" : with("initramfs");
    if (entry.kind == "payload")
        return with("files");
    if (entry.kind == "templates")
        return about.empty() ? "a machine" : about;
    if (entry.kind == "attached" || entry.kind == "attaches")
        return about.empty() ? "a scheduler" : (entry.kind == "attaches" ? "seen: " : "") + about;
    if (entry.kind == "qemu")
        return "version of a QEMU: " + line_of(entry.path);
    if (entry.kind == "sources")
        return "tools of " + entry.key.substr(0, entry.key.find('_'));
    if (entry.kind == "selftests")
        return about;
    return entry.in_use ? "under construction" : "left by a process that died";
}

/// "my_tests (pid 12)", or that it is somebody.
inline std::string users_of(const host::surveyed_entry& entry) {
    std::string text;
    for (const auto& user : entry.users)
        text += (text.empty() ? "" : ", ") + host::to_text(user);
    return text.empty() ? "a process that is not seen from here" : text;
}

inline nlohmann::json json_of(const host::surveyed_entry& entry) {
    const auto known = [](auto value) {
        return value == 0 ? nlohmann::json(nullptr) : nlohmann::json(value);
    };
    auto users = nlohmann::json::array();
    for (const auto& user : entry.users)
        users.push_back({{"pid", user.pid}, {"comm", user.comm}});
    return {{"kind", entry.kind},
            {"key", entry.key},
            {"what", words_of(entry)},
            {"bytes_on_disk", entry.on_disk},
            {"made_ns", known(entry.made_ns)},
            {"last_use_ns", known(entry.last_use_ns)},
            {"in_use", entry.in_use},
            {"users", std::move(users)},
            {"damage", entry.damage ? nlohmann::json(*entry.damage) : nlohmann::json(nullptr)},
            {"path", entry.path.string()}};
}

inline int list_cache(bool json) {
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    const auto entries = host::survey(*in);
    if (json) {
        auto array = nlohmann::json::array();
        for (const auto& entry : entries)
            array.push_back(json_of(entry));
        fmt::print("{}\n", array.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
        return 0;
    }
    if (entries.empty()) {
        say("nothing in " + in->root().string());
        return 0;
    }
    const auto keys = host::short_keys(entries);
    std::size_t width = 0;
    for (const auto& key : keys)
        width = std::max(width, key.size());
    struct sum {
        std::size_t entries = 0;
        std::uint64_t bytes = 0;
    };
    std::map<std::string, sum, std::less<>> sums;
    sum total;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const auto& entry = entries[i];
        fmt::print("{:<9}  {:<{}}  {:>8}  {:<16}  {}{}{}\n", entry.kind, keys[i], width,
                   size_text(entry.on_disk), minute(entry.last_use_ns), words_of(entry),
                   entry.in_use ? "  in use by " + users_of(entry) : "",
                   entry.damage ? "  DAMAGED: " + *entry.damage : "");
        for (sum* const to : {&sums[entry.kind], &total}) {
            ++to->entries;
            to->bytes += entry.on_disk;
        }
    }
    fmt::print("\n");
    for (const std::string_view kind : host::cache_kinds)
        if (const auto of = sums.find(kind); of != sums.end())
            fmt::print("{:<9}  {:>4}  {:>8}\n", kind, of->second.entries,
                       size_text(of->second.bytes));
    fmt::print("{:<9}  {:>4}  {:>8}  {}\n", "all", total.entries, size_text(total.bytes),
               in->root().string());
    return 0;
}

inline int show_entry(const std::string& key, bool verify) {
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    const auto all = host::survey(*in);
    const auto found = host::entries_called(all, key);
    if (found.empty())
        return cannot(plain_error("find the cache entry", key, "nothing is called so",
                                  "see `ktstr cache list`"));
    if (found.size() > 1) {
        std::string names;
        for (const auto& entry : found)
            names += (names.empty() ? "" : ", ") + entry.kind + '/' + entry.key;
        return cannot(plain_error("show the cache entry", key, "it could be one of " + names,
                                  "write one of these"));
    }
    const auto& entry = found.front();
    const auto content = host::read_manifest(entry.path, host::check_depth::full);
    auto damage = entry.damage;
    if (verify && content && !damage)
        damage = host::find_damage(entry.path, *content, host::check_depth::full);
    fmt::print("kind       {}\nkey        {}\nwhat       {}\npath       {}\n", entry.kind,
               entry.key, words_of(entry), entry.path.string());
    fmt::print("size       {} on disk{}\n", size_text(entry.on_disk),
               content
                   ? fmt::format(", {} in {} files", size_text(entry.bytes), content->files.size())
                   : "");
    fmt::print("made       {}\nlast use   {}\nin use     {}\n", minute(entry.made_ns),
               minute(entry.last_use_ns), entry.in_use ? "by " + users_of(entry) : "no");
    if (damage) {
        fmt::print("damage     {}\n", *damage);
        return cannot(plain_error("trust", entry.path.string(), *damage,
                                  "it is made again when it is needed; `ktstr cache clean "
                                  "--damaged --kind " +
                                      entry.kind + "` removes it"));
    }
    if (content)
        fmt::print("damage     none{}\n", verify ? ", every file was compared"
                                                 : " to be seen; --verify compares every file");
    return 0;
}

inline int clean_entries(const host::clean_request& request) {
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    auto entries =
        host::survey(*in, request.damaged ? host::check_depth::full : host::check_depth::quick);
    const auto keys = host::short_keys(entries);
    std::map<std::filesystem::path, std::string> names;
    for (std::size_t i = 0; i < entries.size(); ++i)
        names[entries[i].path] =
            entries[i].kind + ' ' + keys[i] + " (" + words_of(entries[i]) + ')';
    const std::int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count();
    const auto done = host::clean_cache(*in, std::move(entries), request, now);
    std::uint64_t freed = 0;
    for (const auto& entry : done.removed) {
        fmt::print("removed {}: {}\n", names[entry.path], size_text(entry.on_disk));
        freed += entry.on_disk;
    }
    if (done.leftovers > 0)
        fmt::print("removed what {} dead processes left in tmp\n", done.leftovers);
    fmt::print("{} removed, {}\n", done.removed.size(), size_text(freed));
    for (const auto& entry : done.in_use)
        say(fmt::format("{} is in use by {}: kept", names[entry.path], users_of(entry)));
    if (!done.fetched.empty())
        say(
            fmt::format("kernels and packages go only with --kind kernels or --kind packages, or "
                        "with --all: {} kept",
                        done.fetched.size()));
    int status = 0;
    for (const auto& why : done.failed)
        status = cannot(why);
    if (request.limit && done.left > *request.limit)
        status = cannot(plain_error("come down to", size_text(*request.limit),
                                    "what is left takes " + size_text(done.left)));
    return status;
}

}  // namespace detail

inline void add_cache_command(CLI::App& app, int& status) {
    CLI::App* const cache = app.add_subcommand("cache", "What ktstr keeps on this disk");
    cache->require_subcommand(1);

    CLI::App* const list = cache->add_subcommand(
        "list", "Every entry: kind, key, what it takes, last use, what it is");
    const auto json = std::make_shared<bool>(false);
    list->add_flag("--json", *json, "One JSON array");
    list->callback([=, &status] { status = detail::list_cache(*json); });

    CLI::App* const show = cache->add_subcommand("show", "All about one entry");
    const auto key = std::make_shared<std::string>();
    const auto verify = std::make_shared<bool>(false);
    show->add_option("KEY", *key, "Its key, how that begins, or KIND/KEY")->required();
    show->add_flag("--verify", *verify, "Compare every file's content with what was stored");
    show->callback([=, &status] { status = detail::show_entry(*key, *verify); });

    CLI::App* const clean =
        cache->add_subcommand("clean", "Delete entries that nobody uses: say which");
    const auto request = std::make_shared<host::clean_request>();
    const auto days = std::make_shared<int>(-1);
    const auto limit = std::make_shared<std::uint64_t>(0);
    clean
        ->add_option("--kind", request->kinds,
                     "Only of this kind, may be repeated; kernels and packages go only when their "
                     "kind is named or with --all")
        ->allow_extra_args(false)
        ->check(CLI::IsMember(
            std::vector<std::string>(host::cache_kinds.begin(), host::cache_kinds.end())));
    const std::array<CLI::Option*, 4> choices{
        clean->add_flag("--all", request->all, "All of them"),
        clean->add_option("--unused", *days, "Those not used for so many days")
            ->check(CLI::Range(0, 36500))
            ->type_name("DAYS"),
        clean->add_flag("--damaged", request->damaged, "The damaged ones; reads every file"),
        clean
            ->add_option("--limit", *limit,
                         "Those used longest ago, until the rest takes at most SIZE (5G, 800M)")
            ->transform(CLI::AsSizeValue(false))
            ->type_name("SIZE")};
    for (CLI::Option* const one : choices)
        for (CLI::Option* const other : choices)
            if (one != other)
                one->excludes(other);
    clean->callback([=, &status] {
        if (std::none_of(choices.begin(), choices.end(),
                         [](const CLI::Option* one) { return one->count() > 0; }))
            throw CLI::RequiredError(
                "What is to go: one of --all, --unused DAYS, --damaged and --limit SIZE");
        if (choices[1]->count() > 0)
            request->unused = std::chrono::hours(24) * *days;
        if (choices[3]->count() > 0)
            request->limit = *limit;
        status = detail::clean_entries(*request);
    });
}

}  // namespace ktstr::tool

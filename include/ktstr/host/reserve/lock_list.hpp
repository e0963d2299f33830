// SPDX-License-Identifier: MIT
// Every reservation lock in a directory and who holds it, for people and for programs. Looks without
// taking anything, so nobody's wait is disturbed by it. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/json/write.hpp>
#include <ktstr/host/reserve/host_topology.hpp>
#include <ktstr/host/reserve/lock_directory.hpp>
#include <ktstr/host/reserve/lock_holders.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include <fcntl.h>

namespace ktstr::host {

struct listed_lock {
    std::string kind;  ///< llc or cpu
    int number = 0;
    std::vector<lock_holder> holders;
    lock_record record;  ///< of a CPU's lock that is held
};

/// The locks that somebody holds, LLCs first. One file that is no lock does not hide the others.
[[nodiscard]] inline result<std::vector<listed_lock>> list_locks(
    const std::filesystem::path& path) {
    auto directory = lock_directory::open(path);
    if (!directory)
        return std::move(directory).error();
    std::vector<listed_lock> found;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(path, failed)) {
        auto name = entry.path().filename().string();
        if (!name.ends_with(".lock"))
            continue;
        name.resize(name.size() - std::string_view(".lock").size());
        for (const char* kind : {"llc", "cpu"}) {
            const auto number = detail::number_behind("ktstr-" + std::string(kind) + '-', name);
            if (!number)
                continue;
            unique_fd fd(::open(entry.path().c_str(),
                                O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
            if (!fd)
                continue;
            const host_lock file(std::move(fd), entry.path());
            listed_lock lock{kind, *number, holders_of(file), {}};
            if (lock.holders.empty())
                continue;
            if (const auto record = file.read(); record.pid == lock.holders.front().pid)
                lock.record = record;
            found.push_back(std::move(lock));
        }
    }
    if (failed)
        return plain_error("read the lock directory", path.string(), failed.message());
    std::sort(found.begin(), found.end(), [](const listed_lock& a, const listed_lock& b) {
        return std::tuple(a.kind != "llc", a.number) < std::tuple(b.kind != "llc", b.number);
    });
    return found;
}

/// A line for each lock.
[[nodiscard]] inline std::string to_text(const std::vector<listed_lock>& locks) {
    std::string text;
    for (const auto& lock : locks) {
        text += lock.kind + ' ' + std::to_string(lock.number) + "  " +
                (lock.holders.front().exclusive ? "exclusive" : "shared") + "  ";
        for (std::size_t i = 0; i < lock.holders.size(); ++i)
            text += (i > 0 ? ", " : "") + to_text(lock.holders[i]);
        if (!lock.record.test.empty())
            text += " for " + lock.record.test;
        text += '\n';
    }
    return text;
}

[[nodiscard]] inline std::string to_json(const std::vector<listed_lock>& locks) {
    json::writer to;
    to.begin_array();
    for (const auto& lock : locks) {
        const auto& record = lock.record;
        to.begin_object();
        to.field("kind", lock.kind);
        to.field("number", lock.number);
        to.field("exclusive", lock.holders.front().exclusive);
        to.name("test");
        record.test.empty() ? to.null() : to.add(record.test);
        to.name("memory_mib");
        record.memory_mib > 0 ? to.add(record.memory_mib) : to.null();
        to.name("holders");
        to.begin_array();
        for (const auto& holder : lock.holders) {
            to.begin_object();
            to.field("pid", holder.pid);
            to.name("comm");
            holder.comm.empty() ? to.null() : to.add(holder.comm);
            to.end_object();
        }
        to.end_array();
        to.end_object();
    }
    to.end_array();
    to.raw("\n");
    return to.take();
}

}  // namespace ktstr::host

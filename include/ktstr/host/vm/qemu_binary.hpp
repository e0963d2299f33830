// SPDX-License-Identifier: MIT
// Finds QEMU and learns its version. Asking the program costs about 20 ms, so the answer is kept in
// the cache under the file's identity (path, size, change time). Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/content_hash.hpp>
#include <ktstr/host/packages/fetched_program.hpp>
#include <ktstr/host/process/run_tool.hpp>
#include <ktstr/host/vm/architecture.hpp>
#include <ktstr/linux/find_program.hpp>

#include <chrono>
#include <compare>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <sys/stat.h>

namespace ktstr::host {

struct qemu_version {
    int major = 0, minor = 0;
    friend auto operator<=>(const qemu_version&, const qemu_version&) = default;
};

/// The oldest QEMU ktstr works with: Debian 12's.
inline constexpr qemu_version qemu_floor{7, 2};

struct qemu {
    std::filesystem::path path;
    qemu_version version;
    std::string version_text;
    std::shared_ptr<unique_fd> in_use = {};  ///< of one that was fetched: keeps it in the cache
};

/// The version in the first line of `qemu-system-... --version`.
[[nodiscard]] inline result<qemu_version> parse_qemu_version(std::string_view text) {
    qemu_version v;
    const std::string copy(text);
    if (std::sscanf(copy.c_str(), "QEMU emulator version %d.%d", &v.major, &v.minor) != 2)
        return plain_error("read QEMU's version", copy.substr(0, copy.find('\n')),
                           "it is not of the form 'QEMU emulator version N.N'");
    return v;
}

/// Before this version the emulator could translate a page of code while another vCPU was patching
/// it, and keep the stale translation: kernels with several vCPUs then died of int3 or of worse at
/// random. docs/decisions/0001-qemu-for-emulation.md has the evidence.
inline constexpr qemu_version qemu_sound_emulation{8, 1};

namespace detail {

/// Each QEMU that is installed or built leaves a note; those nobody has written for a month go.
/// One that is still right is written again, at the price of asking once.
inline void drop_old_notes(const std::filesystem::path& notes) {
    std::error_code failed;
    const auto oldest = std::filesystem::file_time_type::clock::now() - std::chrono::hours(24 * 30);
    for (std::filesystem::directory_iterator at(notes, failed), end; !failed && at != end;
         at.increment(failed)) {
        std::error_code ignored;
        if (const auto written = at->last_write_time(ignored); !ignored && written < oldest)
            std::filesystem::remove(at->path(), ignored);
    }
}

/// The version of one QEMU, from the cache if its file is the one that was asked before.
[[nodiscard]] inline result<qemu> ask_qemu(const std::filesystem::path& program,
                                           const std::filesystem::path& cache_root) {
    qemu found;
    found.path = program;
    struct stat st {};
    ::stat(program.c_str(), &st);
    const auto key = program.string() + ' ' + std::to_string(st.st_size) + ' ' +
                     std::to_string(st.st_ctim.tv_sec) + '.' + std::to_string(st.st_ctim.tv_nsec);
    const auto notes = cache_root / "qemu";
    const auto note = notes / content_hash().add(std::string_view(key)).hex();
    {
        std::ifstream in(note);
        std::getline(in, found.version_text);
    }
    if (found.version_text.empty()) {
        tool_command ask;
        ask.argv = {program.string(), "--version"};
        ask.timeout = std::chrono::seconds(60);
        auto ran = run_tool(std::move(ask));
        if (!ran)
            return std::move(ran).error();
        found.version_text = ran->out.substr(0, ran->out.find('\n'));
        // Only a saving: a cache that can't be written costs the 20 ms again, nothing else.
        std::error_code ignored;
        (void)make_cache_directory(notes);
        drop_old_notes(notes);
        const auto fresh = note.string() + '.' + std::to_string(::getpid());
        if (std::ofstream out(fresh); out << found.version_text << '\n')
            std::filesystem::rename(fresh, note, ignored);
    }
    auto version = parse_qemu_version(found.version_text);
    if (!version)
        return std::move(version).error();
    found.version = *version;
    return found;
}

}  // namespace detail

/// What fetches a QEMU that emulates soundly, on the distribution that has none of its own.
[[nodiscard]] inline std::string newer_qemu_command() {
    return "ktstr package fetch " + std::string(machine_architecture.qemu_package) +
           "/bookworm-backports";
}

/// The QEMU to use: the one in PATH. If that is too old to emulate soundly and a newer one was fetched
/// into the cache, the newer one, with the libraries of the installed one.
[[nodiscard]] inline result<qemu> find_qemu(const std::filesystem::path& cache_root) {
    const std::string program(machine_architecture.qemu);
    const std::string package(machine_architecture.qemu_package);
    const auto installed = find_program(program).value_or("");
    if (installed.empty())
        return plain_error("find", program, "it is not in PATH",
                           "install QEMU (Debian: apt install " + package +
                               "; Fedora: dnf install " + package + ")");
    auto found = detail::ask_qemu(installed, cache_root);
    if (!found)
        return found;
    if (found->version < qemu_floor)
        return plain_error("use", found->path.string(),
                           "it is QEMU " + std::to_string(found->version.major) + '.' +
                               std::to_string(found->version.minor) + ", and " +
                               std::to_string(qemu_floor.major) + '.' +
                               std::to_string(qemu_floor.minor) + " is the oldest that works",
                           "install a newer QEMU and put it first in PATH");
    if (found->version < qemu_sound_emulation)
        if (const auto fetched = find_fetched(cache_root, package, "usr/bin/" + program);
            !fetched.path.empty())
            if (auto newer = detail::ask_qemu(fetched.path, cache_root);
                newer && found->version < newer->version) {
                newer->in_use = fetched.in_use;
                return newer;
            }
    return found;
}

}  // namespace ktstr::host

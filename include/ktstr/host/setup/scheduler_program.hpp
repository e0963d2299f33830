// SPDX-License-Identifier: MIT
// Where a scheduler's program or object is, and whether a guest can run it at all: what is missing or of another
// machine is named before anything boots. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/initramfs/elf_closure.hpp>
#include <ktstr/host/initramfs/initramfs.hpp>
#include <ktstr/host/vm/architecture.hpp>
#include <ktstr/linux/find_program.hpp>
#include <ktstr/sched/scheduler.hpp>
#include <ktstr/test/part.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <elf.h>
#include <unistd.h>

namespace ktstr::host {

/// The variable that names another program for a scheduler: KTSTR_SCHEDULER_ and its name, in capitals and
/// with _ for whatever is neither letter nor digit.
[[nodiscard]] inline std::string scheduler_variable(std::string_view name) {
    std::string variable = "KTSTR_SCHEDULER_";
    for (const char c : name) {
        const bool small = c >= 'a' && c <= 'z';
        const bool kept = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        variable += small ? static_cast<char>(c - 'a' + 'A') : kept ? c : '_';
    }
    return variable;
}

namespace detail {

/// Whether this program has what loads BPF objects in a machine.
[[nodiscard]] inline bool can_load_objects() {
    for (const part* one : attached_parts())
        if (one->loads_objects)
            return true;
    return false;
}

/// Whether it is there and can be started, or is an object, which is only read.
[[nodiscard]] inline bool is_usable(const std::filesystem::path& file) {
    if (::access(file.c_str(), X_OK) == 0)
        return true;
    const auto facts = read_elf(file);
    const bool is_object = facts && facts->machine == bpf_machine;
    errno = is_object ? 0 : ::access(file.c_str(), F_OK) == 0 ? EACCES : ENOENT;
    return is_object;
}

}  // namespace detail

/// As its variable says, else as a path, else beside the test program, where a build leaves both, else in
/// PATH.
[[nodiscard]] inline result<std::filesystem::path> find_scheduler_program(
    const scheduler& wanted, const std::filesystem::path& beside) {
    const auto variable = scheduler_variable(wanted.name);
    const char* const given = std::getenv(variable.c_str());
    const bool by_variable = given != nullptr && *given != '\0';
    std::filesystem::path binary(by_variable ? std::string_view(given) : wanted.binary);
    if (!by_variable && !binary.has_parent_path()) {
        const auto sibling = beside / binary;
        // A link was laid by the build to the one program that is meant. While that is not built, another of its
        // name in PATH is none. And what it finds by $ORIGIN lies where it lies itself.
        std::error_code is_no_link;
        const auto linked = std::filesystem::read_symlink(sibling, is_no_link);
        binary = !is_no_link                  ? (beside / linked).lexically_normal()
                 : detail::is_usable(sibling) ? sibling
                                              : find_program(wanted.binary).value_or("");
        if (binary.empty())
            return plain_error("find the scheduler", std::string(wanted.binary),
                               "no such program beside the test program or in PATH",
                               "build it, or give its path in " + variable);
    }
    const std::string what = by_variable
                                 ? "use " + variable + ", the scheduler " + std::string(wanted.name)
                                 : "use the scheduler " + std::string(wanted.name);
    if (!detail::is_usable(binary))
        return system_error(what, binary.string(), "build it, or give its path in " + variable);
    const auto facts = read_elf(binary);
    if (!facts)
        return plain_error(what, binary.string(), facts.error().reason,
                           "a guest has no interpreter for anything else");
    if (facts->machine == bpf_machine) {
        if (detail::can_load_objects())
            return binary;
        return plain_error(what, binary.string(),
                           "it is a BPF object, and this program has nothing that loads one",
                           "link ktstr::bpf, or make a program of it with `ktstr bpf build`");
    }
    if (facts->machine != machine_architecture.elf_machine)
        return plain_error(what, binary.string(),
                           "it is a program for " + elf_machine_name(facts->machine) +
                               ", and the guest is " +
                               elf_machine_name(machine_architecture.elf_machine),
                           "build it for the guest");
    return binary;
}

/// A file of a scheduler's for its guest.
[[nodiscard]] inline result<guest_file> file_of_scheduler(const scheduler& owner,
                                                          const scheduler_file& file,
                                                          const std::filesystem::path& beside) {
    const auto fault = [&](std::string why) {
        return plain_error("give the scheduler " + std::string(owner.name) + " its file",
                           std::string(file.path), std::move(why));
    };
    if (!file.path.starts_with('/') || file.path.ends_with('/') ||
        file.path.find("..") != std::string_view::npos || file.path.starts_with("/ktstr/"))
        return fault("it has to be the path of a file from the root on, and not of ktstr's own");
    guest_file planted{.guest_path = std::string(file.path), .content = std::string(file.text)};
    if (file.from.empty())
        return planted;
    planted.host_path = std::filesystem::path(file.from);
    if (planted.host_path.is_relative() && ::access(planted.host_path.c_str(), R_OK) != 0)
        planted.host_path = beside / planted.host_path;
    if (::access(planted.host_path.c_str(), R_OK) != 0)
        return system_error("give the scheduler " + std::string(owner.name) + " its file",
                            planted.host_path.string());
    return planted;
}

}  // namespace ktstr::host

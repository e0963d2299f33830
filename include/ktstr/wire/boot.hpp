// SPDX-License-Identifier: MIT
// What the host leaves for a machine before it boots and the guest finds there: words of the kernel's
// command line and paths of the initramfs. Each is written and read here, by functions that stand side
// by side; no files are touched.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/wire/protocol.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::wire {

/// The list of modules to load, one path a line, dependencies first. A machine without it is none of ours.
/// In the environment of a host_only body's keeper and of all that it starts, see kill_marked().
inline constexpr const char* keeper_variable = "KTSTR_KEEPER";

inline constexpr const char* module_list_path = "/ktstr/modules.list";
inline constexpr const char* module_root = "/ktstr/modules/";

/// The scheduler under test, in the initramfs or below files_root.
inline constexpr const char* scheduler_path = "/ktstr/scheduler";
/// The staged ones: each in a file that its position names.
inline constexpr const char* staged_root = "/ktstr/staged/";

/// The command that a template runs before it rests; see first_command.
inline constexpr const char* first_command_path = "/ktstr/first-command";

/// What the kernel's command line says to the harness.
struct boot_words {
    std::optional<std::uint32_t> vsock_port{};  ///< where the host listens; absent: the serial port
    /// The machine that a template must prove to be, 1n2l4c1t; empty: no template boots.
    std::string template_of{};
    std::vector<std::uint32_t>
        distances{};  ///< of a template's nodes, row by row; empty: not checked

    friend bool operator==(const boot_words&, const boot_words&) = default;
};

namespace detail {

inline constexpr std::string_view link_key = "ktstr.link=";
inline constexpr std::string_view template_key = "ktstr.template=";
inline constexpr std::string_view distances_key = "ktstr.distances=";
inline constexpr std::string_view serial_link = "serial";
inline constexpr std::string_view vsock_link = "vsock:";

/// A decimal number, all of `text`; nothing for anything else.
[[nodiscard]] inline std::optional<std::uint32_t> plain_number(std::string_view text) {
    std::uint64_t value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9' || value > 0xffff'ffffU)
            return std::nullopt;
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    if (text.empty() || value > 0xffff'ffffU)
        return std::nullopt;
    return static_cast<std::uint32_t>(value);
}

/// What is before the next `end`, taken off with it.
[[nodiscard]] inline std::string_view take_until(std::string_view& text, char end) {
    const auto at = text.find(end);
    const auto head = text.substr(0, at);
    text = at == std::string_view::npos ? std::string_view{} : text.substr(at + 1);
    return head;
}

}  // namespace detail

/// The words, each behind a blank.
[[nodiscard]] inline std::string to_text(const boot_words& words) {
    std::string text(" ");
    text += detail::link_key;
    if (words.vsock_port)
        (text += detail::vsock_link) += std::to_string(*words.vsock_port);
    else
        text += detail::serial_link;
    if (!words.template_of.empty())
        ((text += ' ') += detail::template_key) += words.template_of;
    for (std::size_t i = 0; i < words.distances.size(); ++i) {
        if (i == 0)
            (text += ' ') += detail::distances_key;
        else
            text += ',';
        text += std::to_string(words.distances[i]);
    }
    return text;
}

/// Finds them in a whole command line.
[[nodiscard]] inline result<boot_words> parse_boot_words(std::string_view line) {
    boot_words words;
    bool linked = false;
    const auto wrong = [](std::string_view word, const char* why) {
        return plain_error("read the kernel's command line", std::string(word), why);
    };
    line = line.substr(0, line.find('\n'));
    while (!line.empty()) {
        const auto word = detail::take_until(line, ' ');
        if (word.starts_with(detail::link_key)) {
            auto value = word.substr(detail::link_key.size());
            linked = true;
            if (value.starts_with(detail::vsock_link)) {
                words.vsock_port = detail::plain_number(value.substr(detail::vsock_link.size()));
                if (!words.vsock_port)
                    return wrong(word, "there is no port in it");
            } else if (value != detail::serial_link) {
                return wrong(word, "it is neither vsock:PORT nor serial");
            }
        } else if (word.starts_with(detail::template_key)) {
            words.template_of = word.substr(detail::template_key.size());
            if (words.template_of.empty())
                return wrong(word, "it names no topology");
        } else if (word.starts_with(detail::distances_key)) {
            auto list = word.substr(detail::distances_key.size());
            do {
                const auto distance = detail::plain_number(detail::take_until(list, ','));
                if (!distance)
                    return wrong(word, "it is no list of numbers");
                words.distances.push_back(*distance);
            } while (!list.empty());
        }
    }
    if (!linked)
        return plain_error("find", "ktstr.link=", "it is not on the kernel's command line");
    return words;
}

/// The one command that a template may run before it comes to rest, so that its clones find its work done.
struct first_command {
    std::vector<std::string> environment{};  ///< NAME=value
    std::vector<std::string> arguments{};    ///< the program's path first
};

/// The environment, an empty line, the arguments, one a line. No word may have a newline.
[[nodiscard]] inline std::string to_text(const first_command& command) {
    std::string text;
    for (const auto& word : command.environment)
        (text += word) += '\n';
    text += '\n';
    for (const auto& word : command.arguments)
        (text += word) += '\n';
    return text;
}

[[nodiscard]] inline first_command parse_first_command(std::string_view text) {
    first_command command;
    auto* words = &command.environment;
    while (!text.empty()) {
        const auto word = detail::take_until(text, '\n');
        if (word.empty() && words == &command.environment)
            words = &command.arguments;
        else
            words->emplace_back(word);
    }
    return command;
}

}  // namespace ktstr::wire

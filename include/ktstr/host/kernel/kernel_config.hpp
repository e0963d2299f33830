// SPDX-License-Identifier: MIT
// A kernel's build configuration: from a config file, or from the copy that IKCONFIG embeds in the
// image. Answers look-ups; what a test needs of it is in needs.hpp. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/manifest.hpp>
#include <ktstr/host/kernel/kernel_image.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

class kernel_config {
public:
    /// Reads "CONFIG_X=value" and "# CONFIG_X is not set"; other lines are ignored. The last of
    /// several lines for one option counts, as it does for the kernel's own tools.
    static kernel_config parse(std::string text) {
        kernel_config parsed;
        parsed.text_ = std::make_shared<const std::string>(std::move(text));
        constexpr std::string_view unset = " is not set";
        for (std::string_view rest = *parsed.text_; !rest.empty();) {
            const std::size_t newline = rest.find('\n');
            std::string_view line = rest.substr(0, newline);
            rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
            if (!line.empty() && line.back() == '\r')
                line.remove_suffix(1);
            if (line.starts_with("CONFIG_")) {
                if (const std::size_t equals = line.find('='); equals != std::string_view::npos)
                    parsed.options_.emplace_back(line.substr(7, equals - 7),
                                                 line.substr(equals + 1));
            } else if (line.starts_with("# CONFIG_") && line.ends_with(unset)) {
                parsed.options_.emplace_back(line.substr(9, line.size() - 9 - unset.size()), "n");
            }
        }
        std::stable_sort(parsed.options_.begin(), parsed.options_.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
        return parsed;
    }

    /// From a config file, plain or compressed.
    static result<kernel_config> read(const std::filesystem::path& path) {
        auto text = detail::read_text(path);
        if (!text)
            return std::move(text).error();
        if (const auto command = detail::decompressor_of(*text); !command.empty()) {
            tool_command unpack;
            unpack.argv = command;
            unpack.input = *text;
            auto plain = run_tool_ok(std::move(unpack), "read the kernel configuration", path);
            if (!plain)
                return std::move(plain).error();
            return parse_checked(std::move(plain->out), path);
        }
        return parse_checked(*std::move(text), path);
    }

    /// From an uncompressed kernel built with IKCONFIG; nothing when it has none.
    static result<std::optional<kernel_config>> embedded_in(std::string_view image) {
        const std::size_t start = image.find("IKCFG_ST\x1f\x8b");
        if (start == std::string_view::npos)
            return std::optional<kernel_config>{};
        const std::size_t end = image.find("IKCFG_ED", start);
        tool_command unpack;
        unpack.argv = {"gzip", "-dcq"};
        unpack.input =
            image.substr(start + 8, end == std::string_view::npos ? end : end - start - 8);
        auto plain = run_tool_ok(std::move(unpack), "read", "the configuration in the image");
        if (!plain)
            return std::move(plain).error();
        auto parsed = parse_checked(std::move(plain->out), "(in the image)");
        if (!parsed)
            return std::move(parsed).error();
        return std::optional<kernel_config>(*std::move(parsed));
    }

    /// The option's value as written ("y", "m", "250", "\"text\""), "n" if it is switched off, or
    /// nothing if this kernel does not know it. With or without "CONFIG_".
    [[nodiscard]] std::optional<std::string_view> value(std::string_view option) const {
        if (option.starts_with("CONFIG_"))
            option.remove_prefix(7);
        const auto after = std::upper_bound(
            options_.begin(), options_.end(), option,
            [](std::string_view name, const auto& entry) { return name < entry.first; });
        if (after == options_.begin() || std::prev(after)->first != option)
            return std::nullopt;
        return std::prev(after)->second;
    }

    /// 'y', 'm' or 'n'. A number or text counts as 'y', an unknown option as 'n'.
    [[nodiscard]] char tristate(std::string_view option) const {
        const auto text = value(option);
        if (!text || *text == "n")
            return 'n';
        return *text == "m" ? 'm' : 'y';
    }

    [[nodiscard]] std::size_t size() const { return options_.size(); }
    [[nodiscard]] const std::string& text() const { return *text_; }

private:
    static result<kernel_config> parse_checked(std::string text,
                                               const std::filesystem::path& path) {
        kernel_config parsed = parse(std::move(text));
        if (parsed.size() == 0)
            return plain_error("read the kernel configuration", path,
                               "there is no CONFIG_ line in it");
        return parsed;
    }

    std::shared_ptr<const std::string> text_ = std::make_shared<const std::string>();
    std::vector<std::pair<std::string_view, std::string_view>> options_;  // into *text_
};

}  // namespace ktstr::host

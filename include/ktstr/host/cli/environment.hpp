// SPDX-License-Identifier: MIT
// The environment variables as a value, so that everything that reads them can be tested without
// touching the process. An empty variable counts as unset, as POSIX tools treat NO_COLOR.
// Host side.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

namespace ktstr::host {

class environment {
public:
    environment() = default;
    environment(std::initializer_list<std::pair<std::string, std::string>> variables)
        : variables_(variables) {}

    [[nodiscard]] static environment of_process() {
        environment result;
        for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
            std::string_view text = *entry;
            if (auto equals = text.find('='); equals != std::string_view::npos)
                result.variables_.emplace_back(text.substr(0, equals), text.substr(equals + 1));
        }
        return result;
    }

    /// The variable's value; nothing when it is unset or empty.
    [[nodiscard]] std::optional<std::string> get(std::string_view name) const {
        for (const auto& [key, value] : variables_)
            if (key == name)
                return value.empty() ? std::nullopt : std::optional(value);
        return std::nullopt;
    }

    /// As the process has them, NAME=VALUE.
    [[nodiscard]] std::vector<std::string> all() const {
        std::vector<std::string> texts;
        for (const auto& [key, value] : variables_)
            texts.push_back(key + '=' + value);
        return texts;
    }

    /// Those whose name begins so and that are not empty, in the order of their names.
    [[nodiscard]] std::vector<std::pair<std::string, std::string>> beginning_with(
        std::string_view prefix) const {
        std::vector<std::pair<std::string, std::string>> found;
        for (const auto& one : variables_)
            if (one.first.starts_with(prefix) && !one.second.empty())
                found.push_back(one);
        std::sort(found.begin(), found.end());
        return found;
    }

private:
    std::vector<std::pair<std::string, std::string>> variables_;
};

}  // namespace ktstr::host

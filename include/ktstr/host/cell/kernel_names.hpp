// SPDX-License-Identifier: MIT
// How the kernels of a run are called in the names of its cells: by what was typed alone, because
// --list looks at no kernel. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/test/spec.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

namespace detail {

/// The words of what was typed, the last one first: those of a path, else the one.
[[nodiscard]] inline std::vector<std::string> kernel_words(std::string_view spec) {
    if (spec.find('/') == std::string_view::npos && spec != "." && spec != "..")
        return {std::string(spec)};
    std::error_code ignored;
    std::vector<std::string> words;
    for (const auto& part :
         std::filesystem::absolute(spec, ignored).lexically_normal().relative_path())
        if (!part.empty())
            words.insert(words.begin(), part.string());
    if (words.empty())
        words.emplace_back("root");
    return words;
}

[[nodiscard]] inline std::string as_name(std::string word) {
    for (char& c : word)
        if (!can_stand_in_a_name({&c, 1}) && c != '.' && c != '-')
            c = '_';
    return can_stand_in_a_name(word) ? word : '_' + word;
}

}  // namespace detail

/// A name for each kernel: the last word of its path by which all differ, "linux-a" and "linux-b" for
/// linux-a/arch/x86/boot/bzImage and linux-b/arch/x86/boot/bzImage.
[[nodiscard]] inline result<std::vector<std::string>> kernel_names(
    const std::vector<std::string>& specs) {
    std::vector<std::vector<std::string>> words;
    std::size_t longest = 0;
    for (const auto& spec : specs) {
        words.push_back(detail::kernel_words(spec));
        longest = std::max(longest, words.back().size());
    }
    for (std::size_t depth = 0; depth < longest; ++depth) {
        std::vector<std::string> names;
        for (const auto& its : words)
            names.push_back(detail::as_name(its[std::min(depth, its.size() - 1)]));
        if (std::set<std::string>(names.begin(), names.end()).size() == names.size())
            return names;
    }
    if (specs.empty())
        return std::vector<std::string>{};
    std::string all;
    for (const auto& spec : specs)
        all += (all.empty() ? "" : " --kernel ") + spec;
    return plain_error("tell apart --kernel", std::move(all),
                       "no part of their paths differs in all",
                       "give each once, or a symbolic link with a name of its own");
}

}  // namespace ktstr::host

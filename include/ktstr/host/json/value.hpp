// SPDX-License-Identifier: MIT
// One JSON value as it was read. A number stays the text that was written, and whoever asks for it
// says as which type: nothing is rounded or cut before that. Asking for what is not there gives
// nothing, never an exception. Host side.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::host::json {

enum class kind { null, boolean, number, string, array, object };

struct value {
    json::kind is = kind::null;
    bool truth = false;              ///< of a boolean
    std::string text;                ///< of a string, or of a number as it was written
    std::vector<value> items;        ///< of an array or an object
    std::vector<std::string> names;  ///< of an object's items, in their order

    /// The item of that name, or nothing. Of two with one name the last counts.
    [[nodiscard]] const value* find(std::string_view name) const {
        for (auto at = names.size(); at > 0; --at)
            if (names[at - 1] == name)
                return &items[at - 1];
        return nullptr;
    }
    [[nodiscard]] bool contains(std::string_view name) const { return find(name) != nullptr; }
    /// The same, and null where there is none: for a way down through several.
    [[nodiscard]] const value& operator[](std::string_view name) const {
        static const value nothing;
        const auto* const item = find(name);
        return item != nullptr ? *item : nothing;
    }

    /// The text, or `otherwise` if this is no string.
    [[nodiscard]] std::string text_or(std::string_view otherwise) const {
        return is == kind::string ? text : std::string(otherwise);
    }
};

// Each takes the value if it is of exactly that type and fits, and tells whether it did.

inline bool take(const value& from, bool& to) {
    if (from.is == kind::boolean)
        to = from.truth;
    return from.is == kind::boolean;
}
inline bool take(const value& from, std::string& to) {
    if (from.is == kind::string)
        to = from.text;
    return from.is == kind::string;
}
/// A whole number, or a double. "1.0" and "1e3" are doubles only.
template <class Number>
requires std::is_arithmetic_v<Number>
bool take(const value& from, Number& to) {
    const char* const end = from.text.data() + from.text.size();
    Number number{};
    if (from.is != kind::number)
        return false;
    const auto read = std::from_chars(from.text.data(), end, number);
    if (read.ec != std::errc{} || read.ptr != end)
        return false;
    to = number;
    return true;
}
/// Null is nothing.
template <class T>
bool take(const value& from, std::optional<T>& to) {
    if (from.is == kind::null) {
        to.reset();
        return true;
    }
    return take(from, to.emplace());
}
inline bool take(const value& from, std::vector<std::string>& to) {
    if (from.is != kind::array)
        return false;
    for (const auto& item : from.items)
        if (!take(item, to.emplace_back()))
            return false;
    return true;
}

}  // namespace ktstr::host::json

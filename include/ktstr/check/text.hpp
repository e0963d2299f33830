// SPDX-License-Identifier: MIT
// Values as text for a failed check: bounded, without a heap, without <sstream> or <format>. A type
// of one's own is printed through a member `to_text()` or a free `to_text(value)` found by ADL that
// gives something a std::string_view can be made of; what cannot be printed is "{?}".
#pragma once

#include <ktstr/base/duration.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <type_traits>

namespace ktstr::detail {

/// At most `capacity` bytes; what did not fit is marked with "..." at the end.
class text_buffer {
public:
    static constexpr std::size_t capacity = 512;

    [[nodiscard]] std::string_view view() const { return {data_, size_}; }

    void put(char c) { put(std::string_view(&c, 1)); }
    void put(std::string_view text) {
        if (full_)
            return;
        if (text.size() <= limit_ - size_) {
            for (const char c : text)
                data_[size_++] = c;
            return;
        }
        full_ = true;
        for (const char c : text.substr(0, limit_ - size_))
            data_[size_++] = c;
        size_ -= dots;
        // Never half of a UTF-8 character: reports are JSON.
        while (size_ > 0 && (static_cast<unsigned char>(data_[size_]) & 0xC0U) == 0x80U)
            --size_;
        for (std::size_t i = 0; i < dots; ++i)
            data_[size_++] = '.';
    }

    /// What follows may take `bytes` at most. An endless left operand must leave room for the right.
    void allow(std::size_t bytes) {
        limit_ = size_ + bytes < capacity ? size_ + bytes : capacity;
        full_ = false;
    }

private:
    static constexpr std::size_t dots = 3;

    char data_[capacity];  // not zeroed: a check that passes never touches it
    std::size_t size_ = 0;
    std::size_t limit_ = capacity;
    bool full_ = false;
};

// The printers that need no template, so that a test file compiles them once.

inline void put_unsigned(text_buffer& out, unsigned long long value, bool negative = false) {
    char digits[24];
    std::size_t at = sizeof digits;
    do {
        digits[--at] = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value != 0);
    if (negative)
        digits[--at] = '-';
    out.put({digits + at, sizeof digits - at});
}

inline void put_signed(text_buffer& out, long long value) {
    const auto bits = static_cast<unsigned long long>(value);
    put_unsigned(out, value < 0 ? 0 - bits : bits, value < 0);
}

inline void put_hex(text_buffer& out, std::uintptr_t value) {
    char digits[2 + 2 * sizeof value];
    std::size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[value % 16];
        value /= 16;
    } while (value != 0);
    digits[--at] = 'x';
    digits[--at] = '0';
    out.put({digits + at, sizeof digits - at});
}

/// The fewest digits that read back as the same number.
inline void put_float(text_buffer& out, double value, int most_digits) {
    char text[40];
    int size = 0;
    for (int digits = 1; digits <= most_digits; ++digits) {
        size = std::snprintf(text, sizeof text, "%.*g", digits, value);
        const double back = std::strtod(text, nullptr);
        if (most_digits < 17 ? static_cast<float>(back) == static_cast<float>(value)
                             : back == value)
            break;
    }
    out.put({text, static_cast<std::size_t>(size)});
}

inline void put_char(text_buffer& out, char c, char quote) {
    const auto code = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
        out.put('\\');
        out.put(c);
    } else if (c == '\n') {
        out.put("\\n");
    } else if (c == '\t') {
        out.put("\\t");
    } else if (c == '\0') {
        out.put("\\0");
    } else if (code < 0x20 || code == 0x7f) {
        const char escape[] = {'\\', 'x', "0123456789abcdef"[code / 16],
                               "0123456789abcdef"[code % 16]};
        out.put({escape, sizeof escape});
    } else {
        out.put(c);
    }
}

inline void put_quoted(text_buffer& out, std::string_view text) {
    out.put('"');
    for (const char c : text)
        put_char(out, c, '"');
    out.put('"');
}

template <class T>
concept has_member_text = requires(const T& v) {
    std::string_view(v.to_text());
};
template <class T>
concept has_free_text = requires(const T& v) {
    std::string_view(to_text(v));
};
template <class T>
concept string_like = std::is_convertible_v<const T&, std::string_view>;
template <class T>
concept path_like = requires(const T& v) {
    std::string_view(v.c_str());
};
template <class T>
concept failure_like = requires(const T& v) {
    { v.has_value() } -> std::same_as<bool>;
    std::string_view(v.error().message());
};
template <class T>
concept optional_like = requires(const T& v) {
    { v.has_value() } -> std::same_as<bool>;
    *v;
};
template <class T>
concept range_like = std::is_array_v<T> || requires(const T& v) {
    v.begin() != v.end();
    *v.begin();
};
template <class T>
concept pair_like = requires(const T& v) {
    v.first;
    v.second;
};
template <class T>
concept pointer_like = requires(const T& v) {
    requires std::is_pointer_v<decltype(v.get())>;
};
template <class T>
concept atomic_like = requires(const T& v) {
    v.load();
    v.is_lock_free();
};
template <class T>
inline constexpr bool is_duration = false;
template <class Rep, class Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;

template <class T>
void put_value(text_buffer& out, const T& value);

template <class Period>
void put_unit(text_buffer& out) {
    constexpr auto num = Period::num;
    constexpr auto den = Period::den;
    if constexpr (num == 1 && den == 1'000'000'000)
        out.put("ns");
    else if constexpr (num == 1 && den == 1'000'000)
        out.put("us");
    else if constexpr (num == 1 && den == 1'000)
        out.put("ms");
    else if constexpr (num == 1 && den == 1)
        out.put("s");
    else if constexpr (num == 60 && den == 1)
        out.put("min");
    else if constexpr (num == 3600 && den == 1)
        out.put("h");
    else {
        out.put('[');
        put_signed(out, num);
        out.put('/');
        put_signed(out, den);
        out.put("]s");
    }
}

template <class T>
void put_range(text_buffer& out, const T& range) {
    constexpr int shown = 8;
    int n = 0;
    out.put('{');
    for (const auto& element : range) {
        out.put(n == 0 ? " " : ", ");
        if (n++ == shown) {
            out.put("...");
            break;
        }
        put_value(out, element);
    }
    out.put(n == 0 ? "}" : " }");
}

/// The one entry: picks the printer by what the type is. Order matters, a string is a range too.
template <class T>
void put_value(text_buffer& out, const T& value) {
    if constexpr (has_member_text<T>)
        out.put(std::string_view(value.to_text()));
    else if constexpr (has_free_text<T>)
        out.put(std::string_view(to_text(value)));
    else if constexpr (std::is_same_v<T, bool>)
        out.put(value ? "true" : "false");
    else if constexpr (std::is_same_v<T, char>) {
        out.put('\'');
        put_char(out, value, '\'');
        out.put('\'');
    } else if constexpr (std::is_integral_v<T> && sizeof(T) <= 8) {
        if constexpr (std::is_signed_v<T>)
            put_signed(out, static_cast<long long>(value));
        else
            put_unsigned(out, static_cast<unsigned long long>(value));
    } else if constexpr (std::is_floating_point_v<T>)
        put_float(out, static_cast<double>(value), sizeof(T) <= 4 ? 9 : 17);
    else if constexpr (std::is_enum_v<T>)
        put_value(out, static_cast<std::underlying_type_t<T>>(value));
    else if constexpr (std::is_null_pointer_v<T>)
        out.put("nullptr");
    else if constexpr (std::is_pointer_v<T>) {
        if (value == nullptr)
            out.put("nullptr");
        else if constexpr (string_like<T>)
            put_quoted(out, value);
        else
            put_hex(out, reinterpret_cast<std::uintptr_t>(value));
    } else if constexpr (string_like<T>)
        put_quoted(out, value);
    else if constexpr (path_like<T>)
        put_quoted(out, value.c_str());
    else if constexpr (is_duration<T>) {
        put_value(out, value.count());
        put_unit<typename T::period>(out);
    } else if constexpr (failure_like<T> || optional_like<T>) {
        if (value.has_value()) {
            if constexpr (optional_like<T>)
                put_value(out, *value);
            else
                out.put("success");
        } else if constexpr (failure_like<T>) {
            out.put("error: ");
            out.put(std::string_view(value.error().message()));
        } else {
            out.put("nullopt");
        }
    } else if constexpr (range_like<T>)
        put_range(out, value);
    else if constexpr (pair_like<T>) {
        out.put('(');
        put_value(out, value.first);
        out.put(", ");
        put_value(out, value.second);
        out.put(')');
    } else if constexpr (pointer_like<T>)
        put_value(out, value.get());
    else if constexpr (atomic_like<T>)
        put_value(out, value.load());
    else
        out.put("{?}");
}

// Texts with values in them: "{}" for each value, "{{" and "}}" for the braces themselves.

/// How many values such a text wants; -1: a brace that belongs to neither.
constexpr int values_wanted(std::string_view text) {
    int wanted = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '{' && text[i] != '}')
            continue;
        const bool twice = i + 1 < text.size() && text[i + 1] == text[i];
        if (!twice && !text.substr(i).starts_with("{}"))
            return -1;
        wanted += twice ? 0 : 1;
        ++i;
    }
    return wanted;
}

/// A text that stands in the source, for these values. A wrong number of them does not compile.
template <class... Values>
struct message_text {
    std::string_view text;

    template <std::size_t N>
    consteval message_text(const char (&literal)[N]) : text(literal, N - 1) {
        if (values_wanted(text) != static_cast<int>(sizeof...(Values)))
            throw "KTSTR: as many values as {} in the text; a brace itself is {{ or }}";
    }
};

/// Copies the text up to the next value's place, and leaves what is behind that.
inline void put_up_to_value(text_buffer& out, std::string_view& text) {
    while (!text.empty()) {
        const char c = text[0];
        if (text.starts_with("{}"))
            return text.remove_prefix(2);
        out.put(c);
        text.remove_prefix(c == '{' || c == '}' ? 2 : 1);
    }
}

/// A value in a sentence: like put_value(), but texts stand without quotes.
template <class T>
void put_in_sentence(text_buffer& out, const T& value) {
    if constexpr (has_member_text<T> || has_free_text<T>) {
        put_value(out, value);
    } else if constexpr (std::is_same_v<T, char>) {
        out.put(value);
    } else if constexpr (string_like<T>) {
        if constexpr (std::is_pointer_v<T>)
            if (value == nullptr)
                return out.put("nullptr");
        out.put(std::string_view(value));
    } else {
        put_value(out, value);
    }
}

template <class... Values>
void put_message(text_buffer& out, std::string_view text, const Values&... values) {
    ((put_up_to_value(out, text), put_in_sentence(out, values)), ...);
    put_up_to_value(out, text);
}

}  // namespace ktstr::detail

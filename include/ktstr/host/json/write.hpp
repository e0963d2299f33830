// SPDX-License-Identifier: MIT
// JSON text, put together from its start to its end in one buffer. Any text may be given: what is no
// UTF-8 is replaced, what is too long is cut. Host side.
#pragma once

#include <ktstr/host/text/utf8.hpp>

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ktstr::host::json {

/// How items stand beside each other: {"a":1,"b":2} or {"a": 1, "b": 2}.
enum class spacing { none, single };

/// Test programs are mostly built without optimization, and there the appending members of
/// std::string, templates all the way down, are most of what --list costs: hence the bare bytes.
class writer {
public:
    explicit writer(spacing between = spacing::none, std::size_t guess = 512) : between_(between) {
        storage_.resize(guess);
    }

    void begin_object() { open('{'); }
    void end_object() { close('}'); }
    void begin_array() { open('['); }
    void end_array() { close(']'); }

    /// The name of the value that follows; it needs no escape.
    void name(std::string_view name) {
        separate();
        byte('"');
        bytes(name.data(), name.size());
        bytes("\": ", between_ == spacing::single ? 3 : 2);
        first_ = true;
    }

    void null() {
        separate();
        bytes("null", 4);
    }
    void add(bool truth) {
        separate();
        truth ? bytes("true", 4) : bytes("false", 5);
    }
    void add(std::string_view text, std::size_t limit = text_limit) {
        separate();
        if (text.size() <= limit &&
            host::detail::is_plain(text.data(), text.data() + text.size())) {
            byte('"');
            bytes(text.data(), text.size());
            byte('"');
            return;
        }
        std::string quoted;
        append_json_string(quoted, text, limit);
        bytes(quoted.data(), quoted.size());
    }
    void add(const char* text) { add(std::string_view(text)); }
    void add(const std::string& text) { add(std::string_view(text)); }
    /// What JSON cannot say, an infinity or no number at all, is null.
    void add(double number) {
        if (!std::isfinite(number))
            return null();
        separate();
        char digits[32];
        const char* const end = std::to_chars(digits, digits + sizeof digits, number).ptr;
        const std::string_view text(digits, static_cast<std::size_t>(end - digits));
        bytes(text.data(), text.size());
        if (text.find_first_of(".e") == std::string_view::npos)
            bytes(".0", 2);
    }
    template <std::integral Number>
    void add(Number number) {
        if constexpr (std::is_signed_v<Number>)
            whole(number < 0, number < 0 ? 0 - static_cast<std::uint64_t>(number)
                                         : static_cast<std::uint64_t>(number));
        else
            whole(false, number);
    }
    template <class T>
    void add(const std::optional<T>& value) {
        value ? add(*value) : null();
    }
    void add(const std::vector<std::string>& texts) {
        begin_array();
        for (const auto& text : texts)
            add(text);
        end_array();
    }

    /// A name and its value.
    template <class T>
    void field(std::string_view name, const T& value) {
        this->name(name);
        add(value);
    }

    /// A number that is text already.
    void number_text(std::string_view digits) {
        separate();
        bytes(digits.data(), digits.size());
    }
    /// Bytes between values, for lines that people read too; what follows begins anew.
    void raw(std::string_view text) {
        bytes(text.data(), text.size());
        first_ = true;
    }

    [[nodiscard]] std::string take() {
        storage_.resize(used_);
        return std::move(storage_);
    }

private:
    void open(char c) {
        separate();
        byte(c);
        first_ = true;
    }
    void close(char c) {
        byte(c);
        first_ = false;
    }
    void separate() {
        if (!first_)
            bytes(", ", between_ == spacing::single ? 2 : 1);
        first_ = false;
    }
    void byte(char c) { bytes(&c, 1); }
    void bytes(const char* text, std::size_t size) {
        if (storage_.size() - used_ < size)
            storage_.resize(2 * storage_.size() + size);
        std::memcpy(storage_.data() + used_, text, size);
        used_ += size;
    }
    void whole(bool negative, std::uint64_t number) {
        separate();
        char digits[24];
        char* at = digits + sizeof digits;
        do
            *--at = static_cast<char>('0' + number % 10);
        while ((number /= 10) != 0);
        if (negative)
            *--at = '-';
        bytes(at, static_cast<std::size_t>(digits + sizeof digits - at));
    }

    std::string storage_;
    std::size_t used_ = 0;
    spacing between_;
    bool first_ = true;
};

}  // namespace ktstr::host::json

// SPDX-License-Identifier: MIT
// A text as a JSON value, by RFC 8259 and nothing beyond it, or the byte at which it is none. What
// it is read from is not trusted: depth and size are bounded. Written out here because the compiler
// takes longer for any library's reader than for this room and the report room together; the tests
// hold it against one. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/json/value.hpp>
#include <ktstr/host/text/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace ktstr::host::json {

/// What a reader takes at most; beyond it the text counts as bad.
struct limits {
    std::size_t bytes = std::size_t{64} << 20;
    int depth = 64;
};

namespace detail {

class reader {
public:
    reader(std::string_view text, const limits& most) : text_(text), depth_left_(most.depth) {}

    [[nodiscard]] bool document(value& into) {
        space();
        if (!any(into))
            return false;
        space();
        return at_ == text_.size() || fail("something follows the value");
    }
    [[nodiscard]] std::string problem() const {
        return std::string(why_) + " at byte " + std::to_string(at_);
    }

private:
    bool fail(const char* why) {
        why_ = why;
        return false;
    }
    /// The next byte; 0 at the end, where a byte 0 is as wrong as the end is.
    [[nodiscard]] char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool skip(char wanted) {
        const bool there = at_ < text_.size() && text_[at_] == wanted;
        at_ += there ? 1 : 0;
        return there;
    }
    void space() {
        while (next() == ' ' || next() == '\n' || next() == '\r' || next() == '\t')
            ++at_;
    }

    bool any(value& into) {
        switch (next()) {
            case '{':
            case '[':
                return items(into);
            case '"':
                into.is = kind::string;
                return string(into.text);
            case 't':
                into.is = kind::boolean;
                into.truth = true;
                return word("true");
            case 'f':
                into.is = kind::boolean;
                return word("false");
            case 'n':
                return word("null");
            default:
                into.is = kind::number;
                return number(into.text);
        }
    }

    bool word(std::string_view wanted) {
        if (text_.substr(at_, wanted.size()) != wanted)
            return fail("no value");
        at_ += wanted.size();
        return true;
    }

    bool items(value& into) {
        if (depth_left_ == 0)
            return fail("too deep");
        --depth_left_;
        const bool object = next() == '{';
        const char close = object ? '}' : ']';
        into.is = object ? kind::object : kind::array;
        ++at_;
        space();
        if (!skip(close)) {
            do {
                space();
                if (object && !name(into.names.emplace_back()))
                    return false;
                if (!any(into.items.emplace_back()))
                    return false;
                space();
            } while (skip(','));
            if (!skip(close))
                return fail(object ? "neither ',' nor '}'" : "neither ',' nor ']'");
        }
        ++depth_left_;
        return true;
    }

    bool name(std::string& into) {
        if (next() != '"')
            return fail("no name");
        if (!string(into))
            return false;
        space();
        if (!skip(':'))
            return fail("no ':'");
        space();
        return true;
    }

    bool digits() {
        const auto begin = at_;
        while (next() >= '0' && next() <= '9')
            ++at_;
        return at_ > begin;
    }

    bool number(std::string& into) {
        const auto begin = at_;
        skip('-');
        const bool zero = next() == '0';
        if (zero ? !skip('0') : !digits())
            return fail("no value");
        if (skip('.') && !digits())
            return fail("no digit");
        if (skip('e') || skip('E')) {
            if (!skip('+'))
                skip('-');
            if (!digits())
                return fail("no digit");
        }
        into = text_.substr(begin, at_ - begin);
        return true;
    }

    bool string(std::string& into) {
        for (++at_;;) {
            const auto begin = at_;
            while (at_ < text_.size() && static_cast<unsigned char>(text_[at_]) >= 0x20 &&
                   static_cast<unsigned char>(text_[at_]) < 0x80 && text_[at_] != '"' &&
                   text_[at_] != '\\')
                ++at_;
            into.append(text_, begin, at_ - begin);
            if (skip('"'))
                return true;
            if (skip('\\')) {
                if (!escape(into))
                    return false;
                continue;
            }
            if (static_cast<unsigned char>(next()) < 0x20)
                return fail(at_ == text_.size() ? "a string without end"
                                                : "a bare control character");
            const auto c = host::detail::decode_utf8(text_.substr(at_));
            if (!c.valid)
                return fail("no UTF-8");
            into.append(text_, at_, c.bytes);
            at_ += c.bytes;
        }
    }

    bool escape(std::string& into) {
        constexpr std::string_view letters = "\"\\/bfnrt";
        if (const auto which = letters.find(next()); which != std::string_view::npos) {
            into += "\"\\/\b\f\n\r\t"[which];
            ++at_;
            return true;
        }
        std::uint32_t c = 0;
        std::uint32_t low = 0;
        if (!unit(c))
            return false;
        if (c >= 0xdc00 && c < 0xe000)
            return fail("half a character");
        if (c >= 0xd800 && c < 0xdc00) {
            if (!skip('\\') || !unit(low))
                return fail("half a character");
            if (low < 0xdc00 || low >= 0xe000)
                return fail("half a character");
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        }
        if (c < 0x80) {
            into += static_cast<char>(c);
            return true;
        }
        const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
        constexpr unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
        into += static_cast<char>(lead[more] | (c >> (6 * more)));
        for (int i = more - 1; i >= 0; --i)
            into += static_cast<char>(0x80U | ((c >> (6 * i)) & 0x3fU));
        return true;
    }

    /// "uXXXX"
    bool unit(std::uint32_t& into) {
        if (!skip('u'))
            return fail("no such escape");
        for (int i = 0; i < 4; ++i, ++at_) {
            const char c = next();
            const int digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0)
                return fail("no hexadecimal digit");
            into = (into << 4) | static_cast<std::uint32_t>(digit);
        }
        return true;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    int depth_left_;
    const char* why_ = "";
};

}  // namespace detail

[[nodiscard]] inline result<value> read(std::string_view text, const limits& most = {}) {
    if (text.size() > most.bytes)
        return plain_error("read", "JSON",
                           std::to_string(text.size()) + " bytes, at most " +
                               std::to_string(most.bytes) + " are taken");
    detail::reader reading(text, most);
    value whole;
    if (!reading.document(whole))
        return plain_error("read", "JSON", reading.problem());
    return whole;
}

}  // namespace ktstr::host::json

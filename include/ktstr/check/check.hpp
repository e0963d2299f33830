// SPDX-License-Identifier: MIT
// KTSTR_CHECK, KTSTR_REQUIRE, KTSTR_INFO, KTSTR_FAIL and KTSTR_SKIP. They take an expression apart so
// that a failure shows both operands, and hand a record on; who counts, stores and sends records is
// the guest's business. A check that passes formats nothing.
#pragma once

#include <ktstr/check/text.hpp>

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ktstr {

/// One check that was made. The views live as long as the call that reports them.
struct check_record {
    bool passed = false;
    std::string_view kind{};  ///< "CHECK", "REQUIRE" or "FAIL"
    std::string_view file{};
    int line = 0;
    std::string_view expression{};  ///< as written: "six == 7"; for FAIL its text
    std::string_view expansion{};   ///< with values: "6 == 7"; empty when it passed
    std::string_view message{};     ///< the check's own text, when it failed
    std::string_view info{};        ///< lines of the KTSTR_INFO around it, when it failed
};

namespace detail {

// Declared here, defined by the guest (guest/body.hpp).
void report_check(const check_record& record);
[[noreturn]] void end_body_failed();
[[noreturn]] void end_body_skipped(std::string_view why, std::string_view file, int line);

/// What an expression came to, and its text if it failed.
struct evaluated {
    bool passed;
    text_buffer text{};

    // For `a == b && c`: the comparison becomes a part of a larger condition.
    explicit operator bool() const { return passed; }
};

enum class comparison : std::uint8_t { eq, ne, lt, le, gt, ge };

template <comparison Op, class L, class R>
constexpr bool compare_as_is(const L& l, const R& r) {
    if constexpr (Op == comparison::eq)
        return static_cast<bool>(l == r);
    else if constexpr (Op == comparison::ne)
        return static_cast<bool>(l != r);
    else if constexpr (Op == comparison::lt)
        return static_cast<bool>(l < r);
    else if constexpr (Op == comparison::le)
        return static_cast<bool>(l <= r);
    else if constexpr (Op == comparison::gt)
        return static_cast<bool>(l > r);
    else
        return static_cast<bool>(l >= r);
}

template <class T>
concept plain_enum = std::is_enum_v<T> && std::is_convertible_v<T, std::underlying_type_t<T>>;

/// Integers are compared by value (-1 < 1u holds), numbers of other mixtures in their common type,
/// everything else with its own operator.
template <comparison Op, class L, class R>
constexpr bool compare(const L& l, const R& r) {
    if constexpr (std::is_integral_v<L> && std::is_integral_v<R>) {
        if constexpr (std::is_signed_v<L> == std::is_signed_v<R>) {
            return compare_as_is<Op>(l, r);
        } else if constexpr (std::is_signed_v<L>) {
            // A negative left side is less than anything unsigned.
            return l < 0 ? compare_as_is<Op>(0, 1)
                         : compare_as_is<Op>(static_cast<std::make_unsigned_t<L>>(l), r);
        } else {
            return r < 0 ? compare_as_is<Op>(1, 0)
                         : compare_as_is<Op>(l, static_cast<std::make_unsigned_t<R>>(r));
        }
    } else if constexpr (std::is_arithmetic_v<L> && std::is_arithmetic_v<R>) {
        using both = std::common_type_t<L, R>;
        return compare_as_is<Op>(static_cast<both>(l), static_cast<both>(r));
    } else if constexpr (plain_enum<L> && std::is_arithmetic_v<R>) {
        return compare<Op>(static_cast<std::underlying_type_t<L>>(l), r);
    } else if constexpr (std::is_arithmetic_v<L> && plain_enum<R>) {
        return compare<Op>(l, static_cast<std::underlying_type_t<R>>(r));
    } else if constexpr (std::is_pointer_v<L> && std::is_integral_v<R>) {
        // `file != NULL`: by now NULL is just a number.
        return compare_as_is<Op>(reinterpret_cast<std::uintptr_t>(l),
                                 static_cast<std::uintptr_t>(r));
    } else {
        return compare_as_is<Op>(l, r);
    }
}

template <class L, class R>
[[gnu::cold, gnu::noinline]] void explain(text_buffer& out, const L& l, std::string_view op,
                                          const R& r) {
    // Half of the buffer each, and the operator.
    out.allow((text_buffer::capacity - 8) / 2);
    put_value(out, l);
    out.allow(8);
    out.put(op);
    out.allow((text_buffer::capacity - 8) / 2);
    put_value(out, r);
}

template <class V>
[[gnu::cold, gnu::noinline]] void explain(text_buffer& out, const V& v) {
    put_value(out, v);
}

template <comparison Op, class L, class R>
evaluated evaluate(const L& l, std::string_view op, const R& r) {
    evaluated e{compare<Op>(l, r)};
    if (!e.passed) [[unlikely]]
        explain(e.text, l, op, r);
    return e;
}

template <class T>
concept number = std::is_arithmetic_v<T> || std::is_enum_v<T>;

/// The left side of what may turn out to be a comparison. `T` is a reference, or a value for numbers:
/// a bit-field or a constant without an address has nothing to refer to.
template <class T>
struct operand {
    T value;

    constexpr explicit operator bool() const { return static_cast<bool>(value); }

// Operators for both kinds of right side. Rvalue-qualified, so that they fit better than a template
// of the operand's own type that would take anything.
#define KTSTR_DETAIL_COMPARE(OP, NAME)                                         \
    template <class R>                                                         \
    requires(!number<std::remove_cvref_t<R>>) evaluated operator OP(R&& r)&& { \
        return evaluate<comparison::NAME>(value, " " #OP " ", r);              \
    }                                                                          \
    template <number R>                                                        \
    evaluated operator OP(R r)&& {                                             \
        return evaluate<comparison::NAME>(value, " " #OP " ", r);              \
    }
    KTSTR_DETAIL_COMPARE(==, eq)
    KTSTR_DETAIL_COMPARE(!=, ne)
    KTSTR_DETAIL_COMPARE(<, lt)
    KTSTR_DETAIL_COMPARE(<=, le)
    KTSTR_DETAIL_COMPARE(>, gt)
    KTSTR_DETAIL_COMPARE(>=, ge)
#undef KTSTR_DETAIL_COMPARE

// `flags & mask`: bind weaker than a comparison, so the left side arrives here alone.
#define KTSTR_DETAIL_BITS(OP)                  \
    template <class R>                         \
    constexpr auto operator OP(const R& r)&& { \
        return value OP r;                     \
    }
    KTSTR_DETAIL_BITS(&)
    KTSTR_DETAIL_BITS(|)
    KTSTR_DETAIL_BITS(^)
#undef KTSTR_DETAIL_BITS

    // `KTSTR_CHECK(a = b)` is a slip of the finger.
    template <class R>
    void operator=(const R&) = delete;
};

/// Takes the left operand out of an expression. The operator is <=> because it binds weaker than
/// arithmetic and shifts but stronger than the comparisons, and compilers give no advice about it.
struct take_apart {
    template <class T>
    requires(!number<std::remove_cvref_t<T>>) constexpr operand<T&&> operator<=>(T&& value) const {
        return {static_cast<T&&>(value)};
    }
    template <number T>
    constexpr operand<T> operator<=>(T value) const {
        return {value};
    }
};

/// `x == 1, "after {}", n`, as the preprocessor gives it, without the text and its values: up to the
/// first comma outside of all brackets that a text in quotes follows.
constexpr std::string_view without_message(std::string_view written) {
    int depth = 0;
    for (std::size_t i = 0; i < written.size(); ++i) {
        const char c = written[i];
        // 1'000 is no character; what is quoted is skipped whole.
        const char before = i > 0 ? written[i - 1] : ' ';
        if (c == '"' || (c == '\'' && !(before >= '0' && before <= '9'))) {
            for (++i; i < written.size() && written[i] != c; ++i)
                i += written[i] == '\\' ? 1 : 0;
        } else if (c == '(' || c == '[' || c == '{') {
            ++depth;
        } else if (c == ')' || c == ']' || c == '}') {
            --depth;
        } else if (c == ',' && depth == 0) {
            const auto next = written.find_first_not_of(" \t\n", i + 1);
            if (next != std::string_view::npos &&
                (written[next] == '"' || written.substr(next).starts_with("R\"")))
                return written.substr(0, i);
        }
    }
    return written;
}

// KTSTR_INFO: a line that waits in its scope for a check to fail. Each thread has its own.

struct info_line {
    void (*put)(const info_line&, text_buffer&) = nullptr;
    const info_line* outer = nullptr;
};

inline constinit thread_local const info_line* innermost_info = nullptr;

template <class Put>
class info_scope : info_line {
public:
    explicit info_scope(Put put_values)
        : info_line{[](const info_line& self, text_buffer& out) {
                        static_cast<const info_scope&>(self).put_values_(out);
                    },
                    innermost_info},
          put_values_(std::move(put_values)) {
        innermost_info = this;
    }
    info_scope(const info_scope&) = delete;
    info_scope& operator=(const info_scope&) = delete;
    ~info_scope() { innermost_info = outer; }

private:
    Put put_values_;
};

/// Copies the values: what they were here is what a failure further down shows.
template <class... Values>
[[nodiscard]] auto make_info(message_text<std::type_identity_t<Values>...> text, Values... values) {
    return info_scope([text = text.text, ... values = std::move(values)](text_buffer& out) {
        put_message(out, text, values...);
    });
}

/// The lines around a failed check, the outermost first; of more than eight the innermost.
[[gnu::cold]] inline std::string info_text() {
    const info_line* lines[8];
    std::size_t count = 0;
    for (const info_line* at = innermost_info; at != nullptr && count < 8; at = at->outer)
        lines[count++] = at;
    std::string text;
    while (count > 0) {
        text_buffer line;
        const info_line& next = *lines[--count];
        next.put(next, line);
        text += line.view();
        if (count > 0)
            text += '\n';
    }
    return text;
}

struct check_site {
    std::string_view kind, file, expression;
    int line;
};

inline void report_passed(const check_site& site) {
    report_check({.passed = true,
                  .kind = site.kind,
                  .file = site.file,
                  .line = site.line,
                  .expression = site.expression});
}
[[gnu::cold, gnu::noinline]] inline void report_failed(const check_site& site,
                                                       std::string_view expansion,
                                                       std::string_view message) {
    const std::string info = info_text();
    report_check({.passed = false,
                  .kind = site.kind,
                  .file = site.file,
                  .line = site.line,
                  .expression = site.expression,
                  .expansion = expansion,
                  .message = message,
                  .info = info});
}

// What is left of an expression: a comparison, its left side alone, or what `&&`, `||`, `?:` and the
// bit operators leave behind.
inline bool holds(const evaluated& e) {
    return e.passed;
}
template <class V>
bool holds(const operand<V>& lone) {
    const auto& value = lone.value;
    return static_cast<bool>(value);
}
template <class V>
bool holds(const V& value) {
    return static_cast<bool>(value);
}
// Its text with values; `scratch` is for those that have none yet.
inline std::string_view expansion_of(const evaluated& e, text_buffer&) {
    return e.text.view();
}
template <class V>
std::string_view expansion_of(const operand<V>& lone, text_buffer& scratch) {
    explain(scratch, lone.value);
    return scratch.view();
}
template <class V>
std::string_view expansion_of(const V& value, text_buffer& scratch) {
    explain(scratch, value);
    return scratch.view();
}

/// Made with braces, which evaluate in order: the values of a text come after the expression, so that
/// they may say what it did, such as errno.
struct judged {
    bool passed;

    template <class What>
    judged(const check_site& site, const What& what) : passed(holds(what)) {
        if (passed) {
            report_passed(site);
        } else {
            text_buffer scratch;
            report_failed(site, expansion_of(what, scratch), {});
        }
    }
    template <class What, class... Values>
    judged(const check_site& site, const What& what,
           message_text<std::type_identity_t<Values>...> text, const Values&... values)
        : passed(holds(what)) {
        const check_site own{site.kind, site.file, without_message(site.expression), site.line};
        if (passed) {
            report_passed(own);
        } else {
            text_buffer scratch, message;
            put_message(message, text.text, values...);
            report_failed(own, expansion_of(what, scratch), message.view());
        }
    }
};

[[noreturn]] inline void fail_here(std::string_view file, int line, std::string_view text) {
    report_failed({"FAIL", file, text, line}, {}, {});
    end_body_failed();
}
template <class First, class... Rest>
[[noreturn]] void fail_here(
    std::string_view file, int line,
    message_text<std::type_identity_t<First>, std::type_identity_t<Rest>...> text,
    const First& first, const Rest&... rest) {
    text_buffer message;
    put_message(message, text.text, first, rest...);
    fail_here(file, line, message.view());
}

[[noreturn]] inline void skip_here(std::string_view file, int line, std::string_view why) {
    end_body_skipped(why, file, line);
}
template <class First, class... Rest>
[[noreturn]] void skip_here(
    std::string_view file, int line,
    message_text<std::type_identity_t<First>, std::type_identity_t<Rest>...> text,
    const First& first, const Rest&... rest) {
    text_buffer message;
    put_message(message, text.text, first, rest...);
    end_body_skipped(message.view(), file, line);
}

}  // namespace detail
}  // namespace ktstr

// Variadic and pasted whole, so that the commas of template arguments are the compiler's business.
#define KTSTR_DETAIL_JUDGED(KIND, EXPRESSION, ...)                         \
    ::ktstr::detail::judged {                                              \
        ::ktstr::detail::check_site{KIND, __FILE__, EXPRESSION, __LINE__}, \
            ::ktstr::detail::take_apart{} <=> __VA_ARGS__                  \
    }
#define KTSTR_DETAIL_JOINED(A, B) A##B
#define KTSTR_DETAIL_JOIN(A, B) KTSTR_DETAIL_JOINED(A, B)

/// Records whether the expression holds, and goes on. A text and its values may follow:
/// KTSTR_CHECK(n == 8, "after {} turns", turns). The values are always evaluated, after the
/// expression; they become text only when it fails.
#define KTSTR_CHECK(...) static_cast<void>(KTSTR_DETAIL_JUDGED("CHECK", #__VA_ARGS__, __VA_ARGS__))

/// Records whether the expression holds, and ends the body if not. Takes a text as KTSTR_CHECK does.
#define KTSTR_REQUIRE(...)                                                     \
    do {                                                                       \
        if (!KTSTR_DETAIL_JUDGED("REQUIRE", #__VA_ARGS__, __VA_ARGS__).passed) \
            ::ktstr::detail::end_body_failed();                                \
    } while (false)

/// A line for every check that fails until the end of this scope: KTSTR_INFO("cpu {}", cpu).
#define KTSTR_INFO(...)                                                       \
    [[maybe_unused]] const auto KTSTR_DETAIL_JOIN(ktstr_info_, __COUNTER__) = \
        ::ktstr::detail::make_info(__VA_ARGS__)

/// Fails the test with a text and ends the body. The text may be made at run time, or have values.
#define KTSTR_FAIL(...) ::ktstr::detail::fail_here(__FILE__, __LINE__, __VA_ARGS__)

/// Ends the body without a verdict on the scheduler, and says why. Takes a text as KTSTR_FAIL does.
#define KTSTR_SKIP(...) ::ktstr::detail::skip_here(__FILE__, __LINE__, __VA_ARGS__)

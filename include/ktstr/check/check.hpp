// SPDX-License-Identifier: MIT
// KTSTR_CHECK, KTSTR_REQUIRE, KTSTR_FAIL and KTSTR_SKIP. They take an expression apart so that a
// failure shows both operands, and hand a record on; who counts, stores and sends records is the
// guest's business. A check that passes formats nothing.
#pragma once

#include <ktstr/check/text.hpp>

#include <compare>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace ktstr {

/// One check that was made. The views live as long as the call that reports them.
struct check_record {
    bool passed = false;
    std::string_view kind{};  ///< "CHECK", "REQUIRE" or "FAIL"
    std::string_view file{};
    int line = 0;
    std::string_view expression{};  ///< as written: "six == 7"; for FAIL its text
    std::string_view expansion{};   ///< with values: "6 == 7"; empty when it passed
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

struct check_site {
    std::string_view kind, file, expression;
    int line;

    bool judge(const evaluated& e) const { return judge(e.passed, e.text); }
    template <class V>
    bool judge(operand<V>&& lone) const {
        return judge_value(lone.value);
    }
    // What `&&`, `||`, `?:` and the bit operators leave behind.
    template <class V>
    bool judge(const V& value) const {
        return judge_value(value);
    }

private:
    template <class V>
    bool judge_value(const V& value) const {
        evaluated e{static_cast<bool>(value)};
        if (!e.passed) [[unlikely]]
            explain(e.text, value);
        return judge(e.passed, e.text);
    }
    bool judge(bool passed, const text_buffer& text) const {
        report_check({.passed = passed,
                      .kind = kind,
                      .file = file,
                      .line = line,
                      .expression = expression,
                      .expansion = text.view()});
        return passed;
    }
};

[[noreturn]] inline void fail_here(std::string_view text, std::string_view file, int line) {
    report_check({.passed = false, .kind = "FAIL", .file = file, .line = line, .expression = text});
    end_body_failed();
}

}  // namespace detail
}  // namespace ktstr

// Variadic, so that template arguments may hold commas.
#define KTSTR_DETAIL_JUDGE(KIND, EXPRESSION, ...)                            \
    ::ktstr::detail::check_site{KIND, __FILE__, EXPRESSION, __LINE__}.judge( \
        ::ktstr::detail::take_apart{} <=> __VA_ARGS__)

/// Records whether the expression holds, and goes on.
#define KTSTR_CHECK(...) static_cast<void>(KTSTR_DETAIL_JUDGE("CHECK", #__VA_ARGS__, __VA_ARGS__))

/// Records whether the expression holds, and ends the body if not.
#define KTSTR_REQUIRE(...)                                             \
    do {                                                               \
        if (!KTSTR_DETAIL_JUDGE("REQUIRE", #__VA_ARGS__, __VA_ARGS__)) \
            ::ktstr::detail::end_body_failed();                        \
    } while (false)

/// Fails the test with a text and ends the body.
#define KTSTR_FAIL(TEXT) ::ktstr::detail::fail_here(TEXT, __FILE__, __LINE__)

/// Ends the body without a verdict on the scheduler, and says why.
#define KTSTR_SKIP(REASON) ::ktstr::detail::end_body_skipped(REASON, __FILE__, __LINE__)

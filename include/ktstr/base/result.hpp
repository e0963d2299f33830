// SPDX-License-Identifier: MIT
// A value or an error: the member names of std::expected, which g++ 12 has only in C++23, so that
// this header can become an alias one day. Recoverable failures return a result; exceptions are
// kept for leaving a test body and for "cannot run at all", caught once in main.
#pragma once

#include <ktstr/base/error.hpp>

#include <new>
#include <optional>
#include <type_traits>
#include <utility>

namespace ktstr {

/// For result: whoever asks for what is not there has not looked.
[[noreturn, gnu::cold, gnu::noinline]] inline void not_in_result() {
    throw std::bad_optional_access();
}
inline void require_in_result(bool there) {
    if (!there)
        not_in_result();
}

/// Both in one place, written out: a std::variant does the same, but the compiler would unfold one
/// anew for each of a hundred T.
template <class T>
class [[nodiscard]] result {
public:
    using value_type = T;

    result(T&& value) : value_(std::move(value)), has_value_(true) {}
    result(const T& value) requires std::is_copy_constructible_v<T> : value_(value),
                                                                      has_value_(true) {}
    result(ktstr::error&& e) noexcept : error_(std::move(e)), has_value_(false) {}
    result(const ktstr::error& e) : error_(e), has_value_(false) {}
    result(const result& other) requires std::is_copy_constructible_v<T>
        : has_value_(other.has_value_) {
        if (has_value_)
            ::new (&value_) T(other.value_);
        else
            ::new (&error_) ktstr::error(other.error_);
    }
    result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
        : has_value_(other.has_value_) {
        if (has_value_)
            ::new (&value_) T(std::move(other.value_));
        else
            ::new (&error_) ktstr::error(std::move(other.error_));
    }
    result& operator=(result other) noexcept(std::is_nothrow_move_constructible_v<T>) {
        this->~result();
        return *::new (this) result(std::move(other));
    }
    ~result() {
        if (has_value_)
            value_.~T();
        else
            error_.~error();
    }

    [[nodiscard]] bool has_value() const noexcept { return has_value_; }
    explicit operator bool() const noexcept { return has_value_; }

    [[nodiscard]] T& value() & { return require_in_result(has_value_), value_; }
    [[nodiscard]] const T& value() const& { return require_in_result(has_value_), value_; }
    [[nodiscard]] T&& value() && { return require_in_result(has_value_), std::move(value_); }
    [[nodiscard]] T& operator*() & { return value(); }
    [[nodiscard]] const T& operator*() const& { return value(); }
    [[nodiscard]] T&& operator*() && { return std::move(*this).value(); }
    [[nodiscard]] T* operator->() { return &value(); }
    [[nodiscard]] const T* operator->() const { return &value(); }

    [[nodiscard]] const ktstr::error& error() const& {
        return require_in_result(!has_value_), error_;
    }
    [[nodiscard]] ktstr::error&& error() && {
        return require_in_result(!has_value_), std::move(error_);
    }

    template <class U>
    [[nodiscard]] T value_or(U&& fallback) const& {
        return has_value_ ? value_ : static_cast<T>(std::forward<U>(fallback));
    }

private:
    union {
        T value_;
        ktstr::error error_;
    };
    bool has_value_;
};

/// Success without a value, or an error.
template <>
class [[nodiscard]] result<void> {
public:
    using value_type = void;

    result() = default;
    result(ktstr::error&& e) noexcept : error_(std::move(e)) {}
    result(const ktstr::error& e) : error_(e) {}

    [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    [[nodiscard]] const ktstr::error& error() const& { return *error_; }
    [[nodiscard]] ktstr::error&& error() && { return *std::move(error_); }

private:
    std::optional<ktstr::error> error_;
};

}  // namespace ktstr

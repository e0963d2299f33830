// SPDX-License-Identifier: MIT
// A value or an error: the member names of std::expected, which g++ 12 has only in C++23, so that
// this header can become an alias one day. Recoverable failures return a result; exceptions are
// kept for leaving a test body and for "cannot run at all", caught once in main.
#pragma once

#include <ktstr/base/error.hpp>

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace ktstr {

template <class T>
class [[nodiscard]] result {
public:
    using value_type = T;

    result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    result(ktstr::error e) : state_(std::in_place_index<1>, std::move(e)) {}

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    [[nodiscard]] T& value() & { return std::get<0>(state_); }
    [[nodiscard]] const T& value() const& { return std::get<0>(state_); }
    [[nodiscard]] T&& value() && { return std::get<0>(std::move(state_)); }
    [[nodiscard]] T& operator*() & { return value(); }
    [[nodiscard]] const T& operator*() const& { return value(); }
    [[nodiscard]] T&& operator*() && { return std::move(*this).value(); }
    [[nodiscard]] T* operator->() { return &value(); }
    [[nodiscard]] const T* operator->() const { return &value(); }

    [[nodiscard]] const ktstr::error& error() const& { return std::get<1>(state_); }
    [[nodiscard]] ktstr::error&& error() && { return std::get<1>(std::move(state_)); }

    template <class U>
    [[nodiscard]] T value_or(U&& fallback) const& {
        return has_value() ? value() : static_cast<T>(std::forward<U>(fallback));
    }

private:
    std::variant<T, ktstr::error> state_;
};

/// Success without a value, or an error.
template <>
class [[nodiscard]] result<void> {
public:
    using value_type = void;

    result() = default;
    result(ktstr::error e) : error_(std::move(e)) {}

    [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    [[nodiscard]] const ktstr::error& error() const& { return *error_; }
    [[nodiscard]] ktstr::error&& error() && { return *std::move(error_); }

private:
    std::optional<ktstr::error> error_;
};

}  // namespace ktstr

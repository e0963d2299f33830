// SPDX-License-Identifier: MIT
// A list of fixed capacity that fits in a constant, so that `tags = {"smoke", "numa"}` can be part
// of a constexpr test_spec. No heap, no <vector>: this is on the light side.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>

namespace ktstr {

template <class T, std::size_t Capacity>
class small_list {
public:
    constexpr small_list() = default;
    /// More than fit are no constant.
    constexpr small_list(std::initializer_list<T> list) {
        for (const T& item : list)
            push_back(item);
    }

    constexpr void push_back(const T& item) { items_[count_++] = item; }
    [[nodiscard]] constexpr const T* begin() const { return items_.data(); }
    [[nodiscard]] constexpr const T* end() const { return items_.data() + count_; }
    [[nodiscard]] constexpr std::size_t size() const { return count_; }
    [[nodiscard]] constexpr bool empty() const { return count_ == 0; }
    [[nodiscard]] constexpr const T& operator[](std::size_t i) const { return items_[i]; }

private:
    std::array<T, Capacity> items_{};
    std::size_t count_ = 0;
};

}  // namespace ktstr

// SPDX-License-Identifier: MIT
// A list of fixed capacity that fits in a constant, so that `tags = {"smoke", "numa"}` can be part
// of a constexpr test_spec. No heap, no <vector>: this is on the light side.
#pragma once

#include <array>
#include <cstddef>

namespace ktstr {

template <class T, std::size_t Capacity>
struct small_list {
    std::array<T, Capacity> items{};
    std::size_t count = 0;

    constexpr void push_back(const T& item) { items[count++] = item; }
    [[nodiscard]] constexpr const T* begin() const { return items.data(); }
    [[nodiscard]] constexpr const T* end() const { return items.data() + count; }
    [[nodiscard]] constexpr std::size_t size() const { return count; }
    [[nodiscard]] constexpr bool empty() const { return count == 0; }
    [[nodiscard]] constexpr const T& operator[](std::size_t i) const { return items[i]; }
};

}  // namespace ktstr

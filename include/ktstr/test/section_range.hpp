// SPDX-License-Identifier: MIT
// What the linker gathers in one ELF section: pointers to constants of one type, bounded by symbols that it
// makes. Read-only; used on both sides.
#pragma once

#include <cstddef>

namespace ktstr {

/// In link order; each element is a `const T*`.
template <class T>
struct section_range {
    const T* const* first = nullptr;
    const T* const* past = nullptr;

    [[nodiscard]] const T* const* begin() const { return first; }
    [[nodiscard]] const T* const* end() const { return past; }
    [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(past - first); }
    [[nodiscard]] bool empty() const { return first == past; }
};

}  // namespace ktstr

// SPDX-License-Identifier: MIT
// Optional parts of a test program: separate translation units that are there because they are linked, and
// that nothing names. Each leaves one constinit pointer in the ELF section "ktstr_parts", as tests do in
// theirs, so no code runs to attach it, and a program without parts pays nothing. Used on both sides.
#pragma once

#include <ktstr/test/section_range.hpp>

#include <string_view>

namespace ktstr {

namespace host {
struct part_hooks;  // host/run/part_hooks.hpp
}
namespace guest {
struct part_hooks;  // guest/part_hooks.hpp
}

/// One part. Each side looks at its own half; null: it has none there.
struct part {
    std::string_view name;
    const host::part_hooks* host = nullptr;
    const guest::part_hooks* guest = nullptr;
    bool loads_objects = false;  ///< by its guest's half; the host asks before it boots anything
};

namespace detail {

extern "C" {
[[gnu::weak, gnu::visibility("hidden")]] extern const part* const __start_ktstr_parts[];
[[gnu::weak, gnu::visibility("hidden")]] extern const part* const __stop_ktstr_parts[];
}

}  // namespace detail

/// The parts in link order; each element is a `const part*`.
using part_range = section_range<part>;

[[nodiscard]] inline part_range attached_parts() {
    return {detail::__start_ktstr_parts, detail::__stop_ktstr_parts};
}

}  // namespace ktstr

/// Attaches a constexpr `ktstr::part` of namespace scope, in the one translation unit of the part.
#define KTSTR_ATTACH_PART(NAME) \
    [[gnu::used, gnu::retain,   \
      gnu::section(             \
          "ktstr_parts")]] static constinit const ::ktstr::part* const ktstr_part_##NAME = &NAME

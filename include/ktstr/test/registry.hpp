// SPDX-License-Identifier: MIT
// All tests linked into this program. Each KTSTR_TEST leaves one constinit pointer in the ELF
// section "ktstr_tests", which the linker gathers and bounds: nothing runs before main, nothing
// allocates, and PID 1 sees the same list as the host. Read-only; used on both sides.
#pragma once

#include <ktstr/test/section_range.hpp>
#include <ktstr/test/spec.hpp>

#include <string_view>

namespace ktstr {

class context;

struct test_case {
    std::string_view name;
    std::string_view file;
    int line;
    test_spec spec;
    void (*body)(context&);
};

namespace detail {

// Weak, because a program without a single test has no such section; hidden, because a plugin's
// tests are not ours.
extern "C" {
[[gnu::weak, gnu::visibility("hidden")]] extern const test_case* const __start_ktstr_tests[];
[[gnu::weak, gnu::visibility("hidden")]] extern const test_case* const __stop_ktstr_tests[];
}

}  // namespace detail

/// The tests in link order; each element is a `const test_case*`.
using test_range = section_range<test_case>;

[[nodiscard]] inline test_range registered_tests() {
    return {detail::__start_ktstr_tests, detail::__stop_ktstr_tests};
}

}  // namespace ktstr

// SPDX-License-Identifier: MIT
// KTSTR_TEST(name, key = value, flag, ...) { body }: declares a test, checks what is said about it
// while it compiles, and registers it. The body is an ordinary function that sees `ctx`.
#pragma once

#include <ktstr/test/context.hpp>
#include <ktstr/test/keys.hpp>
#include <ktstr/test/registry.hpp>
#include <ktstr/test/rules.hpp>

// Name by name:
// - The function has C linkage and external visibility, so that the same test name in two files is
//   a link error that names both, whatever namespaces they are in.
// - __VA_ARGS__ is pasted once and whole: commas inside {} survive and messages stay short. An
//   outer `cores` or `duration` does no harm, because the keys are in class scope.
// - `retain` keeps the entry through --gc-sections, `used` through the optimiser.
#define KTSTR_TEST(NAME, ...)                                                                      \
    static_assert(::ktstr::detail::is_identifier(#NAME) && !::ktstr::detail::is_key(#NAME),        \
                  "KTSTR_TEST: the first argument is the test's name, a plain identifier");        \
    extern "C" void ktstr_test_##NAME(::ktstr::context& ctx);                                      \
    namespace {                                                                                    \
    struct ktstr_keys_##NAME : ::ktstr::detail::keys {                                             \
        static consteval ::ktstr::test_spec spec() {                                               \
            using namespace ::std::chrono_literals;                                                \
            return collect(__VA_ARGS__);                                                           \
        }                                                                                          \
    };                                                                                             \
    static_assert(::ktstr::detail::rules_hold<ktstr_keys_##NAME>(0));                              \
    constexpr ::ktstr::test_case ktstr_case_##NAME{#NAME, __FILE__, __LINE__,                      \
                                                   ktstr_keys_##NAME::spec(), &ktstr_test_##NAME}; \
    [[gnu::used, gnu::retain,                                                                      \
      gnu::section("ktstr_tests")]] constinit const ::ktstr::test_case* const ktstr_entry_##NAME = \
        &ktstr_case_##NAME;                                                                        \
    }                                                                                              \
    void ktstr_test_##NAME([[maybe_unused]] ::ktstr::context& ctx)

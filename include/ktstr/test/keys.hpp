// SPDX-License-Identifier: MIT
// What may stand between the parentheses of KTSTR_TEST after the name: the keys, and what happens
// when a value is written behind one. Each key is an empty object whose consteval operator= makes a
// tagged setting and does nothing else; collect() turns the settings into a test_spec.
#pragma once

#include <ktstr/base/duration.hpp>
#include <ktstr/test/spec.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <string_view>
#include <type_traits>

namespace ktstr::detail {

template <class Tag, class Field>
struct setting {
    using tag = Tag;
    Field value;
    constexpr void apply(test_spec& spec) const { Tag::field(spec) = value; }
};

/// What a key answers when its value is wrong: nothing, so that one mistake gives one message.
template <class Tag>
struct no_setting {
    using tag = Tag;
    constexpr void apply(test_spec&) const {}
};

// An optional member takes the plain value.
template <class T>
struct unwrap {
    using type = T;
};
template <class T>
struct unwrap<std::optional<T>> {
    using type = T;
};

template <class... Evidence>
inline constexpr bool never = false;

template <class Given, class Expected>
concept suits = std::convertible_to<const Given&, Expected> &&
                (std::integral<Given> || !std::integral<Expected>)&&        // no 2.5 for a count
                std::same_as<Given, bool> == std::same_as<Expected, bool>;  // no true for a count

/// Numbers, flags and durations.
template <class Tag, class Field>
struct key {
    using type = typename unwrap<Field>::type;

    template <class Given>
    requires suits<Given, type>
    consteval setting<Tag, Field> operator=(const Given& given) const {
        if constexpr (std::integral<type>) {
            if (static_cast<Given>(static_cast<type>(given)) != given)
                throw "KTSTR_TEST: this number is out of range";
            return {static_cast<type>(given)};
        } else {
            return {type(given)};
        }
    }
    // Chosen only when nothing fits: one sentence instead of a list of candidates.
    template <class Given>
    requires(!suits<Given, type>) consteval no_setting<Tag> operator=(const Given&) const {
        static_assert(never<Given, type>, "KTSTR_TEST: wrong type of value for this key");
        return {};
    }
};

/// `scheduler = my_sched`: a reference in the source, a pointer in the record.
template <class Tag, class T>
struct key<Tag, const T*> {
    consteval setting<Tag, const T*> operator=(const T& object) const { return {&object}; }
    template <class Given>
    requires std::same_as<Given, T>
    consteval no_setting<Tag> operator=(const Given&&) const {
        static_assert(never<Given>,
                      "KTSTR_TEST: this key refers to an object, so the object needs a name");
        return {};
    }
    template <class Given>
    requires(!std::convertible_to<const Given&, const T&>) consteval no_setting<Tag> operator=(
        const Given&) const {
        static_assert(never<Given, T>, "KTSTR_TEST: wrong type of value for this key");
        return {};
    }
};

struct empty_list {};

/// One of `schedulers = {a, b}`: where it stands, never a copy.
struct scheduler_reference {
    const scheduler* at;

    constexpr scheduler_reference(const scheduler& object) : at(&object) {}
    template <class Given>
    requires std::same_as<Given, scheduler>
    constexpr scheduler_reference(const Given&&) : at(nullptr) {
        static_assert(never<Given>,
                      "KTSTR_TEST: this key refers to an object, so the object needs a name");
    }
};

/// `schedulers = {mine, eevdf}`, one alone for a list of one, and {} for none.
template <class Tag, std::size_t Capacity>
struct key<Tag, small_list<const scheduler*, Capacity>> {
    using list = small_list<const scheduler*, Capacity>;

    template <std::size_t N>
    consteval auto operator=(const scheduler_reference (&given)[N]) const {
        if constexpr (N > Capacity) {
            static_assert(N <= Capacity, "KTSTR_TEST: too many items in this list, 16 fit");
            return no_setting<Tag>{};
        } else {
            list items{};
            for (const scheduler_reference& one : given)
                items.push_back(one.at);
            return setting<Tag, list>{items};
        }
    }
    consteval setting<Tag, list> operator=(empty_list) const { return {}; }
    template <class Given>
    requires std::same_as<Given, scheduler>
    consteval setting<Tag, list> operator=(const Given& object) const {
        list items{};
        items.push_back(&object);
        return {items};
    }
    template <class Given>
    requires std::same_as<Given, scheduler>
    consteval no_setting<Tag> operator=(const Given&&) const {
        static_assert(never<Given>,
                      "KTSTR_TEST: this key refers to an object, so the object needs a name");
        return {};
    }
    template <class Given>
    requires(!std::same_as<Given, scheduler>) consteval no_setting<Tag> operator=(
        const Given&) const {
        static_assert(never<Given, list>, "KTSTR_TEST: wrong type of value for this key");
        return {};
    }
};

/// `tags = {"smoke", "numa"}`, one text alone for a list of one, and {} for none.
template <class Tag, std::size_t Capacity>
struct key<Tag, small_list<std::string_view, Capacity>> {
    using list = small_list<std::string_view, Capacity>;

    template <std::size_t N>
    consteval auto operator=(const std::string_view (&given)[N]) const {
        if constexpr (N > Capacity) {
            static_assert(N <= Capacity, "KTSTR_TEST: too many items in this list, 16 fit");
            return no_setting<Tag>{};
        } else {
            list items{};
            for (const std::string_view item : given)
                items.push_back(item);
            return setting<Tag, list>{items};
        }
    }
    consteval setting<Tag, list> operator=(empty_list) const { return {}; }
    template <class Given>
    requires std::convertible_to<const Given&, std::string_view>
    consteval setting<Tag, list> operator=(const Given& given) const {
        list items{};
        items.push_back(given);
        return {items};
    }
    template <class Given>
    requires(!std::convertible_to<const Given&, std::string_view>) consteval no_setting<Tag>
    operator=(const Given&) const {
        static_assert(never<Given, list>, "KTSTR_TEST: wrong type of value for this key");
        return {};
    }
};

// What collect() is given: `key = value`, or a key that stands alone.
template <class Tag, class Field>
consteval setting<Tag, Field> as_setting(setting<Tag, Field> s) {
    return s;
}
template <class Tag>
consteval no_setting<Tag> as_setting(no_setting<Tag> s) {
    return s;
}
template <class Tag>
consteval setting<Tag, bool> as_setting(key<Tag, bool>) {
    return {true};
}
template <class Tag, class Field>
consteval no_setting<Tag> as_setting(key<Tag, Field>) {
    static_assert(never<Tag>, "KTSTR_TEST: this key needs a value (key = value)");
    return {};
}
template <class Other>
struct not_a_setting {
    using tag = not_a_setting;
    constexpr void apply(test_spec&) const {}
};
template <class Other>
consteval not_a_setting<Other> as_setting(const Other&) {
    static_assert(never<Other>, "KTSTR_TEST: after the name come keys (key = value) and flags");
    return {};
}

template <class...>
inline constexpr bool each_key_once = true;
template <class First, class... Rest>
inline constexpr bool each_key_once<First, Rest...> =
    (!std::is_same_v<First, Rest> && ...) && each_key_once<Rest...>;

// clang-format would move this list at every pass.
// clang-format off
#define KTSTR_DETAIL_KEYS(KEY) \
    KEY(numa_nodes) KEY(llcs) KEY(cores) KEY(threads) KEY(memory_mib) KEY(topologies) \
    KEY(duration) KEY(timeout) KEY(cpu_budget) KEY(scheduler) KEY(schedulers) \
    KEY(staged) KEY(scheduler_args) KEY(kernel_args) KEY(tags) KEY(no_perf_mode) KEY(performance_mode) KEY(requires_steal) \
    KEY(requires_kvm) KEY(host_only) KEY(expect_fail) KEY(no_clone) KEY(fresh_scheduler)
// clang-format on

/// The keys. A base class rather than a namespace: class scope is searched before whatever a user
/// calls `cores` outside.
struct keys {
#define KTSTR_DETAIL_KEY(NAME)                                              \
    struct NAME##_tag {                                                     \
        static constexpr auto& field(test_spec& spec) { return spec.NAME; } \
    };                                                                      \
    static constexpr key<NAME##_tag, decltype(test_spec::NAME)> NAME{};
    KTSTR_DETAIL_KEYS(KTSTR_DETAIL_KEY)
#undef KTSTR_DETAIL_KEY

    template <class... Given>
    static consteval test_spec collect(const Given&... given) {
        static_assert(each_key_once<typename decltype(as_setting(given))::tag...>,
                      "KTSTR_TEST: the same key is given twice");
        test_spec spec{};
        (as_setting(given).apply(spec), ...);
        return spec;
    }
};

/// Whether the text in front could be a test's name at all...
consteval bool is_identifier(std::string_view text) {
    for (const char c : text)
        if (!(c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
              (c >= 'A' && c <= 'Z')))
            return false;
    return !text.empty() && !(text[0] >= '0' && text[0] <= '9');
}

/// ...and is not a flag whose test forgot its name.
consteval bool is_key(std::string_view text) {
#define KTSTR_DETAIL_SAME(NAME) \
    if (text == #NAME)          \
        return true;
    KTSTR_DETAIL_KEYS(KTSTR_DETAIL_SAME)
#undef KTSTR_DETAIL_SAME
    return false;
}

#undef KTSTR_DETAIL_KEYS

}  // namespace ktstr::detail

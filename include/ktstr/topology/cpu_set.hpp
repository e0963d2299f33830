// SPDX-License-Identifier: MIT
// A set of CPU numbers as a constexpr value, with the kernel's list notation ("0-3,8").
// Not a cpu_set_t and not a mask for a system call: guest and host convert where they call.
#pragma once

#include <array>  // and the tags of iterators, without the stream iterators of <iterator>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ktstr {

class cpu_set {
public:
    /// CPUs 0 to capacity - 1 fit.
    static constexpr int capacity = 512;

    constexpr cpu_set() = default;

    /// The CPUs first, first + 1, ... last; empty when last < first.
    [[nodiscard]] static constexpr cpu_set range(int first, int last) {
        cpu_set set;
        for (int cpu = first; cpu <= last; ++cpu)
            set.add(cpu);
        return set;
    }

    /// `cpu_set::of(0, 2, 4)`.
    template <class... Cpu>
    [[nodiscard]] static constexpr cpu_set of(Cpu... cpu) {
        cpu_set set;
        (set.add(cpu), ...);
        return set;
    }

    /// Throws std::out_of_range for a number that is no CPU (negative, or >= capacity).
    constexpr cpu_set& add(int cpu) {
        words_.at(word(cpu)) |= bit(cpu);
        return *this;
    }
    constexpr cpu_set& remove(int cpu) {
        if (representable(cpu))
            words_[word(cpu)] &= ~bit(cpu);
        return *this;
    }

    [[nodiscard]] constexpr bool contains(int cpu) const {
        return representable(cpu) && (words_[word(cpu)] & bit(cpu)) != 0;
    }
    [[nodiscard]] constexpr bool contains(const cpu_set& other) const {
        return (other & *this) == other;
    }
    [[nodiscard]] constexpr int count() const {
        int total = 0;
        for (const auto w : words_)
            total += std::popcount(w);
        return total;
    }
    /// count(), as ranges have it.
    [[nodiscard]] constexpr std::size_t size() const { return static_cast<std::size_t>(count()); }
    [[nodiscard]] constexpr bool empty() const { return *this == cpu_set{}; }
    /// The smallest CPU, or -1.
    [[nodiscard]] constexpr int first() const { return next(0); }
    /// The largest CPU, or -1.
    [[nodiscard]] constexpr int last() const {
        for (std::size_t i = words_.size(); i-- > 0;)
            if (words_[i] != 0)
                return static_cast<int>(i) * 64 + 63 - std::countl_zero(words_[i]);
        return -1;
    }
    /// The smallest CPU >= from, or -1.
    [[nodiscard]] constexpr int next(int from) const {
        if (from < 0)
            from = 0;
        for (std::size_t i = word(from); i < words_.size(); ++i) {
            auto w = words_[i];
            if (i == word(from))
                w &= ~std::uint64_t{0} << (static_cast<unsigned>(from) % 64);
            if (w != 0)
                return static_cast<int>(i) * 64 + std::countr_zero(w);
        }
        return -1;
    }

    friend constexpr cpu_set operator|(cpu_set a, const cpu_set& b) {
        for (std::size_t i = 0; i < a.words_.size(); ++i)
            a.words_[i] |= b.words_[i];
        return a;
    }
    friend constexpr cpu_set operator&(cpu_set a, const cpu_set& b) {
        for (std::size_t i = 0; i < a.words_.size(); ++i)
            a.words_[i] &= b.words_[i];
        return a;
    }
    /// The CPUs of `a` that are not in `b`.
    friend constexpr cpu_set operator-(cpu_set a, const cpu_set& b) {
        for (std::size_t i = 0; i < a.words_.size(); ++i)
            a.words_[i] &= ~b.words_[i];
        return a;
    }
    constexpr cpu_set& operator|=(const cpu_set& other) { return *this = *this | other; }
    constexpr cpu_set& operator&=(const cpu_set& other) { return *this = *this & other; }
    constexpr cpu_set& operator-=(const cpu_set& other) { return *this = *this - other; }
    friend constexpr bool operator==(const cpu_set&, const cpu_set&) = default;

    /// Walks the CPUs in rising order.
    class iterator {
    public:
        using value_type = int;
        using difference_type = std::ptrdiff_t;
        using reference = int;
        using pointer = void;
        // It may be walked twice; but it makes its values, so older algorithms may not keep them.
        using iterator_concept = std::forward_iterator_tag;
        using iterator_category = std::input_iterator_tag;

        constexpr iterator() = default;
        constexpr iterator(const cpu_set* set, int cpu) : set_(set), cpu_(cpu) {}
        constexpr int operator*() const { return cpu_; }
        constexpr iterator& operator++() {
            cpu_ = set_->next(cpu_ + 1);
            return *this;
        }
        constexpr iterator operator++(int) {
            const iterator before = *this;
            ++*this;
            return before;
        }
        friend constexpr bool operator==(const iterator& a, const iterator& b) {
            return a.cpu_ == b.cpu_;
        }

    private:
        const cpu_set* set_ = nullptr;
        int cpu_ = -1;
    };
    [[nodiscard]] constexpr iterator begin() const { return {this, first()}; }
    [[nodiscard]] constexpr iterator end() const { return {this, -1}; }

private:
    static constexpr bool representable(int cpu) { return cpu >= 0 && cpu < capacity; }
    // A negative CPU becomes an index far outside, which at() refuses.
    static constexpr std::size_t word(int cpu) {
        return cpu < 0 ? static_cast<std::size_t>(-1) : static_cast<std::size_t>(cpu) / 64;
    }
    static constexpr std::uint64_t bit(int cpu) {
        return std::uint64_t{1} << (static_cast<unsigned>(cpu) % 64);
    }

    std::array<std::uint64_t, capacity / 64> words_{};
};

/// The kernel's list form of rising numbers: "0-3,8", and "" for none.
template <class Numbers>
[[nodiscard]] std::string number_list(const Numbers& numbers) {
    std::string text;
    const auto end = numbers.end();
    for (auto at = numbers.begin(); at != end;) {
        const int first = *at;
        int last = first;
        while (++at != end && *at == last + 1)
            ++last;
        if (!text.empty())
            text += ',';
        text += std::to_string(first);
        if (last > first)
            text += '-' + std::to_string(last);
    }
    return text;
}
[[nodiscard]] inline std::string to_text(const cpu_set& set) {
    return number_list(set);
}

/// Reads the kernel's list form and calls `take(first, last)` for each range; numbers are below `limit`. The
/// empty text is no range and one trailing newline is allowed, because sysfs and cgroupfs write both. False
/// for everything else that is not a list; some ranges may have been taken then.
template <class Take>
[[nodiscard]] constexpr bool read_number_list(std::string_view text, int limit, const Take& take) {
    if (!text.empty() && text.back() == '\n')
        text.remove_suffix(1);
    if (text.empty())
        return true;
    std::size_t at = 0;
    const auto number = [&]() -> int {  // -1: no number here, or too large a one
        if (at >= text.size() || text[at] < '0' || text[at] > '9')
            return -1;
        int value = 0;
        for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
            value = value * 10 + (text[at] - '0');
            if (value >= limit)
                return -1;
        }
        return value;
    };
    for (;;) {
        const int first = number();
        int last = first;
        if (at < text.size() && text[at] == '-') {
            ++at;
            last = number();
        }
        if (first < 0 || last < first)
            return false;
        take(first, last);
        if (at == text.size())
            return true;
        if (text[at++] != ',')
            return false;
    }
}

/// The set in a kernel's list form, or nothing when it is no list of CPUs.
[[nodiscard]] constexpr std::optional<cpu_set> parse_cpu_list(std::string_view text) {
    cpu_set set;
    if (!read_number_list(text, cpu_set::capacity,
                          [&set](int first, int last) { set |= cpu_set::range(first, last); }))
        return std::nullopt;
    return set;
}

}  // namespace ktstr

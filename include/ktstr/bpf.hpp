// SPDX-License-Identifier: MIT
// Typed access, by name through BTF, to what a running BPF scheduler keeps: globals and maps, read and written, their
// differences from step to step, and what the verifier made of its programs. For test files of a program that links
// ktstr::bpf; nothing here includes libbpf, and <ktstr/ktstr.hpp> does not include this. Guest side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/test/context.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ktstr::bpf {

/// What could not be read or written, and why. A body that does not catch it fails with these words.
class access_error : public std::exception {
public:
    explicit access_error(const ktstr::error& why) : message_(why.message()) {}
    [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }

private:
    std::string message_;
};

namespace detail {

enum class form : std::uint8_t { integer, enumeration, boolean, floating, whole, text };

/// A type of C++ as BTF can be asked whether it is that.
struct wanted {
    form what;
    bool is_signed;
    std::size_t size;
};

template <class T>
constexpr wanted wanted_of() {
    if constexpr (std::is_same_v<T, std::string>) {
        return {form::text, false, 0};
    } else {
        static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>,
                      "what is read from a scheduler is a number, an enum, std::string for text, "
                      "or a struct of such");
        if constexpr (std::is_same_v<T, bool>)
            return {form::boolean, false, sizeof(T)};
        else if constexpr (std::is_enum_v<T>)
            return {form::enumeration, false, sizeof(T)};
        else if constexpr (std::is_integral_v<T>)
            return {form::integer, std::is_signed_v<T>, sizeof(T)};
        else if constexpr (std::is_floating_point_v<T>)
            return {form::floating, true, sizeof(T)};
        else
            return {form::whole, false, sizeof(T)};
    }
}

/// A key: a number, which becomes what the map's keys are, or the bytes of a struct.
struct key {
    const void* bytes;
    std::size_t size;
    bool is_number;
    bool is_negative;
    std::uint64_t number;
};

template <class K>
key key_of(const K& k) {
    if constexpr (std::is_integral_v<K> || std::is_enum_v<K>) {
        const auto number = static_cast<std::int64_t>(k);
        bool negative = false;
        if constexpr (std::is_signed_v<K> || std::is_enum_v<K>)
            negative = number < 0;
        return {nullptr, 0, true, negative, static_cast<std::uint64_t>(number)};
    } else {
        static_assert(std::is_trivially_copyable_v<K> && !std::is_pointer_v<K>,
                      "a key is a number or a struct without pointers");
        return {&k, sizeof(K), false, false, 0};
    }
}

/// The whole of a value, whatever that is.
struct whole {};
template <>
constexpr wanted wanted_of<whole>() {
    return {form::whole, false, 0};
}

class attached;  // parts/bpf.hpp
using object_ptr = std::shared_ptr<const attached>;

/// Where a value lies.
struct place {
    std::size_t map = 0;  ///< of the object's
    std::size_t offset = 0;
    std::size_t size = 0;
    std::string name;  ///< as it was asked for
};

/// Who reads after the scheduler has ended, and does not want to be told so.
enum class when : std::uint8_t { while_attached, at_any_time };

// Defined by the part (parts/bpf.hpp). Those that return no result throw access_error.
object_ptr open_attached(const scheduler_handle& of);
place find_global(const attached& in, std::string_view path, const wanted& type);
place find_in_map(const attached& in, std::string_view map, std::string_view path,
                  const wanted& type);
result<void> read_global(const attached& in, const place& from, void* into, when at);
void write_global(const attached& in, const place& to, const void* from);
/// False: no such key.
bool read_element(const attached& in, const place& from, const key& at, void* into);
void write_element(const attached& in, const place& to, const key& at, const void* from);
/// One value of place's size for each possible CPU; empty: no such key.
std::vector<std::byte> read_per_cpu(const attached& in, const place& from, const key& at);
bool erase_element(const attached& in, const place& of, const key& at);
void pin_map(const attached& in, const place& of, const std::string& path);
/// All keys, one behind the other.
std::vector<std::byte> keys_of(const attached& in, const place& of, const wanted& type);
[[noreturn]] void no_such_key(const attached& in, const place& of, const key& at);

/// A value into T.
template <class T>
struct holder {
    T value{};
    explicit holder(const place&) {}
    void* data() { return &value; }
    T take() { return value; }
};
template <>
struct holder<std::string> {
    std::string value;
    explicit holder(const place& p) : value(p.size, '\0') {}
    void* data() { return value.data(); }
    std::string take() { return value.substr(0, std::strlen(value.c_str())); }
};

}  // namespace detail

/// A global of the scheduler's, or a field of one.
template <class T>
class variable {
public:
    variable(detail::object_ptr of, detail::place where)
        : of_(std::move(of)), where_(std::move(where)) {}

    /// Its value now. Numbers of up to 8 bytes that lie as the compiler aligns them are read in one piece; a struct or a
    /// text may be caught while the scheduler writes it. An error once the scheduler has ended.
    [[nodiscard]] T read() const {
        auto value = try_read();
        if (!value)
            throw access_error(value.error());
        return *std::move(value);
    }
    [[nodiscard]] result<T> try_read() const { return get(detail::when::while_attached); }
    /// Its value now, or after the scheduler has ended its last one.
    [[nodiscard]] T last() const {
        auto value = get(detail::when::at_any_time);
        if (!value)
            throw access_error(value.error());
        return *std::move(value);
    }
    /// Only this value is written, and nothing beside it. .rodata can't be: the kernel has frozen it.
    void write(const T& value) const {
        static_assert(!std::is_same_v<T, std::string>, "write a text as a struct of its size");
        detail::write_global(*of_, where_, &value);
    }

private:
    [[nodiscard]] result<T> get(detail::when at) const {
        detail::holder<T> value(where_);
        if (auto done = detail::read_global(*of_, where_, value.data(), at); !done)
            return std::move(done).error();
        return value.take();
    }

    detail::object_ptr of_;
    detail::place where_;
};

struct map_facts {
    std::string name;  ///< as the kernel has it: 15 characters
    std::string type;  ///< "array", "per-CPU array", "hash"
    std::uint32_t key_size = 0, value_size = 0, max_entries = 0;
};

/// A map of the scheduler's. A path is of a field in its values, as ".hits" or ".slot[2].hits"; without one it is the
/// whole value. What is read is what the kernel copies out at that moment: an element may change while that happens.
class map {
public:
    map(detail::object_ptr of, std::string name) : of_(std::move(of)), name_(std::move(name)) {}

    /// The value of this key; an error when there is none.
    template <class T, class K>
    [[nodiscard]] T at(const K& key, std::string_view path = {}) const {
        auto value = find<T>(key, path);
        if (!value)
            detail::no_such_key(*of_, place<T>(path), detail::key_of(key));
        return *std::move(value);
    }
    /// Nothing when there is no such key.
    template <class T, class K>
    [[nodiscard]] std::optional<T> find(const K& key, std::string_view path = {}) const {
        const auto where = place<T>(path);
        detail::holder<T> value(where);
        if (!detail::read_element(*of_, where, detail::key_of(key), value.data()))
            return std::nullopt;
        return value.take();
    }
    /// Of a per-CPU map: the value of each possible CPU, by its number.
    template <class T, class K>
    [[nodiscard]] std::vector<T> per_cpu(const K& key, std::string_view path = {}) const {
        static_assert(!std::is_same_v<T, std::string> && !std::is_same_v<T, bool>);
        const auto where = place<T>(path);
        const auto bytes = detail::read_per_cpu(*of_, where, detail::key_of(key));
        if (bytes.empty())
            detail::no_such_key(*of_, where, detail::key_of(key));
        std::vector<T> values(bytes.size() / sizeof(T));
        std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
        return values;
    }
    /// Of a per-CPU map: the sum over all CPUs.
    template <class T, class K>
    [[nodiscard]] T sum(const K& key, std::string_view path = {}) const {
        static_assert(std::is_arithmetic_v<T>, "only numbers have a sum");
        T all{};
        for (const T one : per_cpu<T>(key, path))
            all = static_cast<T>(all + one);
        return all;
    }
    /// Writes a value, of a hash also one that was not there. With a path, a field of one that is there: its whole value is
    /// read, changed and written, and what the scheduler writes meanwhile is lost. A per-CPU map is not written.
    template <class T, class K>
    void write(const K& key, const T& value, std::string_view path = {}) const {
        static_assert(!std::is_same_v<T, std::string>, "write a text as a struct of its size");
        detail::write_element(*of_, place<T>(path), detail::key_of(key), &value);
    }
    /// False: there was no such key.
    template <class K>
    bool erase(const K& key) const {
        return detail::erase_element(*of_, place<detail::whole>({}), detail::key_of(key));
    }
    /// Gives it a name below /sys/fs/bpf, under which it outlives its scheduler, and the next one may find it. A name that is
    /// taken is an error.
    void pin(const std::string& path) const {
        detail::pin_map(*of_, place<detail::whole>({}), path);
    }
    /// All keys; while others add and remove, some may be missing or come twice.
    template <class K>
    [[nodiscard]] std::vector<K> keys() const {
        const auto bytes = detail::keys_of(*of_, place<detail::whole>({}), detail::wanted_of<K>());
        std::vector<K> keys(bytes.size() / sizeof(K));
        if (!keys.empty())
            std::memcpy(keys.data(), bytes.data(), keys.size() * sizeof(K));
        return keys;
    }
    [[nodiscard]] map_facts facts() const;

private:
    template <class T>
    [[nodiscard]] detail::place place(std::string_view path) const {
        return detail::find_in_map(*of_, name_, path, detail::wanted_of<T>());
    }

    detail::object_ptr of_;
    std::string name_;
};

/// One number of a snapshot.
struct sample {
    std::string path;  ///< "nr_enqueued", "stats[0].hits"
    std::int64_t value = 0;
};

/// What one number did between two snapshots. A number without a `before` came into being between them.
struct change {
    std::string path;
    std::optional<std::int64_t> before{}, after{};
    std::int64_t by = 0;  ///< 0 where one of them is missing
};

/// The differences of two snapshots.
class deltas {
public:
    explicit deltas(std::vector<change> all) : all_(std::move(all)) {}

    /// By how much this number went up, below 0 down; an error where one of the snapshots does not have it.
    [[nodiscard]] std::int64_t of(std::string_view path) const;
    /// Those that are not what they were, or are new, or gone.
    [[nodiscard]] std::vector<change> changed() const;
    [[nodiscard]] const std::vector<change>& all() const { return all_; }

private:
    std::vector<change> all_;
};

/// All integers of the scheduler's globals at one moment, and those of the maps that were asked for. One after the other
/// is read, so they are not of one instant; arrays of more than 64 elements and texts are left out. With them are the
/// kernel's own counters of the scheduler, as "kernel:nr_rejected" and "kernel:SCX_EV_BYPASS_ACTIVATE".
class snapshot {
public:
    snapshot(std::vector<sample> all, std::uint64_t attach)
        : all_(std::move(all)), attach_(attach) {}

    [[nodiscard]] std::int64_t of(std::string_view path) const;
    [[nodiscard]] const std::vector<sample>& all() const { return all_; }

    /// `after - before`; an error where they are of two attaches.
    friend deltas operator-(const snapshot& after, const snapshot& before);

private:
    std::vector<sample> all_;
    std::uint64_t attach_;
};

/// A program of the scheduler's, by the kernel's word.
struct program {
    std::string name;
    std::uint32_t verified_insns = 0;  ///< instructions that the verifier went through
    /// Of the million that it goes through at most.
    [[nodiscard]] double share() const { return verified_insns / 1e6; }
};

/// The scheduler that is attached at the moment when this is made, whoever started it. Every scheduler, however it is called, has
/// maps of its own; only those of the attached one are found. What was found stays readable until this and all that came
/// of it are gone; see variable::last().
class scheduler {
public:
    /// An error when none is attached.
    explicit scheduler(detail::object_ptr of) : of_(std::move(of)) {}

    /// A path begins with the global's name: "nr_enqueued", "stats.hits[3]"; ".data:x" where two sections have an x. T has to be
    /// what BTF says: an integer of this size and sign, bool, an enum, or a struct of this size; std::string is a text in an array
    /// of characters.
    template <class T>
    [[nodiscard]] variable<T> global(std::string_view path) const {
        return {of_, detail::find_global(*of_, path, detail::wanted_of<T>())};
    }
    [[nodiscard]] bpf::map map(std::string_view name) const;
    [[nodiscard]] std::vector<map_facts> maps() const;
    [[nodiscard]] std::vector<program> programs() const;
    /// Its name for itself.
    [[nodiscard]] std::string ops_name() const;
    [[nodiscard]] bpf::snapshot snapshot(std::initializer_list<std::string_view> maps = {}) const;

private:
    detail::object_ptr of_;
};

[[nodiscard]] inline scheduler of(const scheduler_handle& handle) {
    return scheduler(detail::open_attached(handle));
}
[[nodiscard]] inline scheduler of(const context& ctx) {
    return of(ctx.scheduler());
}

}  // namespace ktstr::bpf

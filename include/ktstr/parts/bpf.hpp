// SPDX-License-Identifier: MIT
// An optional part, what <ktstr/bpf.hpp> declares: which maps and programs are the attached scheduler's, what BTF says of
// them, and their bytes. One translation unit, which ktstr::bpf adds to a program, with libbpf. Guest side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/bpf.hpp>
#include <ktstr/guest/part_hooks.hpp>
#include <ktstr/linux/kernel_file.hpp>
#include <ktstr/test/part.hpp>

#if !__has_include(<bpf/libbpf.h>)
#    error \
        "ktstr::bpf needs libbpf 1.4: -DKTSTR_LIBBPF_ROOT=$(ktstr package fetch libbpf-dev/bookworm-backports) with CMake, or have pkg-config find it"
#endif
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ktstr::parts {

namespace {

int say(enum libbpf_print_level level, const char* format, va_list arguments) {
    return level == LIBBPF_DEBUG ? 0 : std::vfprintf(stderr, format, arguments);
}

/// A number in an object that is not loaded yet.
struct settable {
    unsigned char* bytes = nullptr;
    std::size_t size = 0;
    bool is_signed = false;
};

/// A type behind its names, as an integer or an enumeration; nothing: it is something else.
inline std::optional<settable> as_number(const btf* types, std::uint32_t id) {
    const auto* type = btf__type_by_id(types, id);
    while (type != nullptr && (btf_is_mod(type) || btf_is_typedef(type)))
        type = btf__type_by_id(types, type->type);
    if (type == nullptr || !(btf_is_int(type) || btf_is_any_enum(type)) || type->size > 8)
        return std::nullopt;
    return settable{.size = type->size,
                    .is_signed = btf_is_int(type) ? (btf_int_encoding(type) & BTF_INT_SIGNED) != 0
                                                  : btf_kflag(type)};
}

/// "ops.NAME" is a member of the scheduler's struct_ops, any other a global of the object.
inline result<settable> find_setting(bpf_object* object, bpf_map* ops, const std::string& name) {
    const auto fault = [&name](std::string why) {
        return plain_error("set", name, std::move(why));
    };
    const btf* const types = bpf_object__btf(object);
    std::size_t whole = 0;
    if (types == nullptr)
        return fault("the object has no BTF");
    std::string there;
    const auto place = [&](bpf_map* map, std::size_t offset,
                           std::uint32_t type) -> result<settable> {
        auto number = as_number(types, type);
        auto* const bytes = static_cast<unsigned char*>(bpf_map__initial_value(map, &whole));
        if (!number || bytes == nullptr || offset + number->size > whole)
            return fault("it is no number of the object's own");
        number->bytes = bytes + offset;
        return *number;
    };
    if (name.starts_with("ops.")) {
        const int variable = btf__find_by_name_kind(types, bpf_map__name(ops), BTF_KIND_VAR);
        const auto* const held =
            variable > 0 ? btf__type_by_id(types, static_cast<__u32>(variable)) : nullptr;
        const auto* const type = held != nullptr ? btf__type_by_id(types, held->type) : nullptr;
        if (type == nullptr || !btf_is_struct(type))
            return fault("the object's BTF has no type of its struct_ops");
        for (__u16 i = 0; i < btf_vlen(type); ++i)
            if (const auto& member = btf_members(type)[i];
                name.substr(4) == btf__name_by_offset(types, member.name_off))
                return place(ops, btf_member_bit_offset(type, i) / 8, member.type);
        return fault("the kernel's struct_ops for schedulers has no such member");
    }
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
        const auto* const section = btf__type_by_id(types, bpf_map__btf_value_type_id(map));
        if (!bpf_map__is_internal(map) || section == nullptr || !btf_is_datasec(section))
            continue;
        for (__u16 i = 0; i < btf_vlen(section); ++i) {
            const auto& entry = btf_var_secinfos(section)[i];
            const auto* const variable = btf__type_by_id(types, entry.type);
            const char* const its_name =
                variable != nullptr ? btf__name_by_offset(types, variable->name_off) : nullptr;
            if (its_name == nullptr)
                continue;
            if (name == its_name)
                return place(map, entry.offset, variable->type);
            there += (there.empty() ? "" : ", ") + std::string(its_name);
        }
    }
    return fault("the object has no global of that name" +
                 (there.empty() ? "" : ", only " + there) +
                 "; a member of its struct_ops is called ops.NAME");
}

/// "NAME=NUMBER", the number as in C.
inline result<void> set_before_load(bpf_object* object, bpf_map* ops, const std::string& setting) {
    const auto fault = [&setting](std::string why) {
        return plain_error("set", setting, std::move(why));
    };
    const auto equals = setting.find('=');
    if (equals == 0 || equals == std::string::npos)
        return fault("what a BPF object is given is NAME=NUMBER");
    auto at = find_setting(object, ops, setting.substr(0, equals));
    if (!at)
        return std::move(at).error();
    const std::string text = setting.substr(equals + 1);
    char* end = nullptr;
    errno = 0;
    const bool negative = text.starts_with('-');
    const auto value = negative ? static_cast<std::uint64_t>(std::strtoll(text.c_str(), &end, 0))
                                : std::strtoull(text.c_str(), &end, 0);
    const auto digit = text.find_first_not_of('-');
    if (digit > 1 || text[digit] < '0' || text[digit] > '9' || *end != '\0' || errno != 0)
        return fault("'" + text + "' is no number");
    const auto bits = 8 * at->size;
    const auto most = ~std::uint64_t{0} >> (64 - bits + (at->is_signed ? 1 : 0));
    const bool fits = negative ? at->is_signed && value >= ~most : value <= most;
    if (!fits)
        return fault("it does not fit into " + std::to_string(bits) + " bits" +
                     (negative && !at->is_signed ? " without a sign" : ""));
    std::memcpy(at->bytes, &value,
                at->size);  // BPF has the machine's byte order, which is little-endian here
    return {};
}

/// The life of a scheduler's process that is an object: loads it, attaches its one struct_ops map, and stays until a signal ends it. What
/// becomes of the scheduler meanwhile is the kernel's word. Exit status: 0 ended by a signal, 1 not attached.
int load_object(const char* path, const char* settings) {
    const auto refuse = [](const std::string& why) {
        return std::fprintf(stderr, "ktstr: cannot attach the BPF object: %s\n", why.c_str()), 1;
    };
    // Taken before anything is attached, so that no signal finds a scheduler that nobody detaches.
    sigset_t ends;
    sigemptyset(&ends);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&ends, signal);
    ::sigprocmask(SIG_BLOCK, &ends, nullptr);
    libbpf_set_print(say);
    bpf_object* const object = bpf_object__open_file(path, nullptr);
    if (object == nullptr)
        return refuse(std::string("it can't be opened: ") + std::strerror(errno));
    std::string names;
    bpf_map *map = nullptr, *only = nullptr;
    int count = 0;
    bpf_object__for_each_map(map, object) {
        if (bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS)
            continue;
        names += (names.empty() ? "" : ", ") + std::string(bpf_map__name(map));
        only = map;
        ++count;
    }
    if (count != 1)
        return refuse(count == 0 ? "it has no struct_ops map, so it is no scheduler"
                                 : "it has " + std::to_string(count) + " struct_ops maps (" +
                                       names + "), and a scheduler is one");
    std::istringstream lines(settings);
    for (std::string line; std::getline(lines, line);)
        if (auto set = set_before_load(object, only, line); !set)
            return refuse(set.error().message());
    if (const int failed = bpf_object__load(object); failed != 0)
        return refuse(std::string("it was not loaded: ") + std::strerror(-failed));
    bpf_link* const link = bpf_map__attach_struct_ops(only);
    if (link == nullptr)
        return refuse(names + " was not attached: " + std::strerror(errno));
    siginfo_t signal{};
    while (::sigwaitinfo(&ends, &signal) < 0 && errno == EINTR) {
    }
    bpf_link__destroy(link);
    bpf_object__close(object);
    return 0;
}

constexpr guest::part_hooks bpf_hooks{.load_object = &load_object};

}  // namespace

inline constexpr part bpf{.name = "bpf", .guest = &bpf_hooks, .loads_objects = true};

KTSTR_ATTACH_PART(bpf);

}  // namespace ktstr::parts

namespace ktstr::bpf::detail {

namespace {

using types_ptr = std::shared_ptr<btf>;

types_ptr owned(btf* types) {
    return {types, [](btf* one) { btf__free(one); }};
}

template <class Info>
bool info_of(int fd, Info& info) {
    auto size = static_cast<__u32>(sizeof info);
    std::memset(static_cast<void*>(&info), 0, sizeof info);
    return bpf_obj_get_info_by_fd(fd, &info, &size) == 0;
}

/// The first words of bpf_link_info, as they are of a struct_ops link since 6.3.
struct link_facts {
    __u32 type, id, prog_id, padding, map_id;
    std::byte rest[236];
};

/// Which of the kernel's objects are there.
std::vector<__u32> ids(int (*next)(__u32, __u32*)) {
    std::vector<__u32> all;
    for (__u32 id = 0; next(id, &id) == 0;)
        all.push_back(id);
    return all;
}

std::string name_of(const btf* types, const btf_type* type) {
    return btf__name_by_offset(types, type->name_off);
}

const btf_type* resolved(const btf* types, __u32 id) {
    const auto to = btf__resolve_type(types, id);
    return to < 0 ? nullptr : btf__type_by_id(types, static_cast<__u32>(to));
}

/// "unsigned long long", "struct stats of 24 bytes", "char[16]"
std::string words_for(const btf* types, __u32 id) {
    const auto* const type = resolved(types, id);
    if (type == nullptr)
        return "of no known type";
    const auto size = btf__resolve_size(types, id);
    const std::string of = " of " + std::to_string(size) + (size == 1 ? " byte" : " bytes");
    const std::string name = name_of(types, type);
    switch (btf_kind(type)) {
        case BTF_KIND_INT:
        case BTF_KIND_FLOAT:
            return name + of;
        case BTF_KIND_ENUM:
        case BTF_KIND_ENUM64:
            return "enum " + name + of;
        case BTF_KIND_STRUCT:
            return "struct " + name + of;
        case BTF_KIND_UNION:
            return "union " + name + of;
        case BTF_KIND_PTR:
            return "a pointer";
        case BTF_KIND_ARRAY: {
            const auto* const array = btf_array(type);
            const auto* const element = resolved(types, array->type);
            return (element == nullptr ? std::string("?") : name_of(types, element)) + '[' +
                   std::to_string(array->nelems) + ']' + of;
        }
        default:
            return "of a kind that has no value";
    }
}

std::string words_for(const wanted& type) {
    const std::string of =
        " of " + std::to_string(type.size) + (type.size == 1 ? " byte" : " bytes");
    switch (type.what) {
        case form::integer:
            return (type.is_signed ? "a signed integer" : "an unsigned integer") + of;
        case form::enumeration:
            return "an enum" + of;
        case form::boolean:
            return "bool";
        case form::floating:
            return "a floating-point number" + of;
        case form::text:
            return "text";
        case form::whole:
            break;
    }
    return "a struct" + of;
}

/// "a, b, c and 3 more"
std::string list_of(const std::vector<std::string>& names) {
    constexpr std::size_t most = 16;
    std::string text;
    for (std::size_t i = 0; i < names.size() && i < most; ++i)
        text += (i == 0 ? "" : ", ") + names[i];
    if (names.size() > most)
        text += " and " + std::to_string(names.size() - most) + " more";
    return text;
}

bool fits(const btf* types, __u32 id, const wanted& type) {
    const auto* const there = resolved(types, id);
    const auto size = btf__resolve_size(types, id);
    if (there == nullptr || size < 0)
        return false;
    const bool same_size = static_cast<std::size_t>(size) == type.size;
    const auto kind = btf_kind(there);
    const bool is_number = kind == BTF_KIND_INT || kind == BTF_KIND_ENUM || kind == BTF_KIND_ENUM64;
    switch (type.what) {
        case form::integer:
            if (kind == BTF_KIND_PTR)
                return same_size && !type.is_signed;
            if (kind == BTF_KIND_ENUM || kind == BTF_KIND_ENUM64)
                return same_size;
            // Which sign a plain char has depends on the machine.
            return kind == BTF_KIND_INT && same_size &&
                   (size == 1 ||
                    ((btf_int_encoding(there) & BTF_INT_SIGNED) != 0) == type.is_signed);
        case form::enumeration:
            return is_number && same_size;
        case form::boolean:
            return kind == BTF_KIND_INT && size == 1;
        case form::floating:
            return kind == BTF_KIND_FLOAT && same_size;
        case form::text: {
            if (kind != BTF_KIND_ARRAY)
                return false;
            const auto* const element = resolved(types, btf_array(there)->type);
            return element != nullptr && btf_kind(element) == BTF_KIND_INT && element->size == 1;
        }
        case form::whole:
            return type.size == 0 ||
                   ((kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION || kind == BTF_KIND_ARRAY) &&
                    same_size);
    }
    return false;
}

/// A value inside of another.
struct spot {
    __u32 type = 0;
    std::size_t offset = 0;
};

/// A member by its name, also one of an anonymous struct in it. Nothing: there is none. 0 as type: a bit-field.
std::optional<spot> member_of(const btf* types, const btf_type* of, std::string_view name) {
    const auto* member = btf_members(of);
    for (__u32 i = 0; i < btf_vlen(of); ++i, ++member) {
        const std::string_view called = btf__name_by_offset(types, member->name_off);
        const auto at = btf_member_bit_offset(of, i) / 8;
        if (called == name)
            return spot{btf_member_bitfield_size(of, i) != 0 ? 0 : member->type, at};
        const auto* const inner = resolved(types, member->type);
        if (called.empty() && inner != nullptr && btf_is_composite(inner))
            if (auto found = member_of(types, inner, name)) {
                found->offset += at;
                return found;
            }
    }
    return std::nullopt;
}

void names_of_members(const btf* types, const btf_type* of, std::vector<std::string>& into) {
    const auto* member = btf_members(of);
    for (__u32 i = 0; i < btf_vlen(of); ++i, ++member) {
        const std::string called = btf__name_by_offset(types, member->name_off);
        const auto* const inner = resolved(types, member->type);
        if (!called.empty())
            into.push_back(called);
        else if (inner != nullptr && btf_is_composite(inner))
            names_of_members(types, inner, into);
    }
}

/// Goes on from a value along ".field" and "[3]".
result<spot> walk(const btf* types, spot at, std::string_view path, const std::string& object) {
    const auto fault = [&](std::string why) { return plain_error("find", object, std::move(why)); };
    while (!path.empty()) {
        const auto* const type = resolved(types, at.type);
        if (type == nullptr)
            return fault("BTF does not know its type");
        if (path[0] == '[') {
            const auto end = path.find(']');
            std::uint64_t index = 0;
            bool is_number = end != path.npos && end > 1 && end < 12;
            for (std::size_t i = 1; is_number && i < end; ++i) {
                is_number = path[i] >= '0' && path[i] <= '9';
                index = index * 10 + static_cast<std::uint64_t>(path[i] - '0');
            }
            if (!is_number)
                return fault("'" + std::string(path) + "' is no index");
            if (!btf_is_array(type))
                return fault("there is no [" + std::to_string(index) + "] in " +
                             words_for(types, at.type));
            const auto* const array = btf_array(type);
            if (index >= array->nelems)
                return fault("it has " + std::to_string(array->nelems) + " elements, and [" +
                             std::to_string(index) + "] is none of them");
            const auto size = btf__resolve_size(types, array->type);
            at = {array->type,
                  at.offset + index * static_cast<std::size_t>(std::max<__s64>(size, 0))};
            path.remove_prefix(end + 1);
            continue;
        }
        if (path[0] == '.')
            path.remove_prefix(1);
        const auto end = std::min(path.find_first_of(".["), path.size());
        const std::string name(path.substr(0, end));
        if (!btf_is_composite(type))
            return fault("there is no field '" + name + "' in " + words_for(types, at.type));
        const auto member = member_of(types, type, name);
        if (!member) {
            std::vector<std::string> names;
            names_of_members(types, type, names);
            return fault("there is no field '" + name + "' in " + words_for(types, at.type) +
                         "; it has " + list_of(names));
        }
        if (member->type == 0)
            return fault("the field '" + name + "' is a bit-field; read the struct that it is in");
        at = {member->type, at.offset + member->offset};
        path.remove_prefix(end);
    }
    return at;
}

/// Which attach that is: the kernel makes a folder for each one. 0: none is attached.
std::uint64_t current_attach() {
    struct stat there {};
    return ::stat("/sys/kernel/sched_ext/root", &there) == 0 ? there.st_ino : 0;
}

std::string kernel_word(const char* path) {
    return std::string(without_newline(read_kernel_file(path).value_or("")));
}

std::string type_of_map(__u32 type) {
    switch (type) {
        case BPF_MAP_TYPE_PERCPU_ARRAY:
            return "per-CPU array";
        case BPF_MAP_TYPE_PERCPU_HASH:
            return "per-CPU hash";
        case BPF_MAP_TYPE_LRU_PERCPU_HASH:
            return "per-CPU LRU hash";
        default:
            break;
    }
    const char* const name = libbpf_bpf_map_type_str(static_cast<bpf_map_type>(type));
    return name == nullptr ? "type " + std::to_string(type) : name;
}

}  // namespace

/// What is known of the scheduler that was attached at one moment.
class attached {
public:
    struct kernel_map {
        unique_fd fd;
        bpf_map_info info{};
        std::byte* memory = nullptr;  ///< of globals
        std::size_t mapped = 0;

        kernel_map(unique_fd held, const bpf_map_info& facts) : fd(std::move(held)), info(facts) {}
        kernel_map(kernel_map&& other) noexcept
            : fd(std::move(other.fd)),
              info(other.info),
              memory(std::exchange(other.memory, nullptr)),
              mapped(other.mapped) {}
        kernel_map& operator=(kernel_map&&) = delete;
        ~kernel_map() {
            if (memory != nullptr)
                ::munmap(memory, mapped);
        }

        [[nodiscard]] bool is_read_only() const {
            return (info.map_flags & BPF_F_RDONLY_PROG) != 0;
        }
        [[nodiscard]] bool is_per_cpu() const {
            return info.type == BPF_MAP_TYPE_PERCPU_ARRAY ||
                   info.type == BPF_MAP_TYPE_PERCPU_HASH ||
                   info.type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
        }
        [[nodiscard]] bool is_array() const {
            return info.type == BPF_MAP_TYPE_ARRAY || info.type == BPF_MAP_TYPE_PERCPU_ARRAY;
        }
        [[nodiscard]] bool can_be_read() const {
            return is_array() || is_per_cpu() || info.type == BPF_MAP_TYPE_HASH ||
                   info.type == BPF_MAP_TYPE_LRU_HASH;
        }
        [[nodiscard]] std::string name() const { return info.name; }
    };

    std::string ops;
    std::uint64_t attach = 0;
    types_ptr types;
    std::vector<kernel_map> maps;
    std::vector<program> programs;

    [[nodiscard]] std::string who() const { return "of the scheduler " + ops; }

    /// The section of globals that is this map's value; null: it is none.
    [[nodiscard]] const btf_type* section_of(const kernel_map& one) const {
        const auto* const type = one.info.btf_value_type_id == 0
                                     ? nullptr
                                     : btf__type_by_id(types.get(), one.info.btf_value_type_id);
        return type != nullptr && btf_is_datasec(type) ? type : nullptr;
    }

    /// An error once another one is attached, or none.
    [[nodiscard]] result<void> still_attached(const std::string& what,
                                              const std::string& object) const {
        if (const auto now = current_attach(); now != attach)
            return plain_error(
                what, object,
                "the scheduler has ended" +
                    std::string(now == 0 ? "" : ", and another attach took its place"),
                "ask ktstr::bpf::of(ctx) again after an attach; last() has a global's last value");
        return {};
    }
};

namespace {

[[noreturn]] void refuse(std::string what, std::string object, std::string why,
                         std::string hint = {}) {
    throw access_error(
        plain_error(std::move(what), std::move(object), std::move(why), std::move(hint)));
}

/// A struct_ops map of sched_ext's, and what the kernel says of it.
struct candidate {
    __u32 map = 0;
    __u32 link = 0;
    std::string ops;
    std::vector<__u32> programs;
};

/// The kernel's own types, which take a while to be read, once for each process.
const btf* kernel_types() {
    static const types_ptr types = owned(btf__load_vmlinux_btf());
    return types.get();
}

/// The map as a scheduler that may be attached; nothing when it belongs to something else.
std::optional<candidate> as_scheduler(int fd, const bpf_map_info& info) {
    const btf* const kernel = kernel_types();
    if (kernel == nullptr)
        refuse("read", "/sys/kernel/btf/vmlinux", std::strerror(errno),
               "typed access needs a kernel with BTF");
    const auto* const value = btf__type_by_id(kernel, info.btf_vmlinux_value_type_id);
    if (value == nullptr || !name_of(kernel, value).starts_with("bpf_struct_ops_sched_ext_ops"))
        return std::nullopt;
    const auto data = member_of(kernel, value, "data");
    if (!data)
        return std::nullopt;
    const auto* const ops = resolved(kernel, data->type);
    std::vector<std::byte> bytes(info.value_size);
    const __u32 first = 0;
    if (ops == nullptr || bpf_map_lookup_elem(fd, &first, bytes.data()) != 0)
        return std::nullopt;
    candidate found;
    found.map = info.id;
    const auto* member = btf_members(ops);
    for (__u32 i = 0; i < btf_vlen(ops); ++i, ++member) {
        const auto at = data->offset + btf_member_bit_offset(ops, i) / 8;
        const auto size = btf__resolve_size(kernel, member->type);
        if (size <= 0 || at + static_cast<std::size_t>(size) > bytes.size())
            continue;
        const auto* const type = resolved(kernel, member->type);
        if (std::string_view(btf__name_by_offset(kernel, member->name_off)) == "name") {
            const auto* const text = reinterpret_cast<const char*>(bytes.data() + at);
            found.ops.assign(text, ::strnlen(text, static_cast<std::size_t>(size)));
        } else if (type != nullptr && btf_is_ptr(type)) {
            // In place of each function stands the number of its program.
            std::uint64_t id = 0;
            std::memcpy(&id, bytes.data() + at, sizeof id);
            if (id != 0 && id <= UINT32_MAX)
                found.programs.push_back(static_cast<__u32>(id));
        }
    }
    return found;
}

/// Whether a process holds this map or this link.
bool is_held_by(int pid, const candidate& one) {
    const std::string folder = "/proc/" + std::to_string(pid) + "/fdinfo";
    DIR* const entries = ::opendir(folder.c_str());
    if (entries == nullptr)
        return false;
    bool held = false;
    while (const auto* const entry = ::readdir(entries)) {
        std::ifstream file(folder + '/' + entry->d_name);
        for (std::string key, value; !held && file >> key >> value;)
            held = (key == "map_id:" && value == std::to_string(one.map)) ||
                   (key == "link_id:" && one.link != 0 && value == std::to_string(one.link));
    }
    ::closedir(entries);
    return held;
}

/// The one that the kernel has attached under this name.
candidate find_attached(const std::string& ops, std::optional<int> pid) {
    std::vector<std::pair<__u32, __u32>> links;  // map, link
    for (const auto id : ids(bpf_link_get_next_id)) {
        const unique_fd fd(bpf_link_get_fd_by_id(id));
        link_facts facts{};
        if (fd && info_of(fd.get(), facts) && facts.type == BPF_LINK_TYPE_STRUCT_OPS)
            links.emplace_back(facts.map_id, id);
    }
    std::vector<candidate> all;
    std::vector<std::string> others;
    for (const auto id : ids(bpf_map_get_next_id)) {
        const unique_fd fd(bpf_map_get_fd_by_id(id));
        bpf_map_info info{};
        if (!fd || !info_of(fd.get(), info) || info.type != BPF_MAP_TYPE_STRUCT_OPS)
            continue;
        auto found = as_scheduler(fd.get(), info);
        if (!found)
            continue;
        for (const auto& [map, link] : links)
            if (map == id)
                found->link = link;
        if (found->ops == ops)
            all.push_back(*std::move(found));
        else
            others.push_back(found->ops);
    }
    // One that is only loaded has no link; an old loader's has none either, and is alone then.
    const auto linked = [](const candidate& one) { return one.link != 0; };
    if (std::any_of(all.begin(), all.end(), linked))
        std::erase_if(all, [&](const candidate& one) { return !linked(one); });
    if (all.size() > 1 && pid &&
        std::any_of(all.begin(), all.end(), [&](const auto& one) { return is_held_by(*pid, one); }))
        std::erase_if(all, [&](const auto& one) { return !is_held_by(*pid, one); });
    if (all.empty())
        refuse("find", "the maps of the scheduler " + ops,
               others.empty() ? "the kernel shows no struct_ops map of sched_ext"
                              : "no struct_ops map has that name, only " + list_of(others));
    if (all.size() > 1)
        refuse("find", "the maps of the scheduler " + ops,
               std::to_string(all.size()) +
                   " struct_ops maps of that name are held, and nothing says which is attached",
               "end the loaders of schedulers that are not attached any more");
    return all.front();
}

/// The type of a program's main function names it in full.
program describe(int fd, const bpf_prog_info& info, const btf* types) {
    program found{.name = info.name, .verified_insns = info.verified_insns};
    if (types == nullptr || info.nr_func_info == 0 || info.func_info_rec_size < 8)
        return found;
    std::vector<std::byte> record(info.func_info_rec_size);
    bpf_prog_info again{};
    again.nr_func_info = 1;
    again.func_info_rec_size = info.func_info_rec_size;
    again.func_info = reinterpret_cast<std::uintptr_t>(record.data());
    auto size = static_cast<__u32>(sizeof again);
    if (bpf_obj_get_info_by_fd(fd, &again, &size) != 0)
        return found;
    bpf_func_info function{};
    std::memcpy(&function, record.data(), sizeof function);
    if (const auto* const type = btf__type_by_id(types, function.type_id); type != nullptr)
        if (auto full = name_of(types, type); full.starts_with(found.name))
            found.name = std::move(full);
    return found;
}

/// Globals in this process's memory: a value of 8 bytes is one access, and a write touches nothing beside it.
void map_globals(attached::kernel_map& one) {
    if ((one.info.map_flags & BPF_F_MMAPABLE) == 0 || one.info.type != BPF_MAP_TYPE_ARRAY)
        return;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t stride = (one.info.value_size + 7) / 8 * 8;
    one.mapped = (stride * one.info.max_entries + page - 1) / page * page;
    void* const there =
        ::mmap(nullptr, one.mapped, one.is_read_only() ? PROT_READ : PROT_READ | PROT_WRITE,
               MAP_SHARED, one.fd.get(), 0);
    if (there != MAP_FAILED)
        one.memory = static_cast<std::byte*>(there);
}

}  // namespace

object_ptr open_attached(const scheduler_handle& handle) {
    // libbpf tells what it can't do on standard error; here that is an error with words of its own.
    const auto told = libbpf_set_print(nullptr);
    struct restore {
        libbpf_print_fn_t print;
        ~restore() { libbpf_set_print(print); }
    } const again{told};
    const auto state = handle.state();
    const std::string what = "read", object = "the maps of the attached scheduler";
    auto all = std::make_shared<attached>();
    all->attach = current_attach();
    all->ops = kernel_word("/sys/kernel/sched_ext/root/ops");
    const auto word = kernel_word("/sys/kernel/sched_ext/state");
    if (word != "enabled" || all->attach == 0 || all->ops.empty())
        refuse(what, object,
               word.empty() ? "this kernel has no sched_ext"
                            : "no BPF scheduler is attached (sched_ext is '" + word + "')");
    const auto chosen = find_attached(all->ops, state ? state->pid : std::nullopt);

    std::vector<__u32> used{chosen.map};
    __u32 btf_id = 0;
    for (const auto id : chosen.programs) {
        const unique_fd fd(bpf_prog_get_fd_by_id(id));
        bpf_prog_info info{};
        if (!fd || !info_of(fd.get(), info))
            continue;
        if (info.btf_id != 0)
            btf_id = info.btf_id;
        std::vector<__u32> maps(info.nr_map_ids);
        bpf_prog_info again_info{};
        again_info.nr_map_ids = info.nr_map_ids;
        again_info.map_ids = reinterpret_cast<std::uintptr_t>(maps.data());
        auto size = static_cast<__u32>(sizeof again_info);
        if (bpf_obj_get_info_by_fd(fd.get(), &again_info, &size) == 0)
            used.insert(used.end(), maps.begin(), maps.end());
    }
    all->types = owned(btf_id == 0 ? nullptr : btf__load_from_kernel_by_id(btf_id));
    if (!all->types)
        refuse(what, object, "the scheduler " + all->ops + " was loaded without BTF",
               "compile it with -g");
    // Each load of an object has BTF of its own: what has it is of this scheduler, and nothing else is.
    for (const auto id : ids(bpf_map_get_next_id)) {
        unique_fd fd(bpf_map_get_fd_by_id(id));
        bpf_map_info info{};
        if (!fd || !info_of(fd.get(), info) || info.type == BPF_MAP_TYPE_STRUCT_OPS)
            continue;
        if (info.btf_id == btf_id ||
            (info.btf_id == 0 && std::find(used.begin(), used.end(), id) != used.end())) {
            all->maps.emplace_back(std::move(fd), info);
            if (all->section_of(all->maps.back()) != nullptr)
                map_globals(all->maps.back());
        }
    }
    for (const auto id : ids(bpf_prog_get_next_id)) {
        const unique_fd fd(bpf_prog_get_fd_by_id(id));
        bpf_prog_info info{};
        if (fd && info_of(fd.get(), info) && info.btf_id == btf_id)
            all->programs.push_back(describe(fd.get(), info, all->types.get()));
    }
    std::sort(all->programs.begin(), all->programs.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    if (auto done = all->still_attached(what, object); !done)
        throw access_error(done.error());
    return all;
}

place find_global(const attached& in, std::string_view path, const wanted& type) {
    const std::string object = "the global '" + std::string(path) + "' " + in.who();
    std::string_view section;
    std::string_view rest = path;
    if (const auto colon = path.find(':'); colon != path.npos) {
        section = path.substr(0, colon);
        rest = path.substr(colon + 1);
    }
    const auto end = std::min(rest.find_first_of(".["), rest.size());
    const auto name = rest.substr(0, end);
    const btf* const types = in.types.get();
    std::vector<std::string> names, sections;
    place found;
    spot at;
    for (std::size_t i = 0; i < in.maps.size(); ++i) {
        const auto* const of = in.section_of(in.maps[i]);
        if (of == nullptr || (!section.empty() && name_of(types, of) != section))
            continue;
        const auto* info = btf_var_secinfos(of);
        for (__u32 k = 0; k < btf_vlen(of); ++k, ++info) {
            const auto* const variable = btf__type_by_id(types, info->type);
            names.push_back(name_of(types, variable));
            if (names.back() != name)
                continue;
            sections.push_back(name_of(types, of));
            found.map = i;
            at = {variable->type, info->offset};
        }
    }
    if (sections.empty())
        refuse("find", object,
               names.empty() ? (section.empty() ? std::string("it has no globals")
                                                : "it has no section " + std::string(section))
                             : "there is no such global; there are " + list_of(names));
    if (sections.size() > 1)
        refuse("find", object,
               std::to_string(sections.size()) + " globals are called so, in " + list_of(sections),
               "write '" + sections.front() + ":" + std::string(rest) + "'");
    const auto there = walk(types, at, rest.substr(end), object);
    if (!there)
        throw access_error(there.error());
    if (!fits(types, there->type, type))
        refuse("read", object,
               "it is " + words_for(types, there->type) + ", and not " + words_for(type));
    const auto& map = in.maps[found.map];
    found.offset = there->offset;
    found.size = static_cast<std::size_t>(btf__resolve_size(types, there->type));
    found.name = std::string(path);
    if (found.offset + found.size > map.info.value_size)
        refuse("find", object, "BTF puts it behind the end of its section");
    return found;
}

place find_in_map(const attached& in, std::string_view map, std::string_view path,
                  const wanted& type) {
    place found{.name = std::string(map) + std::string(path)};
    const std::string object = "the map " + std::string(map) + ' ' + in.who();
    std::vector<std::string> names;
    std::size_t matches = 0;
    for (std::size_t i = 0; i < in.maps.size(); ++i) {
        if (in.section_of(in.maps[i]) != nullptr)
            continue;
        names.push_back(in.maps[i].name());
        // The kernel keeps 15 characters.
        if (names.back() == map.substr(0, BPF_OBJ_NAME_LEN - 1)) {
            found.map = i;
            ++matches;
        }
    }
    if (matches == 0)
        refuse(
            "find", object,
            names.empty() ? "it has no maps" : "there is no such map; there are " + list_of(names));
    if (matches > 1)
        refuse("find", object,
               std::to_string(matches) +
                   " maps have that name, of which the kernel keeps 15 characters");
    const auto& one = in.maps[found.map];
    if (!one.can_be_read())
        refuse("read", object,
               "it is of the type " + type_of_map(one.info.type) + ", of which no values are read");
    const btf* const types = in.types.get();
    if (one.info.btf_value_type_id == 0) {
        if (!path.empty())
            refuse("find", object, "it has no type, so no fields either");
        if (type.size != 0 && type.size != one.info.value_size)
            refuse("read", object,
                   "its values have " + std::to_string(one.info.value_size) +
                       " bytes, and are not " + words_for(type));
        found.size = one.info.value_size;
        return found;
    }
    const auto there =
        walk(types, {one.info.btf_value_type_id, 0}, path, "'" + found.name + "' " + in.who());
    if (!there)
        throw access_error(there.error());
    if (!fits(types, there->type, type))
        refuse("read", "'" + found.name + "' " + in.who(),
               "it is " + words_for(types, there->type) + ", and not " + words_for(type));
    found.offset = there->offset;
    found.size = static_cast<std::size_t>(btf__resolve_size(types, there->type));
    return found;
}

namespace {

/// In one piece where the machine has an instruction for it.
void copy_value(void* to, const void* from, std::size_t size) {
    const auto whole = [&](auto* type) {
        using number = std::remove_pointer_t<decltype(type)>;
        const bool aligned = reinterpret_cast<std::uintptr_t>(from) % sizeof(number) == 0 &&
                             reinterpret_cast<std::uintptr_t>(to) % sizeof(number) == 0;
        if (size != sizeof(number) || !aligned)
            return false;
        const number value = __atomic_load_n(static_cast<const number*>(from), __ATOMIC_RELAXED);
        __atomic_store_n(static_cast<number*>(to), value, __ATOMIC_RELAXED);
        return true;
    };
    if (!whole(static_cast<std::uint64_t*>(nullptr)) &&
        !whole(static_cast<std::uint32_t*>(nullptr)) &&
        !whole(static_cast<std::uint16_t*>(nullptr)))
        std::memcpy(to, from, size);
}

std::string words_for(const key& at) {
    if (!at.is_number)
        return "of " + std::to_string(at.size) + " bytes";
    return at.is_negative ? std::to_string(static_cast<std::int64_t>(at.number))
                          : std::to_string(at.number);
}

/// The key as the map has its keys.
std::vector<std::byte> encode(const attached& in, const place& of, const key& at) {
    const auto& one = in.maps[of.map];
    std::vector<std::byte> bytes(one.info.key_size);
    const std::string object = "the key of '" + of.name + "' " + in.who();
    if (!at.is_number) {
        if (at.size != bytes.size())
            refuse("use", object,
                   "keys have " + std::to_string(bytes.size()) + " bytes, and this one " +
                       std::to_string(at.size));
        std::memcpy(bytes.data(), at.bytes, at.size);
        return bytes;
    }
    if (bytes.size() > 8 || (!one.is_array() && one.info.btf_key_type_id != 0 &&
                             btf_is_composite(resolved(in.types.get(), one.info.btf_key_type_id))))
        refuse("use", object,
               "keys are " +
                   ktstr::bpf::detail::words_for(in.types.get(), one.info.btf_key_type_id) +
                   ", and this one is a number");
    const unsigned bits = static_cast<unsigned>(bytes.size()) * 8;
    const auto value = static_cast<std::int64_t>(at.number);
    const bool fits_in = bits == 64 || (at.is_negative ? value >= -(std::int64_t{1} << (bits - 1))
                                                       : at.number >> bits == 0);
    if (!fits_in)
        refuse("use", object,
               words_for(at) + " does not fit into " + std::to_string(bytes.size()) + " bytes");
    std::memcpy(bytes.data(), &at.number,
                bytes.size());  // BPF is of the machine's own byte order, and that is little
    return bytes;
}

/// The whole value of a key; false: there is no such key.
bool lookup(const attached& in, const place& of, const std::vector<std::byte>& at,
            std::vector<std::byte>& value) {
    if (bpf_map_lookup_elem(in.maps[of.map].fd.get(), at.data(), value.data()) == 0)
        return true;
    if (errno == ENOENT)
        return false;
    throw access_error(system_error("read", "'" + of.name + "' " + in.who(), ""));
}

void require_attached(const attached& in, const char* what, const place& of) {
    if (const auto done = in.still_attached(what, "'" + of.name + "' " + in.who()); !done)
        throw access_error(done.error());
}

}  // namespace

result<void> read_global(const attached& in, const place& from, void* into, when at) {
    const auto& map = in.maps[from.map];
    if (at == when::while_attached)
        if (auto done = in.still_attached("read", "the global '" + from.name + "' " + in.who());
            !done)
            return done;
    if (map.memory != nullptr) {
        copy_value(into, map.memory + from.offset, from.size);
        return {};
    }
    std::vector<std::byte> section(map.info.value_size);
    const __u32 first = 0;
    if (bpf_map_lookup_elem(map.fd.get(), &first, section.data()) != 0)
        return system_error("read", "the global '" + from.name + "' " + in.who());
    std::memcpy(into, section.data() + from.offset, from.size);
    return {};
}

void write_global(const attached& in, const place& to, const void* from) {
    const auto& map = in.maps[to.map];
    const std::string object = "the global '" + to.name + "' " + in.who();
    if (map.is_read_only())
        refuse("write", object, "it is in .rodata, which the kernel has frozen when it was loaded",
               "give it to the scheduler's program as an argument");
    if (auto done = in.still_attached("write", object); !done)
        throw access_error(done.error());
    if (map.memory == nullptr)
        refuse("write", object,
               "its section can't be mapped, and to write all of it would undo what the scheduler "
               "writes");
    copy_value(map.memory + to.offset, from, to.size);
}

bool read_element(const attached& in, const place& from, const key& at, void* into) {
    require_attached(in, "read", from);
    const auto& map = in.maps[from.map];
    if (map.is_per_cpu())
        refuse("read", "'" + from.name + "' " + in.who(),
               "it is a " + type_of_map(map.info.type) + ", with a value for each CPU",
               "ask per_cpu() or sum()");
    std::vector<std::byte> value(map.info.value_size);
    if (!lookup(in, from, encode(in, from, at), value))
        return false;
    std::memcpy(into, value.data() + from.offset, from.size);
    return true;
}

void write_element(const attached& in, const place& to, const key& at, const void* from) {
    require_attached(in, "write", to);
    const auto& map = in.maps[to.map];
    const std::string object = "'" + to.name + "' " + in.who();
    if (map.is_per_cpu())
        refuse("write", object,
               "it is a " + type_of_map(map.info.type) + ", with a value for each CPU");
    const auto bytes = encode(in, to, at);
    std::vector<std::byte> value(map.info.value_size);
    if (to.size != value.size() && !lookup(in, to, bytes, value))
        refuse("write", object,
               "there is no key " + words_for(at) + " yet, and this is a part of its value only",
               "write the whole value");
    std::memcpy(value.data() + to.offset, from, to.size);
    if (bpf_map_update_elem(map.fd.get(), bytes.data(), value.data(), BPF_ANY) != 0) {
        if (errno == E2BIG && map.is_array())
            no_such_key(in, to, at);
        throw access_error(system_error("write", object, errno == E2BIG ? "the map is full" : ""));
    }
}

std::vector<std::byte> read_per_cpu(const attached& in, const place& from, const key& at) {
    require_attached(in, "read", from);
    const auto& map = in.maps[from.map];
    if (!map.is_per_cpu())
        refuse("read", "'" + from.name + "' " + in.who(),
               "it is a " + type_of_map(map.info.type) + ", with one value for all CPUs",
               "ask at()");
    const int cpus = libbpf_num_possible_cpus();
    if (cpus <= 0)
        refuse("read", "the number of possible CPUs", std::strerror(-cpus));
    const std::size_t stride = (map.info.value_size + 7) / 8 * 8;
    std::vector<std::byte> values(stride * static_cast<std::size_t>(cpus));
    if (!lookup(in, from, encode(in, from, at), values))
        return {};
    std::vector<std::byte> chosen(from.size * static_cast<std::size_t>(cpus));
    for (std::size_t i = 0; i < static_cast<std::size_t>(cpus); ++i)
        std::memcpy(chosen.data() + i * from.size, values.data() + i * stride + from.offset,
                    from.size);
    return chosen;
}

bool erase_element(const attached& in, const place& of, const key& at) {
    require_attached(in, "erase from", of);
    const auto& map = in.maps[of.map];
    if (map.is_array())
        refuse("erase from", "'" + of.name + "' " + in.who(),
               "elements of an array are always there");
    if (bpf_map_delete_elem(map.fd.get(), encode(in, of, at).data()) == 0)
        return true;
    if (errno == ENOENT)
        return false;
    throw access_error(system_error("erase from", "'" + of.name + "' " + in.who()));
}

void pin_map(const attached& in, const place& of, const std::string& path) {
    require_attached(in, "pin", of);
    if (bpf_obj_pin(in.maps[of.map].fd.get(), path.c_str()) != 0)
        throw access_error(
            system_error("pin '" + of.name + "' " + in.who() + " as", path,
                         "a name for it is a path below /sys/fs/bpf that nothing has yet"));
}

std::vector<std::byte> keys_of(const attached& in, const place& of, const wanted& type) {
    require_attached(in, "read", of);
    const auto& map = in.maps[of.map];
    const std::string object = "the keys of '" + of.name + "' " + in.who();
    const bool known = map.info.btf_key_type_id != 0;
    if (known ? !fits(in.types.get(), map.info.btf_key_type_id, type)
              : type.size != map.info.key_size)
        refuse("read", object,
               "they are " +
                   (known ? words_for(in.types.get(), map.info.btf_key_type_id)
                          : std::to_string(map.info.key_size) + " bytes") +
                   ", and not " + words_for(type));
    std::vector<std::byte> all, last(map.info.key_size), next(map.info.key_size);
    // A key that vanishes meanwhile begins the walk anew: no more than there can be.
    for (std::uint64_t seen = 0; seen < map.info.max_entries; ++seen) {
        if (bpf_map_get_next_key(map.fd.get(), seen == 0 ? nullptr : last.data(), next.data()) !=
            0) {
            if (errno == ENOENT)
                break;
            throw access_error(system_error("read", object));
        }
        all.insert(all.end(), next.begin(), next.end());
        last.swap(next);
    }
    return all;
}

void no_such_key(const attached& in, const place& of, const key& at) {
    const auto& map = in.maps[of.map];
    refuse("read", "'" + of.name + "' " + in.who(),
           "there is no key " + words_for(at) +
               (map.is_array()
                    ? "; the array has " + std::to_string(map.info.max_entries) + " elements"
                    : " in the hash"));
}

}  // namespace ktstr::bpf::detail

namespace ktstr::bpf {

namespace detail {

namespace {

/// Whether a number counts in snapshots, and its value.
std::optional<std::int64_t> number_at(const btf_type* type, const std::byte* at) {
    if (!(btf_is_int(type) || btf_is_any_enum(type)) || type->size > 8)
        return std::nullopt;
    const bool is_signed =
        btf_is_int(type) ? (btf_int_encoding(type) & BTF_INT_SIGNED) != 0 : btf_kflag(type);
    std::uint64_t bits = 0;
    std::memcpy(&bits, at, type->size);
    const unsigned unused = 64 - 8 * type->size;
    if (is_signed)
        return static_cast<std::int64_t>(bits << unused) >> unused;
    return static_cast<std::int64_t>(bits);
}

/// Adds what is at `bytes` to the sums of `into`, number by number, in the order of their places.
void gather(const btf* types, __u32 id, const std::byte* bytes, std::size_t room,
            const std::string& path, bool is_more, std::size_t& next, std::vector<sample>& into) {
    constexpr __u32 most_elements = 64;
    const auto* const type = resolved(types, id);
    const auto size = btf__resolve_size(types, id);
    if (type == nullptr || size < 0 || static_cast<std::size_t>(size) > room)
        return;
    if (btf_is_composite(type)) {
        const auto* member = btf_members(type);
        for (__u32 i = 0; i < btf_vlen(type); ++i, ++member) {
            const auto offset = btf_member_bit_offset(type, i) / 8;
            const std::string name = btf__name_by_offset(types, member->name_off);
            if (btf_member_bitfield_size(type, i) == 0 && offset < room)
                gather(types, member->type, bytes + offset, room - offset,
                       name.empty() ? path : path + '.' + name, is_more, next, into);
        }
    } else if (btf_is_array(type)) {
        const auto* const array = btf_array(type);
        const auto each = btf__resolve_size(types, array->type);
        const auto* const element = resolved(types, array->type);
        const bool is_text = element != nullptr && btf_is_int(element) && element->size == 1;
        if (each <= 0 || is_text || array->nelems > most_elements)
            return;
        for (__u32 i = 0; i < array->nelems; ++i) {
            const auto offset = i * static_cast<std::size_t>(each);
            gather(types, array->type, bytes + offset, room - offset,
                   path + '[' + std::to_string(i) + ']', is_more, next, into);
        }
    } else if (const auto value = number_at(type, bytes)) {
        if (is_more)
            into[next++].value += *value;
        else
            into.push_back({path, *value});
    }
}

/// What the kernel itself counts of the attached scheduler; older ones count less.
void add_counters_of_kernel(std::vector<sample>& into) {
    std::istringstream events(read_kernel_file("/sys/kernel/sched_ext/root/events").value_or(""));
    std::string name;
    std::int64_t value = 0;
    while (events >> name >> value)
        into.push_back({"kernel:" + name, value});
    std::istringstream rejected(read_kernel_file("/sys/kernel/sched_ext/nr_rejected").value_or(""));
    if (rejected >> value)
        into.push_back({"kernel:nr_rejected", value});
}

}  // namespace

}  // namespace detail

map_facts map::facts() const {
    const auto where = detail::find_in_map(*of_, name_, {}, detail::wanted_of<detail::whole>());
    const auto& info = of_->maps[where.map].info;
    return {info.name, detail::type_of_map(info.type), info.key_size, info.value_size,
            info.max_entries};
}

bpf::map scheduler::map(std::string_view name) const {
    (void)detail::find_in_map(*of_, name, {}, detail::wanted_of<detail::whole>());
    return {of_, std::string(name)};
}

std::vector<map_facts> scheduler::maps() const {
    std::vector<map_facts> all;
    for (const auto& one : of_->maps)
        all.push_back({one.name(), detail::type_of_map(one.info.type), one.info.key_size,
                       one.info.value_size, one.info.max_entries});
    return all;
}

std::vector<program> scheduler::programs() const {
    return of_->programs;
}

std::string scheduler::ops_name() const {
    return of_->ops;
}

bpf::snapshot scheduler::snapshot(std::initializer_list<std::string_view> maps) const {
    const auto& in = *of_;
    const btf* const types = in.types.get();
    std::vector<sample> all;
    std::size_t none = 0;
    for (const auto& one : in.maps) {
        const auto* const section = in.section_of(one);
        // What can't change is no news, and the kernel's own knobs are none of the scheduler's.
        if (section == nullptr || one.is_read_only() || one.is_per_cpu())
            continue;
        std::vector<std::byte> bytes(one.info.value_size);
        const auto* info = btf_var_secinfos(section);
        const __u32 first = 0;
        if (one.memory == nullptr && bpf_map_lookup_elem(one.fd.get(), &first, bytes.data()) != 0)
            throw access_error(system_error("read", "the section " + one.name() + ' ' + in.who()));
        for (__u32 i = 0; i < btf_vlen(section); ++i, ++info) {
            if (info->offset + info->size > bytes.size())
                continue;
            if (one.memory != nullptr)
                detail::copy_value(bytes.data() + info->offset, one.memory + info->offset,
                                   info->size);
            const auto* const variable = btf__type_by_id(types, info->type);
            detail::gather(types, variable->type, bytes.data() + info->offset, info->size,
                           detail::name_of(types, variable), false, none, all);
        }
    }
    for (const auto name : maps) {
        const auto where = detail::find_in_map(in, name, {}, detail::wanted_of<detail::whole>());
        const auto& one = in.maps[where.map];
        const std::string called = "'" + std::string(name) + "' " + in.who();
        if (one.info.key_size > 8 || one.info.btf_value_type_id == 0)
            detail::refuse("read", called,
                           "a snapshot has maps with BTF and keys of up to 8 bytes");
        const std::size_t stride = (one.info.value_size + 7) / 8 * 8;
        const auto copies = one.is_per_cpu()
                                ? static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1))
                                : 1;
        const std::vector<std::byte> keys = detail::keys_of(
            in, where,
            {detail::form::whole, false, one.info.btf_key_type_id == 0 ? one.info.key_size : 0});
        for (std::size_t at = 0; at < keys.size(); at += one.info.key_size) {
            const std::vector<std::byte> key(
                keys.begin() + static_cast<std::ptrdiff_t>(at),
                keys.begin() + static_cast<std::ptrdiff_t>(at + one.info.key_size));
            std::vector<std::byte> values(stride * copies);
            if (!detail::lookup(in, where, key, values))
                continue;  // gone meanwhile
            std::uint64_t number = 0;
            std::memcpy(&number, key.data(), key.size());
            const std::size_t begin = all.size();
            for (std::size_t cpu = 0; cpu < copies; ++cpu) {
                std::size_t next = begin;
                detail::gather(types, one.info.btf_value_type_id, values.data() + cpu * stride,
                               one.info.value_size,
                               std::string(name) + '[' + std::to_string(number) + ']', cpu > 0,
                               next, all);
            }
        }
    }
    detail::add_counters_of_kernel(all);
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    if (const auto done = in.still_attached("take", "a snapshot " + in.who()); !done)
        throw access_error(done.error());
    return {std::move(all), in.attach};
}

std::int64_t snapshot::of(std::string_view path) const {
    for (const auto& one : all_)
        if (one.path == path)
            return one.value;
    std::vector<std::string> names;
    for (const auto& one : all_)
        names.push_back(one.path);
    detail::refuse("find", "'" + std::string(path) + "' in the snapshot",
                   names.empty() ? "there is no number in it" : "it has " + detail::list_of(names));
}

deltas operator-(const snapshot& after, const snapshot& before) {
    if (after.attach_ != before.attach_)
        detail::refuse("subtract", "a snapshot",
                       "the two are of different attaches of a scheduler");
    std::vector<change> all;
    auto old = before.all_.begin();
    auto now = after.all_.begin();
    while (old != before.all_.end() || now != after.all_.end()) {
        if (now == after.all_.end() || (old != before.all_.end() && old->path < now->path)) {
            all.push_back({.path = old->path, .before = old->value});
            ++old;
        } else if (old == before.all_.end() || now->path < old->path) {
            all.push_back({.path = now->path, .after = now->value});
            ++now;
        } else {
            const auto by =
                static_cast<std::uint64_t>(now->value) - static_cast<std::uint64_t>(old->value);
            all.push_back({now->path, old->value, now->value, static_cast<std::int64_t>(by)});
            ++old;
            ++now;
        }
    }
    return deltas(std::move(all));
}

std::int64_t deltas::of(std::string_view path) const {
    std::vector<std::string> names;
    for (const auto& one : all_) {
        if (one.path == path && one.before && one.after)
            return one.by;
        if (one.path == path)
            detail::refuse("tell", "what '" + std::string(path) + "' did",
                           one.after ? "it was not there in the first snapshot"
                                     : "it is not there in the second snapshot",
                           "changed() has what came and went");
        names.push_back(one.path);
    }
    detail::refuse(
        "find", "'" + std::string(path) + "' in the snapshots",
        names.empty() ? "there is no number in them" : "they have " + detail::list_of(names));
}

std::vector<change> deltas::changed() const {
    std::vector<change> some;
    std::copy_if(all_.begin(), all_.end(), std::back_inserter(some),
                 [](const auto& one) { return one.before != one.after; });
    return some;
}

}  // namespace ktstr::bpf

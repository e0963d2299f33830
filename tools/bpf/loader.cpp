// SPDX-License-Identifier: MIT
// The user-space half of a BPF scheduler that brings none: loads the object, attaches its struct_ops maps, and
// stays until somebody ends it or the kernel ends the scheduler, whose last words it tells when they are in a
// global `uei`. `ktstr bpf build` compiles it with the path of the object, which becomes a part of the program;
// it is for the guest, and for any other machine.
//
// Exit status: 0 ended by a signal, 1 not attached, 2 ended by the kernel.
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

// A skeleton would not do: it declares the object's globals, whose types only its own sources know.
asm(".pushsection .rodata\n"
    ".balign 8\n"
    "ktstr_bpf_object: .incbin \"" KTSTR_BPF_OBJECT
    "\"\n"
    "ktstr_bpf_object_end:\n"
    ".popsection");
extern "C" {
[[gnu::visibility("hidden")]] extern const char ktstr_bpf_object[], ktstr_bpf_object_end[];
}

namespace {

constexpr const char* name = KTSTR_BPF_NAME;

int say(enum libbpf_print_level level, const char* format, va_list arguments) {
    return level == LIBBPF_DEBUG ? 0 : std::vfprintf(stderr, format, arguments);
}

/// A socket that hears of kernel objects that come and go, or -1.
int object_events() {
    const int events =
        ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = 1;  // the kernel's own
    if (events >= 0 &&
        ::bind(events, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
        return events;
    if (events >= 0)
        ::close(events);
    return -1;
}

bool is_running() {
    char state[32]{};
    const int file = ::open("/sys/kernel/sched_ext/state", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return true;  // whoever cannot look believes nothing
    const ssize_t size = ::read(file, state, sizeof state - 1);
    ::close(file);
    return size <= 0 || std::string_view(state, static_cast<std::size_t>(size)).find("disabl") != 0;
}

/// What the scheduler's global `uei` says: a struct with some of kind, exit_code or code, reason, msg or message.
class exit_record {
public:
    explicit exit_record(bpf_object* object) : btf_(bpf_object__btf(object)) {
        if (btf_ == nullptr)
            return;
        const __s32 variable = btf__find_by_name_kind(btf_, "uei", BTF_KIND_VAR);
        if (variable <= 0)
            return;
        const __s32 type = btf__resolve_type(btf_, static_cast<__u32>(variable));
        if (type <= 0 || !btf_is_struct(btf__type_by_id(btf_, static_cast<__u32>(type))))
            return;
        bpf_map* map = nullptr;
        bpf_object__for_each_map(map, object) {
            // The map of section .data is called with the object's name before it, and that of .data.mine is not.
            const char* const called = std::strchr(bpf_map__name(map), '.');
            const __s32 section =
                called == nullptr ? -1 : btf__find_by_name_kind(btf_, called, BTF_KIND_DATASEC);
            if (section <= 0)
                continue;
            const btf_type* const of = btf__type_by_id(btf_, static_cast<__u32>(section));
            const btf_var_secinfo* const variables = btf_var_secinfos(of);
            for (unsigned i = 0; i < btf_vlen(of); ++i)
                if (variables[i].type == static_cast<__u32>(variable)) {
                    map_ = map;
                    offset_ = variables[i].offset;
                    struct_ = btf__type_by_id(btf_, static_cast<__u32>(type));
                }
        }
    }

    /// False when there is nothing to read.
    bool read() {
        if (map_ == nullptr)
            return false;
        value_.resize(bpf_map__value_size(map_));
        const __u32 first = 0;
        return bpf_map_lookup_elem(bpf_map__fd(map_), &first, value_.data()) == 0;
    }

    long long number(std::string_view one, std::string_view other = {}) const {
        const auto [at, size] = member(one, other);
        long long number = 0;
        if (size == 4) {
            int small = 0;
            std::memcpy(&small, value_.data() + at, sizeof small);
            number = small;
        } else if (size == 8) {
            std::memcpy(&number, value_.data() + at, sizeof number);
        }
        return number;
    }
    std::string text(std::string_view one, std::string_view other = {}) const {
        const auto [at, size] = member(one, other);
        return std::string(value_.data() + at, ::strnlen(value_.data() + at, size));
    }

private:
    struct place {
        std::size_t at = 0, size = 0;
    };
    place member(std::string_view one, std::string_view other) const {
        const btf_member* const members = btf_members(struct_);
        for (unsigned i = 0; i < btf_vlen(struct_); ++i) {
            const std::string_view called = btf__name_by_offset(btf_, members[i].name_off);
            const __s64 size = btf__resolve_size(btf_, members[i].type);
            const std::size_t at = offset_ + btf_member_bit_offset(struct_, i) / 8;
            if ((called == one || (!other.empty() && called == other)) && size > 0 &&
                at + static_cast<std::size_t>(size) <= value_.size())
                return {at, static_cast<std::size_t>(size)};
        }
        return {};
    }

    const btf* btf_;
    bpf_map* map_ = nullptr;
    const btf_type* struct_ = nullptr;
    std::size_t offset_ = 0;
    std::vector<char> value_;
};

/// Waits for a signal (true) or for the kernel to end the scheduler (false).
bool wait_for_signal(int signals, int events) {
    // The socket is older than the scheduler: it has heard the end of one before it, while this one waited to be attached.
    bool begun = false;
    for (;;) {
        pollfd watched[] = {{signals, POLLIN, 0}, {events, POLLIN, 0}};
        // Without events, as in another network namespace, it looks itself.
        if (::poll(watched, 2, events < 0 ? 1000 : -1) < 0 && errno != EINTR)
            return true;
        if (watched[0].revents != 0)
            return true;
        char message[8192];
        ssize_t size = 0;
        while (events >= 0 && (size = ::recv(events, message, sizeof message, 0)) > 0) {
            const std::string_view event(message, static_cast<std::size_t>(size));
            if (event.find("add@/kernel/sched_ext/") == 0)
                begun = true;
            else if (begun && event.find("remove@/kernel/sched_ext/") == 0)
                return false;
        }
        if (!is_running())
            return false;
    }
}

int run(bpf_object* object, int signals) {
    if (const int failed = bpf_object__load(object); failed != 0)
        return std::fprintf(stderr, "%s: not loaded: %s\n", name, std::strerror(-failed)), 1;
    const int events = object_events();
    std::vector<bpf_link*> links;
    bpf_map* map = nullptr;
    int status = 0;
    bpf_object__for_each_map(map, object) {
        if (bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS)
            continue;
        bpf_link* const link = bpf_map__attach_struct_ops(map);
        if (link == nullptr) {
            std::fprintf(stderr, "%s: %s not attached: %s\n", name, bpf_map__name(map),
                         std::strerror(errno));
            status = 1;
            break;
        }
        links.push_back(link);
    }
    if (status == 0 && links.empty()) {
        std::fprintf(stderr,
                     "%s: the object has no struct_ops map, so there is nothing to attach\n", name);
        status = 1;
    }
    if (status == 0) {
        std::printf("%s: attached\n", name);
        std::fflush(stdout);
        if (is_running() && wait_for_signal(signals, events))
            status = 0;
        else
            status = 2;
    }
    for (bpf_link* const link : links)
        bpf_link__destroy(link);
    exit_record record(object);
    if (record.read() && record.number("kind") != 0)
        std::printf("%s: ended: %s (kind %lld, code %lld) %s\n", name,
                    record.text("reason").c_str(), record.number("kind"),
                    record.number("exit_code", "code"), record.text("msg", "message").c_str());
    else
        std::printf("%s: ended%s\n", name, status == 2 ? " by the kernel, whose log says why" : "");
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == "--help")
        return std::printf(
                   "%s: a sched_ext scheduler: attaches it, and detaches it when a signal "
                   "ends this program\n",
                   name),
               0;
    if (argc > 1)
        return std::fprintf(stderr, "%s: unknown argument '%s': this program takes none\n", name,
                            argv[1]),
               1;
    // Taken before anything is attached, so that no signal finds a scheduler that nobody detaches.
    sigset_t ends;
    sigemptyset(&ends);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&ends, signal);
    sigprocmask(SIG_BLOCK, &ends, nullptr);
    const int signals = ::signalfd(-1, &ends, SFD_CLOEXEC);
    libbpf_set_print(say);
    const auto size = static_cast<std::size_t>(ktstr_bpf_object_end - ktstr_bpf_object);
    bpf_object_open_opts options{};
    options.sz = sizeof options;
    options.object_name = name;
    bpf_object* const object = bpf_object__open_mem(ktstr_bpf_object, size, &options);
    if (object == nullptr)
        return std::fprintf(stderr, "%s: not opened: %s\n", name, std::strerror(errno)), 1;
    const int status = run(object, signals);
    bpf_object__close(object);
    return status;
}

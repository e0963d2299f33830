// SPDX-License-Identifier: MIT
// The life of a template, and the first moments of each of its clones. A template boots, comes to
// rest and waits; it is saved while it waits. A clone wakes up in that wait and becomes a machine of
// its own (entropy, wall clock). The agent stays; where the test program is another than the one that
// booted the template, the process that waits for the body becomes it. Runs as PID 1 in the guest.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/link.hpp>
#include <ktstr/guest/rest_watch.hpp>
#include <ktstr/linux/clock.hpp>
#include <ktstr/version.hpp>
#include <ktstr/wire/message.hpp>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/random.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

namespace ktstr::guest {

/// The first word of a template.
[[nodiscard]] inline wire::template_booted booted_as_template() {
    utsname names{};
    ::uname(&names);
    return {.ktstr_version = std::string(version), .kernel_release = names.release};
}

/// Mixes bytes that no other machine has into the kernel's generator and makes every CPU use them
/// from now on. Two clones without this draw the same numbers.
[[nodiscard]] inline result<void> reseed(std::string_view bytes) {
    const unique_fd random(::open("/dev/urandom", O_RDWR | O_CLOEXEC));
    if (!random)
        return system_error("open", "/dev/urandom");
    std::vector<char> room(sizeof(rand_pool_info) + bytes.size());
    auto* pool = reinterpret_cast<rand_pool_info*>(room.data());
    pool->entropy_count = static_cast<int>(bytes.size() * 8);
    pool->buf_size = static_cast<int>(bytes.size());
    std::memcpy(pool->buf, bytes.data(), bytes.size());
    if (::ioctl(random.get(), RNDADDENTROPY, pool) != 0 ||
        ::ioctl(random.get(), RNDRESEEDCRNG) != 0)
        return system_error("reseed", "/dev/urandom");
    return {};
}

namespace detail {

/// Waits until nobody but this process has wanted a CPU for some moments in a row. Returns who still
/// did when it was enough of waiting; empty: nobody.
[[nodiscard]] inline std::string wait_for_rest() {
    rest_watch watch;
    for (;;) {
        const auto moment = to_timespec(rest_watch::moment_ns);
        ::nanosleep(&moment, nullptr);
        if (auto said = watch.look())
            return *std::move(said);
    }
}

/// A socket on which a clone's host calls. vsock alone: a serial port stays open as it is.
[[nodiscard]] inline result<unique_fd> listen_for_host() {
    unique_fd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd)
        return system_error("open a vsock", "in the guest");
    const auto address = vsock_address(VMADDR_CID_ANY, wire::clone_port);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(fd.get(), 4) != 0)
        return system_error("listen on vsock port", std::to_string(wire::clone_port));
    return fd;
}

/// Makes the way to the test program on a clone's disk before there is one. What a kernel remembers of
/// this file system (the root, one inode of fixed size) is the same for every program; the program's
/// own bytes it has never read, and reads from the clone's disk.
[[nodiscard]] inline result<void> mount_program() {
    for (const char* root : {wire::program_root, wire::files_root})
        ::mkdir(root, 0755);
    struct ::stat facts {};
    if (::mount(wire::program_device, wire::program_root, "erofs", MS_RDONLY | MS_NODEV, "") != 0 ||
        ::stat(wire::program_path, &facts) != 0)
        return system_error("mount the disk of", "the test program");
    return {};
}

/// Waits, across the moment in which the machine is saved and woken, for the word to go on.
[[nodiscard]] inline wire::resume wait_for_resume(link& serial, const unique_fd& listener,
                                                  link& reached) {
    for (;;) {
        link& from = listener ? reached : serial;
        pollfd p{listener && !from.open() ? listener.get() : from.fd(), POLLIN, 0};
        if (::poll(&p, 1, -1) < 0)
            continue;
        if (listener && !from.open()) {
            unique_fd caller(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (caller)
                reached = link(std::move(caller));
            continue;
        }
        const bool alive = from.receive();
        while (auto f = from.next())
            if (f->type == wire::message_type::resume)
                if (auto order = wire::decode<wire::resume>(f->payload))
                    return *std::move(order);
        if (!alive || !from.fault().empty()) {
            if (!listener) {
                // A serial port without a host reads as ended; there is nothing to do but wait.
                const timespec moment{0, 1'000'000};
                ::nanosleep(&moment, nullptr);
                continue;
            }
            // The transport was reset under this connection when the machine woke; the host calls
            // again.
            reached = link();
        }
    }
}

}  // namespace detail

/// A clone, just woken.
struct woken {
    link to_host;
    wire::resume order;
};

/// Says that the machine rests and waits, while it is saved, for the first word to a clone. Makes that
/// one a machine of its own (wall clock, entropy).
[[nodiscard]] inline result<woken> wait_while_saved(link builder, bool vsock,
                                                    const wire::settled& word) {
    unique_fd listener;
    if (vsock) {
        auto opened = detail::listen_for_host();
        if (!opened)
            return std::move(opened).error();
        listener = std::move(*opened);
    }
    builder.send(word);
    if (vsock) {
        // The host closes first, so that no connection is saved half-open.
        while (builder.receive()) {
        }
        builder = link();
    } else {
        builder = std::move(builder).begin_again();
    }
    link reached;
    auto order = detail::wait_for_resume(builder, listener, reached);
    const auto host_time = to_timespec(order.wall_clock_ns);
    ::clock_settime(CLOCK_REALTIME, &host_time);
    if (auto seeded = reseed(order.entropy); !seeded)
        return std::move(seeded).error();
    return woken{std::move(vsock ? reached : builder).begin_again(), std::move(order)};
}

/// The template's side of the link: that it booted, its work if it has any, what it is, that it rests;
/// then it waits. Returns in a clone.
[[nodiscard]] inline result<woken> stand_by(unique_fd connected, bool vsock,
                                            const wire::topology_proof& proof,
                                            const std::function<result<void>()>& work) {
    link builder(std::move(connected));
    builder.send(booted_as_template());
    builder.send(proof);
    if (auto mounted = detail::mount_program(); !mounted)
        return std::move(mounted).error();
    if (auto done = work(); !done)
        return std::move(done).error();
    ::sync();
    const auto busy = detail::wait_for_rest();
    return wait_while_saved(std::move(builder), vsock, {.busy = busy});
}

}  // namespace ktstr::guest

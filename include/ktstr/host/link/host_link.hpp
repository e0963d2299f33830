// SPDX-License-Identifier: MIT
// The host's end of the link to one guest, over any of three carriers: the kernel's vhost-vsock, the
// user-space vhost-device-vsock, or a virtio-serial port. Prepared before QEMU starts, so that what
// QEMU needs is an inherited descriptor. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/packages/fetched_program.hpp>
#include <ktstr/host/process/child.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/host/vm/qemu_args.hpp>
#include <ktstr/wire/message.hpp>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace ktstr::host {

// From linux/vhost.h, which is not C++.
inline constexpr unsigned long vhost_vsock_set_guest_cid = _IOW(0xAF, 0x60, std::uint64_t);

/// What this host can carry a link with.
struct link_facts {
    bool vhost_vsock = false;
    std::string vhost_vsock_why_not;
    std::filesystem::path vhost_device_vsock;  ///< the program; empty if there is none
    std::shared_ptr<unique_fd> in_use;         ///< keeps a fetched one in the cache
};

[[nodiscard]] inline link_facts look_at_links(const fetched_program& vsock_device) {
    link_facts facts;
    facts.vhost_device_vsock = vsock_device.path;
    facts.in_use = vsock_device.in_use;
    unique_fd vhost(::open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC));
    if (!vhost) {
        const int code = errno;
        facts.vhost_vsock_why_not = std::string("/dev/vhost-vsock: ") + std::strerror(code) +
                                    (code == EACCES ? "; add yourself to its group (usually kvm)"
                                                    : "; modprobe vhost_vsock");
        return facts;
    }
    facts.vhost_vsock = true;
    return facts;
}

/// The best carrier for a machine: vsock before serial, the kernel's before the user-space one.
[[nodiscard]] inline link_kind choose_link(const link_facts& facts) {
    if (facts.vhost_vsock)
        return link_kind::vhost_vsock;
    if (!facts.vhost_device_vsock.empty())
        return link_kind::vhost_device_vsock;
    return link_kind::virtio_serial;
}

/// A link whose guest has not come yet. `wires` is filled for QEMU.
class host_link {
public:
    [[nodiscard]] static result<host_link> prepare(link_kind kind, const link_facts& facts,
                                                   const std::filesystem::path& private_dir,
                                                   std::string_view name, bool clone = false) {
        host_link made;
        made.kind_ = kind;
        made.calls_ = clone && kind == link_kind::vhost_vsock;
        switch (kind) {
            case link_kind::virtio_serial: {
                int pair[2];
                if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
                    return system_error("make a socket pair for", "the virtio-serial link");
                made.stream_ = unique_fd(pair[0]);
                made.guest_end_ = unique_fd(pair[1]);
                return made;
            }
            case link_kind::vhost_vsock:
                return listen_vsock(std::move(made));
            case link_kind::vhost_device_vsock:
                return start_device(std::move(made), facts, private_dir / std::string(name));
        }
        return made;
    }

    /// Tells QEMU's side which descriptor and address to use.
    void fill(machine_wires& wires) const {
        (kind_ == link_kind::vhost_vsock ? wires.vhost : wires.link) = guest_end_.get();
        wires.cid = cid_;
        wires.port = port_;
    }

    /// Call once QEMU runs: our copies of its descriptors would hide its end from us.
    void release_guest_end() { guest_end_.reset(); }

    /// What to poll: the stream once there is one, before that the listening socket.
    [[nodiscard]] int fd() const noexcept { return stream_ ? stream_.get() : listener_.get(); }
    [[nodiscard]] bool connected() const noexcept { return static_cast<bool>(stream_); }
    [[nodiscard]] link_kind kind() const noexcept { return kind_; }
    /// The user-space device, which must live as long as the machine.
    [[nodiscard]] child& device() noexcept { return device_; }

    /// Call when fd() is readable. False when the stream has ended or is broken.
    [[nodiscard]] bool receive() {
        if (!stream_) {
            accept_guest();
            return true;
        }
        char chunk[16384];
        const auto n = ::read(stream_.get(), chunk, sizeof chunk);
        if (n < 0)
            return errno == EINTR || errno == EAGAIN;
        if (n == 0)
            return false;
        decoder_.feed({chunk, static_cast<std::size_t>(n)});
        return true;
    }

    [[nodiscard]] std::optional<wire::frame> next() { return decoder_.next(); }
    [[nodiscard]] const std::string& fault() const { return decoder_.fault(); }

    /// Whether this side calls the guest, as with a clone over vsock: its template could not know where
    /// to call.
    [[nodiscard]] bool calls() const noexcept { return calls_; }

    /// Gives a clone its first word. Over vsock this also makes the connection, which the guest accepts
    /// as soon as it runs.
    [[nodiscard]] result<void> wake(const wire::resume& order, std::chrono::milliseconds limit) {
        if (calls_) {
            stream_ = unique_fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
            if (!stream_)
                return system_error("open a vsock", "on the host", "modprobe vsock vhost_vsock");
            const timeval patience{static_cast<time_t>(limit.count() / 1000), 0};
            ::setsockopt(stream_.get(), AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience,
                         sizeof patience);
            sockaddr_vm address{};
            address.svm_family = AF_VSOCK;
            address.svm_cid = cid_;
            address.svm_port = wire::clone_port;
            if (::connect(stream_.get(), reinterpret_cast<const sockaddr*>(&address),
                          sizeof address) != 0) {
                auto failed = system_error("call the clone at vsock id", std::to_string(cid_));
                stream_.reset();
                return failed;
            }
        }
        // The program that the clone becomes counts frames from 0, as after a boot.
        decoder_ = {};
        if (!send_bytes(wire::encoder()(order)))
            return plain_error("wake", "the clone", "it does not take the first word");
        return {};
    }

    void close() { stream_.reset(); }

    /// False when the guest is gone or has not taken bytes for ten seconds.
    template <class... Messages>
    bool send(const Messages&... messages) {
        std::string bytes;
        ((bytes += encode_(messages)), ...);
        return send_bytes(bytes);
    }

    /// A link over a descriptor that is connected already: a host_only body's keeper.
    [[nodiscard]] static host_link over(unique_fd stream) {
        host_link made;
        made.stream_ = std::move(stream);
        return made;
    }

private:
    host_link() = default;

    [[nodiscard]] bool send_bytes(const std::string& bytes) {
        for (std::size_t at = 0; at < bytes.size();) {
            // Small writes: the user-space device stalls on large ones.
            const auto size = std::min(bytes.size() - at, wire::output_chunk);
            const auto n =
                ::send(stream_.get(), bytes.data() + at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && errno == EAGAIN) {
                pollfd p{stream_.get(), POLLOUT, 0};
                if (::poll(&p, 1, 10'000) <= 0)
                    return false;
                continue;
            }
            if (n <= 0)
                return false;
            at += static_cast<std::size_t>(n);
        }
        return true;
    }

    [[nodiscard]] static result<host_link> listen_vsock(host_link made) {
        if (made.calls_)
            return reserve_cid(std::move(made));
        made.listener_ = unique_fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!made.listener_)
            return system_error("open a vsock", "on the host", "modprobe vsock vhost_vsock");
        sockaddr_vm address{};
        address.svm_family = AF_VSOCK;
        address.svm_cid = VMADDR_CID_ANY;
        address.svm_port = VMADDR_PORT_ANY;
        socklen_t size = sizeof address;
        if (::bind(made.listener_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
            ::listen(made.listener_.get(), 4) != 0 ||
            ::getsockname(made.listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
            return system_error("listen on", "a vsock port");
        made.port_ = address.svm_port;
        return reserve_cid(std::move(made));
    }

    [[nodiscard]] static result<host_link> reserve_cid(host_link made) {
        made.guest_end_ = unique_fd(::open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC));
        if (!made.guest_end_)
            return system_error("open", "/dev/vhost-vsock", "modprobe vhost_vsock");
        // The kernel refuses an id that another machine has, so asking is reserving. Random ids keep
        // runs of different users apart without a file between them.
        std::random_device random;
        for (int tries = 0; tries < 64; ++tries) {
            std::uint64_t cid = 1000 + random() % 0x7fff0000U;
            if (::ioctl(made.guest_end_.get(), vhost_vsock_set_guest_cid, &cid) == 0) {
                made.cid_ = static_cast<std::uint32_t>(cid);
                return made;
            }
            if (errno != EADDRINUSE)
                return system_error("reserve a vsock context id on", "/dev/vhost-vsock");
        }
        return plain_error("reserve", "a vsock context id", "64 random ids were all taken");
    }

    [[nodiscard]] static result<host_link> start_device(host_link made, const link_facts& facts,
                                                        const std::filesystem::path& prefix) {
        // The device connects a guest's port P to the unix socket PREFIX.uds_P on the host.
        made.port_ = wire::vsock_port;
        made.cid_ = 3;  // seen by this guest alone: the device has no other
        const auto uds = prefix.string() + ".uds";
        const auto socket_path = prefix.string() + ".vhost";
        made.listener_ = unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        const auto set_path = [&address](const std::string& path) {
            address = {};
            address.sun_family = AF_UNIX;
            if (path.size() >= sizeof address.sun_path)
                return false;
            std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
            return true;
        };
        const auto listen_path = uds + '_' + std::to_string(made.port_);
        if (!made.listener_ || !set_path(listen_path) ||
            ::bind(made.listener_.get(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof address) != 0 ||
            ::listen(made.listener_.get(), 1) != 0)
            return system_error("listen on", listen_path,
                                "point TMPDIR at a directory with a short path");
        unique_fd news(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
        ::inotify_add_watch(news.get(), prefix.parent_path().c_str(), IN_CREATE);
        child_request request;
        request.program = facts.vhost_device_vsock;
        request.arguments = {"--vm", "guest-cid=" + std::to_string(made.cid_) + ",uds-path=" + uds +
                                         ",socket=" + socket_path};
        auto device = start_child(request);
        if (!device)
            return std::move(device).error();
        made.device_ = std::move(*device);
        if (!set_path(socket_path))
            return plain_error("use", socket_path, "its path is too long for a socket");
        made.guest_end_ = unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        // bind creates the file, listen follows: a refused connection is the gap between them.
        while (::connect(made.guest_end_.get(), reinterpret_cast<const sockaddr*>(&address),
                         sizeof address) != 0) {
            if ((errno != ENOENT && errno != ECONNREFUSED) ||
                std::chrono::steady_clock::now() > end)
                return system_error("connect to vhost-device-vsock at", socket_path);
            pollfd p[2] = {{news.get(), POLLIN, 0}, {made.device_.pidfd(), POLLIN, 0}};
            ::poll(p, 2, errno == ECONNREFUSED ? 1 : 1000);
            if (p[1].revents != 0)
                return plain_error("start", facts.vhost_device_vsock.string(), "it ended at once",
                                   "use a host with /dev/vhost-vsock, or remove the program to "
                                   "fall back to virtio-serial");
            char drop[4096];
            while (::read(news.get(), drop, sizeof drop) > 0) {
            }
        }
        return made;
    }

    void accept_guest() {
        sockaddr_vm peer{};
        socklen_t size = sizeof peer;
        unique_fd stream(
            ::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
        if (!stream)
            return;
        // Any guest of this host can reach a vsock port; only ours is let in. The unix socket lies
        // in a private directory and needs no such check.
        if (kind_ == link_kind::vhost_vsock && peer.svm_cid != cid_)
            return;
        stream_ = std::move(stream);
        listener_.reset();
    }

    link_kind kind_ = link_kind::virtio_serial;
    unique_fd stream_;
    unique_fd listener_;
    unique_fd guest_end_;
    child device_;
    std::uint32_t cid_ = 0;
    std::uint32_t port_ = 0;
    bool calls_ = false;
    wire::encoder encode_;
    wire::decoder decoder_;
};

}  // namespace ktstr::host

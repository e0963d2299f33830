// SPDX-License-Identifier: MIT
// The host's end of the link to one guest, over any of three carriers: the kernel's vhost-vsock, the
// user-space vhost-device-vsock, or a virtio-serial port. Prepared before QEMU starts, so that what
// QEMU needs is an inherited descriptor. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/packages/fetched_program.hpp>
#include <ktstr/host/process/child.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/host/vm/qemu_args.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
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

/// What a look at a link found.
enum class link_news : std::uint8_t { nothing, bytes, closed };

/// A link whose guest has not come yet. `wires` is filled for QEMU. No call of it waits for the guest:
/// what can't be sent is kept until poll() says that it can.
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
                made.guest_end_ = unique_fd(pair[1]);
                made.use(unique_fd(pair[0]));
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
    [[nodiscard]] short events() const noexcept {
        const bool writing = calling_ || (stream_ && !unsent_.empty());
        return static_cast<short>((calling_ ? 0 : POLLIN) | (writing ? POLLOUT : 0));
    }
    [[nodiscard]] link_kind kind() const noexcept { return kind_; }
    /// The user-space device, which must live as long as the machine.
    [[nodiscard]] child& device() noexcept { return device_; }

    /// Sends what waits and takes what is there, as far as that goes without waiting.
    [[nodiscard]] link_news receive() {
        if (!stream_ && !accept_guest())
            return link_news::nothing;
        if (calling_) {
            if (!answered())
                return link_news::nothing;
            if (!closed_because_.empty())
                return link_news::closed;
        }
        flush();
        char chunk[16384];
        const auto n = ::read(stream_.get(), chunk, sizeof chunk);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            return link_news::nothing;
        if (n <= 0) {
            closed_because_ = n < 0 ? std::strerror(errno) : "";
            return link_news::closed;
        }
        heard_ = true;
        decoder_.feed({chunk, static_cast<std::size_t>(n)});
        return link_news::bytes;
    }
    /// Why the stream is closed, where the kernel says more than that it is.
    [[nodiscard]] const std::string& closed_because() const noexcept { return closed_because_; }
    /// Whether the guest has said anything since it was started or woken.
    [[nodiscard]] bool heard() const noexcept { return heard_; }

    [[nodiscard]] std::optional<wire::frame> next() { return decoder_.next(); }
    [[nodiscard]] const std::string& fault() const { return decoder_.fault(); }

    /// Whether this side calls the guest, as with a clone over vsock: its template could not know where
    /// to call.
    [[nodiscard]] bool calls() const noexcept { return calls_; }

    /// Gives a clone its first word. Over vsock this also begins the connection, which the guest accepts
    /// as soon as it runs; `limit` is the kernel's for that.
    [[nodiscard]] result<void> wake(const wire::resume& order, std::chrono::milliseconds limit) {
        if (calls_) {
            use(unique_fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0)));
            if (!stream_)
                return system_error("open a vsock", "on the host", "modprobe vsock vhost_vsock");
            closed_because_.clear();
            const timeval patience{static_cast<time_t>(limit.count() / 1000), 0};
            ::setsockopt(stream_.get(), AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience,
                         sizeof patience);
            sockaddr_vm address{};
            address.svm_family = AF_VSOCK;
            address.svm_cid = cid_;
            address.svm_port = wire::clone_port;
            calling_ = true;
            if (::connect(stream_.get(), reinterpret_cast<const sockaddr*>(&address),
                          sizeof address) != 0 &&
                errno != EINPROGRESS) {
                auto failed = system_error("call the clone at vsock id", std::to_string(cid_));
                close();
                return failed;
            }
        }
        // The program that the clone becomes counts frames from 0, as after a boot.
        decoder_ = {};
        unsent_ = wire::encoder()(order);
        flush();
        return {};
    }

    void close() {
        stream_.reset();
        calling_ = false;
        unsent_.clear();
    }

    /// Test-only: as if the carrier had failed; both ends see the stream end.
    void cut() { ::shutdown(stream_.get(), SHUT_RDWR); }

    /// Sends now or as soon as the guest takes it. A guest that is gone is seen by receive().
    template <class... Messages>
    void send(const Messages&... messages) {
        ((unsent_ += encode_(messages)), ...);
        flush();
    }

    /// Bytes that the guest has not taken yet. Whoever passes on what has no end waits for less.
    [[nodiscard]] std::size_t unsent() const noexcept { return unsent_.size(); }

    /// A link over a descriptor that is connected already: a host_only body's keeper.
    [[nodiscard]] static host_link over(unique_fd stream) {
        host_link made;
        made.use(std::move(stream));
        return made;
    }

private:
    host_link() = default;

    void use(unique_fd stream) {
        if (stream)
            ::fcntl(stream.get(), F_SETFL, O_NONBLOCK);
        stream_ = std::move(stream);
    }

    void flush() {
        if (!stream_ || calling_)
            return;
        std::size_t sent = 0;
        while (sent < unsent_.size()) {
            // Small writes: the user-space device stalls on large ones.
            const auto size = std::min(unsent_.size() - sent, wire::output_chunk);
            const auto n = ::send(stream_.get(), unsent_.data() + sent, size, MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && errno == EAGAIN)
                break;
            if (n <= 0)
                sent = unsent_.size();  // nobody takes it any more
            else
                sent += static_cast<std::size_t>(n);
        }
        unsent_.erase(0, sent);
    }

    /// Whether a call has been taken or refused.
    [[nodiscard]] bool answered() {
        pollfd p{stream_.get(), POLLOUT, 0};
        if (::poll(&p, 1, 0) <= 0)
            return false;
        int code = 0;
        socklen_t size = sizeof code;
        ::getsockopt(stream_.get(), SOL_SOCKET, SO_ERROR, &code, &size);
        calling_ = false;
        if (code != 0)
            closed_because_ =
                system_error("call the clone at vsock id", std::to_string(cid_), {}, code)
                    .message();
        return true;
    }

    [[nodiscard]] static result<host_link> listen_vsock(host_link made) {
        if (made.calls_)
            return reserve_cid(std::move(made));
        made.listener_ =
            unique_fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
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
        // The device connects a guest's port P to the unix socket PREFIX.uds_P on the host. It gets no
        // directory: it takes a comma for the end of a path.
        made.port_ = wire::vsock_port;
        made.cid_ = 3;  // seen by this guest alone: the device has no other
        const auto uds = prefix.string() + ".uds";
        const auto socket_path = prefix.string() + ".vhost";
        made.listener_ =
            unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
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
        request.program = std::filesystem::absolute(facts.vhost_device_vsock);
        const auto name = prefix.filename().string();
        request.arguments = {"--vm", "guest-cid=" + std::to_string(made.cid_) +
                                         ",uds-path=" + name + ".uds,socket=" + name + ".vhost"};
        request.directory = prefix.parent_path();
        auto device = start_child(request);
        if (!device)
            return std::move(device).error();
        made.device_ = std::move(*device);
        if (!set_path(socket_path))
            return plain_error("use", socket_path, "its path is too long for a socket");
        made.guest_end_ =
            unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        // bind creates the file, listen follows: a refused connection is the gap between them.
        while (::connect(made.guest_end_.get(), reinterpret_cast<const sockaddr*>(&address),
                         sizeof address) != 0) {
            const int code = errno;
            if ((code != ENOENT && code != ECONNREFUSED && code != EAGAIN) ||
                std::chrono::steady_clock::now() > end)
                return system_error("connect to vhost-device-vsock at", socket_path, {}, code);
            pollfd p[3] = {{news.get(), POLLIN, 0},
                           {made.device_.pidfd(), POLLIN, 0},
                           {stop_signal::watched_fd(), POLLIN, 0}};
            ::poll(p, 3, code == ENOENT ? 1000 : 1);
            if (p[2].revents != 0)
                return plain_error("start", facts.vhost_device_vsock.string(), "interrupted");
            if (p[1].revents != 0)
                return plain_error("start", facts.vhost_device_vsock.string(), "it ended at once",
                                   "use a host with /dev/vhost-vsock, or remove the program to "
                                   "fall back to virtio-serial");
            char drop[4096];
            while (::read(news.get(), drop, sizeof drop) > 0) {
            }
        }
        ::fcntl(made.guest_end_.get(), F_SETFL, 0);  // as QEMU expects it
        return made;
    }

    /// False while nobody has come.
    [[nodiscard]] bool accept_guest() {
        sockaddr_vm peer{};
        socklen_t size = sizeof peer;
        unique_fd stream(
            ::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
        // Any guest of this host can reach a vsock port; only ours is let in. The unix socket lies
        // in a private directory and needs no such check.
        if (!stream || (kind_ == link_kind::vhost_vsock && peer.svm_cid != cid_))
            return false;
        use(std::move(stream));
        listener_.reset();
        return true;
    }

    link_kind kind_ = link_kind::virtio_serial;
    unique_fd stream_;
    unique_fd listener_;
    unique_fd guest_end_;
    child device_;
    std::uint32_t cid_ = 0;
    std::uint32_t port_ = 0;
    bool calls_ = false;
    bool calling_ = false;  ///< and the guest has not taken the call yet
    bool heard_ = false;
    std::string unsent_;
    std::string closed_because_;
    wire::encoder encode_;
    wire::decoder decoder_;
};

}  // namespace ktstr::host

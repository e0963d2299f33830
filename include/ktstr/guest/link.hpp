// SPDX-License-Identifier: MIT
// The guest's end of the link: opens the transport that the kernel command line names, and
// sends and receives frames. Runs in PID 1.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/linux/kernel_file.hpp>
#include <ktstr/linux/write_all.hpp>
#include <ktstr/wire/boot.hpp>
#include <ktstr/wire/message.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ktstr::guest {

/// The context id of the machine below: in a guest, the host.
inline constexpr unsigned host_cid = 2;

[[nodiscard]] inline sockaddr_vm vsock_address(unsigned cid, unsigned port) {
    sockaddr_vm address{};
    address.svm_family = AF_VSOCK;
    address.svm_cid = cid;
    address.svm_port = port;
    return address;
}

/// Connects to the host's vsock port.
[[nodiscard]] inline result<unique_fd> open_vsock(unsigned port) {
    unique_fd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd)
        return system_error("open a vsock", "in the guest");
    const auto address = vsock_address(host_cid, port);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return system_error("connect to the host's vsock port", std::to_string(port));
    return fd;
}

/// Opens the virtio-serial port by its name: the kernel numbers ports in the order it finds them.
[[nodiscard]] inline result<unique_fd> open_serial_port() {
    const std::string root = "/sys/class/virtio-ports";
    DIR* directory = ::opendir(root.c_str());
    if (directory == nullptr)
        return system_error("list", root, "the guest kernel has no virtio console driver");
    std::string device;
    while (const dirent* entry = ::readdir(directory)) {
        const std::string name = entry->d_name;
        if (name[0] == '.')
            continue;
        const auto label = read_kernel_file(root + '/' + name + "/name");
        if (label && label->starts_with(wire::serial_port_name))
            device = "/dev/" + name;
    }
    ::closedir(directory);
    if (device.empty())
        return plain_error("find", std::string(wire::serial_port_name),
                           "no virtio port has that name");
    unique_fd fd(::open(device.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd)
        return system_error("open", device);
    return fd;
}

[[nodiscard]] inline result<unique_fd> open_link(const wire::boot_words& words) {
    return words.vsock_port ? open_vsock(*words.vsock_port) : open_serial_port();
}

/// Frames over one descriptor.
class link {
public:
    link() = default;
    explicit link(unique_fd fd) : fd_(std::move(fd)) {}

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] bool open() const noexcept { return static_cast<bool>(fd_); }

    /// In one write: each is a notice to the host.
    template <class... Messages>
    bool send(const Messages&... messages) {
        std::string bytes;
        ((bytes += encode_(messages)), ...);
        return write_all(fd_.get(), bytes);
    }

    bool send_all(const std::vector<wire::frame>& frames) {
        std::string bytes;
        for (const auto& f : frames)
            bytes += encode_(f);
        return write_all(fd_.get(), bytes);
    }

    /// Takes what is there. False when the other side closed or broke the stream.
    [[nodiscard]] bool receive() {
        char chunk[16384];
        const auto n = ::read(fd_.get(), chunk, sizeof chunk);
        if (n < 0)
            return errno == EINTR || errno == EAGAIN;
        if (n == 0)
            return false;
        decoder_.feed({chunk, static_cast<std::size_t>(n)});
        return true;
    }

    /// The same descriptor for another conversation: both sides count their frames from 0.
    [[nodiscard]] link begin_again() && { return link(std::move(fd_)); }

    [[nodiscard]] std::optional<wire::frame> next() { return decoder_.next(); }
    [[nodiscard]] const std::string& fault() const { return decoder_.fault(); }

private:
    unique_fd fd_;
    wire::encoder encode_;
    wire::decoder decoder_;
};

}  // namespace ktstr::guest

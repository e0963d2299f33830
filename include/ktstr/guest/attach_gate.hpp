// SPDX-License-Identifier: MIT
// Holds a scheduler's process at the door: everything is opened, loaded and verified, and the one call that attaches its
// struct_ops map waits in the kernel until it is let through. The scheduler has no part in it: a filter of
// seccomp, set before its program begins, tells this process of each bpf(BPF_LINK_CREATE). Guest side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace ktstr::guest {

class attach_gate {
public:
    /// Before the fork. The gate is shut.
    [[nodiscard]] static result<attach_gate> make() {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
            return system_error("make a gate for", "a scheduler");
        attach_gate gate;
        gate.fd_ = unique_fd(ends[0]);
        gate.to_child_ = unique_fd(ends[1]);
        ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
        return gate;
    }

    /// In the child, before its program. False: errno says why there can be none.
    [[nodiscard]] bool stand_in_front() const {
        std::array<sock_filter, 6> code{{
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 3),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),  // the command
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BPF_LINK_CREATE, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        }};
        const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
        const int listener = static_cast<int>(::syscall(
            SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
        if (listener < 0)
            return false;
        char byte = 0;
        iovec piece{&byte, 1};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        msghdr message{};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* const part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(part), &listener, sizeof listener);
        return ::sendmsg(to_child_.get(), &message, MSG_NOSIGNAL) == 1;
    }

    /// In the parent, after the fork.
    void child_has_its_end() { to_child_.reset(); }

    /// Readable when there is something to do here; below 0: never again.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Does what there is to do. True: somebody waits in front of the shut gate.
    bool pump() {
        if (!listens_)
            take_listener();
        else
            hear();
        return !waiting_.empty();
    }

    /// From now on everybody passes.
    void open() {
        open_ = true;
        for (const auto id : std::exchange(waiting_, {}))
            let_through(id);
    }

private:
    attach_gate() = default;

    void take_listener() {
        char byte = 0;
        iovec piece{&byte, 1};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        msghdr message{};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const auto n = ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        const cmsghdr* const part = n == 1 ? CMSG_FIRSTHDR(&message) : nullptr;
        fd_.reset();  // without a listener: the child ended first, and that is heard elsewhere
        if (part == nullptr || part->cmsg_type != SCM_RIGHTS)
            return;
        int listener = -1;
        std::memcpy(&listener, CMSG_DATA(part), sizeof listener);
        fd_ = unique_fd(listener);
        listens_ = true;
    }

    // A newer kernel's structures may be longer, and it writes all of its own.
    struct alignas(std::uint64_t) notice {
        seccomp_notif head{};
        std::array<char, 512> more{};
    };
    struct alignas(std::uint64_t) answer {
        seccomp_notif_resp head{};
        std::array<char, 512> more{};
    };

    void hear() {
        pollfd news{fd_.get(), POLLIN, 0};
        if (::poll(&news, 1, 0) <= 0)
            return;
        if ((news.revents & POLLIN) == 0)
            return fd_.reset();  // nobody is left who could call
        notice heard;
        if (::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, &heard) != 0)
            return;  // whoever called is gone
        if (!open_ && is_struct_ops(heard.head))
            waiting_.push_back(heard.head.id);
        else
            let_through(heard.head.id);
    }

    /// BPF_STRUCT_OPS of enum bpf_attach_type, which kernels have since 6.4 and this header need not.
    static constexpr std::uint32_t struct_ops = 44;

    /// What is linked stands in the caller's memory. A lie there fools nobody but its own test.
    [[nodiscard]] static bool is_struct_ops(const seccomp_notif& call) {
        struct {
            std::uint32_t map_fd, target_fd, attach_type;
        } wanted{};
        iovec here{&wanted, sizeof wanted};
        iovec there{reinterpret_cast<void*>(static_cast<std::uintptr_t>(call.data.args[1])),
                    sizeof wanted};
        return ::process_vm_readv(static_cast<pid_t>(call.pid), &here, 1, &there, 1, 0) ==
                   static_cast<ssize_t>(sizeof wanted) &&
               wanted.attach_type == struct_ops;
    }

    void let_through(std::uint64_t id) {
        answer yes;
        yes.head.id = id;
        yes.head.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        (void)::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &yes);
    }

    unique_fd fd_;        ///< first what the listener comes over, then the listener
    unique_fd to_child_;  ///< the child's end
    bool listens_ = false;
    bool open_ = false;
    std::vector<std::uint64_t> waiting_;
};

}  // namespace ktstr::guest

// SPDX-License-Identifier: MIT
// A started machine and everything the host holds of it: the QEMU process, its QMP, the console, its
// own words, the link, the vCPU threads. Masked before the guest's first instruction, killed by the
// destructor. Decides nothing about tests. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/scope_exit.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/file_lock.hpp>
#include <ktstr/host/link/host_link.hpp>
#include <ktstr/host/machine/console_watch.hpp>
#include <ktstr/host/machine/placement.hpp>
#include <ktstr/host/machine/vcpu_threads.hpp>
#include <ktstr/host/process/child.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/text/shell.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/host/vm/qemu_args.hpp>
#include <ktstr/host/vm/qmp.hpp>
#include <ktstr/linux/clock.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ktstr::host {

struct machine_request {
    host::machine machine;
    std::filesystem::path qemu;
    link_facts links;
    std::filesystem::path private_dir;
    std::string name;  ///< of the test, for process lists and messages
    host::placement placement = {};
    std::vector<int> process_cpus = {};  ///< host CPUs all of QEMU's threads are put on; empty: any
    std::filesystem::path state = {};    ///< of a clone: what its devices begin with
    std::shared_ptr<unique_fd> directory = {};  ///< of a clone: the template that was obtained
    std::uint64_t program_size = 0;             ///< of a clone, see wire::resume
    bool mount_files = false;       ///< of a clone: it needs the files of its second disk
    bool becomes_template = false;  ///< of a clone, see wire::resume
    double slowdown = 1;  ///< of this host against a real one, when it is an emulated machine
    bool frozen = false;  ///< test-only: QEMU is stopped before it has said anything
};

namespace detail {

/// A copy of a template's memory, holes and all. The stop signal ends it.
[[nodiscard]] inline result<void> copy_sparse(const std::filesystem::path& from,
                                              const std::filesystem::path& to) {
    const unique_fd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
    if (!in)
        return system_error("open", from.string());
    const unique_fd out(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!out)
        return system_error("create", to.string());
    const off_t size = ::lseek(in.get(), 0, SEEK_END);
    if (size < 0 || ::ftruncate(out.get(), size) != 0)
        return system_error("make as large as a template's memory", to.string());
    for (off_t at = 0; (at = ::lseek(in.get(), at, SEEK_DATA)) >= 0;) {
        const off_t end = ::lseek(in.get(), at, SEEK_HOLE);
        if (::lseek(out.get(), at, SEEK_SET) < 0)
            return system_error("write", to.string());
        while (at < end) {
            if (stop_signal::received() != 0)
                return plain_error("copy a template's memory to", to.string(), "interrupted");
            const auto n =
                ::sendfile(out.get(), in.get(), &at,
                           static_cast<std::size_t>(std::min<off_t>(end - at, 16 << 20)));
            if (n <= 0)
                return system_error("copy a template's memory to", to.string());
        }
    }
    return {};
}

}  // namespace detail

class running_machine {
public:
    /// Starts QEMU with the guest stopped; go() lets it run. On failure `command_line` is still set.
    [[nodiscard]] static result<std::unique_ptr<running_machine>> start(
        const machine_request& request, std::string& command_line) {
        auto made = launched(request, command_line);
        if (made)
            if (auto placed = (*made)->place(request.placement); !placed)
                return std::move(placed).error();
        return made;
    }

    /// Starts a clone's QEMU ahead of its turn and loads its state: go() needs to do little then. Its
    /// place comes later, see place().
    [[nodiscard]] static result<std::unique_ptr<running_machine>> prepare(
        const machine_request& request, std::string& command_line) {
        auto made = launched(request, command_line);
        if (made)
            if (auto loaded = (*made)->load(); !loaded)
                return std::move(loaded).error();
        return made;
    }

    /// Puts its threads where they belong. Before go(): the guest never runs on more than it was given.
    [[nodiscard]] result<void> place(const placement& wanted) {
        auto placed = place_threads(wanted, vcpus_, process_.pid());
        if (!placed)
            return std::move(placed).error();
        placed_ = std::move(*placed);
        return {};
    }

    running_machine(const running_machine&) = delete;
    running_machine& operator=(const running_machine&) = delete;
    ~running_machine() = default;

    /// Lets the guest run.
    [[nodiscard]] result<void> go() {
        if (auto loaded = load(); !loaded)
            return loaded;
        if (auto going = qmp_.ask("cont"); !going)
            return state_refused(std::move(going).error());
        if (!clone_)
            return {};
        // A kernel may refuse a call to a machine whose vsock device has not started.
        if (link_->calls())
            if (auto running = qmp_.wait_until_running(); !running)
                return state_refused(std::move(running).error());
        return say_first_word();
    }

    /// Whether QEMU had a clone's state when it failed, and so may have failed over it. Whatever fails
    /// before is not the template's fault: memory, descriptors, a QEMU that can't start.
    [[nodiscard]] bool refused_state() const noexcept { return refused_state_; }

    /// Calls a clone again whose transport was reset under the first call, which is how a virtual
    /// machine learns over vsock that it has a new address. False when it has spoken already, or was
    /// called too often.
    [[nodiscard]] bool call_again() {
        return link_->calls() && !link_->heard() && ++calls_ < 5 && say_first_word().has_value();
    }

    [[nodiscard]] host_link& link() noexcept { return *link_; }
    [[nodiscard]] host::qmp& qmp() noexcept { return qmp_; }
    [[nodiscard]] child& process() noexcept { return process_; }
    [[nodiscard]] const console_watch& console() const noexcept { return watch_; }
    [[nodiscard]] int console_fd() const noexcept { return console_.get(); }
    [[nodiscard]] int errors_fd() const noexcept { return errors_.get(); }
    [[nodiscard]] const std::string& errors() const noexcept { return words_; }
    /// What QEMU said when KVM died under the guest; empty if it did not.
    [[nodiscard]] const std::string& kvm_last_words() const noexcept { return kvm_last_words_; }
    /// Whether the vCPUs really have a steal clock; asked of QEMU, not read from its command line.
    [[nodiscard]] bool has_steal_clock() const noexcept { return has_steal_; }
    /// Where its threads were put, and what the host did not permit.
    [[nodiscard]] const host::placed& placed() const noexcept { return placed_; }
    [[nodiscard]] const std::vector<vcpu_thread>& vcpus() const noexcept { return vcpus_; }

    void read_console() {
        char chunk[16384];
        while (console_) {
            const auto n = ::recv(console_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
            if (n > 0) {
                watch_.feed({chunk, static_cast<std::size_t>(n)});
                continue;
            }
            if (n == 0 || (errno != EAGAIN && errno != EINTR))
                console_.reset();
            return;
        }
    }

    void read_errors() {
        char chunk[4096];
        while (errors_) {
            const auto n = ::read(errors_.get(), chunk, sizeof chunk);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && errno == EAGAIN)
                return;
            if (n <= 0) {
                errors_.reset();
                return;
            }
            if (words_.size() < (1U << 20))
                words_.append(chunk, static_cast<std::size_t>(n));
            // QEMU does not end on these; it stops the guest and waits for somebody to look.
            for (const char* sign : {"KVM internal error", "kvm run failed", "KVM: entry failed"})
                if (const auto at = words_.find(sign);
                    at != std::string::npos && kvm_last_words_.empty())
                    kvm_last_words_ = words_.substr(at, words_.find('\n', at) - at);
        }
    }

    /// QEMU's own last words are the cause when it ends instead of answering.
    [[nodiscard]] error refused(error fallback) {
        if (stop_signal::received() != 0)
            return fallback;  // nobody waits for an end that may not come
        auto said = refusal();
        return said ? *std::move(said) : std::move(fallback);
    }

    /// Why QEMU ended by itself, in its words; nothing where it has none but warnings.
    [[nodiscard]] std::optional<error> refusal() {
        const auto line = last_error();
        if (line.empty())
            return std::nullopt;
        const bool memory = line.find("allocate memory") != std::string::npos;
        return plain_error("start the machine of", name_, line,
                           memory ? "lower memory_mib or --jobs" : "");
    }

    /// QEMU's own complaint, when it has ended; empty where it had none.
    [[nodiscard]] std::string last_error() {
        process_.end_within(2000);
        read_errors();
        std::string line;
        for (std::size_t at = 0; at < words_.size();) {
            const auto end = std::min(words_.find('\n', at), words_.size());
            const std::string_view said = std::string_view(words_).substr(at, end - at);
            // A warning is no cause.
            if (said.find("warning:") == std::string_view::npos &&
                (line.empty() || said.find("qemu-system") != std::string_view::npos))
                line = said;
            at = end + 1;
        }
        return line;
    }

    /// The best there is for why it ended or went silent: the kernel's word, the harness's, QEMU's.
    [[nodiscard]] std::string last_words() const {
        if (!watch_.sign_line().empty())
            return watch_.sign_line();
        if (!watch_.harness_line().empty())
            return watch_.harness_line();
        return words_.substr(0, words_.find('\n'));
    }

    /// Ends the machine: asked to quit when `orderly`, killed otherwise or if it takes too long.
    /// Nothing in a guest is worth waiting for once its verdict is known, and a clone leaves nothing
    /// that QEMU would have to put away.
    void end(bool orderly) {
        if (process_.running()) {
            if (orderly && !clone_ && stop_signal::received() == 0)
                (void)qmp_.ask("quit");
            else
                process_.kill_and_reap();
            process_.end_within(5000);
        }
        read_console();
        read_errors();
    }

private:
    running_machine() = default;

    [[nodiscard]] static result<std::unique_ptr<running_machine>> launched(
        const machine_request& request, std::string& command_line) {
        auto made = std::unique_ptr<running_machine>(new running_machine);
        made->name_ = request.name;
        if (auto started = made->launch(request, command_line); !started)
            return std::move(started).error();
        return made;
    }

    /// Lets QEMU load a clone's state, if it has not yet.
    [[nodiscard]] result<void> load() {
        if (!state_)
            return {};
        if (auto left = qmp_.leave_memory_out(); !left)
            return refused(std::move(left).error());
        if (auto passed = qmp_.pass_fd("state", state_.get()); !passed)
            return refused(std::move(passed).error());
        state_.reset();
        if (auto begun = qmp_.ask("migrate-incoming", {{"uri", "fd:state"}}); !begun)
            return state_refused(std::move(begun).error());
        return {};
    }

    [[nodiscard]] error state_refused(error why) {
        refused_state_ = clone_;
        return refused(std::move(why));
    }

    [[nodiscard]] result<wire::resume> first_word() const {
        wire::resume order{.wall_clock_ns = now_ns(CLOCK_REALTIME),
                           .mount_files = mount_files_,
                           .program_size = program_size_,
                           .becomes_template = becomes_template_};
        order.entropy.resize(64);
        // Without it two clones would draw the same numbers.
        if (::getrandom(order.entropy.data(), order.entropy.size(), 0) !=
            static_cast<ssize_t>(order.entropy.size()))
            return system_error("get random bytes for", "a clone");
        return order;
    }

    /// Tells a clone that it runs, over vsock by calling it.
    [[nodiscard]] result<void> say_first_word() {
        auto order = first_word();
        return order ? link_->wake(*order, patience_) : std::move(order).error();
    }

    [[nodiscard]] result<void> launch(const machine_request& request, std::string& command_line) {
        // The thread's id keeps the socket files of machines that run side by side apart.
        auto link =
            host_link::prepare(request.machine.link, request.links, request.private_dir,
                               std::to_string(::gettid()) + '-' + std::to_string(++launches()),
                               !request.state.empty());
        if (!link)
            return std::move(link).error();
        link_ = std::make_unique<host_link>(std::move(*link));
        if (!request.state.empty()) {
            state_ = unique_fd(::open(request.state.c_str(), O_RDONLY | O_CLOEXEC));
            if (!state_)
                return system_error("open a template's state", request.state.string());
            clone_ = true;
            program_size_ = request.program_size;
            mount_files_ = request.mount_files;
            becomes_template_ = request.becomes_template;
        }
        std::array<int, 2> qmp_pair{}, console_pair{}, errors{};
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp_pair.data()) != 0 ||
            ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console_pair.data()) != 0 ||
            ::pipe2(errors.data(), O_CLOEXEC) != 0)
            return system_error("make sockets for", "QEMU");
        unique_fd qmp_guest(qmp_pair[1]), console_guest(console_pair[1]), errors_guest(errors[1]);
        patience_ = std::chrono::seconds(static_cast<int>(60 * request.slowdown));
        qmp_ = host::qmp(unique_fd(qmp_pair[0]), patience_);
        console_ = unique_fd(console_pair[0]);
        errors_ = unique_fd(errors[0]);
        ::fcntl(errors_.get(), F_SETFL, O_NONBLOCK);

        machine_wires wires{.qmp = qmp_guest.get(), .console = console_guest.get()};
        link_->fill(wires);
        host::machine machine = request.machine;
        // KVM takes a page back while it becomes the clone's own, and whatever touches it meanwhile
        // tries again and again. On an emulated host, whose CPUs share one real one, that was nearly all
        // of a clone's start; memory that is the clone's own from the start has no such moment.
        std::vector<std::filesystem::path> copies;
        // QEMU has opened them when it answers.
        const scope_exit unlink_copies([&copies] {
            for (const auto& copy : copies)
                ::unlink(copy.c_str());
        });
        if (machine.boot == host::machine::boot_kind::clone && machine.on_emulated_host &&
            !machine.keeps_memory)
            for (auto& ram : machine.ram) {
                const auto& copy =
                    copies.emplace_back(request.private_dir / ("ram-" + std::to_string(::gettid()) +
                                                               '-' + std::to_string(launches()) +
                                                               '-' + ram.filename().string()));
                if (auto copied = detail::copy_sparse(ram, copy); !copied)
                    return copied;
                ram = copy;
            }
        child_request start;
        start.program = request.qemu;
        start.arguments = qemu_arguments(machine, wires, request.name);
        start.standard_error = errors_guest.get();
        start.cpus = request.process_cpus;
        start.inherited = {wires.qmp, wires.console};
        for (const int fd : {wires.link, wires.vhost})
            if (fd >= 0)
                start.inherited.push_back(fd);
        std::vector<std::string> words{start.program.string()};
        words.insert(words.end(), start.arguments.begin(), start.arguments.end());
        command_line = shell_quoted(words);
        auto process = start_child(start);
        if (!process)
            return std::move(process).error();
        process_ = std::move(*process);
        if (request.frozen)
            ::kill(process_.pid(), SIGSTOP);
        link_->release_guest_end();
        qmp_guest.reset();
        console_guest.reset();
        errors_guest.reset();

        if (auto opened = qmp_.open(); !opened)
            return refused(std::move(opened).error());
        auto vcpus = qmp_.vcpus();
        if (!vcpus)
            return refused(std::move(vcpus).error());
        vcpus_ = std::move(*vcpus);
        // By now QEMU has its memory open. What was taken out of the cache never comes back, but another
        // may stand under its name, made by another build of the program: memory, state and all that is
        // known of the template are of one entry only if this is true.
        if (clone_ &&
            !(detail::is_same_file(state_.get(), request.state) && request.directory &&
              detail::is_same_file(request.directory->get(), request.state.parent_path())))
            return plain_error("use the template", request.state.parent_path().string(),
                               "it was taken out of the cache meanwhile");
        has_steal_ = request.machine.accel == accelerator::kvm && !vcpus_.empty() &&
                     qmp_.has_steal_clock(vcpus_.front());
        return {};
    }

    static int& launches() {
        thread_local int count = 0;
        return count;
    }

    std::string name_;
    std::unique_ptr<host_link> link_;
    host::placed placed_;  // before the process, whose threads must be gone when this goes
    child process_;
    host::qmp qmp_;
    unique_fd console_;
    unique_fd errors_;
    console_watch watch_;
    std::string words_;
    std::string kvm_last_words_;
    std::vector<vcpu_thread> vcpus_;
    unique_fd state_;
    std::uint64_t program_size_ = 0;
    bool mount_files_ = false;
    bool becomes_template_ = false;
    bool clone_ = false;
    std::chrono::milliseconds patience_{};
    int calls_ = 0;
    bool has_steal_ = false;
    bool refused_state_ = false;
};

}  // namespace ktstr::host

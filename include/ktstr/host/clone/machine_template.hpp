// SPDX-License-Identifier: MIT
// Templates: one booted and idle machine for each kind, kept in the cache as its memory (a file for
// each node) and the state of its devices. A clone maps the memory privately and starts where the
// template stopped. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/cli/fault.hpp>
#include <ktstr/host/machine/boot_limit.hpp>
#include <ktstr/host/machine/machine_driver.hpp>
#include <ktstr/host/machine/running_machine.hpp>
#include <ktstr/host/text/utf8.hpp>
#include <ktstr/host/vm/host_tsc.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/host/vm/qemu_args.hpp>
#include <ktstr/host/vm/qemu_binary.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/linux/write_all.hpp>
#include <ktstr/version.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ktstr::host {

struct machine_template {
    std::string key;
    std::string_view kind;                   ///< of the cache
    std::vector<std::filesystem::path> ram;  ///< one file for each node
    std::filesystem::path state;
    std::string program_id;  ///< the test program that booted it, by content
    std::shared_ptr<unique_fd> in_use;
    std::shared_ptr<unique_fd> directory;  ///< see cache_entry
};

/// What a machine saved under KVM depends on besides the CPU: the host's kernel and microcode decide which
/// features a guest really has and what its saved state means. `cpuinfo`: the text of /proc/cpuinfo.
[[nodiscard]] inline std::string kvm_of_host(const ::utsname& kernel, std::string_view cpuinfo) {
    auto text = std::string(kernel.release) + '\n' + kernel.version + '\n';
    if (const auto at = cpuinfo.find("microcode"); at != std::string_view::npos)
        text += cpuinfo.substr(at, cpuinfo.find('\n', at) - at);
    return text;
}

inline const std::string& kvm_of_host() {
    static const std::string known = [] {
        ::utsname kernel{};
        ::uname(&kernel);
        return kvm_of_host(kernel, detail::read_text("/proc/cpuinfo").value_or(""));
    }();
    return known;
}

struct template_request {
    host::machine machine;  ///< as for a cold boot; boot, ram and disks are filled in here
    host::qemu qemu;
    link_facts links;
    std::filesystem::path private_dir;
    std::filesystem::path disk;                 ///< with the current test program
    std::array<std::uint64_t, 2> disk_sizes{};  ///< of the clones' disks, bytes
    std::string program_id;                     ///< of the current test program, by content
    std::string agent_id;                       ///< of its agent; empty: only this program has it
    std::string base_id;                        ///< of the libraries and modules
    std::string kernel_release;                 ///< for people
    std::string host_kvm = kvm_of_host();
    double slowdown = 1;
    std::vector<int> process_cpus = {};  ///< host CPUs it boots on; empty: any
    /// It begins as a clone of this one, and has a scheduler attached when it is saved; absent: it boots.
    std::optional<machine_template> base = {};
    wire::run_test attach = {};        ///< which scheduler, and what it needs
    std::chrono::milliseconds work{};  ///< at most, for what it does before it rests
    int stop_fd = -1;
    injected_faults faults = {};
};

inline constexpr std::string_view template_kind = "templates";
/// Bytes of templates the cache keeps; those used longest ago go first.
inline constexpr std::uint64_t template_cache_limit = std::uint64_t{8} << 30;

namespace detail {

/// What a saved machine depends on in this host's CPU: under KVM its features are the guest's, and
/// under emulation its clock is.
inline const std::string& cpu_of_host() {
    static const std::string known = [] {
        std::ifstream in("/proc/cpuinfo");
        std::string text;
        for (std::string line; std::getline(in, line) && !line.empty();)
            for (const char* field : {"vendor_id", "cpu family", "model", "stepping", "flags"})
                if (line.starts_with(field))
                    text += line + '\n';
        return text;
    }();
    return known;
}

inline result<void> add_file(content_hash& hash, const std::filesystem::path& path) {
    const auto identity = identity_of(path);
    if (!identity)
        return identity.error();
    hash.add(std::string_view(path.native()));
    identity->add_to(hash);
    return {};
}

}  // namespace detail

/// Names a kind of machine: whatever changes it changes the key, and nothing that does not does. The
/// test program is not in it; its libraries are, and the agent, which stays that of the template.
[[nodiscard]] inline result<std::string> template_key(const template_request& request) {
    const auto& m = request.machine;
    content_hash hash;
    hash.add(std::string_view("ktstr template 2")).add(std::string_view(version));
    hash.add(wire::protocol_version);
    hash.add(std::string_view(request.agent_id.empty() ? request.program_id : request.agent_id));
    for (const auto& file : {m.kernel, request.qemu.path})
        if (auto added = detail::add_file(hash, file); !added)
            return added.error();
    hash.add(std::string_view(request.qemu.version_text));
    // The measured clock rate and the port differ from run to run, and a clone does not see them.
    auto plain = m;
    plain.tsc_khz.reset();
    plain.initrd.clear();
    plain.disks.clear();
    plain.boot = machine::boot_kind::cold;
    for (const auto& word : qemu_arguments(plain, {}, "template"))
        hash.add(std::string_view(word));
    hash.add(std::string_view(request.base_id));
    for (const auto size : request.disk_sizes)
        hash.add(size);
    hash.add(std::string_view(detail::cpu_of_host()));
    if (m.accel == accelerator::kvm)
        hash.add(std::string_view(request.host_kvm));
    return hash.hex();
}

/// A kind of machine in words, for `ktstr cache`.
[[nodiscard]] inline std::string about_template(const template_request& request) {
    const auto& m = request.machine;
    std::string text(to_text(m.topology));
    text += ", " + std::to_string(m.memory_mib) + " MiB, " + std::string(to_text(m.accel)) +
            ", kernel " +
            (request.kernel_release.empty() ? m.kernel.string() : request.kernel_release) + ", " +
            std::string(to_text(m.link)) + (m.nested_virtualization ? ", around nested runs" : "");
    for (const auto& word : m.kernel_args)
        text += ", " + word;
    return text;
}

/// Of one whose scheduler never lets it.
inline constexpr std::string_view never_rests = "it did not come to rest";

namespace detail {

/// Boots the machine, waits until it says that it rests, and saves it. A machine whose kernel complained
/// is no template: its clones would begin behind the complaint and never show it.
class template_boot final : machine_pilot {
public:
    template_boot(const template_request& request, const machine& made)
        : request_(request), machine_(made) {}

    [[nodiscard]] result<void> run(const std::filesystem::path& state) {
        std::string command_line;
        auto started = running_machine::start(
            {.machine = machine_,
             .qemu = request_.qemu.path,
             .links = request_.links,
             .private_dir = request_.private_dir,
             .name = std::string(name()),
             .process_cpus = request_.process_cpus,
             .state = attaches() ? request_.base->state : std::filesystem::path(),
             .directory = attaches() ? request_.base->directory : nullptr,
             .mount_files = attaches(),
             .becomes_template = attaches(),
             .slowdown = request_.slowdown,
             .frozen = request_.faults.has(fault::freeze_qemu_at_start, name())},
            command_line);
        if (!started)
            return std::move(started).error();
        vm_ = std::move(*started);
        if (auto going = vm_->go(); !going)
            return going;
        limit_ = request_.faults.boot_limit(name()).value_or(
            boot_limit(machine_.accel, machine_.topology.total_cpus(), request_.slowdown) +
            request_.work);
        deadline_ = clock::now() + limit_;
        state_path_ = state;
        machine_driver driver(*vm_, request_.stop_fd);
        driver_ = &driver;
        driver.disturb(request_.faults, name(), machine_driver::moment::boot);
        driver.run(*this);
        vm_->end(saved_);
        console();
        if (refused_)
            return plain_error(attaches() ? "make a template with " +
                                                request_.attach.scheduler_name + " attached, of"
                                          : "boot a template of",
                               std::string(to_text(machine_.topology)), *refused_);
        if (failed_)
            return *std::move(failed_);
        return {};
    }

    /// Who still wanted a CPU when it was saved; empty: it was at rest.
    [[nodiscard]] const std::string& busy() const noexcept { return busy_; }

private:
    [[nodiscard]] bool attaches() const { return request_.base.has_value(); }
    /// In process lists, and for faults that are to strike it.
    [[nodiscard]] std::string_view name() const {
        return attaches() ? "attached-template" : "template";
    }

    [[nodiscard]] bool done() const override { return saved_ || refused_ || failed_; }
    [[nodiscard]] clock::time_point wake() const override { return deadline_; }

    void refuse(std::string why) {
        if (refused_)
            return;
        const auto words = vm_->last_words();
        refuse_with(std::move(why) + (words.empty() ? "" : ": ") + words);
    }
    /// Where nobody's last words say more.
    void refuse_with(std::string why) {
        if (!refused_)
            refused_ = std::move(why);
    }

    void tick() override {
        if (rested_ && !saving_)
            save();
        if (done() || clock::now() < deadline_)
            return;
        if (saving_)
            refuse("it did not save its state in " + std::to_string(limit_.count() / 1000) + " s");
        else if (closed_)
            refuse("it closed its link and did not end");
        else
            refuse(
                (proved_ ? "it came up, and did not come to rest in " : "it did not come up in ") +
                std::to_string(limit_.count() / 1000) + " s");
    }

    void frame(const wire::frame& f) override {
        if (f.type == wire::message_type::template_booted) {
            const auto booted = wire::decode<wire::template_booted>(f.payload);
            if (!booted || booted->version != wire::protocol_version)
                return refuse("it speaks protocol " +
                              (booted ? std::to_string(booted->version) : "?") +
                              " and this program speaks " + std::to_string(wire::protocol_version));
            booted_ = true;
            if (attaches()) {
                proved_ = true;  // what it is a clone of was
                vm_->link().send(request_.attach);
            }
        } else if (!booted_) {
            refuse("it sent something before it said that it had booted");
        } else if (f.type == wire::message_type::topology_proof) {
            const auto proof = wire::decode<wire::topology_proof>(f.payload);
            proved_ = proof && proof->matches;
            if (!proved_)
                refuse("it is another machine: " + (proof ? proof->difference : std::string("?")));
        } else if (f.type == wire::message_type::settled) {
            const auto settled = wire::decode<wire::settled>(f.payload);
            if (!settled || !proved_)
                return refuse("it did not prove its topology");
            if (!settled->fault.empty())
                return refuse_with(valid_utf8(settled->fault.substr(0, 1000)));
            // A clone of the other kind is busy for a moment. This scheduler would be for ever, and each test
            // would begin at another point of what it does.
            if (attaches() && !settled->busy.empty())
                return refuse_with(std::string(never_rests) + ": " +
                                   valid_utf8(settled->busy.substr(0, 300)));
            rested_ = true;
            busy_ = settled->busy.substr(0, 300);
        } else {
            refuse("it sent a message that no template may send");
        }
    }

    void link_broken(const std::string& what) override { refuse("it sent " + what); }
    void link_closed(const std::string&) override {
        // The end of the process or the console's last words come next and say more.
        closed_ = true;
        deadline_ = std::min(deadline_, clock::now() + std::chrono::seconds(10));
    }
    void console() override {
        if (vm_->console().sign())
            refuse("its kernel is not well");
        // Each test under the scheduler has to hear that, and a clone never would.
        else if (const auto& warned = vm_->console().warning_line(); attaches() && !warned.empty())
            refuse_with("its kernel warned: " + warned);
    }
    void kvm_died() override { refuse("KVM died under it: " + vm_->kvm_last_words()); }
    void ended(std::optional<int> status) override {
        refuse(status && WIFSIGNALED(*status) ? "QEMU " + exit_text(*status) : "it ended");
    }
    void device_ended() override { refuse("vhost-device-vsock ended"); }
    void stopped() override { refuse("interrupted"); }

    /// A machine that is being saved is watched as before: QEMU may end or stand still, and a user has
    /// no more patience than before.
    void save() {
        saving_ = true;
        limit_ = request_.faults.save_limit(name()).value_or(std::chrono::milliseconds(
            static_cast<std::int64_t>(60'000 * std::max(request_.slowdown, 1.0))));
        deadline_ = clock::now() + limit_;
        if (auto begun = begin_save(); !begun)
            return fail(std::move(begun).error());
        driver_->watch(stream_.get());
        driver_->disturb(request_.faults, name(), machine_driver::moment::save);
    }

    [[nodiscard]] result<void> begin_save() {
        // Over vsock the guest keeps no connection across the save; over serial the port stays.
        if (machine_.link == link_kind::vhost_vsock)
            vm_->link().close();
        // Not stopped first: QEMU stops it for the save, and a machine that was saved as running runs
        // as soon as its state is loaded.
        auto& qmp = vm_->qmp();
        if (auto left = qmp.leave_memory_out(); !left)
            return left;
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0)
            return system_error("make a pipe for", "a template's state");
        stream_ = unique_fd(ends[0]);
        unique_fd to(ends[1]);
        state_ =
            unique_fd(::open(state_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
        if (!state_)
            return cache_error("create", state_path_);
        if (auto passed = qmp.pass_fd("state", to.get()); !passed)
            return passed;
        to.reset();
        if (auto begun = qmp.ask("migrate", {{"uri", "fd:state"}}); !begun)
            return std::move(begun).error();
        return {};
    }

    /// A piece of the state.
    void input() override {
        char chunk[65536];
        const auto n = ::read(stream_.get(), chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            return;
        if (n < 0)
            return fail(system_error("read", "a template's state"));
        if (n > 0) {
            if (!write_all(state_.get(), {chunk, static_cast<std::size_t>(n)}))
                fail(cache_error("write", state_path_));
            return;
        }
        // The stream has ended; QEMU's own word that nothing was missing follows.
        driver_->watch(-1);
        if (auto whole = vm_->qmp().wait_until_saved(); !whole)
            return fail(std::move(whole).error());
        saved_ = true;
    }

    /// The save came to nothing. Of a QEMU that is gone the end of its process says more, and comes next.
    void fail(error why) {
        if (vm_->qmp().closed() && vm_->process().running())
            return driver_->watch(-1);
        failed_ = std::move(why);
    }

    const template_request& request_;
    const machine& machine_;
    std::unique_ptr<running_machine> vm_;
    std::chrono::milliseconds limit_{};
    clock::time_point deadline_{};
    std::string busy_;
    std::optional<std::string> refused_;
    std::optional<error> failed_;
    std::filesystem::path state_path_;
    unique_fd stream_, state_;          ///< where a save comes from, and goes
    machine_driver* driver_ = nullptr;  ///< while it runs
    bool saving_ = false;
    bool saved_ = false;
    bool rested_ = false;
    bool booted_ = false;
    bool proved_ = false;
    bool closed_ = false;
};

inline std::string ram_name(int node) {
    return "ram" + std::to_string(node);
}

/// An entry of the cache as a template.
inline machine_template template_in(const cache_entry& entry, const std::string& key,
                                    std::string_view kind, int nodes) {
    machine_template ready;
    ready.key = key;
    ready.kind = kind;
    ready.state = entry.path / "state";
    ready.program_id = read_text(entry.path / "program").value_or("");
    for (int node = 0; node < nodes; ++node)
        ready.ram.push_back(entry.path / ram_name(node));
    ready.in_use = entry.in_use;
    ready.directory = entry.directory;
    return ready;
}

}  // namespace detail

/// The template for a kind of machine, from the cache or freshly booted. `key` is the request's
/// template_key(). `boot_image` gives the initramfs and is asked only when a boot is due.
[[nodiscard]] inline result<machine_template> obtain_template(
    const cache& in, const std::string& key, const template_request& request,
    const progress_callback& progress,
    const std::function<result<std::filesystem::path>()>& boot_image, std::uint64_t cache_limit) {
    const int nodes = request.machine.topology.numa_nodes;
    cache::make_options options;
    options.what = "the template of " + std::string(to_text(request.machine.topology));
    options.progress = progress;
    options.durable = false;
    options.check_every_time = [](std::string_view file) { return file == "state"; };
    bool made = false;
    const auto entry = in.obtain(
        template_kind, key, options, [&](const std::filesystem::path& directory) -> result<void> {
            made = true;
            auto initrd = boot_image();
            if (!initrd)
                return std::move(initrd).error();
            auto m = request.machine;
            m.boot = machine::boot_kind::as_template;
            m.initrd = std::move(*initrd);
            if (m.accel == accelerator::tcg)
                m.tsc_khz = host_tsc_khz();
            for (int node = 0; node < nodes; ++node)
                m.ram.push_back(directory / detail::ram_name(node));
            // As large as the clones' and never read, but for a look for partitions.
            const auto files = request.private_dir / ("disk-" + key);
            const unique_fd disk(
                ::open(files.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
            if (!disk || ::ftruncate(disk.get(), static_cast<off_t>(request.disk_sizes[1])) != 0)
                return system_error("make the disk of", "a template");
            m.disks = {request.disk, files};
            if (auto written = detail::write_text(directory / "program", request.program_id);
                !written)
                return written;
            detail::template_boot boot(request, m);
            if (auto saved = boot.run(directory / "state"); !saved)
                return saved;
            const auto now = template_key(request);
            if (!now)
                return now.error();
            if (*now != key)
                return plain_error("make", options.what, "its kernel or QEMU changed meanwhile",
                                   "run again");
            if (!boot.busy().empty() && progress)
                progress(
                    "the template of " + std::string(to_text(m.topology)) +
                    " was still busy when it was saved, and so are its clones: " + boot.busy());
            return detail::write_text(
                directory / "about",
                about_template(request) + (boot.busy().empty() ? "" : ", busy"));
        });
    if (!entry)
        return entry.error();
    if (made)
        in.evict(template_kind, cache_limit);
    return detail::template_in(*entry, key, template_kind, nodes);
}

}  // namespace ktstr::host

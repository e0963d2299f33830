// SPDX-License-Identifier: MIT
// Where the clones of one run come from: for each cell its template, the disk with its files, and the
// program that runs in it.
// Each kind of machine is asked for once in a run; whoever needs one that is being booted waits for it,
// and tests with another go on meanwhile. Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cell/scheduler_order.hpp>
#include <ktstr/host/clone/attached_template.hpp>
#include <ktstr/host/clone/machine_template.hpp>
#include <ktstr/host/clone/payload.hpp>
#include <ktstr/host/machine/boot_limit.hpp>
#include <ktstr/host/setup/build_machine.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

class clone_sources {
public:
    struct clone {
        /// Absent: it boots cold. Without memory as long as it is only planned.
        std::optional<host::machine> machine;
        host::cell cell;
        machine_parts parts;
        machine_template source;
        payload files;
        std::uint64_t program_size = 0;  ///< see wire::resume
        std::string why_cold;            ///< empty when it was asked for
        /// What of the test's order a template carries out that has its scheduler attached; absent: the
        /// test attaches it, or has none.
        std::optional<wire::run_test> attach;
        bool attached = false;     ///< `source` has it attached
        std::string why_attaches;  ///< why not, where it should; may be empty
    };

    clone_sources(const run_setup& setup, std::filesystem::path private_dir, int stop_fd,
                  progress_callback say, injected_faults faults = {})
        : setup_(setup),
          cache_(setup.host.cache_root),
          private_dir_(std::move(private_dir)),
          stop_fd_(stop_fd),
          say_(std::move(say)),
          faults_(std::move(faults)) {}

    /// The cells of the run. A template with a scheduler attached is made for more than one test. `repeated`:
    /// each is.
    void expect(const cell_list& cells, bool repeated) {
        for (const auto& one : cells)
            if (may_come_attached(one))
                expected_[attached_like(one)] += repeated ? 2 : 1;
    }

    /// The machine of a cell as a clone, or why it can't be one. It has no template yet, see attach().
    [[nodiscard]] clone plan_for(const cell& one, accelerator accel) {
        const auto& spec = one.spec();
        if (const auto& why = setup_.kernel_of(one).why_cold; !why.empty())
            return cold(why == "--no-clone" ? std::string{} : why);
        if (spec.no_clone)
            return cold("the test asks for it (no_clone)");
        if (faults_.has(fault::wrong_topology, one.name))
            return cold("a wrong topology is to be seen");
        if (spec.performance_mode)
            return cold("performance_mode has memory of its own");
        auto files = payload_for(one);
        if (!files)
            return cold(files.error().message());
        clone made;
        made.cell = one;
        made.parts = {.accel = accel,
                      .disks = {files->program, files->files},
                      .unpacked_size = files->unpacked};
        made.machine = build_machine(setup_, one, made.parts);
        made.files = std::move(*files);
        if (may_come_attached(one))
            order_scheduler(one, made.attach.emplace());
        return made;
    }

    /// Gives a planned clone its template, which is booted now if there is none: call it with the
    /// machine's CPUs and memory reserved. False, and why_cold, when there can be none.
    [[nodiscard]] bool attach(clone& planned) {
        std::optional<result<machine_template>> plain;
        if (planned.attach)
            if (auto source = attached_for(planned, plain)) {
                if (*source) {
                    planned.attached = true;
                    attach(planned, std::move(**source));
                    return true;
                }
                planned.why_attaches = (*source).error().message();
            }
        auto source = plain ? *std::move(plain) : template_for(planned);
        if (!source) {
            planned = cold(source.error().message());
            return false;
        }
        attach(planned, std::move(*source));
        return true;
    }

    /// As attach(), but only with a template that this run has had before: nothing is booted or looked
    /// up.
    [[nodiscard]] bool attach_known(clone& planned) {
        const auto key = template_key(request_for(planned));
        if (!key)
            return false;
        if (planned.attach && attach_known(planned, attached_key_of(planned, *key))) {
            planned.attached = true;
            return true;
        }
        return attach_known(planned, *key);
    }

    /// A test has attached its scheduler: the next one that wants the same finds a template worth its while.
    void was_attached(const clone& done) {
        const auto plain =
            done.attach ? template_key(request_for(done)) : result<std::string>(std::string());
        if (!done.attach || done.attached || !plain)
            return;
        const auto key = attached_key_of(done, *plain);
        if (!attached_before(cache_, key))
            remember_attached(cache_, key, {}, about_attached(attached_request(done)));
    }

    /// Takes a template out of the cache whose scheduler was gone when a clone woke: the next tests attach
    /// theirs. Returns what was done, in words.
    [[nodiscard]] std::string distrust_attached(clone& lost, const std::string& what) {
        return set_aside(
            lost,
            plain_error("use the template with", lost.attach->scheduler_name,
                        "in an earlier test of this run its scheduler had ended (" + what + ")"));
    }

    /// Takes a template that did not wake out of the cache, for other runs to make another. In this run
    /// its kind of machine boots from now on: what kept one clone from waking may be this host, and then
    /// every test would wait for the next one too. Returns what was done, in words.
    [[nodiscard]] std::string distrust(clone& broken, const std::string& what) {
        return set_aside(
            broken, plain_error("clone", std::string(to_text(broken.machine->topology)),
                                "an earlier clone of this run did not come up (" + what + ")"));
    }

    /// Leaves a template alone whose clone was never let go: nothing is known against it. One that others
    /// have taken out of the cache meanwhile is asked for anew. Returns what was done, in words.
    [[nodiscard]] std::string trust(const clone& unstarted) {
        const auto key = unstarted.source.key;
        if (detail::is_same_file(unstarted.source.directory->get(),
                                 cache_.entry_path(unstarted.source.kind, key)))
            return "its template stays";
        if (const auto there = slot_of(key)) {
            const std::lock_guard lock(there->making);
            if (there->made && *there->made &&
                (*there->made)->directory == unstarted.source.directory)
                there->made.reset();
        }
        return "its template is not there any more";
    }

private:
    struct slot {
        std::mutex making;
        std::optional<result<machine_template>> made;
    };

    /// Whether it may: it is no wish of the test's own, and a machine in an emulated one has little room.
    [[nodiscard]] bool may_come_attached(const cell& one) const {
        return one.has_machine() && one.scheduler->has_program() && !one.spec().fresh_scheduler &&
               setup_.host.slowdown <= 1;
    }

    /// Cells with one text for this have one template, as far as can be seen without looking at files.
    [[nodiscard]] static std::string attached_like(const cell& one) {
        auto text = std::string(to_text(one.topology)) + ' ' + std::to_string(one.kernel) + ' ' +
                    std::to_string(one.spec().memory_mib.value_or(0));
        for (const scheduler* under : one.its_schedulers())
            text += ' ' + std::to_string(reinterpret_cast<std::uintptr_t>(under));
        for (const auto& word : one.spec().kernel_args)
            text.append(1, '\0').append(word);
        text.append(1, '\0');
        for (const auto& word : one.spec().scheduler_args)
            text.append(1, '\0').append(word);
        return text;
    }

    [[nodiscard]] static std::string attached_key_of(const clone& planned, std::string_view plain) {
        return attached_key(plain, planned.files.files_id, planned.files.loader, *planned.attach);
    }

    [[nodiscard]] std::string set_aside(clone& broken, error why) {
        const auto key = broken.source.key;
        const auto there = slot_of(key);
        const auto gone = cache_.set_aside(broken.source.kind, key, *broken.source.directory);
        broken.source.in_use.reset();
        if (there) {
            const std::lock_guard lock(there->making);
            there->made = std::move(why);
        }
        if (!gone)
            return "its template stays, and is not used any more in this run: " +
                   gone.error().message();
        return *gone ? "its template is taken out of the cache, and not used any more in this run"
                     : "its template has been taken out of the cache before";
    }

    [[nodiscard]] std::shared_ptr<slot> slot_of(const std::string& key) {
        const std::lock_guard lock(mutex_);
        const auto found = slots_.find(key);
        return found != slots_.end() ? found->second : nullptr;
    }

    [[nodiscard]] std::shared_ptr<slot> slot_for(const std::string& key) {
        const std::lock_guard lock(mutex_);
        auto& there = slots_[key];
        if (!there)
            there = std::make_shared<slot>();
        return there;
    }

    [[nodiscard]] bool attach_known(clone& planned, const std::string& key) {
        const auto there = slot_of(key);
        if (!there)
            return false;
        const std::unique_lock lock(there->making, std::try_to_lock);
        if (!lock || !there->made || !*there->made)
            return false;
        attach(planned, **there->made);
        return true;
    }

    /// Where a template boots. All CPUs of an emulated host share one real CPU: a vCPU that spins while
    /// it waits for another one takes the time that the other needs. On two of them the host's own
    /// scheduler lets them take turns.
    [[nodiscard]] std::vector<int> template_cpus() const {
        const auto& cpus = setup_.host.cpus;
        if (setup_.host.slowdown <= 1)
            return {};
        return {cpus.begin(), cpus.begin() + std::min<std::ptrdiff_t>(2, std::ssize(cpus))};
    }

    [[nodiscard]] template_request request_for(const clone& planned) const {
        auto booted = *planned.machine;
        booted.boot = machine::boot_kind::cold;
        booted.disks.clear();
        return {.machine = std::move(booted),
                .qemu = setup_.host.qemu,
                .links = setup_.host.links,
                .private_dir = private_dir_,
                .disk = planned.files.program,
                .disk_sizes = planned.files.sizes,
                .program_id = setup_.host.program.id(),
                .agent_id = setup_.host.agent_id,
                .base_id = planned.files.base_id,
                .kernel_release = setup_.kernel_of(planned.cell).kernel.release,
                .slowdown = setup_.host.slowdown,
                .process_cpus = template_cpus(),
                .stop_fd = stop_fd_,
                .faults = faults_};
    }

    void attach(clone& planned, machine_template source) const {
        planned.parts.ram = source.ram;
        planned.machine = build_machine(setup_, planned.cell, planned.parts);
        planned.source = std::move(source);
        planned.program_size = planned.source.program_id == setup_.host.program.id()
                                   ? 0
                                   : setup_.host.program.bytes().size();
    }

    static clone cold(std::string why) {
        clone none;
        none.why_cold = std::move(why);
        return none;
    }

    [[nodiscard]] result<payload> payload_for(const cell& one) {
        const auto& its = setup_.kernel_of(one);
        auto input = guest_files(setup_.host, its.kernel, its.template_modules, one);
        if (!input)
            return std::move(input).error();
        auto name = std::to_string(one.kernel);
        // Two definitions may share a name and a program, and not the files: each is an object of its own.
        for (const scheduler* under : one.its_schedulers())
            if (under->has_program() || under->files.size() > 0)
                name += ' ' + std::to_string(reinterpret_cast<std::uintptr_t>(under));
        for (const auto& program : input->programs)
            name += ' ' + program.host_path.string();
        const std::lock_guard lock(mutex_);
        if (const auto known = payloads_.find(name); known != payloads_.end())
            return known->second;
        auto built = build_payload(cache_, *input, say_);
        if (built)
            payloads_.emplace(std::move(name), *built);
        return built;
    }

    [[nodiscard]] result<machine_template> template_for(const clone& planned) {
        const auto request = request_for(planned);
        auto key = template_key(request);
        if (!key)
            return std::move(key).error();
        const auto mine = slot_for(*key);
        const std::lock_guard lock(mine->making);
        const bool asked_before = mine->made.has_value();
        if (!asked_before) {
            initramfs archive;
            mine->made = obtain_template(
                cache_, *key, request, say_,
                [&]() -> result<std::filesystem::path> {
                    if (say_)
                        say_("booting a template of " +
                             std::string(ktstr::to_text(request.machine.topology)) +
                             ", once; its clones start at once");
                    const auto& its = setup_.kernel_of(planned.cell);
                    const auto input = base_files(setup_.host, its.kernel, its.template_modules);
                    auto built = build_initramfs(input, say_);
                    if (!built)
                        return std::move(built).error();
                    if (built->base_id != request.base_id)
                        return plain_error(
                            "boot a template with", setup_.host.program.path().string(),
                            "its libraries or modules changed meanwhile", "run again");
                    archive = std::move(*built);
                    return archive.path;
                },
                template_cache_limit);
        }
        if (asked_before && !*mine->made) {
            auto known = mine->made->error();
            known.reason += "; it is not tried again in this run";
            return known;
        }
        return *mine->made;
    }

    [[nodiscard]] template_request attached_request(const clone& planned) const {
        auto request = request_for(planned);
        request.machine.disks = {planned.files.program, planned.files.files};
        request.attach = *planned.attach;
        request.attach.topology = to_text(request.machine.topology);
        // The guest ends its wait and says why, before its host would.
        const auto limit = boot_limit(request.machine.accel, request.machine.topology.total_cpus(),
                                      request.slowdown);
        request.attach.timeout_ms = static_cast<std::uint64_t>(limit.count()) / 4;
        return request;
    }

    /// The template with the clone's scheduler attached. Nothing: it does not pay, or there is no plain one;
    /// an error: why there can't be one. `plain`: that one, where it was asked for.
    [[nodiscard]] std::optional<result<machine_template>> attached_for(
        const clone& planned, std::optional<result<machine_template>>& plain) {
        const auto plain_key = template_key(request_for(planned));
        if (!plain_key)
            return std::nullopt;
        const auto key = attached_key_of(planned, *plain_key);
        const auto mine = slot_for(key);
        const std::lock_guard lock(mine->making);
        if (mine->made)
            return *mine->made;
        const bool there = cache_.find(attached_kind, key).has_value();
        const auto before = there ? std::nullopt : attached_before(cache_, key);
        if (before && !before->empty())
            mine->made = plain_error("attach", planned.attach->scheduler_name + " in a template",
                                     *before + " (in an earlier run)");
        if (mine->made)
            return *mine->made;
        if (!there && !before && expected_[attached_like(planned.cell)] < 2)
            return std::nullopt;
        if (!there && !(plain = template_for(planned))->has_value())
            return std::nullopt;
        const auto request = attached_request(planned);
        if (!there && say_)
            say_("attaching " + request.attach.scheduler_name + " in a template of " +
                 std::string(to_text(request.machine.topology)) +
                 ", once; the tests under it find it attached");
        mine->made = obtain_attached(
            cache_, key, request, say_, [&] { return template_for(planned); },
            attached_cache_limit);
        if (!*mine->made && mine->made->error().reason.find(never_rests) != std::string::npos)
            remember_attached(cache_, key, mine->made->error().reason, about_attached(request));
        return *mine->made;
    }

    const run_setup& setup_;
    cache cache_;
    std::filesystem::path private_dir_;
    int stop_fd_;
    progress_callback say_;
    injected_faults faults_;
    std::mutex mutex_;
    std::map<std::string, payload> payloads_;
    std::map<std::string, int> expected_;  ///< attempts of this run, see attached_like()
    std::map<std::string, std::shared_ptr<slot>> slots_;
};

}  // namespace ktstr::host

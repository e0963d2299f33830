// SPDX-License-Identifier: MIT
// A test's part of the host: CPUs, LLCs and memory, agreed on with every other ktstr program here by
// lock files. All or nothing; first come, first served within this process; a wait ends with the
// holder's release or death, which the lock files tell. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/reserve/cpu_plan.hpp>
#include <ktstr/host/reserve/host_memory.hpp>
#include <ktstr/host/reserve/host_topology.hpp>
#include <ktstr/host/reserve/lock_directory.hpp>
#include <ktstr/host/reserve/lock_holders.hpp>
#include <ktstr/topology/topology.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace ktstr::host {

/// What one test needs of the host.
struct reserve_request {
    std::string test;
    std::size_t cpus = 1;  ///< shared LLCs, own CPUs; cut to what this run may use
    std::optional<ktstr::topology> dedicated = {};  ///< performance mode, for this machine
    int memory_mib = 0;                             ///< of the machine; 0: there is none
};

struct reserve_settings {
    std::filesystem::path lock_dir = "/tmp";
    host_topology host;
    std::size_t cpu_cap = std::numeric_limits<std::size_t>::max();  ///< CPUs at a time, in all
    int stop_fd = -1;  ///< readable when waiting should end
    /// One line when somebody waits for long. Called without a lock held.
    std::function<void(const std::string& test, const std::string& text)> waiting = {};
    std::function<std::optional<std::int64_t>()> available_memory = [] {
        return available_memory_mib();
    };
    std::chrono::milliseconds patience = std::chrono::seconds(1);  ///< before `waiting` is called
    std::chrono::milliseconds longest_pause =
        std::chrono::seconds(1);  ///< between looks unasked for
};

class reservations {
    struct held {
        reservations* from = nullptr;
        cpu_plan plan;
        int memory_mib = 0;
    };

public:
    /// One test's part, until its end.
    class reservation {
    public:
        reservation() = default;
        explicit reservation(held mine) : mine_(std::move(mine)) {}
        reservation(reservation&& other) noexcept : mine_(std::move(other.mine_)) {
            other.mine_.from = nullptr;
        }
        reservation& operator=(reservation&& other) noexcept {
            if (this != &other) {
                release();
                mine_ = std::move(other.mine_);
                other.mine_.from = nullptr;
            }
            return *this;
        }
        ~reservation() { release(); }

        [[nodiscard]] const cpu_plan& plan() const noexcept { return mine_.plan; }
        [[nodiscard]] const std::vector<int>& cpus() const noexcept { return mine_.plan.cpus; }
        void release() {
            if (auto* from = std::exchange(mine_.from, nullptr))
                from->leave(mine_);
        }

    private:
        held mine_;
    };

    /// Opens the lock files of the CPUs and LLCs that this run may use.
    [[nodiscard]] static result<std::unique_ptr<reservations>> open(reserve_settings settings) {
        auto made = std::unique_ptr<reservations>(new reservations(std::move(settings)));
        auto directory = lock_directory::open(made->settings_.lock_dir);
        if (!directory)
            return std::move(directory).error();
        made->directory_.emplace(std::move(*directory));
        if (auto opened = made->open_files(); !opened)
            return std::move(opened).error();
        return made;
    }

    /// CPUs that one test can have at most.
    [[nodiscard]] std::size_t capacity() const {
        return std::min(settings_.cpu_cap, settings_.host.cpus.size());
    }
    [[nodiscard]] const host_topology& host() const noexcept { return settings_.host; }

    /// Waits for a test's part of the host. Nothing: the run was told to stop meanwhile.
    [[nodiscard]] result<std::optional<reservation>> enter(const reserve_request& request) {
        waiter me;
        me.wake = unique_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!me.wake)
            return system_error("wait for the CPUs of", request.test);
        {
            const std::lock_guard lock(mutex_);
            queue_.push_back(&me);
        }
        auto end = wait_for(request, me);
        {
            const std::lock_guard lock(mutex_);
            std::erase(queue_, &me);
            wake_first();
        }
        return end;
    }

private:
    struct waiter {
        unique_fd wake;
    };
    struct cpu_lock {
        host_lock file;
        bool mine = false;
    };
    struct llc_lock {
        host_lock file;
        int users = 0;
        bool exclusive = false;
    };
    /// Why an attempt got nothing.
    struct obstacle {
        std::vector<const host_lock*> others;  ///< locks that another process holds
        std::string memory;                    ///< or memory
        bool choosing = false;                 ///< somebody is choosing just now
    };
    struct attempt_result {
        std::optional<held> got;
        obstacle why;
    };

    explicit reservations(reserve_settings settings) : settings_(std::move(settings)) {}

    [[nodiscard]] result<void> open_files() {
        auto choosing = directory_->lock(std::string(choosing_lock_name));
        if (!choosing)
            return std::move(choosing).error();
        choosing_ = std::move(*choosing);
        for (const auto& c : settings_.host.cpus) {
            auto file = directory_->lock(cpu_lock_name(c.cpu));
            if (!file)
                return std::move(file).error();
            cpus_[c.cpu].file = std::move(*file);
        }
        for (const int llc : settings_.host.llcs()) {
            auto file = directory_->lock(llc_lock_name(llc));
            if (!file)
                return std::move(file).error();
            llcs_[llc].file = std::move(*file);
        }
        return {};
    }

    // ---- waiting ------------------------------------------------------------------------------

    [[nodiscard]] result<std::optional<reservation>> wait_for(const reserve_request& request,
                                                              waiter& me) {
        using clock = std::chrono::steady_clock;
        using std::chrono::milliseconds;
        // Events wake a waiter. The pauses are for what tells no event: memory that becomes free,
        // the instant between a holder's death and its lock's, a file that can't be watched.
        const std::array pauses{milliseconds(10), milliseconds(50), milliseconds(200),
                                settings_.longest_pause};
        const auto begun = clock::now();
        std::size_t pause = 0;
        bool told = false;
        unique_fd watch;
        for (;;) {
            obstacle why;
            bool first = false;
            std::string line;
            {
                const std::lock_guard lock(mutex_);
                first = queue_.front() == &me;
                if (first) {
                    auto tried = attempt(request);
                    if (!tried)
                        return std::move(tried).error();
                    if (tried->got)
                        return std::optional(reservation(std::move(*tried->got)));
                    why = std::move(tried->why);
                    if (!watch) {
                        // From now on nothing can be missed, so look once more.
                        watch = watch_files();
                        if (watch)
                            continue;
                    }
                    if (!told && clock::now() - begun >= settings_.patience)
                        line = text_of(request, why);
                }
            }
            if (!line.empty()) {
                told = true;
                if (settings_.waiting)
                    settings_.waiting(request.test, line);
            }
            std::array<pollfd, 3> fds{{{settings_.stop_fd, POLLIN, 0},
                                       {me.wake.get(), POLLIN, 0},
                                       {first ? watch.get() : -1, POLLIN, 0}}};
            if (why.choosing)
                pause = 0;
            const auto limit = first ? static_cast<int>(pauses[pause].count()) : -1;
            if (::poll(fds.data(), fds.size(), limit) < 0 && errno != EINTR)
                return system_error("wait for the CPUs of", request.test);
            if (fds[0].revents != 0)
                return std::optional<reservation>{};
            pause = std::min(pause + 1, pauses.size() - 1);
            if (drain(fds[1]) || drain(fds[2]))
                pause = 0;
        }
    }

    static bool drain(const pollfd& from) {
        if (from.revents == 0)
            return false;
        char bytes[4096];
        while (::read(from.fd, bytes, sizeof bytes) > 0) {
        }
        return true;
    }

    /// One descriptor that becomes readable when somebody gives a lock back or dies with it.
    [[nodiscard]] unique_fd watch_files() const {
        unique_fd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
        const auto add = [&watch](const host_lock& file) {
            ::inotify_add_watch(watch.get(), file.path().c_str(),
                                IN_ATTRIB | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_DONT_FOLLOW);
        };
        if (watch) {
            for (const auto& [cpu, lock] : cpus_)
                add(lock.file);
            for (const auto& [llc, lock] : llcs_)
                add(lock.file);
        }
        return watch;
    }

    void wake_first() {
        if (queue_.empty())
            return;
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto n = ::write(queue_.front()->wake.get(), &one, sizeof one);
    }

    [[nodiscard]] std::string text_of(const reserve_request& request, const obstacle& why) const {
        if (!why.memory.empty())
            return "waiting for memory: " + why.memory;
        if (why.others.empty())
            return {};                      // this run's own tests, which everybody sees
        std::map<int, std::string> by_pid;  // "my_tests (pid 12) for two_llcs, smt"
        bool unknown = false;
        for (const auto* file : why.others) {
            const auto holders = holders_of(*file);
            unknown = unknown || holders.empty();
            for (const auto& holder : holders) {
                if (holder.pid == ::getpid())
                    continue;
                auto& name = by_pid.try_emplace(holder.pid, to_text(holder)).first->second;
                const auto record = file->read();
                if (record.pid != holder.pid || record.test.empty() ||
                    name.find(' ' + record.test) != std::string::npos)
                    continue;
                name += (name.ends_with(')') ? " for " : ", ") + record.test;
            }
        }
        std::vector<std::string> names;
        for (auto& [pid, name] : by_pid)
            names.push_back(std::move(name));
        if (unknown)
            names.emplace_back("a process that can't be seen from here");
        std::string line = "waiting for ";
        const auto cpus = std::min(request.cpus, capacity());
        if (request.dedicated)
            line += "LLCs of its own";
        else
            line += std::to_string(cpus) + (cpus == 1 ? " host CPU" : " host CPUs");
        line += ", held by ";
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (i == 4) {
                line += "; and " + std::to_string(names.size() - i) + " more";
                break;
            }
            line += (i > 0 ? "; " : "") + names[i];
        }
        return line;
    }

    // ---- choosing -----------------------------------------------------------------------------

    /// Looks at all locks by taking them, keeps those of a plan and gives the others back.
    [[nodiscard]] result<attempt_result> attempt(const reserve_request& request) {
        attempt_result end;
        if (!request.dedicated && used_cpus_ > 0 &&
            used_cpus_ + std::min(request.cpus, capacity()) > settings_.cpu_cap)
            return end;  // of this run's own making, and one of its tests will wake us
        if (request.dedicated && used_cpus_ > 0 &&
            used_cpus_ + static_cast<std::size_t>(request.dedicated->total_cpus()) + 1 >
                settings_.cpu_cap)
            return end;
        if (!choosing_.current()) {
            auto again = directory_->lock(std::string(choosing_lock_name));
            if (!again)
                return std::move(again).error();
            choosing_ = std::move(*again);
        }
        if (!choosing_.try_exclusive()) {
            end.why.choosing = true;
            return end;
        }
        if (auto fresh = refresh_all(); !fresh) {
            choosing_.unlock(false);
            return std::move(fresh).error();
        }
        auto seen = look();
        const auto plan =
            request.dedicated
                ? plan_dedicated(settings_.host, seen.use, *request.dedicated)
                : plan_shared(settings_.host, seen.use, std::min(request.cpus, capacity()));
        if (plan) {
            end.why.memory = lacking_memory(request, seen);
            if (end.why.memory.empty() && keep(*plan, seen))
                end.got = held{this, *plan, request.memory_mib};
        } else {
            end.why.others = std::move(seen.others);
            if (request.dedicated)
                end.why.others.insert(end.why.others.end(), seen.sharers.begin(),
                                      seen.sharers.end());
        }
        give_back(seen, end.got ? &*plan : nullptr);
        if (end.got)
            commit(*end.got, request.test);
        choosing_.unlock(false);
        return end;
    }

    struct view {
        host_use use;
        std::set<int> taken_cpus_by_look;  ///< locked now, to be kept or given back
        std::set<int> exclusive_by_look;   ///< LLCs likewise
        std::set<int> shared_by_look;
        std::vector<const host_lock*> others;   ///< held by others for themselves alone
        std::vector<const host_lock*> sharers;  ///< LLCs that others share
        std::map<int, std::int64_t> promised;   ///< MiB, by process
    };

    [[nodiscard]] view look() {
        view seen;
        seen.promised = promised_;
        for (auto& [cpu, lock] : cpus_) {
            if (lock.mine) {
                seen.use.taken_cpus.insert(cpu);
            } else if (lock.file.try_exclusive()) {
                seen.taken_cpus_by_look.insert(cpu);
            } else {
                seen.use.taken_cpus.insert(cpu);
                seen.others.push_back(&lock.file);
                const auto record = lock.file.read();
                seen.promised[record.pid] += record.memory_mib;
            }
        }
        for (auto& [llc, lock] : llcs_) {
            auto use = llc_use::free;
            if (lock.exclusive) {
                use = llc_use::exclusive;
            } else if (lock.users > 0) {
                use = llc_use::shared;
            } else if (lock.file.try_exclusive()) {
                seen.exclusive_by_look.insert(llc);
            } else if (lock.file.try_shared()) {
                seen.shared_by_look.insert(llc);
                seen.sharers.push_back(&lock.file);
                use = llc_use::shared;
            } else {
                seen.others.push_back(&lock.file);
                use = llc_use::exclusive;
            }
            seen.use.llcs[llc] = use;
        }
        return seen;
    }

    [[nodiscard]] result<void> refresh_all() {
        for (auto& [cpu, lock] : cpus_)
            if (!lock.mine)
                if (auto fresh = refresh(lock.file, cpu_lock_name(cpu)); !fresh)
                    return fresh;
        for (auto& [llc, lock] : llcs_)
            if (lock.users == 0)
                if (auto fresh = refresh(lock.file, llc_lock_name(llc)); !fresh)
                    return fresh;
        return {};
    }

    /// Opens a lock file again that somebody has removed: everybody else will, too.
    [[nodiscard]] result<void> refresh(host_lock& file, const std::string& name) {
        if (file.current())
            return {};
        auto again = directory_->lock(name);
        if (!again)
            return std::move(again).error();
        file = std::move(*again);
        return {};
    }

    /// Turns the locks of a plan's LLCs into the kind it needs. False: somebody outside the agreement
    /// took one, or removed its file, in that instant.
    [[nodiscard]] bool keep(const cpu_plan& plan, view& seen) {
        for (const int cpu : plan.cpus)
            if (!cpus_[cpu].file.current())
                return false;
        for (const int llc : plan.llcs) {
            const bool own = contains(plan.own_llcs, llc);
            if (own && !seen.exclusive_by_look.contains(llc))
                return false;
            if (!own && seen.exclusive_by_look.contains(llc)) {
                if (!llcs_[llc].file.try_shared()) {
                    seen.exclusive_by_look.erase(llc);
                    return false;
                }
            }
        }
        return true;
    }

    void give_back(view& seen, const cpu_plan* kept) {
        for (const int cpu : seen.taken_cpus_by_look)
            if (kept == nullptr || !contains(kept->cpus, cpu))
                cpus_[cpu].file.unlock(false);
        for (const auto* looked : {&seen.exclusive_by_look, &seen.shared_by_look})
            for (const int llc : *looked)
                if (kept == nullptr || !contains(kept->llcs, llc))
                    llcs_[llc].file.unlock(false);
    }

    void commit(const held& mine, const std::string& test) {
        lock_record record{.pid = ::getpid(), .memory_mib = mine.memory_mib, .test = test};
        for (const int cpu : mine.plan.cpus) {
            cpus_[cpu].mine = true;
            cpus_[cpu].file.write(to_text(record));
            record.memory_mib = 0;  // counted once
        }
        for (const int llc : mine.plan.llcs) {
            ++llcs_[llc].users;
            llcs_[llc].exclusive = contains(mine.plan.own_llcs, llc);
        }
        used_cpus_ += mine.plan.cpus.size();
        promised_[::getpid()] += mine.memory_mib;
    }

    void leave(const held& mine) {
        const std::lock_guard lock(mutex_);
        for (const int cpu : mine.plan.cpus) {
            cpus_[cpu].mine = false;
            cpus_[cpu].file.write({});
            cpus_[cpu].file.unlock(true);
        }
        for (const int llc : mine.plan.llcs) {
            auto& held_llc = llcs_[llc];
            held_llc.exclusive = false;
            if (--held_llc.users == 0)
                held_llc.file.unlock(true);
        }
        used_cpus_ -= mine.plan.cpus.size();
        promised_[::getpid()] -= mine.memory_mib;
        wake_first();
    }

    /// Why a machine's memory can't be had now; empty when it can.
    [[nodiscard]] std::string lacking_memory(const reserve_request& request, const view& seen) {
        const auto available = settings_.available_memory();
        if (!available || request.memory_mib == 0)
            return {};
        const std::int64_t wanted = request.memory_mib + memory_of_qemu_mib;
        const auto sum = [](const auto& by_process) {
            std::int64_t total = 0;
            for (const auto& [pid, mib] : by_process)
                total += mib;
            return total;
        };
        auto promised = sum(seen.promised);
        const bool alone = promised == 0;
        if (memory_admits(*available, promised, wanted, alone))
            return {};
        // Closer: what running machines have taken is no longer in what is available.
        std::set<int> holders;
        for (const auto& [pid, mib] : seen.promised)
            if (mib > 0 && pid > 0)
                holders.insert(pid);
        const auto taken = taken_by_children_mib(holders);
        auto left = seen.promised;
        for (auto& [pid, mib] : left)
            if (const auto at = taken.find(pid); at != taken.end())
                mib = std::max<std::int64_t>(0, mib - at->second);
        promised = sum(left);
        if (memory_admits(*available, promised, wanted, alone))
            return {};
        return std::to_string(wanted) + " MiB wanted, and of " + std::to_string(*available) +
               " MiB available " + std::to_string(promised) +
               " MiB are promised to running machines and " + std::to_string(memory_margin_mib) +
               " MiB are kept free";
    }

    static bool contains(const std::vector<int>& numbers, int wanted) {
        return std::find(numbers.begin(), numbers.end(), wanted) != numbers.end();
    }

    reserve_settings settings_;
    std::optional<lock_directory> directory_;
    std::mutex mutex_;
    std::deque<waiter*> queue_;  // the first one tries, the others wait for their turn
    host_lock choosing_;
    std::map<int, cpu_lock> cpus_;
    std::map<int, llc_lock> llcs_;
    std::size_t used_cpus_ = 0;
    std::map<int, std::int64_t> promised_;  // by process: this one
};

using reservation = reservations::reservation;

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// A part of the cgroup v2 hierarchy with one owner: made at the start of a scenario, gone at its
// end on every path. Names are relative to its root ("load", "a/b"). Not a policy: who goes into
// which cgroup, and what a refusal means, is the executor's business. Guest side.
#pragma once

#include <ktstr/linux/kernel_file.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace ktstr::guest {

/// A controller somebody wants for a cgroup.
struct controller_wish {
    std::string_view name;  ///< as in cgroup.controllers: "cpu"
    bool required = false;  ///< its absence is an error, not a loss
};

namespace detail {

[[nodiscard]] inline bool lists_word(std::string_view text, std::string_view word) {
    while (!text.empty()) {
        const auto end = std::min(text.find_first_of(" \n"), text.size());
        if (text.substr(0, end) == word)
            return true;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return false;
}

[[nodiscard]] inline std::vector<std::string> child_directories(const std::string& path) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir{::opendir(path.c_str()), ::closedir};
    while (const auto* entry = dir ? ::readdir(dir.get()) : nullptr) {
        const std::string_view name = entry->d_name;
        if (entry->d_type == DT_DIR && name != "." && name != "..")
            names.emplace_back(name);
    }
    return names;
}

[[nodiscard]] inline bool holds_process(const std::string& path, const std::string& pid) {
    if (lists_word(read_kernel_file(path + "/cgroup.procs").value_or(""), pid))
        return true;
    const auto children = child_directories(path);
    return std::any_of(children.begin(), children.end(),
                       [&](const auto& child) { return holds_process(path + '/' + child, pid); });
}

/// Kills what is in a cgroup and below. False: the kernel has no cgroup.kill, so a process that
/// forked meanwhile may be left and the caller has to look again.
inline bool kill_cgroup(const std::string& path) {
    if (write_kernel_file(path + "/cgroup.kill", "1"))
        return true;
    for (const auto& child : child_directories(path))
        kill_cgroup(path + '/' + child);
    if (const auto procs = read_kernel_file(path + "/cgroup.procs")) {
        for (const char* at = procs->c_str(); *at != '\0';) {
            char* end = nullptr;
            const long pid = std::strtol(at, &end, 10);
            if (end == at)
                break;
            if (pid > 0)  // 0: a process of another pid namespace
                ::kill(static_cast<pid_t>(pid), SIGKILL);
            at = *end == '\n' ? end + 1 : end;
        }
    }
    return false;
}

/// Kills everything in a cgroup and waits until the kernel says that it is empty.
[[nodiscard]] inline result<void> empty_cgroup(const std::string& path,
                                               std::chrono::milliseconds limit) {
    using clock = std::chrono::steady_clock;
    const std::string events_path = path + "/cgroup.events";
    const unique_fd events{::open(events_path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!events)
        return system_error("open", events_path);
    const auto deadline = clock::now() + limit;
    bool thorough = false;
    for (;;) {
        // Reading arms the poll: a change between the two is still reported.
        char text[256];
        const auto n = ::pread(events.get(), text, sizeof text, 0);
        if (n < 0 && errno != EINTR)
            return system_error("read", events_path);
        if (n > 0 && std::string_view(text, static_cast<std::size_t>(n)).find("populated 0") !=
                         std::string_view::npos)
            return {};
        if (!thorough)
            thorough = kill_cgroup(path);
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now());
        if (left.count() <= 0) {
            const auto procs = read_kernel_file(path + "/cgroup.procs").value_or("");
            std::string pids(without_newline(procs));
            std::replace(pids.begin(), pids.end(), '\n', ' ');
            return plain_error("empty the cgroup", path,
                               "still populated " + std::to_string(limit.count()) +
                                   " ms after its processes were killed" +
                                   (pids.empty() ? "" : " (" + pids + ")"));
        }
        pollfd change{events.get(), POLLPRI, 0};
        ::poll(&change, 1, static_cast<int>(left.count()));
    }
}

/// Removes a cgroup and those below it, whoever made them. One that is gone already is fine.
[[nodiscard]] inline result<void> remove_directories(const std::string& path) {
    for (const auto& child : child_directories(path))
        if (auto removed = remove_directories(path + '/' + child); !removed)
            return removed;
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT)
        return system_error("remove the cgroup", path);
    return {};
}

}  // namespace detail

class cgroup_tree {
public:
    /// Makes the root at `path`. A path that exists is refused: it belongs to somebody else.
    [[nodiscard]] static result<cgroup_tree> make_at(const std::filesystem::path& path) {
        if (::mkdir(path.c_str(), 0755) != 0)
            return system_error("create the cgroup", path.string());
        return adopt(path.string());
    }

    /// Makes a root with a name nobody has, below `parent`.
    [[nodiscard]] static result<cgroup_tree> make_below(const std::filesystem::path& parent) {
        std::string path = (parent / "ktstr-XXXXXX").string();
        if (::mkdtemp(path.data()) == nullptr)
            return system_error("create a cgroup below", parent.string());
        return adopt(path);
    }

    /// Makes the root of a scenario below `parent`: "ktstr", so that a body knows where to look,
    /// unless another scenario runs there at this moment. What a killed scenario has left behind
    /// is removed first.
    [[nodiscard]] static result<cgroup_tree> make_for_scenario(
        const std::filesystem::path& parent) {
        sweep(parent.string());
        auto tree = make_at(parent / "ktstr");
        if (!tree && tree.error().code == EEXIST)
            return make_below(parent);
        return tree;
    }

    /// Removes the roots below `parent` whose owners are dead. A root is known by its mark, not by
    /// its name: a cgroup that somebody else called "ktstr" is left alone.
    static void sweep(const std::string& parent) {
        for (const auto& name : detail::child_directories(parent)) {
            const auto path = parent + '/' + name;
            if (::getxattr(path.c_str(), mark, nullptr, 0) < 0)
                continue;
            const auto owner = lock_directory(path);
            if (owner && detail::empty_cgroup(path, std::chrono::milliseconds(1'000)))
                (void)detail::remove_directories(path);
        }
    }

    cgroup_tree(cgroup_tree&& other) noexcept
        : root_(std::exchange(other.root_, {})),
          owner_(std::move(other.owner_)),
          made_(std::exchange(other.made_, {})),
          limit_(other.limit_) {}
    cgroup_tree& operator=(cgroup_tree&&) = delete;
    ~cgroup_tree() { (void)remove_all(); }

    /// How long a removal waits for killed processes to be gone.
    void set_removal_limit(std::chrono::milliseconds limit) { limit_ = limit; }

    [[nodiscard]] const std::string& root() const { return root_; }
    [[nodiscard]] std::string path(std::string_view name) const {
        return root_ + '/' + std::string(name);
    }
    [[nodiscard]] bool has(std::string_view name) const {
        return std::find(made_.begin(), made_.end(), name) != made_.end();
    }

    /// Makes the cgroup, and the levels above it that are missing, and gives it the controllers.
    /// The name must have no mistake_in_cgroup_name().
    [[nodiscard]] result<void> create(std::string_view name,
                                      const std::vector<controller_wish>& wishes = {}) {
        // A parent may hand controllers down only while it has no processes of its own, so that
        // comes first, from the top.
        if (auto enabled = enable_above_root(wishes); !enabled)
            return enabled;
        if (auto enabled = enable(root_, wishes); !enabled)
            return enabled;
        for (auto slash = name.find('/'); slash != std::string_view::npos;
             slash = name.find('/', slash + 1)) {
            const auto level = path(name.substr(0, slash));
            if (::mkdir(level.c_str(), 0755) != 0 && errno != EEXIST)
                return system_error("create the cgroup", level);
            if (auto enabled = enable(level, wishes); !enabled)
                return enabled;
        }
        if (::mkdir(path(name).c_str(), 0755) != 0)
            return system_error("create the cgroup", path(name));
        made_.emplace_back(name);
        return {};
    }

    [[nodiscard]] result<void> move_in(std::string_view name, pid_t pid) {
        return write(name, "cgroup.procs", std::to_string(pid));
    }

    [[nodiscard]] result<std::string> read(std::string_view name, std::string_view file) const {
        return read_kernel_file(path(name) + '/' + std::string(file));
    }
    [[nodiscard]] result<void> write(std::string_view name, std::string_view file,
                                     std::string_view text) const {
        return write_kernel_file(path(name) + '/' + std::string(file), text);
    }

    /// Kills what is left in the cgroup, waits until it is empty and removes it, together with the
    /// levels above it that were made for its sake and hold nothing else.
    [[nodiscard]] result<void> remove(std::string_view name) {
        const std::string gone(name);
        if (auto removed = take_down(path(gone)); !removed)
            return removed;
        std::erase_if(made_, [&](const std::string& other) {
            return other == gone || other.starts_with(gone + '/');
        });
        for (auto slash = gone.rfind('/'); slash != std::string::npos;
             slash = gone.rfind('/', slash - 1)) {
            const auto level = gone.substr(0, slash);
            if (has(level) || ::rmdir(path(level).c_str()) != 0 || slash == 0)
                break;
        }
        return {};
    }

    /// Removes the whole tree, the root included. Afterwards there is nothing to use any more.
    [[nodiscard]] result<void> remove_all() {
        if (root_.empty())
            return {};
        auto removed = take_down(root_);
        if (removed) {
            root_.clear();
            made_.clear();
            owner_.reset();
        }
        return removed;
    }

private:
    static constexpr const char* mark = "user.ktstr.scenario";

    cgroup_tree(std::string root, unique_fd owner)
        : root_(std::move(root)), owner_(std::move(owner)) {}

    // The kernel drops the lock with the last process that has it, so a root that can be locked has
    // no owner. (Workers inherit it; they do not outlive their scenario.)
    [[nodiscard]] static unique_fd lock_directory(const std::string& path) {
        unique_fd fd{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
            fd.reset();
        return fd;
    }

    // A directory that is no cgroup would take our files' names without their meaning.
    [[nodiscard]] static result<cgroup_tree> adopt(const std::string& path) {
        if (::access((path + "/cgroup.procs").c_str(), F_OK) == 0 &&
            ::access((path + "/cgroup.type").c_str(), F_OK) == 0) {
            auto owner = lock_directory(path);
            if (!owner)
                return system_error("lock the cgroup", path);
            // After the lock, so that nobody finds it marked and unowned. Where the kernel refuses
            // (before 5.7), the root of a killed scenario stays until somebody removes it.
            ::setxattr(path.c_str(), mark, "1", 1, 0);
            return cgroup_tree(path, std::move(owner));
        }
        ::rmdir(path.c_str());
        return plain_error("create the cgroup", path, "this is no cgroup version 2 hierarchy",
                           "mount one: mount -t cgroup2 none /sys/fs/cgroup");
    }

    // Only at the top of the hierarchy, which is exempt from the rule that a cgroup with
    // controllers below it holds no processes. Anywhere else our parent is somebody's cgroup with
    // processes in it, and handing controllers down would forbid it to have both.
    [[nodiscard]] result<void> enable_above_root(const std::vector<controller_wish>& wishes) {
        const auto parent = std::filesystem::path(root_).parent_path().string();
        if (::access((parent + "/cgroup.type").c_str(), F_OK) == 0)
            return {};
        return enable(parent, wishes);
    }

    [[nodiscard]] static result<void> enable(const std::string& level,
                                             const std::vector<controller_wish>& wishes) {
        if (wishes.empty())
            return {};
        const auto offered = read_kernel_file(level + "/cgroup.controllers");
        if (!offered)
            return offered.error();
        const auto enabled = read_kernel_file(level + "/cgroup.subtree_control");
        if (!enabled)
            return enabled.error();
        for (const auto& wish : wishes) {
            if (detail::lists_word(*enabled, wish.name))
                continue;
            if (!detail::lists_word(*offered, wish.name)) {
                if (!wish.required)
                    continue;
                return plain_error(
                    "give the controller " + std::string(wish.name) + " to the cgroups below",
                    level, "it offers \"" + std::string(without_newline(*offered)) + '"',
                    "the kernel may lack it, or a cgroup version 1 hierarchy may hold it");
            }
            auto written =
                write_kernel_file(level + "/cgroup.subtree_control", '+' + std::string(wish.name));
            if (!written && wish.required)
                return written;
        }
        return {};
    }

    [[nodiscard]] result<void> take_down(const std::string& path) const {
        if (::access(path.c_str(), F_OK) != 0)
            return {};
        // The body may have moved itself in. It is not ours to kill.
        if (detail::holds_process(path, std::to_string(::getpid()))) {
            const auto above = std::filesystem::path(root_).parent_path().string();
            if (auto moved = write_kernel_file(above + "/cgroup.procs", "0"); !moved)
                return moved;
        }
        if (auto emptied = detail::empty_cgroup(path, limit_); !emptied)
            return emptied;
        return detail::remove_directories(path);
    }

    std::string root_;
    unique_fd owner_;  // holds the lock
    std::vector<std::string> made_;
    std::chrono::milliseconds limit_{10'000};
};

}  // namespace ktstr::guest

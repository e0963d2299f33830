// SPDX-License-Identifier: MIT
// A program beside the test program, such as a scheduler, and its libraries, as they were when a run first
// asked for them: opened once, so that every machine of the run gets the same ones, whatever a build puts
// in their places meanwhile. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/initramfs/elf_closure.hpp>
#include <ktstr/host/initramfs/opened_file.hpp>

#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ktstr::host {

struct opened_program {
    std::shared_ptr<const opened_file> file;
    library_closure needs;
    std::vector<std::shared_ptr<const opened_file>> libraries;     ///< as in `needs`
    std::vector<std::shared_ptr<const opened_file>> interpreters;  ///< as in `needs`

    [[nodiscard]] static result<std::shared_ptr<const opened_program>> open(
        const std::filesystem::path& path) {
        auto made = std::make_shared<opened_program>();
        auto file = opened_file::open(path);
        if (!file)
            return std::move(file).error();
        made->file = std::move(*file);
        auto needs = find_libraries(std::array{path});
        if (!needs)
            return std::move(needs).error();
        made->needs = std::move(*needs);
        for (const auto& library : made->needs.libraries) {
            auto opened = opened_file::open(library.path);
            if (!opened)
                return std::move(opened).error();
            made->libraries.push_back(std::move(*opened));
        }
        for (const auto& interpreter : made->needs.interpreters) {
            auto opened = opened_file::open(interpreter);
            if (!opened)
                return std::move(opened).error();
            made->interpreters.push_back(std::move(*opened));
        }
        // The search has read it by its path.
        if (made->file->replaced())
            return plain_error("pack", path.string(), "it changed meanwhile",
                               "wait for the build to end, then run again");
        return std::shared_ptr<const opened_program>(std::move(made));
    }
};

/// The files of a program, to be looked at one by one.
inline void each_file(const opened_program& program,
                      const std::function<void(const opened_file&)>& look) {
    look(*program.file);
    for (const auto& library : program.libraries)
        look(*library);
    for (const auto& interpreter : program.interpreters)
        look(*interpreter);
}

/// Those of a run, by the names that the tests know them by.
class opened_programs {
public:
    /// The program of that name; `find` is asked for its path when the name is new.
    [[nodiscard]] result<std::shared_ptr<const opened_program>> get(
        const std::string& name, const std::function<result<std::filesystem::path>()>& find) {
        const std::lock_guard lock(mutex_);
        if (const auto known = known_.find(name); known != known_.end())
            return known->second;
        auto path = find();
        if (!path)
            return std::move(path).error();
        auto opened = opened_program::open(*path);
        if (opened)
            known_.emplace(name, *opened);
        return opened;
    }

    /// Files that were replaced since they were opened; each is told once.
    [[nodiscard]] std::vector<std::filesystem::path> newly_replaced() {
        const std::lock_guard lock(mutex_);
        std::vector<std::filesystem::path> found;
        for (const auto& [name, program] : known_)
            each_file(*program, [&](const opened_file& file) {
                if (file.replaced() && told_.insert(file.path()).second)
                    found.push_back(file.path());
            });
        return found;
    }

    /// Forgets those that were replaced, for a process between two runs: the next one finds them anew.
    void drop_replaced() {
        const std::lock_guard lock(mutex_);
        std::erase_if(known_, [](const auto& one) {
            bool replaced = false;
            each_file(*one.second,
                      [&](const opened_file& file) { replaced = replaced || file.replaced(); });
            return replaced;
        });
        told_.clear();
    }

private:
    std::mutex mutex_;
    std::map<std::string, std::shared_ptr<const opened_program>> known_;
    std::set<std::filesystem::path> told_;
};

}  // namespace ktstr::host

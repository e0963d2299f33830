// SPDX-License-Identifier: MIT
// The files a failed attempt leaves for a person: console, output, QEMU's words, the command line.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/run/session.hpp>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

namespace ktstr::host {

/// --artifacts or KTSTR_ARTIFACTS, else ktstr-artifacts in the working directory; there the program's own
/// folder, because another one may have tests of the same names.
[[nodiscard]] inline std::filesystem::path artifacts_root(const options& wanted) {
    std::error_code ignored;
    return std::filesystem::absolute(wanted.artifacts.value_or("ktstr-artifacts"), ignored) /
           std::filesystem::path(wanted.program).filename();
}

/// The files of an attempt that were not empty.
[[nodiscard]] inline std::vector<attempt_file> files_of(const session_result& session) {
    const auto& r = session.remains;
    std::vector<attempt_file> files;
    const auto add = [&](artifact file, std::string content) {
        if (!content.empty())
            files.push_back({session.event.name, session.event.attempt, file, std::move(content)});
    };
    add(artifact::console, r.console);
    add(artifact::output, r.output);
    add(artifact::qemu, r.qemu_errors);
    add(artifact::command, r.command_line.empty() ? r.command_line : r.command_line + '\n');
    add(artifact::scheduler, r.scheduler);
    return files;
}

/// Writes the files of one attempt into ROOT/PROGRAM/NAME-ATTEMPT, replacing what an earlier run left there.
/// `name` is a cell of this program: no text that came from a machine becomes part of a path.
[[nodiscard]] inline result<std::filesystem::path> write_artifacts(
    const std::filesystem::path& root, const std::string& name, int attempt,
    const std::vector<attempt_file>& files) {
    const auto directory = root / (file_name_of(name) + '-' + std::to_string(attempt));
    std::error_code failed;
    std::filesystem::remove_all(directory, failed);
    std::filesystem::create_directories(directory, failed);
    constexpr const char* hint = "choose another place with --artifacts DIR";
    if (failed)
        return system_error("create", directory.string(), hint, failed.value());
    for (const auto& file : files) {
        const auto path = directory / to_text(file.file);
        std::ofstream out(path, std::ios::binary);
        out << file.content;
        if (!out.flush())
            return system_error("write", path.string(), hint);
    }
    return directory;
}

}  // namespace ktstr::host

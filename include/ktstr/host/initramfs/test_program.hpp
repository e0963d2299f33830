// SPDX-License-Identifier: MIT
// The test program as a machine gets it: what its segments cover, without the debug information behind
// them. Known by its content, so that a build that changes nothing changes nothing here. Opened once in
// a run: what runs, is packed and is remembered is one file, whatever a build puts in its place
// meanwhile. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/content_hash.hpp>
#include <ktstr/host/kernel/kernel_image.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

namespace ktstr::host {

/// The file that this process runs, also when its path leads to another one or nowhere.
inline constexpr const char* running_program_path = "/proc/self/exe";

/// Bytes of an ELF file up to the end of its last segment; all of a file that is none.
[[nodiscard]] inline std::uint64_t loadable_size(std::string_view bytes) {
    const auto header = detail::read_at<Elf64_Ehdr>(bytes, 0);
    if (!header || !bytes.starts_with("\177ELF") || header->e_ident[EI_CLASS] != ELFCLASS64)
        return bytes.size();
    std::uint64_t end = header->e_phoff + std::uint64_t{header->e_phnum} * header->e_phentsize;
    for (unsigned i = 0; i < header->e_phnum; ++i) {
        const auto segment = detail::read_at<Elf64_Phdr>(
            bytes, header->e_phoff + std::uint64_t{i} * header->e_phentsize);
        if (!segment)
            return bytes.size();
        end = std::max(end, segment->p_offset + segment->p_filesz);
    }
    return std::min<std::uint64_t>(end, bytes.size());
}

/// Copies are the same opened file.
class test_program {
public:
    test_program() = default;

    [[nodiscard]] static result<test_program> open(const std::filesystem::path& path) {
        return open(path, path);
    }
    /// The one that this process runs.
    [[nodiscard]] static result<test_program> running() {
        std::error_code failed;
        auto path = std::filesystem::read_symlink(running_program_path, failed).string();
        constexpr std::string_view gone = " (deleted)";
        struct ::stat there {};
        if (path.ends_with(gone) && ::stat(path.c_str(), &there) != 0)
            path.resize(path.size() - gone.size());
        return open(running_program_path, path);
    }

    /// Where it was started from: for words, and for what lies beside it. Another file may be there.
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    [[nodiscard]] std::string_view bytes() const noexcept { return bytes_; }
    [[nodiscard]] const std::string& id() const noexcept { return id_; }

    /// A copy of the bytes that are known as id(). Not every kernel and file system refuses to write to
    /// a file that runs.
    [[nodiscard]] result<std::string> content() const {
        std::string copy(bytes_);
        if (hash_text(copy) != id_)
            return plain_error("pack", path_.string(), "it was written to while it runs",
                               "wait for the build to end, then run again");
        return copy;
    }

    /// Whether another file, or none, has taken its place.
    [[nodiscard]] bool replaced() const {
        struct ::stat there {};
        if (::stat(path_.c_str(), &there) != 0)
            return true;
        const auto now = identity_of(there);
        return now.device != opened_.device || now.inode != opened_.inode ||
               now.size != opened_.size || now.mtime_ns != opened_.mtime_ns;
    }

private:
    test_program(mapped_file file, std::filesystem::path path, const file_identity& opened)
        : file_(std::make_shared<const mapped_file>(std::move(file))),
          path_(std::move(path)),
          opened_(opened),
          bytes_(file_->bytes().substr(0, loadable_size(file_->bytes()))),
          id_(hash_text(bytes_)) {}

    [[nodiscard]] static result<test_program> open(const std::filesystem::path& file,
                                                   std::filesystem::path path) {
        const unique_fd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
        if (!fd)
            return system_error("open", path.string());
        struct ::stat facts {};
        if (::fstat(fd.get(), &facts) != 0)
            return system_error("look at", path.string());
        auto mapped = mapped_file::of(fd.get(), path);
        if (!mapped)
            return std::move(mapped).error();
        return test_program(std::move(*mapped), std::move(path), identity_of(facts));
    }

    std::shared_ptr<const mapped_file> file_;
    std::filesystem::path path_;
    file_identity opened_;
    std::string_view bytes_;
    std::string id_;
};

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// Looks into kernel images: the x86 boot header of a bzImage, the ELF inside it, the PVH note that
// lets QEMU start that ELF without a decompressor. Does not know where kernels are. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/manifest.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <cctype>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace ktstr::host {

enum class image_kind { bzimage, vmlinux, arm64_image, unknown };

/// A file in memory, read-only, unmapped at the end of its scope.
class mapped_file {
public:
    static result<mapped_file> open(const std::filesystem::path& path) {
        const unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
        if (!file)
            return system_error(
                "open", path,
                errno == EACCES ? "make it readable for this user, or pass a copy" : "");
        return of(file.get(), path);
    }
    /// The file behind a descriptor, which may be closed then; `path` names it in messages.
    static result<mapped_file> of(int file, const std::filesystem::path& path) {
        struct ::stat facts {};
        if (::fstat(file, &facts) != 0)
            return system_error("look at", path);
        if (!S_ISREG(facts.st_mode) || facts.st_size == 0)
            return plain_error("read", path,
                               S_ISREG(facts.st_mode) ? "it is empty" : "it is not a file");
        const auto size = static_cast<std::size_t>(facts.st_size);
        void* const data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
        if (data == MAP_FAILED)
            return system_error("map", path);
        return mapped_file(static_cast<const char*>(data), size);
    }
    mapped_file(mapped_file&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
    mapped_file& operator=(mapped_file&&) = delete;
    ~mapped_file() {
        if (data_ != nullptr)
            ::munmap(const_cast<char*>(data_), size_);
    }

    [[nodiscard]] std::string_view bytes() const { return {data_, size_}; }

private:
    mapped_file(const char* data, std::size_t size) : data_(data), size_(size) {}
    const char* data_;
    std::size_t size_;
};

namespace detail {

/// A value at an offset, or nothing when the bytes end before it. No alignment assumed.
template <class T>
std::optional<T> read_at(std::string_view bytes, std::uint64_t offset) {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T))
        return std::nullopt;
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

inline std::string_view slice(std::string_view bytes, std::uint64_t offset, std::uint64_t size) {
    if (offset > bytes.size())
        return {};
    return bytes.substr(static_cast<std::size_t>(offset), static_cast<std::size_t>(size));
}

inline std::string first_word(std::string_view text) {
    std::size_t end = 0;
    while (end < text.size() && std::isgraph(static_cast<unsigned char>(text[end])) != 0)
        ++end;
    return std::string(text.substr(0, end));
}

}  // namespace detail

[[nodiscard]] inline image_kind kind_of_image(std::string_view bytes) {
    if (bytes.starts_with("\177ELF"))
        return image_kind::vmlinux;
    if (detail::slice(bytes, 0x202, 4) == "HdrS")
        return image_kind::bzimage;
    if (detail::slice(bytes, 56, 4) == "ARM\x64")
        return image_kind::arm64_image;
    return image_kind::unknown;
}

/// Whether an ELF kernel carries XEN_ELFNOTE_PHYS32_ENTRY, its 32-bit entry for direct boot.
[[nodiscard]] inline bool has_pvh_note(std::string_view elf) {
    const auto header = detail::read_at<Elf64_Ehdr>(elf, 0);
    if (!header || !elf.starts_with("\177ELF") || header->e_ident[EI_CLASS] != ELFCLASS64)
        return false;
    for (unsigned i = 0; i < header->e_phnum; ++i) {
        const auto segment = detail::read_at<Elf64_Phdr>(
            elf, header->e_phoff + std::uint64_t{i} * header->e_phentsize);
        if (!segment || segment->p_type != PT_NOTE)
            continue;
        std::string_view notes = detail::slice(elf, segment->p_offset, segment->p_filesz);
        while (const auto note = detail::read_at<Elf64_Nhdr>(notes, 0)) {
            constexpr auto padded = [](std::uint64_t n) { return (n + 3) & ~std::uint64_t{3}; };
            if (note->n_type == 18 &&
                detail::slice(notes, sizeof *note, note->n_namesz) == std::string_view("Xen\0", 4))
                return true;
            const std::uint64_t whole =
                sizeof *note + padded(note->n_namesz) + padded(note->n_descsz);
            if (whole >= notes.size())
                break;
            notes.remove_prefix(static_cast<std::size_t>(whole));
        }
    }
    return false;
}

/// The release an image says it is ("7.3.4-foo"), or nothing. Scans an ELF for its banner.
[[nodiscard]] inline std::optional<std::string> release_of_image(std::string_view bytes) {
    if (kind_of_image(bytes) == image_kind::bzimage) {
        const auto pointer = detail::read_at<std::uint16_t>(bytes, 0x20e);
        if (!pointer || *pointer == 0)
            return std::nullopt;
        return detail::first_word(detail::slice(bytes, std::uint64_t{*pointer} + 0x200, 256));
    }
    constexpr std::string_view banner = "Linux version ";
    for (std::size_t at = bytes.find(banner); at != std::string_view::npos;
         at = bytes.find(banner, at + 1)) {
        std::string word = detail::first_word(detail::slice(bytes, at + banner.size(), 256));
        if (!word.empty() && std::isdigit(static_cast<unsigned char>(word.front())) != 0)
            return word;
    }
    return std::nullopt;
}

namespace detail {

/// The command that undoes a compression, told by the data's first bytes; empty when unknown.
inline std::vector<std::string> decompressor_of(std::string_view data) {
    using namespace std::string_view_literals;
    if (data.starts_with("\x28\xb5\x2f\xfd"sv))
        return {"zstd", "-dcq"};
    if (data.starts_with("\xfd"
                         "7zXZ\0"sv))
        return {"xz", "-dc"};
    if (data.starts_with("\x1f\x8b"sv))
        return {"gzip", "-dcq"};
    if (data.starts_with("\x02\x21\x4c\x18"sv) || data.starts_with("\x04\x22\x4d\x18"sv))
        return {"lz4", "-dcq"};
    if (data.starts_with("BZh"sv))
        return {"bzip2", "-dcq"};
    if (data.starts_with("\x5d\0\0"sv))
        return {"xz", "--format=lzma", "-dc"};
    return {};
}

/// Undoes the compression of `data` into `output_fd`.
inline result<void> decompress_to(std::string_view data, int output_fd, const std::string& name) {
    tool_command command;
    command.argv = decompressor_of(data);
    if (command.argv.empty())
        return plain_error("decompress", name, "it is in no compression format known here");
    command.input = data;
    command.output_fd = output_fd;
    const std::string tool = command.argv.front();
    auto done = run_tool_ok(std::move(command), "decompress", name);
    if (done)
        return {};
    error failed = std::move(done).error();
    if (failed.code == ENOENT)
        failed.hint = "install " + (tool == "xz" ? std::string("xz-utils") : tool);
    return failed;
}

}  // namespace detail

/// Writes the ELF kernel that a bzImage holds to `target`, which must not exist.
inline result<void> extract_vmlinux(const std::filesystem::path& bzimage,
                                    const std::filesystem::path& target) {
    const auto file = mapped_file::open(bzimage);
    if (!file)
        return file.error();
    const std::string_view bytes = file->bytes();
    if (kind_of_image(bytes) != image_kind::bzimage)
        return plain_error("extract the kernel of", bzimage, "it is no bzImage");
    // Documentation/arch/x86/boot.rst: the payload's place counts from the protected-mode code.
    const std::uint64_t sectors = static_cast<unsigned char>(bytes[0x1f1]);
    const std::uint64_t code = ((sectors == 0 ? 4 : sectors) + 1) * 512;
    const auto offset = detail::read_at<std::uint32_t>(bytes, 0x248);
    const auto length = detail::read_at<std::uint32_t>(bytes, 0x24c);
    std::string_view payload;
    if (offset && length && *length > 4 && code + *offset + *length <= bytes.size())
        payload = detail::slice(bytes, code + *offset, *length);
    if (payload.empty())
        return plain_error("extract the kernel of", bzimage, "its boot header is damaged");
    const auto expected = detail::read_at<std::uint32_t>(payload, payload.size() - 4);
    // The kernel's build appends the plain size, which gzip has already and the others complain of.
    if (!payload.starts_with("\x1f\x8b") && !payload.starts_with("\177ELF"))
        payload.remove_suffix(4);

    const unique_fd out{::open(target.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
    if (!out)
        return cache_error("create", target);
    if (auto done = detail::decompress_to(payload, out.get(), bzimage.string()); !done) {
        if (auto space =
                require_space(target.parent_path(), std::uint64_t{4} << 20, "extract the kernel");
            !space)
            return space;
        return done;
    }
    struct ::stat facts {};
    ::fstat(out.get(), &facts);
    if (expected && static_cast<std::uint64_t>(facts.st_size) != *expected)
        return plain_error("extract the kernel of", bzimage,
                           "got " + std::to_string(facts.st_size) + " bytes instead of " +
                               std::to_string(*expected));
    return {};
}

}  // namespace ktstr::host

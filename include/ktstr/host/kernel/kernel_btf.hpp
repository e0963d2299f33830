// SPDX-License-Identifier: MIT
// The BTF of a kernel, which says what its types look like: taken out of its image without booting it,
// and kept in the cache by the image's content. What BPF programs for that kernel are compiled against.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/kernel/kernel.hpp>
#include <ktstr/host/kernel/kernel_image.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <elf.h>

namespace ktstr::host {

inline constexpr std::string_view btf_kind = "btf";
inline constexpr std::string_view btf_file = "vmlinux.btf";

namespace detail {

/// The header of BTF data, see the kernel's Documentation/bpf/btf.rst.
struct btf_header {
    std::uint16_t magic;
    std::uint8_t version, flags;
    std::uint32_t header_size, type_offset, type_size, string_offset, string_size;
};

/// The BTF data at the start of these bytes, cut to its length; nothing when there is none.
inline std::optional<std::string_view> btf_at_start(std::string_view bytes) {
    const auto header = read_at<btf_header>(bytes, 0);
    if (!header || header->magic != 0xeb9f || header->version != 1 ||
        header->header_size < sizeof *header || header->header_size > 4096 ||
        header->type_size == 0 || header->string_size == 0)
        return std::nullopt;
    const std::uint64_t types_end = std::uint64_t{header->type_offset} + header->type_size;
    const std::uint64_t strings_end = std::uint64_t{header->string_offset} + header->string_size;
    const std::uint64_t end = header->header_size + std::max(types_end, strings_end);
    const std::uint64_t strings = std::uint64_t{header->header_size} + header->string_offset;
    // The first string is the empty one, and the last is ended.
    if (end > bytes.size() || bytes[strings] != '\0' ||
        bytes[strings + header->string_size - 1] != '\0')
        return std::nullopt;
    return bytes.substr(0, end);
}

/// What the section of that name holds; nothing when an ELF has no such section.
inline std::optional<std::string_view> elf_section(std::string_view elf, std::string_view name) {
    const auto header = read_at<Elf64_Ehdr>(elf, 0);
    if (!header || !elf.starts_with("\177ELF") || header->e_ident[EI_CLASS] != ELFCLASS64)
        return std::nullopt;
    const auto section = [&](std::uint64_t index) {
        return header->e_shoff == 0
                   ? std::nullopt
                   : read_at<Elf64_Shdr>(elf, header->e_shoff + index * header->e_shentsize);
    };
    const auto names = section(header->e_shstrndx);
    if (!names)
        return std::nullopt;
    const std::string_view table = slice(elf, names->sh_offset, names->sh_size);
    for (unsigned i = 0; i < header->e_shnum; ++i) {
        const auto one = section(i);
        if (!one || one->sh_type == SHT_NOBITS)
            continue;
        const std::string_view called = slice(table, one->sh_name, table.size());
        if (called.substr(0, called.find('\0')) == name)
            return slice(elf, one->sh_offset, one->sh_size);
    }
    return std::nullopt;
}

}  // namespace detail

/// The BTF of an uncompressed kernel, its section .BTF. Nothing when there is none.
[[nodiscard]] inline std::optional<std::string_view> btf_of_image(std::string_view image) {
    const auto section = detail::elf_section(image, ".BTF");
    return section ? detail::btf_at_start(*section) : std::nullopt;
}

/// The cache's copy of a kernel's BTF: the entry holds it as btf_file, and `about`, whose it is.
inline result<cache_entry> obtain_btf(const cache& in, const kernel& of,
                                      const progress_callback& progress = {}) {
    cache::make_options options;
    options.what = "the BTF of kernel " + of.release;
    options.progress = progress;
    options.durable = false;
    return in.obtain(
        btf_kind, hash_text(of.id), options,
        [&](const std::filesystem::path& directory) -> result<void> {
            std::filesystem::path plain = of.image;
            auto file = mapped_file::open(plain);
            if (!file)
                return file.error();
            std::optional<mapped_file> unpacked;
            std::string_view bytes = file->bytes();
            if (kind_of_image(bytes) == image_kind::bzimage) {
                plain = directory / "vmlinux";
                if (auto done = extract_vmlinux(of.image, plain); !done)
                    return done;
                auto mapped = mapped_file::open(plain);
                std::error_code ignored;
                std::filesystem::remove(plain, ignored);
                if (!mapped)
                    return mapped.error();
                unpacked.emplace(*std::move(mapped));
                bytes = unpacked->bytes();
            }
            const auto found = btf_of_image(bytes);
            if (!found)
                return plain_error("get the BTF of", of.image.string(), "it has none",
                                   "use a kernel that was built with CONFIG_DEBUG_INFO_BTF=y");
            if (auto done = detail::write_text(directory / "about", of.release + '\n'); !done)
                return done;
            return detail::write_text(directory / btf_file, *found);
        });
}

}  // namespace ktstr::host

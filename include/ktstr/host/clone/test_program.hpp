// SPDX-License-Identifier: MIT
// The current test program as a clone gets it: what its segments cover, without the debug information
// behind them. Known by its content, so that a build that changes nothing changes nothing here. Host
// side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/content_hash.hpp>
#include <ktstr/host/kernel/kernel_image.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <elf.h>

namespace ktstr::host {

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

class test_program {
public:
    [[nodiscard]] static result<test_program> open(const std::filesystem::path& path) {
        auto file = mapped_file::open(path);
        if (!file)
            return std::move(file).error();
        return test_program(std::move(*file));
    }

    [[nodiscard]] std::string_view bytes() const noexcept { return bytes_; }
    [[nodiscard]] const std::string& id() const noexcept { return id_; }

private:
    explicit test_program(mapped_file file)
        : file_(std::move(file)),
          bytes_(file_.bytes().substr(0, loadable_size(file_.bytes()))),
          id_(hash_text(bytes_)) {}

    mapped_file file_;
    std::string_view bytes_;
    std::string id_;
};

}  // namespace ktstr::host

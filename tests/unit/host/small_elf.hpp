// SPDX-License-Identifier: MIT
// Builds small ELF files with just what a test is about: notes, a .modinfo section, or a dynamic
// section. They cannot run. For the unit tests of the host side.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <elf.h>

namespace ktstr::host::unit {

template <class T>
void append_value(std::string& out, const T& value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

inline Elf64_Ehdr elf_header() {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_machine = EM_X86_64;
    header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_shentsize = sizeof(Elf64_Shdr);
    return header;
}

inline std::string note(std::uint32_t type, std::string_view name, std::string_view content) {
    std::string out;
    append_value(out, Elf64_Nhdr{static_cast<Elf64_Word>(name.size() + 1),
                                 static_cast<Elf64_Word>(content.size()), type});
    out += name;
    out += '\0';
    out.resize((out.size() + 3) & ~std::size_t{3});
    out += content;
    out.resize((out.size() + 3) & ~std::size_t{3});
    return out;
}

/// An ELF "kernel" with a note segment, followed by any bytes.
inline std::string elf_with_notes(const std::string& notes, std::string_view rest = {}) {
    Elf64_Ehdr header = elf_header();
    header.e_phoff = sizeof header;
    header.e_phnum = 1;
    Elf64_Phdr segment{};
    segment.p_type = PT_NOTE;
    segment.p_offset = sizeof header + sizeof segment;
    segment.p_filesz = notes.size();
    std::string out;
    append_value(out, header);
    append_value(out, segment);
    out += notes;
    out += rest;
    return out;
}

/// A kernel module as far as its .modinfo section goes.
inline std::string module_elf(std::string_view modinfo) {
    const std::string names("\0.modinfo\0.shstrtab\0", 20);
    Elf64_Ehdr header = elf_header();
    header.e_shoff = sizeof header + modinfo.size() + names.size();
    header.e_shnum = 3;
    header.e_shstrndx = 2;
    Elf64_Shdr none{}, info{}, strings{};
    info.sh_name = 1;
    info.sh_offset = sizeof header;
    info.sh_size = modinfo.size();
    strings.sh_name = 10;
    strings.sh_offset = sizeof header + modinfo.size();
    strings.sh_size = names.size();
    std::string out;
    append_value(out, header);
    out += modinfo;
    out += names;
    append_value(out, none);
    append_value(out, info);
    append_value(out, strings);
    return out;
}

/// A shared library or program that needs others; without PT_INTERP.
inline std::string dynamic_elf(const std::vector<std::string>& needed,
                               std::string_view runpath = {}, std::int64_t path_tag = DT_RUNPATH,
                               std::uint16_t machine = EM_X86_64) {
    std::string strings(1, '\0');
    std::vector<Elf64_Dyn> entries;
    const auto add = [&](std::int64_t tag, std::string_view text) {
        Elf64_Dyn entry{};
        entry.d_tag = tag;
        entry.d_un.d_val = strings.size();
        entries.push_back(entry);
        strings += text;
        strings += '\0';
    };
    for (const std::string& name : needed)
        add(DT_NEEDED, name);
    if (!runpath.empty())
        add(path_tag, runpath);
    constexpr std::uint64_t base = 0x10000;
    Elf64_Dyn table{};
    table.d_tag = DT_STRTAB;
    Elf64_Ehdr header = elf_header();
    header.e_machine = machine;
    header.e_phoff = sizeof header;
    header.e_phnum = 2;
    const std::uint64_t dynamic_at = sizeof header + 2 * sizeof(Elf64_Phdr);
    const std::uint64_t dynamic_size = (entries.size() + 2) * sizeof(Elf64_Dyn);
    table.d_un.d_ptr = base + dynamic_at + dynamic_size;
    entries.push_back(table);
    entries.emplace_back();
    Elf64_Phdr load{}, dynamic{};
    load.p_type = PT_LOAD;
    load.p_vaddr = base;
    load.p_filesz = dynamic_at + dynamic_size + strings.size();
    dynamic.p_type = PT_DYNAMIC;
    dynamic.p_offset = dynamic_at;
    dynamic.p_filesz = dynamic_size;
    std::string out;
    append_value(out, header);
    append_value(out, load);
    append_value(out, dynamic);
    for (const Elf64_Dyn& entry : entries)
        append_value(out, entry);
    return out + strings;
}

}  // namespace ktstr::host::unit

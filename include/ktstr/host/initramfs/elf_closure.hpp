// SPDX-License-Identifier: MIT
// The shared libraries a program needs, found the way ld.so(8) finds them but without running
// anything: DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, /etc/ld.so.conf, the default directories.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/manifest.hpp>
#include <ktstr/host/initramfs/test_program.hpp>
#include <ktstr/host/kernel/kernel_image.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <elf.h>
#include <glob.h>

namespace ktstr::host {

/// What an ELF file says of itself.
struct elf_facts {
    std::uint16_t machine = 0;
    unsigned char elf_class = 0;
    std::string interpreter;          ///< PT_INTERP; empty for static programs and libraries
    std::vector<std::string> needed;  ///< DT_NEEDED, in order
    std::vector<std::string> rpath, runpath;
};

namespace detail {

inline std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    while (!text.empty()) {
        const std::size_t at = text.find(separator);
        if (const std::string_view part = text.substr(0, at); !part.empty())
            parts.emplace_back(part);
        text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
    }
    return parts;
}

inline std::string text_at(std::string_view bytes, std::uint64_t offset) {
    const std::string_view rest = slice(bytes, offset, std::string_view::npos);
    return std::string(rest.substr(0, rest.find('\0')));
}

}  // namespace detail

/// Reads the headers and the dynamic section of a 64-bit ELF file, whose name is for messages.
[[nodiscard]] inline result<elf_facts> read_elf(std::string_view bytes,
                                                const std::filesystem::path& path) {
    const auto header = detail::read_at<Elf64_Ehdr>(bytes, 0);
    if (!header || !bytes.starts_with("\177ELF") || header->e_ident[EI_CLASS] != ELFCLASS64)
        return plain_error("read", path, "it is no 64-bit ELF file");
    elf_facts facts;
    facts.machine = header->e_machine;
    facts.elf_class = header->e_ident[EI_CLASS];
    std::vector<Elf64_Phdr> segments;
    for (unsigned i = 0; i < header->e_phnum; ++i) {
        const auto segment = detail::read_at<Elf64_Phdr>(
            bytes, header->e_phoff + std::uint64_t{i} * header->e_phentsize);
        if (!segment)
            return plain_error("read", path, "its program headers are cut off");
        segments.push_back(*segment);
    }
    const auto offset_of = [&](std::uint64_t address) -> std::uint64_t {
        for (const Elf64_Phdr& segment : segments)
            if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
                address - segment.p_vaddr < segment.p_filesz)
                return address - segment.p_vaddr + segment.p_offset;
        return ~std::uint64_t{0};
    };
    for (const Elf64_Phdr& segment : segments) {
        if (segment.p_type == PT_INTERP)
            facts.interpreter = detail::text_at(bytes, segment.p_offset);
        if (segment.p_type != PT_DYNAMIC)
            continue;
        std::vector<Elf64_Dyn> entries;
        for (std::uint64_t at = 0; at + sizeof(Elf64_Dyn) <= segment.p_filesz;
             at += sizeof(Elf64_Dyn)) {
            const auto entry = detail::read_at<Elf64_Dyn>(bytes, segment.p_offset + at);
            if (!entry)
                return plain_error("read", path, "its dynamic section is cut off");
            if (entry->d_tag == DT_NULL)
                break;
            entries.push_back(*entry);
        }
        std::uint64_t strings = ~std::uint64_t{0};
        for (const Elf64_Dyn& entry : entries)
            if (entry.d_tag == DT_STRTAB)
                strings = offset_of(entry.d_un.d_ptr);
        for (const Elf64_Dyn& entry : entries) {
            if (entry.d_tag != DT_NEEDED && entry.d_tag != DT_RPATH && entry.d_tag != DT_RUNPATH)
                continue;
            if (strings >= bytes.size())
                return plain_error("read", path, "its dynamic section is damaged");
            const std::string text = detail::text_at(bytes, strings + entry.d_un.d_val);
            if (entry.d_tag == DT_NEEDED)
                facts.needed.push_back(text);
            else
                (entry.d_tag == DT_RPATH ? facts.rpath : facts.runpath) = detail::split(text, ':');
        }
    }
    return facts;
}

[[nodiscard]] inline result<elf_facts> read_elf(const std::filesystem::path& path) {
    const auto file = mapped_file::open(path);
    if (!file)
        return file.error();
    return read_elf(file->bytes(), path);
}

/// A library as the loader will ask for it.
struct needed_library {
    std::filesystem::path path;        ///< where it was found: directory searched / name asked for
    bool in_default_directory = true;  ///< a loader without LD_LIBRARY_PATH and cache finds it
    std::filesystem::path default_directory;  ///< where the program's loader always looks
};

struct library_closure {
    std::vector<needed_library> libraries;            ///< each once
    std::vector<std::filesystem::path> interpreters;  ///< each once
};

namespace detail {

/// The directories that /etc/ld.so.conf and its includes name.
inline void read_loader_config(const std::filesystem::path& file, std::vector<std::string>& out,
                               int depth = 0) {
    const auto text = read_text(file);
    if (!text || depth > 8)
        return;
    for (std::string line : split(*text, '\n')) {
        line.erase(std::min(line.find('#'), line.size()));
        std::vector<std::string> words;
        for (const std::string& part : split(line, ' '))
            for (std::string& word : split(part, '\t'))
                words.push_back(std::move(word));
        if (words.empty())
            continue;
        if (words.front() != "include") {
            out.insert(out.end(), words.begin(), words.end());
            continue;
        }
        for (std::size_t i = 1; i < words.size(); ++i) {
            const std::filesystem::path pattern = words[i].starts_with('/')
                                                      ? std::filesystem::path(words[i])
                                                      : file.parent_path() / words[i];
            ::glob_t matches{};
            if (::glob(pattern.c_str(), 0, nullptr, &matches) == 0)
                for (std::size_t match = 0; match < matches.gl_pathc; ++match)
                    read_loader_config(matches.gl_pathv[match], out, depth + 1);
            ::globfree(&matches);
        }
    }
}

class closure_search {
public:
    closure_search() {
        read_loader_config("/etc/ld.so.conf", configured_);
        if (const char* set = std::getenv("LD_LIBRARY_PATH"); set != nullptr)
            for (std::string& directory : split(set, ':'))
                environment_.push_back(std::move(directory));
    }

    result<void> add_program(const std::filesystem::path& path) {
        const auto facts = read_elf(path);
        return facts ? add_program(path, *facts) : facts.error();
    }
    /// One that is open already; its path says where it looks for its libraries.
    result<void> add_program(const test_program& program) {
        const auto facts = read_elf(program.bytes(), program.path());
        return facts ? add_program(program.path(), *facts) : facts.error();
    }

    library_closure take() { return std::move(found_); }

private:
    struct step {
        std::filesystem::path origin;
        std::vector<std::string> rpath;
    };

    result<void> add_program(const std::filesystem::path& path, const elf_facts& facts) {
        machine_ = facts.machine;
        defaults_.clear();
        if (!facts.interpreter.empty()) {
            const std::filesystem::path interpreter = facts.interpreter;
            std::error_code failed;
            const auto real = std::filesystem::canonical(interpreter, failed);
            if (failed)
                return plain_error("pack", path,
                                   "its loader " + interpreter.string() + " is not on this system");
            // Wherever the loader itself is, there it looks: /lib/x86_64-linux-gnu, /lib64, ...
            defaults_.push_back(real.parent_path());
            if (seen_interpreters_.insert(interpreter).second)
                found_.interpreters.push_back(interpreter);
        }
        for (const char* directory : {"/lib64", "/usr/lib64", "/lib", "/usr/lib"})
            defaults_.emplace_back(directory);
        chain_.clear();
        seen_names_.clear();
        return add_needed(path, facts);
    }

    static std::filesystem::path expand(std::string text, const std::filesystem::path& origin) {
        for (const std::string_view name : {"${ORIGIN}", "$ORIGIN"})
            for (std::size_t at; (at = text.find(name)) != std::string::npos;)
                text.replace(at, name.size(), origin.string());
        for (const std::string_view name : {"${LIB}", "$LIB"})
            for (std::size_t at; (at = text.find(name)) != std::string::npos;)
                text.replace(at, name.size(), "lib");
        return std::filesystem::path(text).lexically_normal();
    }

    [[nodiscard]] bool fits(const std::filesystem::path& candidate) const {
        std::error_code ignored;
        if (!std::filesystem::is_regular_file(candidate, ignored))
            return false;
        const auto file = mapped_file::open(candidate);
        if (!file)
            return false;
        const auto header = read_at<Elf64_Ehdr>(file->bytes(), 0);
        return header && file->bytes().starts_with("\177ELF") &&
               header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_machine == machine_;
    }

    [[nodiscard]] bool is_default(const std::filesystem::path& directory) const {
        return std::any_of(defaults_.begin(), defaults_.end(), [&](const auto& one) {
            std::error_code ignored;
            return std::filesystem::equivalent(one, directory, ignored);
        });
    }

    result<void> add_needed(const std::filesystem::path& object, const elf_facts& facts) {
        std::error_code failed;
        const std::filesystem::path origin =
            std::filesystem::absolute(object, failed).parent_path();
        chain_.push_back(
            {origin, facts.runpath.empty() ? facts.rpath : std::vector<std::string>{}});
        for (const std::string& name : facts.needed) {
            if (!seen_names_.insert(name).second)
                continue;  // the loader, too, looks for each name once
            std::filesystem::path found;
            std::vector<std::filesystem::path> looked;
            const auto look_in = [&](const std::filesystem::path& directory) {
                looked.push_back(directory);
                if (found.empty() && fits(directory / name))
                    found = directory / name;
            };
            if (name.find('/') != std::string::npos) {
                if (fits(name))
                    found = name;
            } else {
                if (facts.runpath.empty())
                    for (auto at = chain_.rbegin(); at != chain_.rend(); ++at)
                        for (const std::string& directory : at->rpath)
                            look_in(expand(directory, at->origin));
                for (const std::string& directory : environment_)
                    look_in(directory);
                for (const std::string& directory : facts.runpath)
                    look_in(expand(directory, origin));
                for (const std::string& directory : configured_)
                    look_in(directory);
                for (const std::filesystem::path& directory : defaults_)
                    look_in(directory);
            }
            if (found.empty()) {
                std::string where;
                for (const std::filesystem::path& directory : looked)
                    where += (where.empty() ? "looked in " : ":") + directory.string();
                return plain_error("find the library", name,
                                   "needed by " + object.string() + "; " + where,
                                   "install it, or add its directory to LD_LIBRARY_PATH");
            }
            std::filesystem::path absolute = std::filesystem::absolute(found, failed);
            if (seen_paths_.insert(absolute).second)
                found_.libraries.push_back(
                    {absolute, is_default(absolute.parent_path()), defaults_.front()});
            const auto library = read_elf(absolute);
            if (!library)
                return library.error();
            if (auto below = add_needed(absolute, *library); !below)
                return below;
        }
        chain_.pop_back();
        return {};
    }

    std::vector<std::string> configured_, environment_;
    std::vector<std::filesystem::path> defaults_;
    std::uint16_t machine_ = 0;
    std::vector<step> chain_;
    std::set<std::string> seen_names_;
    std::set<std::filesystem::path> seen_paths_, seen_interpreters_;
    library_closure found_;
};

}  // namespace detail

/// The libraries and loaders that the test program needs, and those that others need beside it.
[[nodiscard]] inline result<library_closure> find_libraries(
    const test_program& first, std::span<const std::filesystem::path> others = {}) {
    detail::closure_search search;
    if (auto added = search.add_program(first); !added)
        return added.error();
    for (const std::filesystem::path& program : others)
        if (auto added = search.add_program(program); !added)
            return added.error();
    return search.take();
}

/// The libraries and loaders that the programs need between them.
[[nodiscard]] inline result<library_closure> find_libraries(
    std::span<const std::filesystem::path> programs) {
    detail::closure_search search;
    for (const std::filesystem::path& program : programs)
        if (auto added = search.add_program(program); !added)
            return added.error();
    return search.take();
}

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// What `ktstr verify` runs in a machine: loads the programs of BPF objects and tells what the kernel's verifier made of each.
// Compiled by the command, statically, with the libbpf that is found then; it attaches nothing. Inside the machine.
//
// verifier BUNDLE: the file has the objects, each after a line with its number of bytes. For object N it prints lines that begin with
// '@': "@object N ERRNO WORDS" where it could not be opened, else for each of its programs "@program N NAME ERRNO WORDS", ERRNO
// 0 where it was loaded, and then the verifier's log, each line behind a '|'. "@end" is the last line.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t stats_room = 64U << 10;
constexpr std::size_t log_room = 4U << 20;
/// All programs of a run share what a machine may say.
constexpr std::size_t most_of_a_log = 200U << 10;

std::string heard;  // what libbpf warned of

int hear(libbpf_print_level level, const char* format, va_list arguments) {
    char line[2048];
    const int size = std::vsnprintf(line, sizeof line, format, arguments);
    if (level == LIBBPF_WARN && size > 0 && heard.size() < (64U << 10))
        heard += line;
    return size;
}

/// The first thing that libbpf complained of, in one line.
std::string complaint() {
    const auto line = heard.substr(0, heard.find('\n'));
    return line.empty() ? "libbpf said nothing" : line;
}

struct object_closer {
    void operator()(bpf_object* one) const { bpf_object__close(one); }
};
using object_ptr = std::unique_ptr<bpf_object, object_closer>;

object_ptr open_object(const std::string& bytes) {
    heard.clear();
    return object_ptr(bpf_object__open_mem(bytes.data(), bytes.size(), nullptr));
}

void tell_log(const char* log) {
    std::string text(log);
    if (text.size() > most_of_a_log) {
        text.erase(0, text.size() - most_of_a_log);
        text.erase(0, text.find('\n') + 1);
        text.insert(0, "(the beginning of the log is left out)\n");
    }
    for (std::size_t at = 0; at < text.size();) {
        const auto end = std::min(text.find('\n', at), text.size());
        std::printf("|%s\n", text.substr(at, end - at).c_str());
        at = end + 1;
    }
}

void tell(std::size_t number, const bpf_program* of, int failed, const std::string& words,
          const char* log) {
    std::printf("@program %zu %s %d %s\n", number, bpf_program__name(of), -failed, words.c_str());
    tell_log(log);
}

void tell_object(std::size_t number, int failed, const std::string& words) {
    std::printf("@object %zu %d %s\n", number, failed, words.c_str());
}

/// Why the object as a whole was not loaded; 0: all is told.
struct refusal {
    int failed = 0;
    std::string words{};
};

/// All at once, which is what a loader does.
refusal load_all(std::size_t number, const std::string& bytes) {
    const object_ptr object = open_object(bytes);
    if (!object)
        return tell_object(number, errno, complaint()), refusal{};
    std::vector<std::pair<bpf_program*, std::vector<char>>> logs;
    bpf_program* one = nullptr;
    bpf_object__for_each_program(one, object.get()) {
        if (!bpf_program__autoload(one))
            continue;
        logs.emplace_back(one, std::vector<char>(stats_room));
        bpf_program__set_log_level(one, 4);
    }
    for (auto& [program, log] : logs)
        bpf_program__set_log_buf(program, log.data(), log.size());
    if (const int failed = bpf_object__load(object.get()); failed != 0)
        return {-failed, complaint()};
    // One that only an optional map uses is wanted until the load finds that nobody wants the map.
    std::erase_if(logs, [](const auto& one) { return bpf_program__fd(one.first) < 0; });
    if (logs.empty())
        tell_object(number, ENOENT, "it has no programs");
    for (const auto& [program, log] : logs)
        tell(number, program, 0, "", log.data());
    return {};
}

/// Each alone, so that one that is refused does not hide the others. Where none of them is to blame, the object is.
void load_each(std::size_t number, const std::string& bytes, const refusal& of_all) {
    std::vector<char> log(log_room);
    bool is_explained = false;
    for (std::size_t at = 0;; ++at) {
        const object_ptr object = open_object(bytes);
        if (!object)
            return tell_object(number, errno, complaint());
        bpf_program *one = nullptr, *chosen = nullptr;
        std::size_t count = 0;
        bpf_object__for_each_program(one, object.get()) {
            if (!bpf_program__autoload(one))
                continue;
            if (count++ == at)
                chosen = one;
            else
                bpf_program__set_autoload(one, false);
        }
        if (chosen == nullptr) {
            if (!is_explained)
                tell_object(number, of_all.failed, of_all.words);
            return;
        }
        std::memset(log.data(), 0, log.size());
        bpf_program__set_log_level(chosen, 1 | 4);
        bpf_program__set_log_buf(chosen, log.data(), log.size());
        const int failed = bpf_object__load(object.get());
        is_explained = is_explained || failed != 0;
        if (failed != 0 || bpf_program__fd(chosen) >= 0)
            tell(number, chosen, failed, failed == 0 ? "" : complaint(), log.data());
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2)
        return std::fprintf(stderr, "usage: %s BUNDLE\n", argv[0]), 1;
    std::ifstream bundle(argv[1], std::ios::binary);
    if (!bundle)
        return std::fprintf(stderr, "cannot open %s: %s\n", argv[1], std::strerror(errno)), 1;
    libbpf_set_print(hear);
    std::size_t number = 0, size = 0;
    for (; bundle >> size; ++number) {
        bundle.get();
        std::string bytes(size, '\0');
        if (!bundle.read(bytes.data(), static_cast<std::streamsize>(size)))
            return std::fprintf(stderr, "%s ends within object %zu\n", argv[1], number), 1;
        if (const auto refused = load_all(number, bytes); refused.failed != 0)
            load_each(number, bytes, refused);
        std::fflush(stdout);
    }
    std::printf("@end\n");
    return 0;
}

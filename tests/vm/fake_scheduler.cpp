// SPDX-License-Identifier: MIT
// What a scheduler's loader does as far as the harness can see it: it attaches, which the kernel says in
// files of sysfs, and stays, leaves, or is thrown out. No BPF: the files are others, in a directory mounted
// over the kernel's. Its one argument says what becomes of it; /tmp/body means that the test's body runs.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef KTSTR_LINKED_SCHEDULER
int scheduler_library();
#endif
#ifdef KTSTR_LINKED_ZLIB
extern "C" const char* zlibVersion();
#endif

namespace {

constexpr const char* facts = "/tmp/sched_ext";

void say(const char* file, const char* word) {
    std::ofstream(std::string(facts) + '/' + file, std::ios::trunc) << word << '\n' << std::flush;
}

void attach() {
    ::mkdir(facts, 0755);
    ::mkdir((std::string(facts) + "/root").c_str(), 0755);
    say("root/ops", "fake");
    say("state", "enabled");
    if (::mount(facts, "/sys/kernel/sched_ext", nullptr, MS_BIND, nullptr) != 0) {
        std::fprintf(stderr, "cannot mount over the state: %s\n", std::strerror(errno));
        std::exit(1);
    }
    std::printf("attached\n");
    std::fflush(stdout);
}

void wait_for_body() {
    const int news = ::inotify_init1(IN_CLOEXEC);
    ::inotify_add_watch(news, "/tmp", IN_CREATE);
    char drop[4096];
    while (::access("/tmp/body", F_OK) != 0)
        if (::read(news, drop, sizeof drop) < 0)
            std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view fate = argc > 1 ? argv[1] : "";
#ifdef KTSTR_LINKED_SCHEDULER
    if (scheduler_library() != 42)
        return 4;
#endif
#ifdef KTSTR_LINKED_ZLIB
    if (zlibVersion() == nullptr)
        return 5;
#endif
    if (fate == "fails")
        return 2;
    if (fate != "never_attaches")
        attach();
    if (fate == "leaves" || fate == "is_thrown_out")
        wait_for_body();
    if (fate == "leaves")
        return 3;
    if (fate == "is_thrown_out") {
        say("state", "disabled");
        std::ofstream("/tmp/thrown_out");
    }
    for (;;)
        ::pause();
}

// SPDX-License-Identifier: MIT
// Machines that go wrong at every point of their life, each as a clone and booted. What strikes them, if
// they do not do it themselves, and what must come of it stands in faults.py.
#include <ktstr/ktstr.hpp>

#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

void write_to(const char* path, const char* text) {
    const int fd = ::open(path, O_WRONLY);
    KTSTR_REQUIRE(fd >= 0);
    KTSTR_REQUIRE(::write(fd, text, std::strlen(text)) > 0);
    ::close(fd);
}

/// Until it is struck.
void wait() {
    for (;;)
        ::pause();
}

/// In the first process of a machine whose kernel was started with such a word (the kernel hands unknown
/// ones on as environment): writes on the console what a kernel writes when it oopses, and boots on. A
/// host has nothing else to tell a real one by. Or has the console keep quiet first, and writes it where
/// the kernel keeps its words.
void complain(int, char**, char** environment) {
    bool wanted = false, silent = false;
    for (char** word = environment; *word != nullptr; ++word) {
        wanted = wanted || std::strcmp(*word, "KTSTR_TEST_COMPLAINT=1") == 0;
        silent = silent || std::strcmp(*word, "KTSTR_TEST_COMPLAINT=silent") == 0;
    }
    if (::getpid() != 1 || (!wanted && !silent))
        return;
    const char* const place = "/serial";
    constexpr int set_console_level = 8;
    if (silent)
        ::klogctl(set_console_level, nullptr, 1);
    ::mknod(place, S_IFCHR | 0600, silent ? makedev(1, 11) : makedev(4, 64));
    const int fd = ::open(place, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    constexpr std::string_view line = "\n[    1.000000] Oops: 0002 [#1] of a test\n";
    constexpr std::string_view record = "<2>Oops: 0002 [#1] of a test\n";
    const auto said = silent ? record : line;
    [[maybe_unused]] const auto n = ::write(fd, said.data(), said.size());
    ::tcdrain(fd);
    ::close(fd);
    ::unlink(place);
}
// Before every initialiser: PID 1 runs none of those.
[[gnu::section(".preinit_array"), gnu::used]] void (*const complain_at_boot)(int, char**,
                                                                             char**) = &complain;

}  // namespace

KTSTR_TEST(lives, duration = 1s) {
    KTSTR_CHECK(1 == 1);
}
KTSTR_TEST(lives_cold, duration = 1s, no_clone) {
    KTSTR_CHECK(1 == 1);
}

// A kernel with less memory than it needs for itself panics before it starts anything.
KTSTR_TEST(panics_at_boot, duration = 1s, kernel_args = {"mem=60M"}) {}
KTSTR_TEST(panics_at_boot_cold, duration = 1s, kernel_args = {"mem=60M"}, no_clone) {}

KTSTR_TEST(complains_at_boot, duration = 1s, kernel_args = {"KTSTR_TEST_COMPLAINT=1"}) {}
KTSTR_TEST(complains_at_boot_cold, duration = 1s, kernel_args = {"KTSTR_TEST_COMPLAINT=1"},
           no_clone) {}

KTSTR_TEST(complains_unheard_at_boot, duration = 1s,
           kernel_args = {"KTSTR_TEST_COMPLAINT=silent"}) {}
KTSTR_TEST(complains_unheard_at_boot_cold, duration = 1s,
           kernel_args = {"KTSTR_TEST_COMPLAINT=silent"}, no_clone) {}

// With a template of its own: one whose clone did not come up is not tried again in a run.
KTSTR_TEST(killed_at_boot, duration = 1s, kernel_args = {"KTSTR_TEST_KILLED=1"}) {}
KTSTR_TEST(killed_at_boot_cold, duration = 1s, no_clone) {}

KTSTR_TEST(silent_at_boot_cold, duration = 1s, no_clone) {}

KTSTR_TEST(panics_in_body, duration = 1s, timeout = 300s) {
    write_to("/proc/sysrq-trigger", "c");
}
KTSTR_TEST(panics_in_body_cold, duration = 1s, timeout = 300s, no_clone) {
    write_to("/proc/sysrq-trigger", "c");
}

KTSTR_TEST(killed_in_body, duration = 1s, timeout = 300s) {
    wait();
}
KTSTR_TEST(killed_in_body_cold, duration = 1s, timeout = 300s, no_clone) {
    wait();
}

KTSTR_TEST(cut_in_body, duration = 1s, timeout = 300s) {
    wait();
}
KTSTR_TEST(cut_in_body_cold, duration = 1s, timeout = 300s, no_clone) {
    wait();
}

// The last: its template is given up.
KTSTR_TEST(silent_at_boot, duration = 1s) {}

// SPDX-License-Identifier: MIT
// When a test program's globals come to life. In a machine they must not do so in PID 1: its image is
// what every clone of a template begins with, so a number drawn there would be the same in all of
// them, and at that time there is not even /proc. So PID 1 leaves before the first of them, and each
// body's process runs them for itself. Guest side.
#pragma once

#include <cstddef>

#include <unistd.h>

extern "C" {
// The linker's names for the program's list of initialisers.
using ktstr_initialiser = void (*)(int, char**, char**);
extern const ktstr_initialiser __init_array_start[] __attribute__((visibility("hidden")));
extern const ktstr_initialiser __init_array_end[] __attribute__((visibility("hidden")));
}

namespace ktstr::guest {

/// Those of the program itself. Its libraries' have run before them, in PID 1.
class initialisers {
public:
    /// From the first of them, which is about to keep the others from running. False: it is not in the
    /// list, and nothing can be put off.
    [[nodiscard]] static bool put_off(void (*first)()) {
        for (const auto* at = __init_array_start; at != end(); ++at)
            if (reinterpret_cast<void (*)()>(*at) == first) {
                next() = at + 1;
                return true;
            }
        return false;
    }

    /// Runs what was put off, once. True when anything was.
    static bool run() {
        const auto* at = next();
        next() = nullptr;
        if (at == nullptr)
            return false;
        static char name[] = "/init";
        static char* arguments[] = {name, nullptr};
        for (; at != end(); ++at)
            (*at)(1, arguments, environ);
        return true;
    }

private:
    /// To the compiler the two names are two arrays, and a pointer into one never meets the other.
    static const ktstr_initialiser* end() {
        const auto* at = __init_array_end;
        asm("" : "+r"(at));
        return at;
    }
    static const ktstr_initialiser*& next() {
        static constinit const ktstr_initialiser* at = nullptr;
        return at;
    }
};

}  // namespace ktstr::guest

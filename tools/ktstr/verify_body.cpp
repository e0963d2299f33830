// SPDX-License-Identifier: MIT
// What `ktstr verify` runs in a machine: the program of tools/bpf/verifier.cpp with the objects, both planted by the command. Its
// output is the result, and a pass leaves no files behind: so this ends with one failed check that says that all is told. Guest
// side; the command itself is verify_command.cpp.
#include <ktstr/ktstr.hpp>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "verify_names.hpp"

namespace {

// Relative: the command is in the folder that has them.
constexpr ktstr::scheduler with_objects{
    .name = "ktstr_verify",
    .binary = "",
    .files = {{.path = ktstr::tool::verifier_in_guest, .from = ktstr::tool::verifier_file},
              {.path = ktstr::tool::bundle_in_guest, .from = ktstr::tool::bundle_file}}};

/// A copy that may be executed: what is planted is plain files, on a disk that can't be written.
int executable(const char* path) {
    const int from = ::open(path, O_RDONLY | O_CLOEXEC);
    const int to = ::memfd_create("ktstr-verifier", MFD_CLOEXEC);
    struct stat facts {};
    KTSTR_REQUIRE(from >= 0 && to >= 0 && ::fstat(from, &facts) == 0,
                  "cannot open the verifier's program");
    for (off_t at = 0; at < facts.st_size;)
        KTSTR_REQUIRE(::sendfile(to, from, &at, static_cast<std::size_t>(facts.st_size - at)) > 0);
    ::close(from);
    return to;
}

}  // namespace

KTSTR_TEST(ktstr_verify, scheduler = with_objects, timeout = 600s) {
    (void)ctx;
    const int program = executable(ktstr::tool::verifier_in_guest.data());
    const pid_t child = ::fork();
    if (child == 0) {
        char name[] = "verifier", bundle[] = "/ktstr-verify/bundle";
        char* const argv[] = {name, bundle, nullptr};
        ::fexecve(program, argv, environ);
        ::dprintf(2, "ktstr: cannot start the verifier's program: %s\n", std::strerror(errno));
        ::_exit(127);
    }
    int status = 0;
    KTSTR_REQUIRE(child > 0 && ::waitpid(child, &status, 0) == child);
    KTSTR_REQUIRE(status == 0, "the verifier's program ended with the status {}", status);
    KTSTR_FAIL("ktstr verify: all is told");
}

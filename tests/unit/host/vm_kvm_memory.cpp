// SPDX-License-Identifier: MIT
#include <ktstr/host/vm/kvm_memory.hpp>

#include <catch2/catch_test_macros.hpp>

#include "scratch_directory.hpp"

using namespace ktstr::host;

TEST_CASE("QEMU's words that blame KVM are told from others", "[kvm]") {
    CHECK(words_that_blame_kvm("cannot start the machine of a: qemu-system-x86_64: ../kvm.c:1: "
                               "kvm_buf_set_msrs: Assertion `ret' failed.\nmore") ==
          "qemu-system-x86_64: ../kvm.c:1: kvm_buf_set_msrs: Assertion `ret' failed");
    CHECK(words_that_blame_kvm("qemu-system-x86_64: Could not access KVM kernel module: Denied"));
    CHECK_FALSE(words_that_blame_kvm(
        "cannot start the machine of kvm_test: qemu-system-x86_64: cannot allocate memory"));
    CHECK_FALSE(words_that_blame_kvm("cannot find kvm"));
    CHECK_FALSE(words_that_blame_kvm(""));
}

TEST_CASE("a failure of KVM is remembered until the host boots again", "[kvm]") {
    const unit::scratch_directory cache;
    CHECK_FALSE(remembered_kvm_failure(cache.path()));
    remember_kvm_failure(cache.path(), "its last words");
    CHECK(remembered_kvm_failure(cache.path()) == "its last words");
    cache.write("kvm-failed", "another-boot\nits last words\n");
    CHECK_FALSE(remembered_kvm_failure(cache.path()));
}

// SPDX-License-Identifier: MIT
// The text of --help. Written by hand, because its grouping and examples are the point; a unit test
// holds it against the argument table in parse.hpp so that neither can drift.
// Host side.
#pragma once

#include <string_view>

namespace ktstr::host {

inline constexpr std::string_view help_text = R"(Usage: PROGRAM [arguments]

Runs the tests compiled into this program, each in a virtual machine of its own.
Without arguments: all of them.

Which tests
  --list                 print the names of the selected tests, one a line; boots nothing
  --format text|json     with --list: names, or one JSON array with what is known of each test
  --filter PATTERN       only tests whose name matches; `*` and `?` as in a shell; repeatable
  --tag T                only tests that carry the tag T; repeatable, any of them is enough
  --exclude PATTERN      leave out tests whose name matches; repeatable

On which machine
  --accel auto|kvm|tcg|nested
                         hardware virtualization, emulation, or real KVM inside one emulated
                         machine; auto takes kvm where it works, else tcg, and says so
  --kernel SPEC          a kernel image, a directory, the name of a cached kernel, or `distro`
  --topology 2n4l2c2t    run every selected test on this machine: NUMA nodes, LLCs in total,
                         cores per LLC, threads per core
  --no-clone             boot every test cold instead of cloning a booted machine

How often, how many at once
  --jobs N|auto          tests at a time; auto, the default: what the host's CPUs and memory
                         carry, beside other ktstr programs
  --repeat N             run each selected test N times; the worst verdict counts
  --until-fail           repeat each test until it fails, at most --repeat times if that is given
  --retries N            run a test that did not pass up to N times more; a pass then is `flaky`
  --seed N               seed of every random choice, decimal or 0x hexadecimal; printed in every
                         run, so that it can be given again

What comes out
  --junit FILE           JUnit XML, written when the run ends
  --json FILE            one JSON object a line, as it happens; `-` is standard output
  --tap                  TAP version 14 on standard output
  --artifacts DIR        where the files of a failed test go
  --keep                 keep the files of every test
  --verbose              also show stages and the output of every test as it comes
  --quiet                only failures and the last line
  --color auto|always|never

Instead of running
  --dry-run              print the exact QEMU command line of each selected test
  --shell                boot the selected test's machine and give a shell in it
  --doctor               what this host can do, what it lacks, which tests would be skipped and
                         why, and the command that mends it
  --help, -h             this text
  --version              the version

Examples
  PROGRAM --list                             what is in here?
  PROGRAM --filter 'steal_*' --verbose       some tests, with everything they print
  PROGRAM --tag smoke --jobs 2               the quick ones, two at a time
  PROGRAM --filter two_llcs --until-fail     how often does it take to fail?
  PROGRAM --filter two_llcs --shell          look around in that test's machine
  PROGRAM --junit report.xml --retries 1     in a CI job
  PROGRAM --json - | jq 'select(.event == "test")'

Environment (an argument wins over its variable; an empty variable counts as unset)
  KTSTR_KERNEL           as --kernel
  KTSTR_ACCEL            as --accel
  KTSTR_JOBS             as --jobs
  KTSTR_ARTIFACTS        as --artifacts
  KTSTR_CACHE_DIR        kernels and machines are cached here (default: $XDG_CACHE_HOME/ktstr,
                         else ~/.cache/ktstr)
  KTSTR_CPU_CAP          use at most this many of the host's CPUs at a time
  KTSTR_LOCK_DIR         where ktstr programs of this host agree on who uses which CPU
                         (default: /tmp); a local directory
  NO_COLOR               no colour, unless --color says otherwise
  TEST_TOTAL_SHARDS, TEST_SHARD_INDEX, TEST_SHARD_STATUS_FILE
                         run one part of the selection, as Bazel asks
  GTEST_TOTAL_SHARDS, GTEST_SHARD_INDEX, GTEST_SHARD_STATUS_FILE
                         the same, as GoogleTest runners ask

Exit codes
  0   every selected test passed (skips allowed)
  1   at least one failed
  2   none failed, at least one was inconclusive
  3   the run itself could not be done: no QEMU, no kernel, no memory, a bad host
  4   the single selected test was skipped, or all were
  5   bad usage, or a filter that selects nothing
)";

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// The numbers both sides of the link agree on: version, limits, ports, message types. The layout of
// a frame is in frame.hpp, the fields of each message in message.hpp. Bytes only; no sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ktstr::wire {

/// Raised by every change of a frame's or a message's layout. Both sides must agree exactly; a
/// mismatch is refused in the handshake with both numbers in the message.
inline constexpr std::uint32_t protocol_version = 8;

/// First four bytes of every frame, "KTR1" as stored (little-endian).
inline constexpr std::uint32_t frame_magic = 0x3152544bU;

/// A frame whose header announces more than this is an attack or a fault; the link is closed.
inline constexpr std::size_t max_payload = 64U * 1024U;

/// Largest piece of output or input carried by one frame. Small, because the user-space vsock
/// device stalls on large writes (64 KiB did, 4 KiB did not).
inline constexpr std::size_t output_chunk = 4U * 1024U;

/// Most bytes of standard output and error that one test may send; the rest is counted, not kept.
inline constexpr std::uint64_t max_output_per_test = 4U * 1024U * 1024U;

/// And of what its scheduler may: a scheduler that floods must not use up its test's room.
inline constexpr std::uint64_t max_scheduler_output = 1024U * 1024U;

/// Most checks whose text is sent for one test; further failures are only counted.
inline constexpr std::uint64_t max_failed_checks_sent = 100;

/// Most metrics of one test; further ones are only counted.
inline constexpr std::uint64_t max_metrics = 100;

/// Beside them, most that scenarios tell of their workers.
inline constexpr std::uint64_t max_worker_metrics = 400;

/// Longest text that a body may put into a field of a message: what it threw, why it skipped, what a check
/// printed. A body's texts are of any length, and a message has at most five of them.
inline constexpr std::size_t max_text = 4U * 1024U;

/// The disks of a clone, and where each is mounted. The first holds the current test program and is
/// mounted by the template already; the second holds the test's files and is mounted by a clone that
/// needs them.
inline constexpr const char* program_device = "/dev/vda";
inline constexpr const char* program_root = "/ktstr/program";
inline constexpr const char* program_path = "/ktstr/program/init";
inline constexpr const char* files_device = "/dev/vdb";
inline constexpr const char* files_root = "/ktstr/files";

/// vsock port on which the host listens when the context id is this machine's own.
inline constexpr std::uint32_t vsock_port = 5151;

/// vsock port on which a clone listens for its host: a template can't know where its clones' hosts do.
inline constexpr std::uint32_t clone_port = 5152;

/// Name of the virtio-serial port when that carries the link.
inline constexpr std::string_view serial_port_name = "ktstr.link";

enum class message_type : std::uint16_t {
    // guest to host
    hello = 1,
    topology_proof = 2,
    stage = 3,
    output = 4,
    check = 5,
    worker = 6,
    outcome = 7,
    log = 8,
    pong = 9,
    exited = 10,
    settled = 11,
    template_booted = 12,
    scheduler_facts = 13,
    metric = 14,
    // host to guest
    welcome = 64,
    run_test = 65,
    run_command = 66,
    input = 67,
    ping = 68,
    power_off = 69,
    window_size = 70,
    resume = 71,
};

}  // namespace ktstr::wire

// SPDX-License-Identifier: MIT
// What must hold of any payload that some message's decoder accepts. For the fuzzers only.
#pragma once

#include <ktstr/wire/message.hpp>

#include <cstdlib>
#include <string_view>

namespace ktstr::fuzz {

/// Ends the process where a decoded message's bytes are not the bytes it came from.
template <class Message>
bool check_as(wire::message_type type, std::string_view payload) {
    if (type != Message::type)
        return false;
    if (const auto message = wire::decode<Message>(payload);
        message && wire::encode(*message) != payload)
        std::abort();
    return true;
}

template <class... Messages>
void check_as_one_of(wire::message_type type, std::string_view payload) {
    static_cast<void>((check_as<Messages>(type, payload) || ...));
}

inline void check_payload(wire::message_type type, std::string_view payload) {
    using namespace wire;
    check_as_one_of<hello, topology_proof, stage, output, check, metric, worker, outcome, log, pong,
                    exited, welcome, settled, resume, run_test, run_command, input, ping, power_off,
                    window_size>(type, payload);
}

}  // namespace ktstr::fuzz

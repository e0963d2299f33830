// SPDX-License-Identifier: MIT
// Which guest agent this is. A template keeps the agent that booted it, and its clones run test
// programs of other builds; a template of another agent must not be used. tests/lint/agent.py computes
// the value from every header that the agent is made of, and fails when it is not this one. Bytes only.
#pragma once

#include <string_view>

namespace ktstr::wire {

inline constexpr std::string_view agent_identity = "e0738b76f111e0f07a2ff2b14432ba17";

}  // namespace ktstr::wire

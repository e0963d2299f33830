// SPDX-License-Identifier: MIT
// Fuzzes the payload of every message: whatever is accepted has exactly these bytes again.
// The first byte of the input chooses the message.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "accepted.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0)
        return 0;
    const std::string_view payload(reinterpret_cast<const char*>(data) + 1, size - 1);
    ktstr::fuzz::check_payload(static_cast<ktstr::wire::message_type>(data[0]), payload);
    return 0;
}

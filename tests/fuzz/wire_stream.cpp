// SPDX-License-Identifier: MIT
// Fuzzes the decoder of frames: a stream means the same however it is cut into pieces, nothing
// longer than the limit comes out, and a broken stream stays broken. The first byte of the input is
// the length of the pieces.
#include <ktstr/wire/frame.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "accepted.hpp"

namespace {

using ktstr::wire::decoder;
using ktstr::wire::frame;

struct outcome {
    std::vector<frame> frames;
    std::string fault;
    std::size_t pending = 0;
};

void must(bool holds) {
    if (!holds)
        std::abort();
}

outcome decode(std::string_view stream, std::size_t piece) {
    decoder d;
    outcome o;
    while (!stream.empty()) {
        const auto length = std::min(piece, stream.size());
        d.feed(stream.substr(0, length));
        stream.remove_prefix(length);
        while (auto f = d.next()) {
            must(f->payload.size() <= ktstr::wire::max_payload);
            o.frames.push_back(*f);
        }
        must(d.fault().empty() || d.pending() == 0);
        must(d.pending() < ktstr::wire::header_size + ktstr::wire::max_payload);
    }
    must(!d.next());
    o.fault = d.fault();
    o.pending = d.pending();
    return o;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0)
        return 0;
    const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto whole = decode(stream, stream.size());
    const auto pieces = decode(stream, data[0] + std::size_t{1});
    must(whole.fault == pieces.fault);
    must(whole.pending == pieces.pending);
    must(whole.frames.size() == pieces.frames.size());
    for (std::size_t i = 0; i < whole.frames.size(); ++i) {
        must(whole.frames[i].type == pieces.frames[i].type);
        must(whole.frames[i].payload == pieces.frames[i].payload);
        ktstr::fuzz::check_payload(whole.frames[i].type, whole.frames[i].payload);
    }
    return 0;
}

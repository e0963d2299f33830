// SPDX-License-Identifier: MIT
// A frame: 16 bytes of header, then the payload. Little-endian, fixed layout:
//     u32 magic | u16 type | u16 zero | u32 payload length | u32 sequence
// The sequence starts at 0 on each direction and counts frames, so a lost or repeated one is seen.
// The decoder trusts nothing: the other side may be a dying kernel or a hostile body.
#pragma once

#include <ktstr/wire/protocol.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace ktstr::wire {

inline constexpr std::size_t header_size = 16;

struct frame {
    message_type type{};
    std::string payload;
};

namespace detail {

template <class T>
void put_le(std::string& out, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
        out.push_back(static_cast<char>((value >> (8 * i)) & 0xffU));
}

template <class T>
T get_le(const char* p) {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
        value = static_cast<T>(
            value | static_cast<T>(static_cast<T>(static_cast<unsigned char>(p[i])) << (8 * i)));
    return value;
}

}  // namespace detail

/// Appends one frame to `out`. The payload must not be longer than max_payload.
inline void append_frame(std::string& out, message_type type, std::uint32_t sequence,
                         std::string_view payload) {
    detail::put_le<std::uint32_t>(out, frame_magic);
    detail::put_le<std::uint16_t>(out, static_cast<std::uint16_t>(type));
    detail::put_le<std::uint16_t>(out, 0);
    detail::put_le<std::uint32_t>(out, static_cast<std::uint32_t>(payload.size()));
    detail::put_le<std::uint32_t>(out, sequence);
    out.append(payload);
}

/// Turns a stream of bytes into frames. Holds at most one frame's worth of bytes.
class decoder {
public:
    /// Takes bytes from the link. Ignored once the stream is broken.
    void feed(std::string_view bytes) {
        if (fault_.empty())
            buffer_.append(bytes);
    }

    /// The next complete frame, or nothing: then either more bytes are needed or fault() says why
    /// the stream can't be read any further.
    [[nodiscard]] std::optional<frame> next() {
        if (!fault_.empty() || buffer_.size() - consumed_ < header_size) {
            compact();
            return std::nullopt;
        }
        const char* p = buffer_.data() + consumed_;
        const auto magic = detail::get_le<std::uint32_t>(p);
        const auto type = detail::get_le<std::uint16_t>(p + 4);
        const auto zero = detail::get_le<std::uint16_t>(p + 6);
        const auto length = detail::get_le<std::uint32_t>(p + 8);
        const auto sequence = detail::get_le<std::uint32_t>(p + 12);
        if (magic != frame_magic || zero != 0)
            return broken("bytes that are not a frame");
        if (length > max_payload)
            return broken("a frame of " + std::to_string(length) + " bytes, more than the " +
                          std::to_string(max_payload) + " allowed");
        if (sequence != next_sequence_)
            return broken("frame " + std::to_string(sequence) + " where " +
                          std::to_string(next_sequence_) + " was due");
        if (buffer_.size() - consumed_ < header_size + length) {
            compact();
            return std::nullopt;
        }
        frame f{static_cast<message_type>(type), buffer_.substr(consumed_ + header_size, length)};
        consumed_ += header_size + length;
        ++next_sequence_;
        return f;
    }

    /// Why the stream is unreadable, or empty.
    [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

    /// Bytes held back, waiting for the rest of a frame.
    [[nodiscard]] std::size_t pending() const noexcept { return buffer_.size() - consumed_; }

private:
    std::optional<frame> broken(std::string why) {
        fault_ = std::move(why);
        buffer_.clear();
        consumed_ = 0;
        return std::nullopt;
    }

    void compact() {
        buffer_.erase(0, consumed_);
        consumed_ = 0;
    }

    std::string buffer_;
    std::string fault_;
    std::size_t consumed_ = 0;
    std::uint32_t next_sequence_ = 0;
};

}  // namespace ktstr::wire

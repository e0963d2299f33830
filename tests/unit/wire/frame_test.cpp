// SPDX-License-Identifier: MIT
#include <ktstr/wire/frame.hpp>
#include <ktstr/wire/message.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace ktstr;
using namespace ktstr::wire;

namespace {

std::string one_frame(message_type type, std::uint32_t sequence, std::string_view payload) {
    std::string bytes;
    append_frame(bytes, type, sequence, payload);
    return bytes;
}

}  // namespace

TEST_CASE("a frame's layout is fixed", "[wire]") {
    CHECK(one_frame(message_type::log, 7, "ab") == std::string("KTR1\x08\0\0\0\x02\0\0\0\x07\0\0\0"
                                                               "ab",
                                                               18));
}

TEST_CASE("frames come out as they went in, however the bytes are cut", "[wire]") {
    std::string stream = one_frame(message_type::hello, 0, "first");
    stream += one_frame(message_type::output, 1, "");
    stream += one_frame(message_type::outcome, 2, std::string(max_payload, 'x'));
    for (const std::size_t step :
         {std::size_t{1}, std::size_t{7}, std::size_t{16}, std::size_t{4096}, stream.size()}) {
        decoder decode;
        std::vector<frame> got;
        for (std::size_t at = 0; at < stream.size(); at += step) {
            decode.feed(std::string_view(stream).substr(at, step));
            while (auto f = decode.next())
                got.push_back(*f);
        }
        REQUIRE(got.size() == 3);
        CHECK(got[0].type == message_type::hello);
        CHECK(got[0].payload == "first");
        CHECK(got[1].payload.empty());
        CHECK(got[2].payload.size() == max_payload);
        CHECK(decode.fault().empty());
        CHECK(decode.pending() == 0);
    }
}

TEST_CASE("what is not a frame breaks the stream and says why", "[wire]") {
    const auto fault_of = [](std::string bytes) {
        decoder decode;
        decode.feed(bytes);
        while (decode.next()) {
        }
        return decode.fault();
    };
    CHECK(fault_of(std::string(16, '\xa5')) == "bytes that are not a frame");
    auto reserved = one_frame(message_type::log, 0, "");
    reserved[6] = 1;
    CHECK(fault_of(reserved) == "bytes that are not a frame");
    auto endless = one_frame(message_type::log, 0, "");
    for (std::size_t i = 8; i < 12; ++i)
        endless[i] = '\xff';
    CHECK(fault_of(endless) == "a frame of 4294967295 bytes, more than the 65536 allowed");
    CHECK(fault_of(one_frame(message_type::log, 1, "")) == "frame 1 where 0 was due");
    const auto twice = one_frame(message_type::log, 0, "a");
    CHECK(fault_of(twice + twice) == "frame 0 where 1 was due");
    CHECK(fault_of(twice).empty());
}

TEST_CASE("a broken stream stays broken and keeps nothing", "[wire]") {
    decoder decode;
    decode.feed(std::string(64, 'z'));
    CHECK_FALSE(decode.next());
    decode.feed(one_frame(message_type::log, 0, "good again"));
    CHECK_FALSE(decode.next());
    CHECK(decode.pending() == 0);
}

TEST_CASE("an announced frame makes no memory be taken before its bytes come", "[wire]") {
    decoder decode;
    auto header = one_frame(message_type::log, 0, std::string(1000, 'x'));
    header.resize(header_size);
    decode.feed(header);
    CHECK_FALSE(decode.next());
    CHECK(decode.fault().empty());
    CHECK(decode.pending() == header_size);
}

TEST_CASE("messages keep every field", "[wire]") {
    outcome sent{.verdict = verdict::fail,
                 .reason = reason::check,
                 .message = "six == 7",
                 .checks = 3,
                 .failed_checks = 1,
                 .body_ns = 5'000'000'000,
                 .steal_ticks = 1615,
                 .output_dropped = 9};
    const auto got = decode<outcome>(encode(sent));
    REQUIRE(got);
    CHECK(got->verdict == verdict::fail);
    CHECK(got->reason == reason::check);
    CHECK(got->message == "six == 7");
    CHECK(got->checks == 3);
    CHECK(got->failed_checks == 1);
    CHECK(got->body_ns == 5'000'000'000);
    CHECK(got->steal_ticks == 1615);
    CHECK(got->output_dropped == 9);
    sent.steal_ticks.reset();
    CHECK_FALSE(decode<outcome>(encode(sent))->steal_ticks.has_value());

    const run_test order{
        .name = "a", .topology = "1n2l4c1t", .distances = {10, 20, 20, 10}, .dilation = 9.25};
    const auto read = decode<run_test>(encode(order));
    REQUIRE(read);
    CHECK(read->distances == order.distances);
    CHECK(read->dilation == 9.25);
    CHECK(read->prove_topology);
}

TEST_CASE("a payload must be exactly one message", "[wire]") {
    const auto good = encode(check{.kind = "CHECK",
                                   .file = "a.cpp",
                                   .line = 3,
                                   .expression = "x",
                                   .expansion = "y",
                                   .message = "m",
                                   .info = {"i", "j"}});
    REQUIRE(decode<check>(good));
    for (std::size_t cut = 0; cut < good.size(); ++cut)
        CHECK_FALSE(decode<check>(good.substr(0, cut)));
    CHECK_FALSE(decode<check>(good + '\0'));
}

TEST_CASE("values outside their type are refused", "[wire]") {
    auto bytes = encode(topology_proof{.matches = true});
    bytes[0] = 2;
    CHECK_FALSE(decode<topology_proof>(bytes));
    auto ended = encode(outcome{.verdict = verdict::fail, .reason = reason::skipped});
    CHECK(decode<outcome>(ended));
    ended[0] = 4;
    CHECK_FALSE(decode<outcome>(ended));
    ended[0] = 0;
    ended[1] = static_cast<char>(static_cast<int>(reason::skipped) + 1);
    CHECK_FALSE(decode<outcome>(ended));
    auto staged = encode(stage{.at = guest_stage::done});
    CHECK(decode<stage>(staged));
    staged[0] = 6;
    CHECK_FALSE(decode<stage>(staged));
}

TEST_CASE("a list can't announce more items than it has bytes", "[wire]") {
    // argv of a run_command: four billion strings.
    CHECK_FALSE(decode<run_command>(std::string("\xff\xff\xff\xff", 4)));
}

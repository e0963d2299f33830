// SPDX-License-Identifier: MIT
#include <ktstr/wire/message.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace ktstr;

TEST_CASE("every text of a message is bounded, and the message fits in a frame", "[wire]") {
    const std::string endless(100'000, 'x');
    const auto cut = std::string(wire::max_text - 3, 'x') + "...";
    const auto end = wire::bounded(wire::outcome{.verdict = verdict::skip,
                                                 .reason = reason::skipped,
                                                 .message = endless,
                                                 .checks = 7,
                                                 .steal_ticks = 9});
    CHECK(end.message == cut);
    CHECK(end.checks == 7);
    CHECK(end.steal_ticks == 9);
    CHECK(wire::encode(wire::bounded(wire::check{.kind = endless,
                                                 .file = endless,
                                                 .line = 1,
                                                 .expression = endless,
                                                 .expansion = endless}))
              .size() < wire::max_payload);
    const auto worker = wire::bounded(wire::worker{.cgroup = "a", .exit_text = endless});
    CHECK(worker.cgroup == "a");
    CHECK(worker.exit_text == cut);
    const auto many = wire::bounded(wire::check{.info = std::vector<std::string>(100'000)});
    CHECK(many.info.size() == wire::max_text / 64 + 1);
    CHECK(many.info.back() == "...");
    const auto one = wire::bounded(wire::check{.info = {"first", endless, "last"}});
    CHECK(one.info.size() == 2);
    CHECK(one.info[1] == std::string(wire::max_text - 64, 'x') + "...");
    const std::string fits(wire::max_text, 'y');
    CHECK(wire::bounded(wire::log{fits}).text == fits);
}

TEST_CASE("a metric arrives as it was sent, or not at all", "[wire][metric]") {
    const wire::metric sent{.name = "a/b", .value = -0.1, .unit = "1/s", .better = better::higher};
    const auto bytes = wire::encode(sent);
    const auto got = wire::decode<wire::metric>(bytes);
    REQUIRE(got);
    CHECK(got->name == "a/b");
    CHECK(got->value == -0.1);
    CHECK(got->unit == "1/s");
    CHECK(got->better == better::higher);
    CHECK(got->fault() == nullptr);
    for (std::size_t size = 0; size < bytes.size(); ++size)
        CHECK_FALSE(wire::decode<wire::metric>(bytes.substr(0, size)));
    CHECK_FALSE(wire::decode<wire::metric>(bytes + '\0'));
    auto none = bytes;
    none.back() = 3;
    CHECK_FALSE(wire::decode<wire::metric>(none));
}

TEST_CASE("a text is cut between two characters", "[wire]") {
    std::string text;
    while (text.size() < wire::max_text + 10)
        text += "\xe2\x82\xac";
    for (int shift = 0; shift < 3; ++shift, text.insert(0, "a")) {
        auto cut = text;
        wire::bound(cut);
        CHECK(cut.size() <= wire::max_text);
        CHECK(cut.ends_with("..."));
        // Whole characters before the mark.
        CHECK((cut.size() - 3 - static_cast<std::size_t>(shift)) % 3 == 0);
    }
}

// SPDX-License-Identifier: MIT
// The JSON room: read by the standard's rules and within limits, written so that everybody can read
// it. A library's parser is the judge of both.
#include <ktstr/host/json/read.hpp>
#include <ktstr/host/json/write.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace ktstr;
using namespace ktstr::host;
using namespace std::string_literals;

namespace {

bool accepts(std::string_view text) {
    return json::read(text).has_value();
}

/// What was read, as the other library would hold it.
nlohmann::ordered_json translated(const json::value& value) {
    using nlohmann::ordered_json;
    ordered_json to;
    switch (value.is) {
        case json::kind::null:
            return nullptr;
        case json::kind::boolean:
            return value.truth;
        case json::kind::string:
            return value.text;
        case json::kind::number:
            return ordered_json::parse(value.text);
        case json::kind::array:
            to = ordered_json::array();
            for (const auto& item : value.items)
                to.push_back(translated(item));
            return to;
        case json::kind::object:
            to = ordered_json::object();
            for (std::size_t i = 0; i < value.items.size(); ++i)
                to[value.names[i]] = translated(value.items[i]);
            return to;
    }
    return to;
}

/// Both accept it and read the same, or both refuse it.
void agree(const std::string& text) {
    INFO(text);
    const auto theirs = nlohmann::ordered_json::parse(text, nullptr, false);
    const auto ours = json::read(text);
    REQUIRE(ours.has_value() == !theirs.is_discarded());
    if (ours)
        REQUIRE(translated(*ours) == theirs);
}

}  // namespace

TEST_CASE("what is JSON is read, and nothing else", "[json]") {
    for (const char* text : {"null",
                             "true",
                             "false",
                             "0",
                             "-0",
                             "1",
                             "-12",
                             "1.5",
                             "1e5",
                             "1E+5",
                             "1e-5",
                             "-0.0e0",
                             "\"\"",
                             "\"a\"",
                             "[]",
                             "{}",
                             " [ ] ",
                             "[1,2]",
                             "{\"a\":1}",
                             "{\"a\":{\"b\":[null]}}",
                             "\t\r\n 1 ",
                             "\"\\u00e9\\n\\t\\b\\f\\r\\/\\\\\\\"\"",
                             "\"\\ud83d\\ude00\"",
                             "\"\\u0000\"",
                             "\"\xc3\xa9\"",
                             "\"\xf4\x8f\xbf\xbf\"",
                             "\"\x7f\"",
                             "{\"a\":1,\"a\":2}"})
        agree(text);
    for (const char* text : {"",
                             " ",
                             "nul",
                             "nullx",
                             "tru",
                             "True",
                             "+1",
                             "01",
                             "-",
                             "1.",
                             ".5",
                             "1e",
                             "1e+",
                             "0x1",
                             "--1",
                             "-01",
                             "NaN",
                             "Infinity",
                             "'a'",
                             "\"",
                             "\"a",
                             "\"\\\"",
                             "\"\\x41\"",
                             "\"\\u12\"",
                             "\"\\u12g4\"",
                             "\"\\ud800\"",
                             "\"\\udc00\"",
                             "\"\\ud800\\u0041\"",
                             "\"\\ud800x\"",
                             "\"\n\"",
                             "\"\t\"",
                             "\"\x01\"",
                             "\"\xff\"",
                             "\"\xc3\"",
                             "\"\xc0\xaf\"",
                             "\"\xed\xa0\x80\"",
                             "\"\xf5\x80\x80\x80\"",
                             "[",
                             "]",
                             "[1",
                             "[1,",
                             "[1,]",
                             "[,1]",
                             "[1 2]",
                             "{",
                             "}",
                             "{\"a\"",
                             "{\"a\":",
                             "{\"a\":1",
                             "{\"a\":1,",
                             "{\"a\":1,}",
                             "{a:1}",
                             "{1:1}",
                             "{\"a\" 1}",
                             "{,}",
                             "1 2",
                             "[] []",
                             "/**/1",
                             "[1]//",
                             "\xef\xbb\xbf"
                             "1 x"})
        agree(text);
    CHECK_FALSE(accepts("[1]\0"s));
    CHECK_FALSE(accepts("\0"s));
    CHECK_FALSE(accepts("\"\0\""s));
    CHECK_FALSE(accepts("\"a\\\0\""s));
}

TEST_CASE("whatever is done to a text, both readers say the same of it", "[json]") {
    const std::string whole =
        "{\"return\": [{\"cpu-index\": 0, \"thread-id\": 4711, \"props\": {\"core-id\": -1.5e3}},"
        "null, true, \"\\u00e9\xc3\xa9\\ud83d\\ude00\"], \"id\": \"x\"}";
    agree(whole);
    std::mt19937 random(7);
    const std::string letters = "{}[]\",:\\u0dD8e+-.19 \n\xc3\xa9tfn";
    for (int i = 0; i < 4000; ++i) {
        std::string text = whole;
        for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) {
            const auto at = random() % text.size();
            switch (random() % 3) {
                case 0:
                    text[at] = letters[random() % letters.size()];
                    break;
                case 1:
                    text.erase(at, 1 + random() % 4);
                    break;
                default:
                    text.insert(at, 1, letters[random() % letters.size()]);
            }
        }
        agree(text);
    }
}

TEST_CASE("depth and size are bounded", "[json]") {
    CHECK(accepts(std::string(64, '[') + std::string(64, ']')));
    CHECK_FALSE(accepts(std::string(65, '[') + std::string(65, ']')));
    CHECK_FALSE(accepts(std::string(1'000'000, '[')));
    std::string wide = "[";
    for (int i = 0; i < 1000; ++i)
        wide += "[[]],";
    CHECK(accepts(wide + "0]"));  // beside each other is not within each other
    CHECK(json::read("[1]", {.bytes = 3}));
    const auto refused = json::read("[12]", {.bytes = 3});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message() == "cannot read JSON: 4 bytes, at most 3 are taken");
}

TEST_CASE("an error names the byte", "[json]") {
    CHECK(json::read("[1,x]").error().message() == "cannot read JSON: no value at byte 3");
    CHECK(json::read("{\"a\":1").error().message() ==
          "cannot read JSON: neither ',' nor '}' at byte 6");
}

TEST_CASE("what is asked for must be there, of that type, and fit", "[json]") {
    const auto read = json::read(
        R"({"i":-7,"u":18446744073709551615,"d":2.5,"e":1e3,"s":"x","t":true,"n":null,"a":["p","q"],)"
        R"("m":["p",1],"big":99999999999999999999,"o":{"i":1},"i2":1,"i2":2})");
    REQUIRE(read);
    const json::value& v = *read;
    int i = 1;
    std::uint64_t u = 1;
    double d = 1;
    std::string s = "old";
    bool t = false;
    CHECK((take(v["i"], i) && i == -7));
    CHECK((take(v["u"], u) && u == std::numeric_limits<std::uint64_t>::max()));
    CHECK((take(v["d"], d) && d == 2.5));
    CHECK((take(v["e"], d) && d == 1000));
    CHECK((take(v["i"], d) && d == -7));
    CHECK((take(v["s"], s) && s == "x"));
    CHECK((take(v["t"], t) && t));
    CHECK((take(v["i2"], i) && i == 2));
    CHECK_FALSE(take(v["u"], i));
    CHECK_FALSE(take(v["i"], u));
    CHECK_FALSE(take(v["d"], i));
    CHECK_FALSE(take(v["e"], i));
    CHECK_FALSE(take(v["big"], u));
    CHECK_FALSE(take(v["s"], i));
    CHECK_FALSE(take(v["i"], s));
    CHECK_FALSE(take(v["i"], t));
    CHECK_FALSE(take(v["missing"], i));
    CHECK(i == 2);  // as it was
    CHECK(s == "x");

    std::optional<int> maybe = 5;
    CHECK((take(v["i"], maybe) && maybe == -7));
    CHECK((take(v["n"], maybe) && !maybe));
    CHECK_FALSE(take(v["s"], maybe));
    std::vector<std::string> texts;
    CHECK((take(v["a"], texts) && texts == std::vector<std::string>{"p", "q"}));
    CHECK_FALSE(take(v["m"], texts));
    CHECK_FALSE(take(v["s"], texts));

    CHECK(v["o"]["i"].text == "1");
    CHECK(v["missing"]["deeper"].is == json::kind::null);
    CHECK(v["s"]["not an object"].is == json::kind::null);
    CHECK(v["s"].text_or("else") == "x");
    CHECK(v["i"].text_or("else") == "else");
    CHECK(v.contains("n"));
    CHECK_FALSE(v.contains("missing"));
}

TEST_CASE("everything that is written can be read", "[json]") {
    json::writer to;
    to.begin_object();
    to.field("text", "a\"b\\c\n\t\x01\x7f");
    to.field("bad", std::string("x\xff\xc3y"));
    to.field("least", std::numeric_limits<std::int64_t>::min());
    to.field("most", std::numeric_limits<std::uint64_t>::max());
    to.field("third", 0.1);
    to.field("whole", 3.0);
    to.field("large", 1e300);
    to.field("endless", std::numeric_limits<double>::infinity());
    to.field("no number", std::nan(""));
    to.field("nothing", std::optional<int>());
    to.field("something", std::optional<std::string>("s"));
    to.field("truth", true);
    to.field("list", std::vector<std::string>{"a", "b"});
    to.name("empty");
    to.begin_array();
    to.end_array();
    to.name("nested");
    to.begin_array();
    to.begin_object();
    to.end_object();
    to.add(1);
    to.end_array();
    to.end_object();
    const auto text = to.take();
    const auto read = nlohmann::ordered_json::parse(text);
    CHECK(read["text"] == "a\"b\\c\n\t\x01\x7f");
    CHECK(read["bad"] == "x\xef\xbf\xbd\xef\xbf\xbdy");
    CHECK(read["least"] == std::numeric_limits<std::int64_t>::min());
    CHECK(read["most"] == std::numeric_limits<std::uint64_t>::max());
    CHECK(read["third"] == 0.1);
    CHECK(read["whole"].is_number_float());
    CHECK(read["large"] == 1e300);
    CHECK(read["endless"].is_null());
    CHECK(read["no number"].is_null());
    CHECK(read["nothing"].is_null());
    CHECK(read["something"] == "s");
    CHECK(read["truth"] == true);
    CHECK(read["list"].size() == 2);
    CHECK(read["empty"].is_array());
    CHECK(read["nested"].dump() == "[{},1]");
    agree(text);
}

TEST_CASE("any bytes at all become a JSON string", "[json]") {
    std::mt19937 random(11);
    for (int i = 0; i < 2000; ++i) {
        std::string bytes(random() % 24, '\0');
        for (char& c : bytes)
            c = static_cast<char>(random());
        json::writer to;
        to.add(bytes);
        const auto text = to.take();
        const auto read = nlohmann::json::parse(text, nullptr, false);
        REQUIRE(read.is_string());
        REQUIRE(read.get<std::string>() == valid_utf8(bytes));
    }
    json::writer to;
    to.add(std::string(text_limit + 1, 'x'));
    CHECK(to.take().size() == text_limit + 2 + 3);  // the mark of the cut is three bytes
}

TEST_CASE("items stand apart for people", "[json]") {
    json::writer to(json::spacing::single, 0);
    to.begin_object();
    to.field("a", 1);
    to.field("b", std::vector<std::string>{"x", "y"});
    to.name("c");
    to.number_text("2.5");
    to.end_object();
    CHECK(to.take() == R"({"a": 1, "b": ["x", "y"], "c": 2.5})");
}

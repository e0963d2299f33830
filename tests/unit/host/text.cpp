// SPDX-License-Identifier: MIT
#include <ktstr/host/report/line_tail.hpp>
#include <ktstr/host/text/shell.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/host/text/utf8.hpp>
#include <ktstr/host/text/xml.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace ktstr::host;

TEST_CASE("valid UTF-8 passes untouched", "[report][text]") {
    const std::string text = "plain, \u00e9, \u20ac, \U0001f600, line\n\ttab";
    CHECK(valid_utf8(text) == text);
    CHECK(one_line("plain \u00e9 \u20ac") == "plain \u00e9 \u20ac");
}

TEST_CASE("invalid UTF-8 becomes the replacement character", "[report][text]") {
    const std::string bad = "\ufffd";
    CHECK(valid_utf8("a\xff"
                     "b") == "a" + bad + "b");
    CHECK(valid_utf8("\xc3") == bad);                                // cut short
    CHECK(valid_utf8("\xe2\x82") == bad + bad);                      // cut short
    CHECK(valid_utf8("\xc0\xaf") == bad + bad);                      // overlong
    CHECK(valid_utf8("\xe0\x80\xaf") == bad + bad + bad);            // overlong
    CHECK(valid_utf8("\xed\xa0\x80") == bad + bad + bad);            // a surrogate
    CHECK(valid_utf8("\xf4\x90\x80\x80") == bad + bad + bad + bad);  // beyond U+10FFFF
    CHECK(valid_utf8("\xf5") == bad);
}

TEST_CASE("long text is cut between code points and the cut is shown", "[report][text]") {
    CHECK(valid_utf8("abcdef", 4) == "abcd\u2026");
    CHECK(valid_utf8("ab\u20ac", 4) == "ab\u2026");
    CHECK(valid_utf8("abcd", 4) == "abcd");
    CHECK(one_line(std::string(5000, 'x')).size() == text_limit + 3);
}

TEST_CASE("what drives a terminal is spelled out", "[report][text]") {
    CHECK(one_line("\x1b[31mred") == "\\x1b[31mred");
    CHECK(one_line("a\rb\nc") == "a\\rb\\nc");
    CHECK(one_line("line\r\n") == "line");
    CHECK(one_line("a\tb") == "a    b");
    CHECK(one_line(std::string("\0\x7f", 2)) == "\\x00\\x7f");
    CHECK(one_line("\u009b31m") == "\\x9b31m");
    CHECK(one_line("\u202eevil") == "\\u202eevil");
}

TEST_CASE("lines of a guest's console drive no terminal", "[report][text]") {
    CHECK(printable("") == "");
    CHECK(printable("plain\nlines\n") == "plain\nlines\n");
    CHECK(printable("a\r\n\x1b[2Jb\n\x1b]0;owned\a") == "a\n\\x1b[2Jb\n\\x1b]0;owned\\x07");
    const std::string long_line(3 * text_limit, '\x1b');
    CHECK(printable(long_line).size() == 4 * long_line.size());
    std::string all;
    for (int c = 0; c < 256; ++c)
        all += static_cast<char>(c);
    for (const char c : printable(all))
        CHECK((c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f)));
}

TEST_CASE("XML text is well-formed whatever it was", "[report][text]") {
    CHECK(xml_text("<a b=\"c\">&'") == "&lt;a b=&quot;c&quot;&gt;&amp;&apos;");
    CHECK(xml_text("\x1b\x08\r\xff\uffff") == "\\x1b\\x08\\x0d\ufffd\ufffd");
    CHECK(xml_text("two\nlines") == "two\nlines");
    CHECK(xml_attribute("two\nlines\t") == "two&#10;lines&#9;");
}

TEST_CASE("JSON strings are valid JSON", "[report][text]") {
    std::string out;
    append_json_string(out, std::string("a\"\\\n\x01\x7f\xff\0", 8));
    CHECK(out == "\"a\\\"\\\\\\n\\u0001\\u007f\ufffd\\u0000\"");
}

TEST_CASE("shell words survive a shell", "[report][text]") {
    CHECK(shell_word("two_llcs") == "two_llcs");
    CHECK(shell_word("a b") == "'a b'");
    CHECK(shell_word("it's") == "'it'\\''s'");
    CHECK(shell_word("*") == "'*'");
    CHECK(shell_word("") == "''");
}

TEST_CASE("quoted words are what a shell would take apart again", "[report][text]") {
    CHECK(shell_quoted({"qemu", "-append", "a b", "it's", ""}) ==
          "qemu -append 'a b' 'it'\\''s' ''");
}

TEST_CASE("a line tail keeps the last lines", "[report][text]") {
    line_tail tail(3, 8);
    CHECK(tail.lines().empty());
    tail.feed("one\ntw");
    CHECK(tail.lines() == std::vector<std::string>{"one", "tw"});
    tail.feed("o\r\nthree\n\nfive");
    CHECK(tail.lines() == std::vector<std::string>{"three", "", "five"});
    CHECK(tail.total() == 5);
    tail.feed(" is far too long\n");
    CHECK(tail.lines() == std::vector<std::string>{"three", "", "five is "});
    CHECK(tail.total() == 5);
}

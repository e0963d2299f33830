// SPDX-License-Identifier: MIT
#include <ktstr/host/vm/qmp.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <string>
#include <string_view>

#include <sys/socket.h>
#include <unistd.h>

using namespace ktstr;
using namespace ktstr::host;

namespace {

/// A QEMU that has said all it will ever say, and closes.
class told_qemu {
public:
    explicit told_qemu(std::string_view words) {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        far_ = unique_fd(ends[1]);
        near_ = unique_fd(ends[0]);
        REQUIRE(::send(far_.get(), words.data(), words.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(words.size()));
        ::shutdown(far_.get(), SHUT_WR);
    }
    [[nodiscard]] qmp client() { return qmp(std::move(near_), std::chrono::seconds(10)); }

private:
    unique_fd far_, near_;
};

template <class Result>
std::string why(const Result& got) {
    return got ? std::string("it went well") : got.error().message();
}

}  // namespace

TEST_CASE("QEMU's answers are read", "[qmp]") {
    told_qemu said(
        "{\"QMP\": {}}\n{\"return\": {}}\n"
        "{\"event\": \"STOP\", \"data\": {}}\n"
        "{\"return\": [{\"cpu-index\": 0, \"thread-id\": 71, \"qom-path\": \"/m/0\"}]}\n"
        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such thing\"}}\n"
        "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"completed\"}}\n");
    auto client = said.client();
    CHECK(client.open());
    const auto threads = client.vcpus();
    REQUIRE(threads);
    REQUIRE(threads->size() == 1);
    CHECK(threads->front().thread_id == 71);
    CHECK(threads->front().qom_path == "/m/0");
    CHECK(why(client.ask("anything")).find("no such thing") != std::string::npos);
    CHECK(client.wait_until_saved());
}

TEST_CASE("an answer of another type is an error and no exception", "[qmp]") {
    for (const std::string words :
         {"{\"return\": 7}", "{\"return\": [7]}", "{\"return\": {\"a\": 1}}", "[]", "7", "null",
          "{\"return\": [{\"cpu-index\": \"0\", \"thread-id\": 71, \"qom-path\": \"/m/0\"}]}",
          "{\"return\": [{\"cpu-index\": 0, \"thread-id\": 0, \"qom-path\": \"/m/0\"}]}",
          "{\"return\": [{\"cpu-index\": 0, \"thread-id\": 7.5, \"qom-path\": \"/m/0\"}]}",
          "{\"return\": [{\"cpu-index\": 0, \"thread-id\": 71, \"qom-path\": null}]}",
          "{\"return\": [{\"cpu-index\": 0}]}", "{\"error\": 7}", "{\"error\": {\"desc\": []}}",
          "{\"event\": 7}", "{\"event\": \"MIGRATION\", \"data\": 7}",
          "{\"event\": \"MIGRATION\", \"data\": {\"status\": 7}}", "not JSON"}) {
        INFO(words);
        auto asked = told_qemu(words + '\n');
        CHECK_FALSE(asked.client().vcpus());
        auto greeted = told_qemu(words + '\n');
        CHECK_FALSE(greeted.client().open());
        auto waited = told_qemu(words + '\n');
        CHECK_FALSE(waited.client().wait_until_saved());
        auto judged = told_qemu(words + '\n');
        CHECK_FALSE(judged.client().has_steal_clock({}));
    }
    told_qemu failed(
        "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"failed\"}}\n"
        "{\"return\": {\"error-desc\": 7}}\n");
    CHECK(why(failed.client().wait_until_saved()).find("QEMU says: failed") != std::string::npos);
}

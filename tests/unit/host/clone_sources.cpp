// SPDX-License-Identifier: MIT
// What becomes of a template whose clone did not come up.
#include <ktstr/host/clone/clone_sources.hpp>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <string>
#include <string_view>

#include "scratch_directory.hpp"

using namespace ktstr;
using namespace ktstr::host;
using unit::scratch_directory;

namespace {

/// A cache with one template, and a clone of it.
struct one_template {
    explicit one_template(std::string_view of = template_kind) : kind(of) {
        setup.host.cache_root = scratch.path() / "cache";
        sources.emplace(setup, scratch.path(), -1, progress_callback{});
        made.machine.emplace();
        made.source.key = "key";
        made.source.kind = kind;
        const auto entry = store();
        made.source.in_use = entry.in_use;
        made.source.directory = entry.directory;
    }
    cache_entry store() const {
        const auto entry =
            cache(setup.host.cache_root).obtain(kind, "key", {}, [](const auto& directory) {
                return host::detail::write_text(directory / "state", "state");
            });
        REQUIRE(entry);
        return *entry;
    }
    [[nodiscard]] bool is_there() const {
        return cache(setup.host.cache_root).find(kind, "key").has_value();
    }

    std::string_view kind;

    scratch_directory scratch;
    run_setup setup;
    std::optional<clone_sources> sources;
    clone_sources::clone made;
};

}  // namespace

TEST_CASE("a template that did not wake is taken out of the cache", "[clone]") {
    one_template at;
    CHECK(at.sources->distrust(at.made, "silent").find("is taken out of the cache") !=
          std::string::npos);
    CHECK_FALSE(at.is_there());
}

TEST_CASE("one that has taken its place meanwhile is not", "[clone]") {
    one_template at;
    std::filesystem::remove_all(at.setup.host.cache_root / template_kind / "key");
    const auto another = at.store();
    CHECK(at.sources->distrust(at.made, "silent").find("has been taken out of the cache before") !=
          std::string::npos);
    CHECK(at.is_there());
    CHECK(host::detail::is_same_file(another.directory->get(), another.path));
}

TEST_CASE("nor one whose clone was never let go", "[clone]") {
    one_template at;
    CHECK(at.sources->trust(at.made) == "its template stays");
    CHECK(at.is_there());
    std::filesystem::remove_all(at.setup.host.cache_root / template_kind / "key");
    CHECK(at.sources->trust(at.made) == "its template is not there any more");
}

TEST_CASE("nor is the plain one when a scheduler was gone in the other", "[clone]") {
    one_template plain, attached(attached_kind);
    attached.made.attach.emplace().scheduler_name = "simple";
    CHECK(attached.sources->distrust_attached(attached.made, "it ended")
              .find("is taken out of the cache") != std::string::npos);
    CHECK_FALSE(attached.is_there());
    CHECK(plain.is_there());
    // And one that did not wake, of the same.
    one_template silent(attached_kind);
    CHECK(silent.sources->distrust(silent.made, "silent").find("is taken out of the cache") !=
          std::string::npos);
    CHECK_FALSE(silent.is_there());
}

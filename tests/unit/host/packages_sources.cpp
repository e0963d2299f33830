// SPDX-License-Identifier: MIT
#include <ktstr/host/packages/apt_sources.hpp>
#include <ktstr/host/packages/fetch_package.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>

#include "scratch_directory.hpp"

using namespace ktstr::host;

TEST_CASE("one-line sources are read with their options") {
    const auto found = parse_sources_list(
        "# deb http://commented.example/debian bookworm main\n"
        "deb-src http://mirror.example/debian bookworm main\n"
        "deb [ arch=amd64 signed-by=/k.gpg,/l.gpg trusted=yes ] http://mirror.example/debian "
        "bookworm main contrib # tail\n"
        "deb http://broken.example\n");
    REQUIRE(found.size() == 1);
    CHECK(found[0].uris == std::vector<std::string>{"http://mirror.example/debian"});
    CHECK(found[0].suites == std::vector<std::string>{"bookworm"});
    CHECK(found[0].components == std::vector<std::string>{"main", "contrib"});
    CHECK(found[0].signed_by == "/k.gpg /l.gpg");
    CHECK(found[0].trusted);
}

TEST_CASE("deb822 sources are read with comments, continued lines and switched-off stanzas") {
    const auto found = parse_deb822_sources(
        "Types: deb deb-src\n# a comment\nURIs: mirror+file:/etc/apt/mirrors.list\n"
        "Suites: bookworm bookworm-updates\nComponents: main\nSigned-By:\n -----BEGIN\n .\n end\n"
        "\n"
        "Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n"
        "\n \n"
        "Types: deb-src\nURIs: http://source.example\nSuites: bookworm\nComponents: main\n"
        "\n"
        "types: deb\nuris: http://last.example\nsuites: sid\ncomponents: main");
    REQUIRE(found.size() == 2);
    CHECK(found[0].uris.front() == "mirror+file:/etc/apt/mirrors.list");
    CHECK(found[0].signed_by == "\n -----BEGIN\n .\n end");
    CHECK(found[1].uris.front() == "http://last.example");
}

TEST_CASE("the main archive is the one that serves the release itself") {
    const unit::scratch_directory scratch;
    scratch.write("sources.list", "deb http://security.example bookworm-security main\n");
    scratch.write("sources.list.d/a.list", "deb http://third.example/repo bookworm stable\n");
    scratch.write("sources.list.d/b.sources",
                  "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n"
                  "Components: main\n");
    scratch.write("sources.list.d/c.list.disabled", "deb http://off.example bookworm main\n");
    const auto sources = system_sources(scratch.path());
    CHECK(sources.size() == 3);
    const os_release bookworm{"debian", "bookworm", {}}, trixie{"debian", "trixie", {}};
    const auto none = scratch.path() / "lists";
    const auto main = main_archive(sources, bookworm, none);
    REQUIRE(main);
    CHECK(main->uris.front() == "http://mirror.example/debian");
    CHECK_FALSE(main_archive(sources, trixie, none));
    CHECK(main_archive(parse_sources_list("deb http://m.example stable main\n"), bookworm, none));
}

TEST_CASE("a third party that serves the codename too is not the main archive") {
    const unit::scratch_directory scratch;
    const os_release bookworm{"debian", "bookworm", {}};
    const auto lists = scratch.path() / "lists";
    const auto chosen = [&](std::string_view text) {
        const auto found = main_archive(parse_sources_list(text), bookworm, lists);
        return found ? found->uris.front() : std::string("none");
    };
    const std::string third = "deb http://a.example/repo bookworm main\n";
    const std::string mirror = "deb http://z.example/debian bookworm main\n";
    // By its keyring, by the updates beside it, and where nothing tells them apart the first.
    CHECK(chosen(third + "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
                         "http://z.example/debian bookworm main\n") == "http://z.example/debian");
    CHECK(chosen(third + mirror + "deb http://z.example/debian bookworm-updates main\n") ==
          "http://z.example/debian");
    CHECK(chosen(third + mirror) == "http://a.example/repo");
    // What apt has fetched says whose it is, whatever the rest looks like.
    scratch.write("lists/z.example_debian_dists_bookworm_InRelease",
                  "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\n");
    CHECK(chosen(third + mirror) == "http://z.example/debian");
    CHECK(chosen("deb http://a.example/repo bookworm main\n"
                 "deb http://a.example/repo bookworm-updates main\n" +
                 mirror) == "http://z.example/debian");
    scratch.write("lists/a.example_repo_dists_bookworm_Release", "Origin: Somebody\n");
    CHECK(chosen(third + "deb http://y.example/debian bookworm main\n") ==
          "http://y.example/debian");
    CHECK(chosen(third) == "http://a.example/repo");
}

TEST_CASE("os-release is read") {
    const unit::scratch_directory scratch;
    const auto file =
        scratch.write("os-release", "ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"D 12\"\n");
    const os_release os = read_os_release(file);
    CHECK(os.id == "debian");
    CHECK(os.codename == "bookworm");
    CHECK(os.pretty_name == "D 12");
    CHECK(read_os_release(scratch.path() / "none").id.empty());
}

TEST_CASE("later suites start nearest to the release") {
    const auto suites = later_suites("bookworm");
    REQUIRE(suites.size() > 3);
    CHECK(suites[0] == "bookworm-backports");
    CHECK(suites[1] == "trixie");
    CHECK(suites.back() == "sid");
    CHECK(std::find(suites.begin(), suites.end(), "bullseye-backports") == suites.end());
    CHECK(later_suites("nobody-knows") == std::vector<std::string>{"sid"});
}

TEST_CASE("a package index is searched by name") {
    const std::string index =
        "Package: catch2\nVersion: 3.7.1\nDescription: x\n Package: not-me\nDepends: libc6 (>= "
        "2.34)\n"
        "Size: 5120\n\n"
        "Package: catch2-doc\nVersion: 9\n\nPackage: last\nVersion: 1:2";
    const auto found = parse_packages(index, "sid", [](auto name) { return name == "catch2"; });
    REQUIRE(found.size() == 1);
    CHECK(found[0].version == "3.7.1");
    CHECK(found[0].depends == "libc6 (>= 2.34)");
    CHECK(found[0].download_size == 5120);
    CHECK(found[0].suite == "sid");
    CHECK(parse_packages(index, "sid", [](auto) { return true; }).size() == 3);
    CHECK(parse_packages(index, "sid", [](auto name) { return name == "not-me"; }).empty());
}

TEST_CASE("dependencies are read, and a library that is too old is found") {
    const auto depends = ktstr::host::detail::parse_depends(
        "libc6 (>= 2.34), libgcc-s1:any (>= 4.2), a | b (= 1), c");
    REQUIRE(depends.size() == 4);
    CHECK(depends[0].name == "libc6");
    CHECK(depends[0].relation == ">=");
    CHECK(depends[0].version == "2.34");
    CHECK(depends[1].name == "libgcc-s1");
    CHECK(depends[2].name == "b");
    CHECK(depends[3].version.empty());
    if (!find_tool("dpkg-query"))
        SKIP("no dpkg on this system");
    apt_package package;
    std::string absent;
    package.depends = "libc6 (>= 1.0), ktstr-no-such-package";
    CHECK_FALSE(ktstr::host::detail::too_new(package, absent));
    CHECK(absent == "ktstr-no-such-package");
    package.depends = "libc6 (>= 99.0)";
    const auto reason = ktstr::host::detail::too_new(package, absent);
    REQUIRE(reason);
    CHECK(reason->find("libc6 99.0") != std::string::npos);
}

TEST_CASE("what is no package name never reaches the package tool") {
    CHECK(ktstr::host::detail::is_package_name("libcatch2-dev"));
    CHECK_FALSE(ktstr::host::detail::is_package_name("-o"));
    CHECK_FALSE(ktstr::host::detail::is_package_name("a b"));
    CHECK_FALSE(ktstr::host::detail::is_package_name(""));
}

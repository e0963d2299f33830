// SPDX-License-Identifier: MIT
#include <ktstr/host/kernel/fetch_kernel.hpp>
#include <ktstr/host/kernel/resolve_kernel.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

#include "scratch_directory.hpp"

using namespace ktstr::host;

namespace {

void store(const cache& in, const std::string& release, const std::string& source) {
    cache::make_options options;
    options.durable = false;
    options.check_every_time = ktstr::host::detail::is_kernel_file_checked;
    REQUIRE(in.obtain(kernels_kind, release, options, [&](const auto& directory) {
        (void)ktstr::host::detail::write_text(directory / "vmlinux", "elf of " + release);
        (void)ktstr::host::detail::write_text(directory / "config", "CONFIG_SMP=y\n");
        return ktstr::host::detail::write_text(
            directory / "kernel.info", "pvh 1\nrelease " + release + "\nsource " + source + "\n");
    }));
}

ktstr::result<kernel> resolve(const std::string& spec) {
    return resolve_kernel({spec, false, {}});
}

}  // namespace

TEST_CASE("cached kernels are found by name, beginning, or as the distribution's") {
    const unit::scratch_directory scratch;
    const unit::environment_guard root("KTSTR_CACHE_DIR", scratch.path().string());
    const cache in(scratch.path());
    const auto nothing = resolve("distro");
    REQUIRE_FALSE(nothing);
    CHECK(nothing.error().message().find("ktstr kernel fetch distro") != std::string::npos);

    store(in, "6.9.2-unit", "distro");
    store(in, "6.12.10-unit", "distro");
    store(in, "6.12.9-unit", "distro");
    store(in, "7.1.0-own", "built");
    CHECK(resolve("distro")->release == "6.12.10-unit");
    CHECK(resolve("")->release == "6.12.10-unit");
    CHECK(resolve("6.12.9-unit")->release == "6.12.9-unit");
    CHECK(resolve("6.12")->release == "6.12.10-unit");
    CHECK(resolve("6")->release == "6.12.10-unit");
    CHECK(resolve("7")->release == "7.1.0-own");
    CHECK(resolve("6.12.10-unit")->pvh);
    const auto partial = resolve("6.1");
    REQUIRE_FALSE(partial);
    CHECK(partial.error().message().find("6.9.2-unit") != std::string::npos);
}

TEST_CASE("the ktstr command is asked for a kernel that is not there yet") {
    const unit::scratch_directory scratch;
    const auto root = scratch.path() / "cache";
    const unit::environment_guard cache_dir("KTSTR_CACHE_DIR", root.string());
    const auto wanted = [] { return resolve_kernel({"distro", true, {}}); };
    const auto command = [&](const std::string& does) {
        const auto path = scratch.write("bin/ktstr", "#!/bin/sh\n" + does + "\n");
        std::filesystem::permissions(path, std::filesystem::perms::owner_all);
        return path.parent_path().string() + ":/usr/bin:/bin";
    };
    const auto said = [](const ktstr::result<kernel>& no) {
        return no ? "found " + no->release : no.error().message();
    };

    {
        const unit::environment_guard path("PATH", "/nonexistent");
        CHECK(said(wanted()).find("nor in PATH; run `ktstr kernel fetch distro`") !=
              std::string::npos);
    }
    {
        const unit::environment_guard path(
            "PATH", command("echo ktstr: progress >&2; echo 'ktstr: cannot reach it' >&2; exit 3"));
        CHECK(said(wanted()).find("cannot fetch the distribution's kernel: cannot reach it;") == 0);
    }
    {
        const unit::environment_guard path("PATH", command("exit 0"));
        CHECK(said(wanted()).find("fetching left none there") != std::string::npos);
    }
    store(cache(scratch.path() / "other"), "6.12.10-unit", "distro");
    const unit::environment_guard path(
        "PATH",
        command("test \"$*\" = 'kernel fetch distro' && mkdir -p \"$KTSTR_CACHE_DIR\" && mv " +
                (scratch.path() / "other/kernels").string() + " \"$KTSTR_CACHE_DIR/\""));
    CHECK(said(wanted()) == "found 6.12.10-unit");
    const unit::environment_guard no_more("PATH", command("exit 9"));
    CHECK(said(wanted()) == "found 6.12.10-unit");
}

TEST_CASE("a kernel fetched by its version that lacks sched_ext is not the distribution's choice") {
    const unit::scratch_directory scratch;
    const unit::environment_guard root("KTSTR_CACHE_DIR", scratch.path().string());
    store(cache(scratch.path()), "6.12.10-unit", "package");
    CHECK_FALSE(resolve("distro"));
    CHECK(resolve("6.12")->release == "6.12.10-unit");
}

TEST_CASE("the beginning of a release ends where a number ends") {
    CHECK(release_starts_with("6.12.9-x", ""));
    CHECK(release_starts_with("6.12.9-x", "6.12.9"));
    CHECK(release_starts_with("6.12.9-x", "6.12."));
    CHECK(release_starts_with("6.12.9-x", "6.12.9-x"));
    CHECK_FALSE(release_starts_with("6.12.95-x", "6.12.9"));
    CHECK_FALSE(release_starts_with("6.12.9-x", "6.1"));
    CHECK_FALSE(release_starts_with("6.12", "6.12.9"));
}

TEST_CASE("a damaged cached kernel is not booted") {
    const unit::scratch_directory scratch;
    const unit::environment_guard root("KTSTR_CACHE_DIR", scratch.path().string());
    const cache in(scratch.path());
    store(in, "6.12.10-unit", "distro");
    scratch.write("kernels/6.12.10-unit/vmlinux", "another");
    const auto refused = resolve("6.12.10-unit");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("vmlinux has") != std::string::npos);
    store(in, "6.12.9-unit", "distro");
    CHECK(resolve("distro")->release == "6.12.9-unit");
}

TEST_CASE("a kernel in use stays in the cache") {
    const unit::scratch_directory scratch;
    const unit::environment_guard root("KTSTR_CACHE_DIR", scratch.path().string());
    const cache in(scratch.path());
    store(in, "6.12.10-unit", "distro");
    {
        const auto used = resolve("distro");
        REQUIRE(used);
        CHECK_FALSE(*in.remove(kernels_kind, "6.12.10-unit"));
    }
    CHECK(*in.remove(kernels_kind, "6.12.10-unit"));
}

TEST_CASE("a path that is no kernel, or not there, is refused by name") {
    const unit::scratch_directory scratch;
    const unit::environment_guard root("KTSTR_CACHE_DIR", (scratch.path() / "c").string());
    const auto text = scratch.write("notes.txt", "hello, this is no kernel\n");
    const auto refused = resolve(text);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("notes.txt") != std::string::npos);
    CHECK_FALSE(resolve(scratch.path() / "none"));
    CHECK_FALSE(resolve(scratch.write("empty", "")));
}

TEST_CASE("releases of split and of single packages are grouped, newest first") {
    const auto package = [](const char* name, const char* version) {
        apt_package one;
        one.name = name;
        one.version = version;
        return one;
    };
    const auto kernels =
        ktstr::host::detail::group_kernels({package("linux-image-6.9.1-cloud-amd64", "6.9.1-1"),
                                            package("linux-image-7.3.4-cloud-amd64", "7.3.4-1"),
                                            package("linux-binary-7.3.4-cloud-amd64", "7.3.4-1"),
                                            package("linux-modules-7.3.4-cloud-amd64", "7.3.4-1"),
                                            package("linux-image-6.12.1-cloud-amd64", "6.12.1-2"),
                                            package("linux-image-6.12.1-cloud-amd64", "6.12.1-10"),
                                            package("linux-modules-7.4.0-cloud-amd64", "7.4.0-1")},
                                           "-cloud-amd64");
    REQUIRE(kernels.size() == 3);
    CHECK(kernels[0].release == "7.3.4-cloud-amd64");
    CHECK(kernels[0].packages.size() == 2);
    CHECK(kernels[0].find("linux-image-") == nullptr);
    CHECK(kernels[1].version == "6.12.1-10");
    CHECK(kernels[1].packages.size() == 1);
    CHECK(kernels[2].release == "6.9.1-cloud-amd64");
}

TEST_CASE("kernel packages are told from their relatives") {
    const auto release = [](std::string_view name) {
        return ktstr::host::detail::split_kernel_package(name, "-cloud-amd64").second;
    };
    CHECK(release("linux-image-6.12.1+deb13-cloud-amd64") == "6.12.1+deb13-cloud-amd64");
    CHECK(release("linux-image-6.12.1-cloud-amd64-dbg").empty());
    CHECK(release("linux-image-6.12.1-cloud-amd64-unsigned").empty());
    CHECK(release("linux-image-cloud-amd64").empty());
    CHECK(release("linux-image-6.12.1-amd64").empty());
    CHECK(ktstr::host::detail::series_of("7.3.4+deb13-cloud-amd64") == "7.3");
}

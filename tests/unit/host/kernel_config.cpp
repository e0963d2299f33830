// SPDX-License-Identifier: MIT
#include <ktstr/host/kernel/kernel_config.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

#include "scratch_directory.hpp"

using namespace ktstr::host;

namespace {

constexpr const char* text =
    "#\n# Linux/x86 7.9.1 Kernel Configuration\n#\n"
    "CONFIG_SMP=y\nCONFIG_VSOCKETS=m\n# CONFIG_IKCONFIG is not set\n"
    "CONFIG_HZ=250\nCONFIG_NAME=\"a=b\"\nCONFIG_TWICE=m\nCONFIG_TWICE=y\n";

}  // namespace

TEST_CASE("options are looked up with or without their prefix") {
    const kernel_config config = kernel_config::parse(text);
    CHECK(config.tristate("SMP") == 'y');
    CHECK(config.tristate("CONFIG_SMP") == 'y');
    CHECK(config.tristate("VSOCKETS") == 'm');
    CHECK(config.tristate("IKCONFIG") == 'n');
    CHECK(config.value("IKCONFIG") == "n");
    CHECK(config.tristate("NOWHERE") == 'n');
    CHECK_FALSE(config.value("NOWHERE"));
    CHECK(config.value("HZ") == "250");
    CHECK(config.value("NAME") == "\"a=b\"");
    CHECK(config.value("TWICE") == "y");
    CHECK_FALSE(config.value("SM"));
    CHECK_FALSE(config.value("SMPX"));
}

TEST_CASE("a configuration stays valid when it is moved and copied") {
    kernel_config config = kernel_config::parse("CONFIG_A=y\n");
    const kernel_config copy = config;
    const kernel_config moved = std::move(config);
    CHECK(copy.tristate("A") == 'y');
    CHECK(moved.tristate("A") == 'y');
}

TEST_CASE("a configuration is read from plain and compressed files") {
    const unit::scratch_directory scratch;
    const auto plain = kernel_config::read(scratch.write("config", text));
    REQUIRE(plain);
    CHECK(plain->tristate("SMP") == 'y');
    const auto packed = run_tool({{"gzip", "-c"}, text});
    REQUIRE(packed);
    const auto unpacked = kernel_config::read(scratch.write("config.gz", packed->out));
    REQUIRE(unpacked);
    CHECK(unpacked->tristate("VSOCKETS") == 'm');
}

TEST_CASE("what is no configuration is refused") {
    const unit::scratch_directory scratch;
    CHECK_FALSE(kernel_config::read(scratch.write("config", "hello\n")));
    CHECK_FALSE(kernel_config::read(scratch.path() / "none"));
}

TEST_CASE("the configuration in an image is found") {
    const auto packed = run_tool({{"gzip", "-c"}, text});
    REQUIRE(packed);
    const auto found = kernel_config::embedded_in("....IKCFG_ST" + packed->out + "IKCFG_ED....");
    REQUIRE(found);
    REQUIRE(found->has_value());
    CHECK((*found)->tristate("VSOCKETS") == 'm');
    const auto none = kernel_config::embedded_in("just a kernel");
    REQUIRE(none);
    CHECK_FALSE(none->has_value());
    CHECK_FALSE(kernel_config::embedded_in("..IKCFG_ST\x1f\x8b damaged IKCFG_ED"));
}

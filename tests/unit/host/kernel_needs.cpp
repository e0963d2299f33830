// SPDX-License-Identifier: MIT
// The table of what a kernel needs, and its twin in guest-kernel-config/.
#include <ktstr/host/kernel/needs.hpp>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include "scratch_directory.hpp"

using namespace ktstr::host;

namespace {

/// Everything the table asks for, as a configuration.
std::string satisfying() {
    std::string text;
    for (const config_need& need : config_needs)
        text += "CONFIG_" + std::string(need.option) + "=" + need.at_least + "\n";
    return text;
}

constexpr kernel_need every_need =
    kernel_need::base | kernel_need::architecture | kernel_need::sched_ext | kernel_need::steal |
    kernel_need::vsock | kernel_need::virtio_serial | kernel_need::nested;

/// The options below "# need:" lines of a fragment, with their reasons.
std::map<std::string, std::string> needs_in(const std::string& fragment) {
    const auto file =
        std::filesystem::path(KTSTR_GOLDEN_DIR) / "../../guest-kernel-config" / fragment;
    INFO(file.string());
    REQUIRE(std::filesystem::exists(file));
    std::istringstream text(unit::content_of(file));
    std::map<std::string, std::string> found;
    std::string why;
    for (std::string line; std::getline(text, line);) {
        if (line.starts_with("# need: ")) {
            why = line.substr(8);
        } else if (line.starts_with("CONFIG_") && !why.empty()) {
            INFO(line);
            CHECK(line.ends_with("=y"));
            found[line.substr(7, line.find('=') - 7)] = why;
            why.clear();
        }
    }
    return found;
}

}  // namespace

TEST_CASE("a configuration that has everything lacks nothing") {
    CHECK(check_config(kernel_config::parse(satisfying()), every_need).empty());
}

TEST_CASE("each option of the table is missed when it is not there") {
    for (const config_need& need : config_needs) {
        INFO(need.option);
        std::string text = satisfying();
        const std::string line = "CONFIG_" + std::string(need.option) + "=" + need.at_least + "\n";
        text.replace(text.find("\n" + line) + 1, line.size(),
                     "# CONFIG_" + std::string(need.option) + " is not set\n");
        if (text.starts_with("CONFIG_SMP") && need.option == "SMP")
            text = "# CONFIG_SMP is not set\n" + satisfying().substr(line.size());
        const auto missing = check_config(kernel_config::parse(text), need.when);
        REQUIRE(missing.size() == 1);
        CHECK(missing.front().option == "CONFIG_" + std::string(need.option));
        CHECK(missing.front().why == need.why);
        CHECK(missing.front().found == "n");
    }
}

TEST_CASE("a module will do where it can be loaded, and not where it is too late") {
    const auto lacks = [](const std::string& line, kernel_need when) {
        return check_config(kernel_config::parse(satisfying() + line), when).size();
    };
    CHECK(lacks("CONFIG_VSOCKETS=m\n", kernel_need::vsock) == 0);
    CHECK(lacks("CONFIG_DEVTMPFS=m\n", kernel_need::base) == 1);
    CHECK(lacks("CONFIG_VIRTIO_PCI=m\n", kernel_need::base) == 0);
    // Asked for only where it is one: a kernel without a list of what is built in has no such module.
    using names = std::vector<std::string_view>;
    CHECK(first_modules(kernel_config::parse("CONFIG_VIRTIO_PCI=m\n")) == names{"virtio_pci"});
    CHECK(first_modules(kernel_config::parse("CONFIG_VIRTIO_PCI=y\n")).empty());
    CHECK(first_modules(std::nullopt).empty());
    CHECK(first_modules(kernel_config::parse("CONFIG_LIBCRC32C=m\nCONFIG_CRYPTO_CRC32C=m\n")) ==
          names{"crc32c_generic"});
    CHECK(first_modules(kernel_config::parse("CONFIG_CRYPTO_CRC32C=m\n")).empty());
}

TEST_CASE("an option that took over another's part satisfies its need") {
    std::string text = satisfying();
    const std::string old = "CONFIG_PROC_SYSCTL=y\n";
    text.erase(text.find(old), old.size());
    CHECK(check_config(kernel_config::parse(text), kernel_need::base).size() == 1);
    CHECK(
        check_config(kernel_config::parse(text + "CONFIG_SYSCTL=y\n"), kernel_need::base).empty());
}

TEST_CASE("one link is enough, none is too few") {
    std::string text = satisfying();
    const auto drop = [&](const std::string& line) { text.erase(text.find(line), line.size()); };
    drop("CONFIG_VIRTIO_VSOCKETS=m\n");
    CHECK(check_config(kernel_config::parse(text), kernel_need::base).empty());
    drop("CONFIG_VIRTIO_CONSOLE=m\n");
    const auto missing = check_config(kernel_config::parse(text), kernel_need::base);
    REQUIRE(missing.size() == 1);
    CHECK(missing.front().option == "CONFIG_VIRTIO_VSOCKETS");
}

TEST_CASE("the table and the fragments say the same") {
    const std::map<std::string, std::set<kernel_need>> fragments{
        {"base.config",
         {kernel_need::base, kernel_need::vsock, kernel_need::virtio_serial, kernel_need::clone}},
        {"x86_64.config", {kernel_need::architecture}},
        {"sched_ext.config", {kernel_need::sched_ext}},
        {"steal.config", {kernel_need::steal}},
        {"nested.config", {kernel_need::nested}},
        {"aarch64.config", {}},
        {"debug.config", {}}};
    std::size_t compared = 0;
    for (const auto& [fragment, whens] : fragments) {
        INFO(fragment);
        std::map<std::string, std::string> in_table;
        for (const config_need& need : config_needs)
            if (whens.contains(need.when))
                in_table[std::string(need.option)] = need.why;
        CHECK(needs_in(fragment) == in_table);
        compared += in_table.size();
    }
    CHECK(compared == std::size(config_needs));
}

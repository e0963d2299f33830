// SPDX-License-Identifier: MIT
#include <ktstr/host/kernel/kernel_image.hpp>
#include <ktstr/host/kernel/local_kernel.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

#include "scratch_directory.hpp"
#include "small_elf.hpp"

using namespace ktstr::host;
using unit::scratch_directory;

namespace {

const std::string pvh_note = unit::note(18, "Xen", "\1\2\3\4");

std::string vmlinux(bool pvh = true) {
    return unit::elf_with_notes(
        unit::note(3, "GNU", "12345678") + (pvh ? pvh_note : ""),
        std::string("Linux version %s") + '\0' + "Linux version 7.9.1-unit (somebody) #1");
}

/// A bzImage as the kernel's build makes it: the payload, then for all but gzip the plain size.
std::string bzimage(const std::string& elf, const std::vector<std::string>& compressor) {
    const auto packed = run_tool({compressor, elf});
    REQUIRE(packed);
    REQUIRE(packed->exit_code == 0);
    std::string payload = packed->out;
    if (compressor.front() != "gzip")
        unit::append_value(payload, static_cast<std::uint32_t>(elf.size()));
    std::string image(1024, '\0');
    image[0x1f1] = 1;
    image.replace(0x202, 4, "HdrS");
    const std::uint16_t version_at = 0x300 - 0x200;
    image.replace(0x20e, 2, reinterpret_cast<const char*>(&version_at), 2);
    image.replace(0x300, 22, "7.9.1-unit (builder) #");
    const std::uint32_t offset = 64, length = static_cast<std::uint32_t>(payload.size());
    image.replace(0x248, 4, reinterpret_cast<const char*>(&offset), 4);
    image.replace(0x24c, 4, reinterpret_cast<const char*>(&length), 4);
    return image + std::string(64, 'c') + payload;
}

}  // namespace

TEST_CASE("the PVH note is seen, and only that one") {
    CHECK(has_pvh_note(vmlinux(true)));
    CHECK_FALSE(has_pvh_note(vmlinux(false)));
    CHECK_FALSE(has_pvh_note(unit::elf_with_notes(unit::note(18, "GNU", "1234"))));
    CHECK_FALSE(has_pvh_note(vmlinux(true).substr(0, 80)));
    CHECK_FALSE(has_pvh_note(""));
}

TEST_CASE("the kernel in a bzImage comes out as it went in, whatever the compression") {
    const scratch_directory scratch;
    const std::string elf = vmlinux();
    const std::vector<std::vector<std::string>> compressors{{"gzip", "-c"},
                                                            {"xz", "-c", "--check=crc32"},
                                                            {"zstd", "-c", "-q"},
                                                            {"lz4", "-l", "-c", "-q"}};
    int tried = 0;
    for (const auto& compressor : compressors) {
        if (!find_tool(compressor.front()))
            continue;
        ++tried;
        INFO(compressor.front());
        const auto image = scratch.write("bzImage", bzimage(elf, compressor));
        const auto target = scratch.path() / ("vmlinux." + compressor.front());
        const auto done = extract_vmlinux(image, target);
        INFO((done ? "" : done.error().message()));
        REQUIRE(done);
        CHECK(unit::content_of(target) == elf);
    }
    CHECK(tried >= 1);
}

TEST_CASE("a damaged bzImage is refused") {
    const scratch_directory scratch;
    const std::string whole = bzimage(vmlinux(), {"gzip", "-c"});
    const auto target = scratch.path() / "vmlinux";
    SECTION("cut off") {
        CHECK_FALSE(
            extract_vmlinux(scratch.write("b", whole.substr(0, whole.size() - 20)), target));
    }
    SECTION("only its header") {
        CHECK_FALSE(extract_vmlinux(scratch.write("b", whole.substr(0, 0x250)), target));
    }
    SECTION("payload of another size than it says") {
        std::string other = bzimage(vmlinux(), {"xz", "-c", "--check=crc32"});
        other.back() = 'x';
        const auto done = extract_vmlinux(scratch.write("b", other), target);
        REQUIRE_FALSE(done);
        CHECK(done.error().message().find("bytes instead of") != std::string::npos);
    }
    SECTION("no bzImage at all") {
        CHECK_FALSE(extract_vmlinux(scratch.write("b", "something else"), target));
    }
}

TEST_CASE("an image tells its release") {
    CHECK(release_of_image(vmlinux()) == "7.9.1-unit");
    CHECK(release_of_image(bzimage(vmlinux(), {"gzip", "-c"})) == "7.9.1-unit");
    CHECK_FALSE(release_of_image("no kernel"));
}

TEST_CASE("an image is made ready once, with the ELF in it") {
    const scratch_directory scratch;
    const cache in(scratch.path() / "cache");
    const auto image = scratch.write("boot/vmlinuz-7.9.1-unit", bzimage(vmlinux(), {"gzip", "-c"}));
    scratch.write("boot/config-7.9.1-unit", "CONFIG_SMP=y\n");
    scratch.write("lib/modules/7.9.1-unit/modules.order", "");
    for (int round = 0; round < 2; ++round) {
        const auto found = ktstr::host::detail::kernel_of_image(in, image, {});
        REQUIRE(found);
        CHECK(found->release == "7.9.1-unit");
        CHECK(found->pvh);
        CHECK(unit::content_of(found->image) == vmlinux());
        CHECK(found->bzimage == image);
        CHECK(found->config == scratch.path() / "boot/config-7.9.1-unit");
        CHECK(found->modules == scratch.path() / "lib/modules/7.9.1-unit");
    }
    const auto made = unit::names_in(scratch.path() / "cache/images");
    REQUIRE(made.size() == 1);
    const auto info = ktstr::host::detail::read_info(scratch.path() / "cache/images" /
                                                     made.front() / "image.info");
    CHECK(ktstr::host::detail::info_value(info, "image") == image);
}

TEST_CASE("a bzImage without a PVH note boots as it is") {
    const scratch_directory scratch;
    const cache in(scratch.path() / "cache");
    const auto image = scratch.write("bzImage", bzimage(vmlinux(false), {"gzip", "-c"}));
    const auto found = ktstr::host::detail::kernel_of_image(in, image, {});
    REQUIRE(found);
    CHECK_FALSE(found->pvh);
    CHECK(found->image == image);
    CHECK(found->modules.empty());
    CHECK(found->config.empty());
}

TEST_CASE("an ELF kernel that QEMU could not start is refused before it tries") {
    const scratch_directory scratch;
    const cache in(scratch.path() / "cache");
    const auto refused =
        ktstr::host::detail::kernel_of_image(in, scratch.write("vmlinux", vmlinux(false)), {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("CONFIG_PVH") != std::string::npos);
    const auto taken =
        ktstr::host::detail::kernel_of_image(in, scratch.write("vmlinux", vmlinux(true)), {});
    REQUIRE(taken);
    CHECK(taken->bzimage.empty());
}

TEST_CASE("a directory is understood, whichever kind it is") {
    const scratch_directory scratch;
    const cache in(scratch.path() / "cache");
    const std::string image = bzimage(vmlinux(), {"gzip", "-c"});
    const auto found_in = [&](const char* directory) {
        return ktstr::host::detail::kernel_of_directory(in, scratch.path() / directory, {});
    };
    SECTION("an unpacked package") {
        scratch.write("p/usr/lib/modules/7.9.1-unit/vmlinuz", image);
        scratch.write("p/usr/lib/modules/7.9.1-unit/modules.order", "");
        scratch.write("p/usr/lib/modules/7.9.1-unit/config", "CONFIG_SMP=y\n");
        const auto found = found_in("p");
        REQUIRE(found);
        CHECK(found->modules == scratch.path() / "p/usr/lib/modules/7.9.1-unit");
        CHECK(found->config == scratch.path() / "p/usr/lib/modules/7.9.1-unit/config");
    }
    SECTION("a directory of modules with the image in /boot of the same root") {
        scratch.write("r/boot/vmlinuz-7.9.1-unit", image);
        scratch.write("r/lib/modules/7.9.1-unit/modules.dep", "");
        const auto found = found_in("r/lib/modules/7.9.1-unit");
        REQUIRE(found);
        CHECK(found->bzimage == scratch.path() / "r/boot/vmlinuz-7.9.1-unit");
        CHECK(found->modules == scratch.path() / "r/lib/modules/7.9.1-unit");
    }
    SECTION("a built tree") {
        scratch.write("t/include/config/kernel.release", "7.9.1-unit\n");
        scratch.write("t/.config", "CONFIG_SMP=y\n");
        const auto unbuilt = found_in("t");
        REQUIRE_FALSE(unbuilt);
        CHECK(unbuilt.error().message().find("not built") != std::string::npos);
        scratch.write("t/arch/x86/boot/bzImage", image);
        auto found = found_in("t");
        REQUIRE(found);
        CHECK(found->bzimage == scratch.path() / "t/arch/x86/boot/bzImage");
        CHECK(found->config == scratch.path() / "t/.config");
        scratch.write("t/vmlinux", vmlinux());
        found = found_in("t");
        REQUIRE(found);
        CHECK(found->image == scratch.path() / "t/vmlinux");
    }
    SECTION("two releases: which one?") {
        scratch.write("d/vmlinuz-7.9.1-unit", image);
        std::string other = image;
        other.replace(0x300, 10, "7.9.2-unit");
        scratch.write("d/vmlinuz-7.9.2-unit", other);
        const auto found = found_in("d");
        REQUIRE_FALSE(found);
        CHECK(found.error().message().find("7.9.1-unit, 7.9.2-unit") != std::string::npos);
    }
    SECTION("nothing there") {
        scratch.write("n/readme", "text");
        CHECK_FALSE(found_in("n"));
    }
}

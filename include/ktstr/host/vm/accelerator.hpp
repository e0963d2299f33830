// SPDX-License-Identifier: MIT
// Which way this host can run a guest, and why not another. `/dev/kvm` that opens is no proof: with
// paravirtual nesting KVM_CREATE_VM succeeds and a stock kernel then dies with "KVM internal
// error", so the hardware's own flag (vmx or svm) must be there too. Host side.
#pragma once

#include <ktstr/base/unique_fd.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

namespace ktstr::host {

/// How a guest is run. `nested` is not here: it is a whole run inside one emulated machine.
enum class accelerator { kvm, tcg };

[[nodiscard]] constexpr std::string_view to_text(accelerator a) {
    return a == accelerator::kvm ? "kvm" : "tcg";
}

/// What a look at the host says about KVM.
struct kvm_facts {
    bool usable = false;
    bool amd = false;      ///< AuthenticAMD, which decides how the cache topology is shown
    bool topoext = false;  ///< AMD's topology leaves; without them dies are hidden from the guest
    std::string why_not;   ///< one sentence when not usable, with the remedy
};

[[nodiscard]] inline kvm_facts look_at_kvm(const std::filesystem::path& device = "/dev/kvm",
                                           const std::filesystem::path& cpuinfo = "/proc/cpuinfo") {
    kvm_facts facts;
    bool hardware = false;
    std::ifstream in(cpuinfo);
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with("vendor_id"))
            facts.amd = line.find("AuthenticAMD") != std::string::npos;
        if (line.starts_with("flags")) {
            line += ' ';
            hardware =
                line.find(" vmx ") != std::string::npos || line.find(" svm ") != std::string::npos;
            facts.topoext = line.find(" topoext ") != std::string::npos;
            break;
        }
    }
    unique_fd kvm(::open(device.c_str(), O_RDWR | O_CLOEXEC));
    if (!kvm) {
        const int code = errno;
        facts.why_not =
            device.string() + ": " + std::strerror(code) +
            (code == EACCES
                 ? "; add yourself to its group (usually `usermod -aG kvm $USER`)"
                 : "; load kvm-intel or kvm-amd, or enable virtualization in the firmware");
        return facts;
    }
    if (::ioctl(kvm.get(), KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        facts.why_not = device.string() + " does not speak KVM's API version " +
                        std::to_string(KVM_API_VERSION) + "; it is not a KVM device";
        return facts;
    }
    if (!hardware) {
        facts.why_not =
            device.string() +
            " opens, but the CPU shows neither vmx nor svm: a stock kernel would die under "
            "it; use --accel tcg, or --accel nested for real KVM inside an emulated machine";
        return facts;
    }
    facts.usable = true;
    return facts;
}

}  // namespace ktstr::host

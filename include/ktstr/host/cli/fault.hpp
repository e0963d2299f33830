// SPDX-License-Identifier: MIT
// What ktstr's own test suite can make go wrong in a run. --internal-fault names it: WHAT, WHAT@WHEN or
// WHAT=MS, and behind a colon the test or the one cell that it strikes, or "template". Parsed once, so that a fault
// nobody knows is refused instead of never happening. Host side.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

enum class fault : std::uint8_t {
    trust_kvm,             ///< take a /dev/kvm that opens for one that works
    wrong_topology,        ///< ask the guest for a machine that it is not
    kill_qemu_at_boot,     ///< as soon as the guest runs
    kill_qemu_in_body,     ///< as soon as the body does
    kill_qemu_at_save,     ///< while a template is saved
    freeze_qemu_at_start,  ///< its process is stopped before it has said anything
    freeze_qemu_at_save,
    freeze_device_in_body,  ///< the user-space vsock device
    freeze_guest_at_boot,   ///< it lives and does nothing
    freeze_guest_in_body,
    cut_link_in_body,
    boot_limit,  ///< another one than the machine's own
    save_limit,
};

class injected_faults {
public:
    /// False: there is no such fault.
    [[nodiscard]] bool add(std::string_view text) {
        words_.emplace_back(text);
        const auto colon = std::min(text.find(':'), text.size());
        const auto word = text.substr(0, colon);
        injection added{.target = std::string(text.substr(std::min(colon + 1, text.size())))};
        constexpr std::string_view of_boot = "boot-limit-ms=", of_save = "save-limit-ms=";
        if (word.starts_with(of_boot) || word.starts_with(of_save)) {
            std::int64_t ms = 0;
            const char* const end = word.data() + word.size();
            const auto read = std::from_chars(word.data() + of_boot.size(), end, ms);
            if (read.ec != std::errc() || read.ptr != end || ms < 0)
                return false;
            added.what = word.starts_with(of_boot) ? fault::boot_limit : fault::save_limit;
            added.limit = std::chrono::milliseconds(ms);
        } else {
            const auto known = std::find_if(names.begin(), names.end(),
                                            [&](const auto& name) { return name.first == word; });
            if (known == names.end())
                return false;
            added.what = known->second;
        }
        faults_.push_back(std::move(added));
        return true;
    }

    /// Whether it strikes the machine of that test.
    [[nodiscard]] bool has(fault what, std::string_view test = {}) const {
        return find(what, test) != nullptr;
    }
    [[nodiscard]] std::optional<std::chrono::milliseconds> boot_limit(std::string_view test) const {
        return limit(fault::boot_limit, test);
    }
    [[nodiscard]] std::optional<std::chrono::milliseconds> save_limit(std::string_view test) const {
        return limit(fault::save_limit, test);
    }
    /// As they were given, for a run inside a machine.
    [[nodiscard]] const std::vector<std::string>& words() const noexcept { return words_; }

private:
    struct injection {
        fault what = fault::boot_limit;
        std::chrono::milliseconds limit{};
        std::string target{};  ///< a test, or "template"; empty: all
    };
    static constexpr std::array<std::pair<std::string_view, fault>, 11> names{
        {{"trust-kvm", fault::trust_kvm},
         {"wrong-topology", fault::wrong_topology},
         {"kill-qemu@boot", fault::kill_qemu_at_boot},
         {"kill-qemu@body", fault::kill_qemu_in_body},
         {"kill-qemu@save", fault::kill_qemu_at_save},
         {"freeze-qemu@start", fault::freeze_qemu_at_start},
         {"freeze-qemu@save", fault::freeze_qemu_at_save},
         {"freeze-device@body", fault::freeze_device_in_body},
         {"freeze-guest@boot", fault::freeze_guest_at_boot},
         {"freeze-guest@body", fault::freeze_guest_in_body},
         {"cut-link@body", fault::cut_link_in_body}}};

    [[nodiscard]] std::optional<std::chrono::milliseconds> limit(fault what,
                                                                 std::string_view test) const {
        const auto* const found = find(what, test);
        return found != nullptr ? std::optional(found->limit) : std::nullopt;
    }
    [[nodiscard]] const injection* find(fault what, std::string_view test) const {
        for (const auto& known : faults_)
            if (known.what == what &&
                (known.target.empty() || known.target == test ||
                 (test.starts_with(known.target) && test[known.target.size()] == '/')))
                return &known;
        return nullptr;
    }

    std::vector<injection> faults_;
    std::vector<std::string> words_;
};

}  // namespace ktstr::host

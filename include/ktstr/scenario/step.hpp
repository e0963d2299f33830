// SPDX-License-Identifier: MIT
// A scenario is a list of steps; a step says what changes, which cgroups are set up, and how long
// to hold. Data only: order within a step is ops, setup, hold, then its workers are collected.
#pragma once

#include <ktstr/base/duration.hpp>
#include <ktstr/scenario/cgroup.hpp>

#include <variant>
#include <vector>

namespace ktstr {

/// How long a step keeps its workload running: a share of the test's `duration`, or a fixed time.
class hold {
public:
    static const hold full;  ///< all of the test's duration

    [[nodiscard]] static constexpr hold frac(double share) { return {false, share, {}}; }
    [[nodiscard]] static constexpr hold fixed(std::chrono::nanoseconds time) {
        return {true, 0, time};
    }

    [[nodiscard]] constexpr bool is_fixed() const { return is_fixed_; }
    /// The share of the test's duration; 0 when is_fixed().
    [[nodiscard]] constexpr double share() const { return share_; }
    /// The time to hold in a test whose workload lasts `duration`.
    [[nodiscard]] constexpr std::chrono::nanoseconds length(
        std::chrono::nanoseconds duration) const {
        if (is_fixed())
            return fixed_;
        return std::chrono::nanoseconds{static_cast<std::chrono::nanoseconds::rep>(
            static_cast<double>(duration.count()) * share_)};
    }

    friend constexpr bool operator==(const hold&, const hold&) = default;

private:
    constexpr hold(bool is_fixed, double share, std::chrono::nanoseconds fixed)
        : is_fixed_(is_fixed), share_(share), fixed_(fixed) {}

    bool is_fixed_;
    double share_;
    std::chrono::nanoseconds fixed_;
};

inline constexpr hold hold::full = hold::frac(1.0);

/// Does nothing; holds the place of the changes a step can make to a running workload.
struct no_op {
    friend bool operator==(const no_op&, const no_op&) = default;
};

using op = std::variant<no_op>;

struct step {
    std::vector<op> ops{};
    std::vector<cgroup_def> setup{};
    ktstr::hold hold = ktstr::hold::full;

    friend bool operator==(const step&, const step&) = default;
};

}  // namespace ktstr

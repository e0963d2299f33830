// SPDX-License-Identifier: MIT
// Running a scenario, from the test body's point of view. Declared here, defined in guest/.
#pragma once

#include <ktstr/scenario/report.hpp>
#include <ktstr/scenario/step.hpp>

#include <stdexcept>
#include <string>
#include <vector>

namespace ktstr {

class context;

/// A scenario that could not be carried out, which says nothing about the scheduler: the verdict is
/// inconclusive. Unless the test itself asks for the impossible; then it is a failure.
class scenario_error : public std::runtime_error {
public:
    enum class cause { infrastructure, mistake_in_test };

    explicit scenario_error(const std::string& message, cause why = cause::infrastructure)
        : std::runtime_error(message), cause_(why) {}

    [[nodiscard]] cause why() const noexcept { return cause_; }

private:
    cause cause_;
};

/// Carries out the steps one after the other and returns what every worker did. Throws
/// scenario_error. Only inside a test's body.
scenario_result execute_steps(context& ctx, std::vector<step> steps);

}  // namespace ktstr

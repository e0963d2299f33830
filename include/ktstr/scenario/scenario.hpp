// SPDX-License-Identifier: MIT
// All scenario words at once.
#pragma once

#include <ktstr/scenario/cgroup.hpp>
#include <ktstr/scenario/dsl.hpp>
#include <ktstr/scenario/execute.hpp>
#include <ktstr/scenario/report.hpp>
#include <ktstr/scenario/step.hpp>
#include <ktstr/scenario/work.hpp>

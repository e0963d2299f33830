// SPDX-License-Identifier: MIT
// The front door for test files: KTSTR_TEST, the checks, the context and the words for topologies,
// schedulers and scenarios. Light: everything that needs a socket, a file or a format library is
// behind <ktstr/main.hpp>, which one file of a test program includes.
#pragma once

#include <ktstr/base/duration.hpp>
#include <ktstr/check/check.hpp>
#include <ktstr/scenario/scenario.hpp>
#include <ktstr/sched/scheduler.hpp>
#include <ktstr/test/context.hpp>
#include <ktstr/test/macro.hpp>
#include <ktstr/topology/topology.hpp>
#include <ktstr/version.hpp>

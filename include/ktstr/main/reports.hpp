// SPDX-License-Identifier: MIT
// The reports' part of a test program's main: every kind of report, which of them a run writes,
// and what a run of one cell comes to.
#pragma once

#include <ktstr/host/run/collect_cell.hpp>
#include <ktstr/host/run/open_reports.hpp>

// SPDX-License-Identifier: MIT
// The reports' part of a test program's main: every kind of report, and which of them a run writes.
#pragma once

#include <ktstr/host/run/open_reports.hpp>

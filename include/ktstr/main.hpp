// SPDX-License-Identifier: MIT
// The heavy front door, for exactly one translation unit of a test program: host and guest, and the
// main() that tells which of them this process is. The build files add its parts instead, from
// <ktstr/main/...>, so that they are compiled side by side. A second inclusion is a link error by
// name.
#pragma once

#include <ktstr/ktstr.hpp>
#include <ktstr/main/entry.hpp>
#include <ktstr/main/guest.hpp>
#include <ktstr/main/host.hpp>
#include <ktstr/main/reports.hpp>

// SPDX-License-Identifier: MIT
// std::chrono's durations, clocks and literals without its calendars. In libstdc++ the calendar
// half of <chrono> costs more to parse than all of <ktstr/ktstr.hpp>, and every test file would
// pay for it. A file that wants calendars includes <chrono> itself, as it should anyway.
#pragma once

#include <version>

#if defined(__GLIBCXX__) && __has_include(<bits/chrono.h>)
#    include <bits/chrono.h>
#else
#    include <chrono>
#endif

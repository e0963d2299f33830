// SPDX-License-Identifier: MIT
// Stands in for the guest in these tests: keeps what the checks report, and ends a "body" by
// throwing. The definitions are in check_test.cpp.
#pragma once

#include <ktstr/check/check.hpp>

#include <string>
#include <string_view>
#include <vector>

struct kept_record {
    bool passed;
    std::string kind, file, expression, expansion;
    int line;
    std::string message, info;
};

struct body_failed {};
struct body_skipped {
    std::string why, file;
    int line;
};

inline std::vector<kept_record>& records() {
    static std::vector<kept_record> kept;
    return kept;
}

/// The last record, which must be the only one since the last call.
inline kept_record only_record() {
    if (records().size() != 1)
        return {false, "?", "?", "?", std::to_string(records().size()) + " records", 0, "", ""};
    kept_record last = records().front();
    records().clear();
    return last;
}

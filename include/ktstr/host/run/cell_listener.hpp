// SPDX-License-Identifier: MIT
// The seam between a cell that is run for another runner and what is written down of it: hears a run as
// reports do. open_reports.hpp's neighbour collect_cell.hpp has the body. Host side.
#pragma once

#include <ktstr/embed.hpp>
#include <ktstr/host/report/reporter.hpp>

#include <memory>
#include <optional>

namespace ktstr::host {

/// What a run of one cell has told.
struct heard_of_cell {
    cell_result result;
    std::optional<run_finished> end{};
};

/// Lives no longer than `heard`.
[[nodiscard]] std::unique_ptr<reporter> listen_to(heard_of_cell& heard);

}  // namespace ktstr::host

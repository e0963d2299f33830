// SPDX-License-Identifier: MIT
// The reservations of a run, as its arguments and its host want them. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/reserve/reservations.hpp>
#include <ktstr/host/setup/host_facts.hpp>

#include <memory>
#include <string>

namespace ktstr::host {

[[nodiscard]] inline result<std::unique_ptr<reservations>> open_shares(const options& wanted,
                                                                       const host_facts& host,
                                                                       int stop_fd,
                                                                       fan_out& events) {
    reserve_settings settings;
    if (wanted.lock_dir)
        settings.lock_dir = *wanted.lock_dir;
    settings.host = host.topology;
    settings.cpu_cap = host.cpus.size();
    settings.stop_fd = stop_fd;
    settings.waiting = [&events](const std::string& test, const std::string& why) {
        events(test_waiting{test, why});
    };
    return reservations::open(std::move(settings));
}

}  // namespace ktstr::host

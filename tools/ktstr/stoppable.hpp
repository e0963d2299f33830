// SPDX-License-Identifier: MIT
// A stretch of work that ends in order when a stop signal comes, in a program that runs cells afterwards: what signals
// did before, they do again behind it. Host side.
#pragma once

#include <ktstr/host/process/stop_signal.hpp>

#include <csignal>
#include <cstddef>
#include <iterator>

namespace ktstr::tool {

class stoppable {
public:
    stoppable(const stoppable&) = delete;
    ~stoppable() {
        for (std::size_t i = 0; i < std::size(signals); ++i)
            ::sigaction(signals[i], &kept_.actions[i], nullptr);
    }
    stoppable() = default;

private:
    static constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    struct kept {
        kept() {
            for (std::size_t i = 0; i < std::size(signals); ++i)
                ::sigaction(signals[i], nullptr, &actions[i]);
        }
        struct sigaction actions[std::size(signals)];
    };
    kept kept_{};
    host::stop_signal stop_{};
};

}  // namespace ktstr::tool

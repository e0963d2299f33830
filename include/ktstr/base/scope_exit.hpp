// SPDX-License-Identifier: MIT
// Runs a clean-up when a scope ends, unless it was released.
#pragma once

#include <utility>

namespace ktstr {

template <class F>
class [[nodiscard]] scope_exit {
public:
    explicit scope_exit(F f) : f_(std::move(f)) {}
    scope_exit(scope_exit&&) = delete;
    ~scope_exit() {
        if (armed_)
            f_();
    }
    void release() noexcept { armed_ = false; }

private:
    F f_;
    bool armed_ = true;
};

}  // namespace ktstr

// SPDX-License-Identifier: MIT
// The last lines of a stream of bytes: what a failure shows of a body's output or of the guest's
// console. Bounded in lines and in bytes per line, whatever the guest sends.
// Host side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

class line_tail {
public:
    explicit line_tail(std::size_t lines = 20, std::size_t bytes_per_line = 512)
        : lines_limit_(lines), bytes_limit_(bytes_per_line) {}

    void feed(std::string_view bytes) {
        while (!bytes.empty()) {
            const auto end = bytes.find('\n');
            const auto piece = bytes.substr(0, end);
            if (current_.size() < bytes_limit_)
                current_ += piece.substr(0, bytes_limit_ - current_.size());
            open_ = true;
            if (end == std::string_view::npos)
                return;
            finish_line();
            bytes.remove_prefix(end + 1);
        }
    }

    /// The last lines, oldest first, a line without its end included.
    [[nodiscard]] std::vector<std::string> lines() const {
        std::vector<std::string> result(lines_.begin(), lines_.end());
        if (open_) {
            result.push_back(strip(current_));
            if (result.size() > lines_limit_)
                result.erase(result.begin());
        }
        return result;
    }

    /// How many lines there were in all.
    [[nodiscard]] std::uint64_t total() const { return total_ + (open_ ? 1 : 0); }

private:
    static std::string strip(std::string line) {
        while (!line.empty() && line.back() == '\r')
            line.pop_back();
        return line;
    }

    void finish_line() {
        lines_.push_back(strip(std::exchange(current_, {})));
        if (lines_.size() > lines_limit_)
            lines_.pop_front();
        open_ = false;
        ++total_;
    }

    std::size_t lines_limit_;
    std::size_t bytes_limit_;
    std::deque<std::string> lines_;
    std::string current_;
    bool open_ = false;
    std::uint64_t total_ = 0;
};

}  // namespace ktstr::host

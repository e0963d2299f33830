// SPDX-License-Identifier: MIT
// Durations counted in log-linear buckets: every sample is counted, two histograms add up without a loss, and a value
// read from one is at most 1/32 off. Not a list of samples, and no average of anyone's percentiles: a percentile of many
// workers is that of their merged histogram.
#pragma once

#include <ktstr/base/duration.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace ktstr {

/// A time that somebody measured. It has a fraction, because not a number is how it says that nobody did: no comparison
/// with that holds. (An absent std::optional is less than anything.)
using measured_time = std::chrono::duration<double, std::nano>;

class histogram {
public:
    using time = measured_time;

    /// A time below 32 ns has a bucket of its own; above, each power of two is cut into 16.
    static constexpr unsigned pieces = 16;
    /// Longer ones (18 minutes) are counted in the last bucket; the longest is known exactly all the same.
    static constexpr unsigned longest_bits = 40;
    static constexpr std::size_t buckets = (longest_bits - 3) * pieces;
    /// How far a percentile may be from the sample that it stands for.
    static constexpr double relative_error = 1.0 / (2 * pieces);

    [[nodiscard]] static constexpr std::size_t bucket_of(std::uint64_t ns) {
        if (ns < 2 * pieces)
            return static_cast<std::size_t>(ns);
        const unsigned shift = static_cast<unsigned>(std::bit_width(ns)) - 5;
        const auto bucket = shift * pieces + static_cast<std::size_t>(ns >> shift);
        return bucket < buckets ? bucket : buckets - 1;
    }
    /// The smallest time of a bucket, and how many nanoseconds it spans.
    [[nodiscard]] static constexpr std::uint64_t least_of(std::size_t bucket) {
        return bucket < 2 * pieces ? bucket : (pieces + bucket % pieces) * span_of(bucket);
    }
    [[nodiscard]] static constexpr std::uint64_t span_of(std::size_t bucket) {
        return bucket < 2 * pieces ? 1 : std::uint64_t{1} << (bucket / pieces - 1);
    }

    void record(std::uint64_t ns) { add(bucket_of(ns), 1, ns, ns, ns); }
    void record(std::chrono::nanoseconds t) {
        record(t.count() > 0 ? static_cast<std::uint64_t>(t.count()) : 0);
    }
    /// Adds what somebody else counted: `samples` of one bucket, the least and the most of them all, and their sum.
    void add(std::size_t bucket, std::uint64_t samples, std::uint64_t least, std::uint64_t most,
             std::uint64_t sum) {
        if (samples == 0)
            return;
        if (counts_.size() <= bucket)
            counts_.resize(bucket + 1);
        counts_[bucket] += samples;
        count_ += samples;
        sum_ += sum;
        least_ = least < least_ ? least : least_;
        most_ = most > most_ ? most : most_;
    }
    histogram& operator+=(const histogram& other) {
        // Bounds and sum once, with the first of its buckets that has any.
        std::uint64_t sum = other.sum_;
        for (std::size_t i = 0; i < other.counts_.size(); ++i)
            if (other.counts_[i] != 0) {
                add(i, other.counts_[i], other.least_, other.most_, sum);
                sum = 0;
            }
        return *this;
    }

    [[nodiscard]] std::uint64_t count() const { return count_; }
    [[nodiscard]] bool empty() const { return count_ == 0; }
    /// How many samples lie in this bucket.
    [[nodiscard]] std::uint64_t count(std::size_t bucket) const {
        return bucket < counts_.size() ? counts_[bucket] : 0;
    }
    // Exact. Each of these is not a number without a sample, and no comparison with that holds.
    [[nodiscard]] time min() const { return or_none(static_cast<double>(least_)); }
    [[nodiscard]] time max() const { return or_none(static_cast<double>(most_)); }
    [[nodiscard]] time mean() const {
        return or_none(static_cast<double>(sum_) / static_cast<double>(empty() ? 1 : count_));
    }
    [[nodiscard]] time median() const { return percentile(50); }
    /// The sample that `percent` (0 to 100) of them do not exceed, nearest rank, within relative_error.
    [[nodiscard]] time percentile(double percent) const {
        // Not percent / 100 first: 7 of 100 samples would come out as a little more than 7.
        const double wanted = percent * static_cast<double>(count_) / 100;
        std::uint64_t below = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            below += counts_[i];
            if (below == 0 || static_cast<double>(below) < wanted)
                continue;
            if (i == buckets - 1)
                break;
            const double middle =
                static_cast<double>(least_of(i)) + static_cast<double>(span_of(i) - 1) / 2;
            const double least = static_cast<double>(least_), most = static_cast<double>(most_);
            return or_none(middle < least ? least : middle > most ? most : middle);
        }
        return max();
    }

    /// What a failed check shows of it.
    [[nodiscard]] std::string to_text() const {
        if (empty())
            return "no samples";
        const auto us = [](time t) { return std::to_string(t.count() / 1000) + " us"; };
        return std::to_string(count_) + " samples, median " + us(median()) + ", p99 " +
               us(percentile(99)) + ", max " + us(max());
    }

    friend bool operator==(const histogram&, const histogram&) = default;

private:
    [[nodiscard]] time or_none(double ns) const {
        return time(empty() ? std::numeric_limits<double>::quiet_NaN() : ns);
    }

    std::vector<std::uint64_t> counts_{};  // as far as the highest bucket in use
    std::uint64_t count_ = 0;
    std::uint64_t sum_ = 0;
    std::uint64_t least_ = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t most_ = 0;
};

}  // namespace ktstr

// SPDX-License-Identifier: MIT
// The histogram against sorted samples: exact counts, bounds and sums, merging without a loss, and percentiles within
// the error that it states.
#include <ktstr/base/histogram.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

using ktstr::histogram;
using namespace std::chrono_literals;

TEST_CASE("every time has one bucket, and buckets follow each other without a gap",
          "[base][histogram]") {
    for (std::size_t i = 0; i + 1 < histogram::buckets; ++i) {
        const auto least = histogram::least_of(i);
        const auto span = histogram::span_of(i);
        CHECK(histogram::bucket_of(least) == i);
        CHECK(histogram::bucket_of(least + span - 1) == i);
        CHECK(histogram::least_of(i + 1) == least + span);
        // What makes the stated error true.
        CHECK(static_cast<double>(span - 1) / 2 <=
              histogram::relative_error * static_cast<double>(least));
    }
    CHECK(histogram::bucket_of(0) == 0);
    CHECK(histogram::bucket_of(std::uint64_t{1} << histogram::longest_bits) ==
          histogram::buckets - 1);
    CHECK(histogram::bucket_of(~std::uint64_t{0}) == histogram::buckets - 1);
}

TEST_CASE("without a sample nothing is a number", "[base][histogram]") {
    const histogram none;
    CHECK(none.empty());
    CHECK(std::isnan(none.percentile(99).count()));
    CHECK(std::isnan(none.min().count()));
    CHECK(std::isnan(none.max().count()));
    CHECK(std::isnan(none.mean().count()));
    CHECK_FALSE(none.percentile(99) < 1s);
    CHECK_FALSE(none.percentile(99) >= 0s);
    CHECK(none.to_text() == "no samples");
}

TEST_CASE("percentiles are within the stated error of the sorted samples", "[base][histogram]") {
    std::mt19937_64 random(7);
    std::lognormal_distribution<double> spread(10, 3);
    std::vector<std::uint64_t> samples;
    histogram seen;
    for (int i = 0; i < 20'000; ++i) {
        samples.push_back(static_cast<std::uint64_t>(std::min(spread(random), 1e12)));
        seen.record(samples.back());
    }
    std::sort(samples.begin(), samples.end());
    double sum = 0;
    for (const auto s : samples)
        sum += static_cast<double>(s);
    CHECK(seen.count() == samples.size());
    CHECK(seen.min().count() == static_cast<double>(samples.front()));
    CHECK(seen.max().count() == static_cast<double>(samples.back()));
    CHECK(std::abs(seen.mean().count() - sum / 20'000) <= 1e-9 * sum);
    for (const double p : {0.0, 0.1, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
        const auto rank = static_cast<std::size_t>(std::max(1.0, std::ceil(p / 100 * 20'000)));
        const auto exact = static_cast<double>(samples[rank - 1]);
        CHECK(std::abs(seen.percentile(p).count() - exact) <= histogram::relative_error * exact);
    }
}

TEST_CASE("a percentile is the rank that it says, where a fraction of the count is not exact",
          "[base][histogram]") {
    for (unsigned percent = 1; percent <= 100; ++percent)
        for (const unsigned count : {100U, 200U, 1'000U}) {
            histogram seen;
            const unsigned rank = percent * count / 100;
            for (unsigned i = 1; i <= count; ++i)
                seen.record(std::uint64_t{i <= rank ? 1U : 20U});
            CHECK(seen.percentile(percent) == 1ns);
        }
    histogram one_late;
    for (int i = 0; i < 1'000; ++i)
        one_late.record(std::uint64_t{i < 999 ? 5U : 1'000'000U});
    CHECK(one_late.percentile(99.9) == 5ns);
    CHECK(one_late.percentile(99.91) > 900us);
}

TEST_CASE("merged is as if one had counted all", "[base][histogram]") {
    histogram all, even, odd;
    for (std::uint64_t i = 0; i < 5'000; ++i) {
        const auto ns = i * i * 37;
        all.record(ns);
        (i % 2 == 0 ? even : odd).record(ns);
    }
    histogram merged = odd;
    merged += even;
    CHECK(merged == all);
    merged += histogram{};
    CHECK(merged == all);
    histogram from_nothing;
    from_nothing += all;
    CHECK(from_nothing == all);
    even += odd;
    CHECK(even == all);
}

TEST_CASE("what is longer than the last bucket is counted, and the longest is exact",
          "[base][histogram]") {
    histogram seen;
    seen.record(10ms);
    seen.record(48h);
    seen.record(-1ns);
    CHECK(seen.count() == 3);
    CHECK(seen.count(histogram::buckets - 1) == 1);
    CHECK(seen.max() == 48h);
    CHECK(seen.percentile(100) == 48h);
    CHECK(seen.min() == 0ns);
}

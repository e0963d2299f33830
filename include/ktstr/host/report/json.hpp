// SPDX-License-Identifier: MIT
// --json: one object a line, as things happen. The fields of the "test" event are the public
// contract; what is unknown is null. A line is written whole or not at all.
// Host side.
#pragma once

#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/event_json.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>

#include <memory>
#include <optional>
#include <utility>

namespace ktstr::host {

class json_reporter final : public reporter {
public:
    using reporter::on;

    explicit json_reporter(std::unique_ptr<sink> out) : out_(std::move(out)) {}

    void on(const run_started& e) override { out_->write(event_line(e, in_json)); }
    void on(const check_failed& e) override { out_->write(event_line(e, in_json)); }
    void on(const metric_measured& e) override { out_->write(event_line(e, in_json)); }
    void on(const test_finished& e) override { out_->write(event_line(e, in_json)); }
    void on(const run_finished& e) override { out_->write(event_line(e, in_json)); }

    [[nodiscard]] std::optional<error> problem() const override { return out_->problem(); }

private:
    std::unique_ptr<sink> out_;
};

}  // namespace ktstr::host

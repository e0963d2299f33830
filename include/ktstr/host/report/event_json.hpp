// SPDX-License-Identifier: MIT
// An event's fields as those of a JSON object, for the reports that write some. Host side.
#pragma once

#include <ktstr/host/json/write.hpp>
#include <ktstr/host/report/base64.hpp>
#include <ktstr/host/report/event.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace ktstr::host {

/// Entries in one list of an event on the relay.
inline constexpr std::size_t relay_list_limit = 256;

/// Puts those of an event's fields into an object that a report tells. What the relay carries is exact;
/// elsewhere measured numbers are rounded, and what is unknown is null.
class event_json {
public:
    event_json(json::writer& to, unsigned report) : to_(to), report_(report) {}

    template <class T>
    void operator()(const field& spec, const T& value) {
        if (!spec.has(report_))
            return;
        to_.name(spec.name);
        put(spec, value);
    }

    /// All of it, as one object.
    template <class Event>
    void put_object(const Event& e) {
        to_.begin_object();
        Event::fields(e, *this);
        to_.end_object();
    }

private:
    [[nodiscard]] bool as_it_is() const { return report_ == in_relay; }

    template <class T>
    void put(const field&, const T& value) {
        if constexpr (std::is_enum_v<T>)
            to_.add(to_text(value));
        else if constexpr (requires { T::event; })
            put_object(value);
        else
            to_.add(value);
    }
    void put(const field&, const reason& why) {
        why == reason::none && !as_it_is() ? to_.null() : to_.add(to_text(why));
    }
    void put(const field& spec, const double& value) {
        // Nobody measured the microseconds that a double would show.
        const double steps = spec.has(hundredths) ? 100 : 1000;
        to_.add(as_it_is() || spec.has(unrounded) ? value : std::round(value * steps) / steps);
    }
    void put(const field& spec, const std::optional<double>& value) {
        value ? put(spec, *value) : to_.null();
    }
    void put(const field& spec, const std::string& text) {
        if (spec.has(as_bytes))
            to_.add(base64(text), std::string::npos);
        else
            text.empty() && spec.has(or_null) && !as_it_is() ? to_.null() : to_.add(text);
    }
    template <class T>
    void put(const field& spec, const std::vector<T>& list) {
        to_.begin_array();
        for (std::size_t i = 0;
             i < (as_it_is() ? std::min(list.size(), relay_list_limit) : list.size()); ++i)
            put(spec, list[i]);
        to_.end_array();
    }

    json::writer& to_;
    unsigned report_;
};

/// An event as one line, its kind first.
template <class Event>
[[nodiscard]] std::string event_line(const Event& e, unsigned report) {
    json::writer to;
    to.begin_object();
    to.field("event", Event::event);
    if constexpr (requires { Event::phase; })
        to.field("phase", Event::phase);
    event_json fields(to, report);
    Event::fields(e, fields);
    to.end_object();
    to.raw("\n");
    return to.take();
}

}  // namespace ktstr::host

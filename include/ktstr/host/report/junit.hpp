// SPDX-License-Identifier: MIT
// --junit: one XML file at the end of the run, in the dialect CI systems share: failure for a
// failed test, error for an inconclusive one, and Surefire's flaky*/rerun* elements for the other
// attempts. The file appears whole or not at all, and an older one is gone from the start, so that
// a runner that was killed leaves nothing to be mistaken for its result.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/failure_text.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/text/number.hpp>
#include <ktstr/host/text/xml.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ktstr::host {

/// A file that gets its content in one step. Anything but a regular file (/dev/null, a pipe) is
/// written to instead of being replaced, and a symbolic link keeps pointing where it did.
class atomic_file {
public:
    /// Proves that a file can be made there, and removes an older one.
    [[nodiscard]] static result<atomic_file> prepare(const std::string& what,
                                                     const std::string& path) {
        atomic_file file;
        file.what_ = "write " + what + " to";
        file.path_ = path;
        if (char* resolved = ::realpath(path.c_str(), nullptr); resolved != nullptr) {
            file.path_ = resolved;
            ::free(resolved);
        }
        struct ::stat facts {};
        const bool exists = ::stat(file.path_.c_str(), &facts) == 0;
        if (exists && S_ISDIR(facts.st_mode))
            return system_error(file.what_, path, "give a path that can be written", EISDIR);
        if (exists && !S_ISREG(facts.st_mode)) {
            file.in_place_ = true;
            return file;
        }
        auto probe = file.make_temporary();
        if (!probe)
            return std::move(probe).error();
        ::unlink(probe->second.c_str());
        if (exists && ::unlink(file.path_.c_str()) != 0)
            return system_error(file.what_, path, "give a path that can be written");
        return file;
    }

    [[nodiscard]] result<void> write(std::string_view content) const {
        if (in_place_) {
            const unique_fd fd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
            if (!fd)
                return system_error(what_, path_);
            return write_named(fd.get(), content, path_);
        }
        auto temporary = make_temporary();
        if (!temporary)
            return std::move(temporary).error();
        const auto& [fd, name] = *temporary;
        auto written = write_named(fd.get(), content, path_);
        if (written && ::rename(name.c_str(), path_.c_str()) != 0)
            written = system_error(what_, path_);
        if (!written)
            ::unlink(name.c_str());
        return written;
    }

private:
    [[nodiscard]] result<std::pair<unique_fd, std::string>> make_temporary() const {
        // Hidden, and in the same directory: rename() is atomic only inside one file system.
        const auto slash = path_.rfind('/');
        const auto name = slash == std::string::npos ? 0 : slash + 1;
        std::string temporary = path_.substr(0, name) + '.' + path_.substr(name) + ".XXXXXX";
        unique_fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
        if (!fd)
            return system_error(what_, path_, "give a path that can be written");
        // mkostemp makes it private; a report is as readable as any file of this user.
        const ::mode_t mask = ::umask(0);
        ::umask(mask);
        ::fchmod(fd.get(), 0666 & ~mask);
        return std::pair(std::move(fd), std::move(temporary));
    }

    std::string what_;
    std::string path_;
    bool in_place_ = false;
};

/// Collects a run as XML text.
class junit_document {
public:
    void add(const run_started& e) { start_ = e; }

    void add(const test_finished& e) {
        test& t = open_[e.name];
        if (e.total_s && std::isfinite(*e.total_s))
            t.seconds = t.seconds.value_or(0) + *e.total_s;
        if (e.result == verdict::fail || e.result == verdict::inconclusive)
            t.misses.push_back(describe(e, t.misses.size() < 50));
        if (!e.outcome)
            return;
        append_case(e, t);
        open_.erase(e.name);
    }

    [[nodiscard]] std::string text(const run_finished& e) const {
        const std::string counts = attribute("tests", std::to_string(e.finished())) +
                                   attribute("failures", std::to_string(e.failed)) +
                                   attribute("errors", std::to_string(e.inconclusive)) +
                                   attribute("skipped", std::to_string(e.skipped)) +
                                   attribute("time", decimal(e.total_s));
        const std::string name = attribute("name", suite_name());
        std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        out += "<testsuites" + name + counts + ">\n";
        out += "  <testsuite" + name + counts;
        out += attribute("timestamp", utc(start_.wall_time)) + ">\n";
        out += "    <properties>\n";
        properties of_run{out, 6};
        run_started::fields(start_, of_run);
        property(out, 6, "ktstr", start_.version);
        run_finished::fields(e, of_run);
        out += "    </properties>\n";
        out += cases_;
        out += "  </testsuite>\n</testsuites>\n";
        return out;
    }

private:
    struct miss {
        verdict result;
        reason why;
        std::string message;
        std::string details;
    };
    struct test {
        std::optional<double> seconds;
        std::vector<miss> misses;
    };

    static std::string attribute(std::string_view name, std::string_view value) {
        return ' ' + std::string(name) + "=\"" + xml_attribute(value) + '"';
    }

    static void property(std::string& out, std::size_t indent, std::string_view name,
                         std::string_view value) {
        out += std::string(indent, ' ') + "<property" + attribute("name", name) +
               attribute("value", value) + "/>\n";
    }

    /// Puts those of an event's fields that JUnit tells and that are known. Lists and words are not told.
    struct properties {
        std::string& out;
        std::size_t indent;

        template <class T>
        void operator()(const field& spec, const T& value) {
            if (spec.has(in_junit))
                put(spec.name, value);
        }
        template <class T>
        void put(const char* name, const T& value) {
            if constexpr (std::is_floating_point_v<T>)
                property(out, indent, name, decimal(value));
            else if constexpr (std::is_integral_v<T>)
                property(out, indent, name, std::to_string(value));
        }
        void put(const char* name, const std::string& text) { property(out, indent, name, text); }
        void put(const char*, const std::vector<metric_measured>& metrics) {
            for (const auto& m : metrics)
                property(out, indent, "metric." + m.name,
                         number_text(m.value) + (m.unit.empty() ? "" : ' ' + m.unit));
        }
        template <class T>
        void put(const char* name, const std::optional<T>& value) {
            if (value)
                put(name, *value);
        }
    };

    static std::string decimal(double value) {
        char buffer[64];
        std::snprintf(buffer, sizeof buffer, "%.3f", value);
        return buffer;
    }

    static std::string utc(std::chrono::system_clock::time_point when) {
        const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
        std::tm parts{};
        ::gmtime_r(&seconds, &parts);
        char buffer[32];
        std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%SZ", &parts);
        return buffer;
    }

    /// The last part of a path, without what follows the last dot.
    static std::string_view stem(std::string_view path) {
        path.remove_prefix(path.rfind('/') + 1);  // npos + 1 is 0
        return path.substr(0, path.rfind('.'));
    }

    [[nodiscard]] std::string suite_name() const {
        const std::string_view program = start_.program;
        return program.empty() ? "ktstr" : std::string(program.substr(program.rfind('/') + 1));
    }

    /// Without details after a while: --until-fail may go on for days.
    static miss describe(const test_finished& e, bool in_detail) {
        std::string details;
        if (in_detail)
            for (const auto& line : failure_text(e))
                details += line + '\n';
        return {e.result, e.why, e.message, std::move(details)};
    }

    void append_case(const test_finished& e, const test& t) {
        const final_outcome& outcome = *e.outcome;
        std::string& out = cases_;
        out += "    <testcase" + attribute("name", e.name) + attribute("classname", stem(e.file)) +
               attribute("file", e.file) + attribute("line", std::to_string(e.line));
        if (t.seconds)
            out += attribute("time", decimal(*t.seconds));
        out += ">\n      <properties>\n";
        properties of_test{out, 8};
        test_finished::fields(e, of_test);
        if (!e.test.empty() && e.test != e.name)
            of_test.put("test", e.test);
        if (outcome.attempts > 1)
            property(out, 8, "attempts", std::to_string(outcome.attempts));
        out += "      </properties>\n";

        const bool missed =
            outcome.result == verdict::fail || outcome.result == verdict::inconclusive;
        if (outcome.result == verdict::skip)
            out += "      <skipped" +
                   attribute("message",
                             e.message.empty() ? std::string(to_text(outcome.why)) : e.message) +
                   attribute("type", to_text(outcome.why)) + "/>\n";
        // The first attempt that came out as the test did stands for it.
        const miss* chief = nullptr;
        for (const auto& m : t.misses)
            if (missed && chief == nullptr && m.result == outcome.result && m.why == outcome.why)
                chief = &m;
        if (chief != nullptr) {
            const std::string element = chief->result == verdict::fail ? "failure" : "error";
            out += "      <" + element + attribute("type", to_text(chief->why)) +
                   attribute("message", chief->message) + '>' + xml_text(chief->details, 1 << 16) +
                   "</" + element + ">\n";
        }
        for (const auto& m : t.misses) {
            if (&m == chief)
                continue;
            const std::string element = std::string(missed ? "rerun" : "flaky") +
                                        (m.result == verdict::fail ? "Failure" : "Error");
            out += "      <" + element + attribute("type", to_text(m.why)) +
                   attribute("message", m.message) + "><stackTrace>" +
                   xml_text(m.details, 1 << 16) + "</stackTrace></" + element + ">\n";
        }
        out += "    </testcase>\n";
    }

    run_started start_;
    std::map<std::string, test> open_;
    std::string cases_;
};

class junit_reporter final : public reporter {
public:
    using reporter::on;

    explicit junit_reporter(atomic_file file) : file_(std::move(file)) {}

    void on(const run_started& e) override { document_.add(e); }
    void on(const test_finished& e) override { document_.add(e); }
    void on(const run_finished& e) override {
        if (auto written = file_.write(document_.text(e)); !written)
            problem_ = written.error();
    }
    [[nodiscard]] std::optional<error> problem() const override { return problem_; }

private:
    atomic_file file_;
    junit_document document_;
    std::optional<error> problem_;
};

}  // namespace ktstr::host

// SPDX-License-Identifier: MIT
// `ktstr selftests [SOURCE]`: the kernel's own sched_ext selftests, built from the sources of the kernel that is tested,
// unmodified, each case in a machine of its own, several at a time; and a table of what became of them. Host side.
#include "selftests_command.hpp"

#include <ktstr/embed.hpp>
#include <ktstr/host/kernel/resolve_kernel.hpp>
#include <ktstr/host/plan/pattern.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/linux/write_all.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel_programs.hpp"
#include "matrix.hpp"
#include "selftests_lines.hpp"
#include "stoppable.hpp"
#include "subcommand.hpp"

namespace ktstr::tool {

namespace {

struct selftests_order {
    std::string source;
    std::vector<std::string> kernels, filters, excludes;
    std::string topology = "1n1l2c1t", accel = "auto", artifacts = "ktstr-artifacts";
    int jobs = 0;
    bool list = false;
    std::optional<std::string> markdown, junit;
};

struct tested_kernel {
    std::string spec;
    std::string release;  ///< numbered where another has the same
    built_selftests built;
};

struct job {
    std::size_t kernel = 0, number = 0;  ///< the second is that of the case in its list, from 1 on
};

result<tested_kernel> prepare(const selftests_order& order, const std::string& spec) {
    const stoppable while_building;
    const auto in = host::cache::open();
    if (!in)
        return in.error();
    const auto kernel = host::resolve_kernel({spec, true, say});
    if (!kernel)
        return kernel.error();
    const auto origin = order.source.empty() ? source_of_kernel(*in, *kernel, say)
                                             : find_source(*in, order.source, say);
    if (!origin)
        return origin.error();
    const auto source = obtain_tools_source(*in, *origin, say);
    if (!source)
        return source.error();
    auto built = obtain_selftests(*in, *source, *kernel, say);
    if (!built)
        return built.error();
    return tested_kernel{spec, kernel->release, *std::move(built)};
}

bool is_wanted(const selftests_order& order, const std::string& name) {
    const auto matches = [&](const std::string& pattern) { return host::matches(pattern, name); };
    return (order.filters.empty() ||
            std::any_of(order.filters.begin(), order.filters.end(), matches)) &&
           std::none_of(order.excludes.begin(), order.excludes.end(), matches);
}

/// Under the number of the path that the test's definition names.
bool open_as(const std::filesystem::path& file, std::string_view path) {
    const int number = std::atoi(path.substr(path.rfind('/') + 1).data());
    const unique_fd opened{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
    return opened && ::dup3(opened.get(), number, O_CLOEXEC) == number;
}

matrix_cell run_one(const selftests_order& order, const tested_kernel& kernel, std::size_t number) {
    const auto& name = kernel.built.cases[number - 1];
    matrix_cell cell{name, kernel.release, {}};
    if (!open_as(kernel.built.runner, runner_descriptor) ||
        !open_as(kernel.built.list, cases_descriptor)) {
        cell.result.message = system_error("open", kernel.built.runner.string()).message();
        return cell;
    }
    run_options how;
    how.arguments = {
        "--quiet",
        "--accel",
        order.accel,
        "--topology",
        order.topology,
        "--kernel",
        kernel.spec,
        "--seed",
        std::to_string(number),
        "--artifacts",
        (std::filesystem::path(order.artifacts) / "selftests" / kernel.release / name).string()};
    cell.result = run_cell("kernel_selftest", how);
    return cell;
}

// ---- workers: run_cell() takes one cell at a time, so each has a process of its own ---------------------------

/// What the workers share: the next job's number, and whether there is to be none.
struct shared_counter {
    std::atomic<unsigned> next{0};
    std::atomic<bool> enough{false};
};

std::string line_of(std::size_t index, const cell_result& result) {
    const nlohmann::json line{{"index", index},
                              {"ending", static_cast<int>(result.ending)},
                              {"verdict", result.verdict ? static_cast<int>(*result.verdict) : -1},
                              {"reason", static_cast<int>(result.reason)},
                              {"message", result.message},
                              {"text", result.text},
                              {"seconds", result.total_time ? result.total_time->count() : -1.0}};
    return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

void take_line(const std::string& text, std::vector<matrix_cell>& cells, std::size_t& done) {
    const auto line = nlohmann::json::parse(text, nullptr, false);
    if (line.is_discarded())
        return;  // the worker died while it wrote; its cell stays without a verdict
    auto& cell = cells.at(line["index"].get<std::size_t>());
    auto& result = cell.result;
    result.ending = static_cast<cell_ending>(line["ending"].get<int>());
    if (const int verdict = line["verdict"].get<int>(); verdict >= 0)
        result.verdict = static_cast<ktstr::verdict>(verdict);
    result.reason = static_cast<ktstr::reason>(line["reason"].get<int>());
    result.message = line["message"].get<std::string>();
    // Where the body stands in ktstr's own sources is of no use here; the case's own file and line follow.
    if (const auto at = result.message.find("selftests_body.cpp:"); at != std::string::npos)
        if (const auto end = result.message.find(": ", at); end != std::string::npos)
            result.message.erase(0, end + 2);
    result.text = line["text"].get<std::string>();
    if (const double seconds = line["seconds"].get<double>(); seconds >= 0)
        result.total_time = std::chrono::duration<double>(seconds);
    say(fmt::format("{} of {}: {}: {}{}{}", ++done, cells.size(), cell.name(), cell.word(),
                    result.passed() ? "" : ": ", cell.why()));
}

struct worker {
    pid_t pid = -1;
    unique_fd from;
    std::string pending{};
};

void work(const selftests_order& order, const std::vector<tested_kernel>& kernels,
          const std::vector<job>& jobs, shared_counter& shared, int to) {
    for (;;) {
        const std::size_t index = shared.next++;
        if (index >= jobs.size() || shared.enough)
            return;
        const auto cell = run_one(order, kernels[jobs[index].kernel], jobs[index].number);
        if (cell.result.ending == cell_ending::misused ||
            cell.result.ending == cell_ending::stopped)
            shared.enough = true;
        if (!write_all(to, line_of(index, cell.result)))
            return;
    }
}

result<std::vector<matrix_cell>> run_all(const selftests_order& order,
                                         const std::vector<tested_kernel>& kernels,
                                         const std::vector<job>& jobs) {
    std::vector<matrix_cell> cells;
    for (const auto& one : jobs) {
        cells.push_back(
            {kernels[one.kernel].built.cases[one.number - 1], kernels[one.kernel].release, {}});
        cells.back().result.message = "the process that was to run it ended before";
    }
    void* const memory = ::mmap(nullptr, sizeof(shared_counter), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return system_error("share memory with", "the processes that run cases");
    auto& shared = *new (memory) shared_counter;
    const std::size_t count = std::min<std::size_t>(
        jobs.size(), order.jobs > 0
                         ? static_cast<std::size_t>(order.jobs)
                         : static_cast<std::size_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN))));
    std::fflush(nullptr);
    const pid_t us = ::getpid();
    std::vector<worker> workers;
    for (std::size_t i = 0; i < count; ++i) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0)
            return system_error("create a pipe for", "a process that runs cases");
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGTERM);
            if (::getppid() == us)
                work(order, kernels, jobs, shared, ends[1]);
            std::fflush(nullptr);
            ::_exit(0);
        }
        ::close(ends[1]);
        workers.push_back({pid, unique_fd{ends[0]}});
        if (pid < 0)
            return system_error("start", "a process that runs cases");
    }
    const stoppable while_running;
    std::size_t done = 0;
    bool stopped = false;
    for (;;) {
        std::vector<pollfd> watched{{stopped ? -1 : host::stop_signal::watched_fd(), POLLIN, 0}};
        for (const auto& one : workers)
            watched.push_back({one.from ? one.from.get() : -1, POLLIN, 0});
        if (std::none_of(workers.begin(), workers.end(),
                         [](const auto& one) { return static_cast<bool>(one.from); }))
            break;
        if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR)
            return system_error("wait for", "the processes that run cases");
        if (!stopped && watched[0].revents != 0) {
            stopped = true;
            for (const auto& one : workers)
                ::kill(one.pid, SIGTERM);  // each ends its machine first
        }
        for (std::size_t i = 0; i < workers.size(); ++i) {
            auto& one = workers[i];
            if (watched[i + 1].revents == 0)
                continue;
            char buffer[65536];
            const auto n = ::read(one.from.get(), buffer, sizeof buffer);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0) {
                one.from.reset();
                int status = 0;
                while (::waitpid(one.pid, &status, 0) < 0 && errno == EINTR) {
                }
                if (status != 0 && !stopped)
                    say("a process that runs cases ended with " +
                        std::to_string(shell_status(status)));
                continue;
            }
            one.pending.append(buffer, static_cast<std::size_t>(n));
            for (auto end = one.pending.find('\n'); end != std::string::npos;
                 end = one.pending.find('\n')) {
                take_line(one.pending.substr(0, end), cells, done);
                one.pending.erase(0, end + 1);
            }
        }
    }
    ::munmap(memory, sizeof(shared_counter));
    if (stopped)
        return plain_error("run", "the selftests", "interrupted");
    return cells;
}

int selftests(const selftests_order& order) {
    auto specs = order.kernels;
    if (specs.empty()) {
        const char* const given = std::getenv("KTSTR_KERNEL");
        specs.emplace_back(given != nullptr && *given != '\0' ? given : "distro");
    }
    std::vector<tested_kernel> kernels;
    std::vector<job> jobs;
    for (const auto& spec : specs) {
        auto kernel = prepare(order, spec);
        if (!kernel)
            return cannot(kernel.error());
        const auto before = jobs.size();
        for (std::size_t i = 0; i < kernel->built.cases.size(); ++i)
            if (is_wanted(order, kernel->built.cases[i]))
                jobs.push_back({kernels.size(), i + 1});
        // Of each kernel: one of which nothing was run would be taken for one on which all is well.
        if (jobs.size() == before) {
            say(fmt::format("no case is selected of the {} that kernel {} has; --list names them",
                            kernel->built.cases.size(), kernel->release));
            return exit_usage;
        }
        kernels.push_back(*std::move(kernel));
    }
    std::vector<std::string> titles;
    for (const auto& one : kernels)
        titles.push_back(one.release);
    titles = numbered(std::move(titles));
    for (std::size_t i = 0; i < kernels.size(); ++i)
        kernels[i].release = titles[i];
    if (order.list) {
        std::vector<std::string> told;
        for (const auto& one : jobs)
            if (const auto& name = kernels[one.kernel].built.cases[one.number - 1];
                std::find(told.begin(), told.end(), name) == told.end())
                told.push_back(name);
        for (const auto& name : told)
            fmt::print("{}\n", name);
        return 0;
    }
    const auto cells = run_all(order, kernels, jobs);
    if (!cells)
        return cannot(cells.error());
    for (const auto& cell : *cells)
        if (cell.result.ending == cell_ending::misused) {
            say(cell.why());
            return exit_usage;
        }
    if (const auto told =
            detail::tell_matrix(*cells, "case", "selftests", order.markdown, order.junit);
        !told)
        return cannot(told.error());
    std::size_t passed = 0, skipped = 0;
    for (const auto& cell : *cells) {
        passed += cell.result.passed() ? 1 : 0;
        skipped += cell.result.verdict == verdict::skip ? 1 : 0;
    }
    say(fmt::format("{} cases: {} passed, {} skipped, {} did not pass", cells->size(), passed,
                    skipped, cells->size() - passed - skipped));
    return detail::exit_code_of(*cells);
}

}  // namespace

void add_selftests_command(CLI::App& app, int& status) {
    CLI::App* const command = app.add_subcommand(
        "selftests",
        "The kernel's own sched_ext selftests, each case in a machine: a table of verdicts");
    const auto order = std::make_shared<selftests_order>();
    command->add_option("SOURCE", order->source,
                        "A source tree or tarball; without, the source package of each kernel");
    command->add_option("--kernel", order->kernels, "As for tests; repeatable")
        ->allow_extra_args(false);
    command
        ->add_option("--filter", order->filters,
                     "Only cases whose name matches; * and ? as in a shell; repeatable")
        ->allow_extra_args(false);
    command->add_option("--exclude", order->excludes, "Not those whose name matches; repeatable")
        ->allow_extra_args(false);
    command->add_flag("--list", order->list, "Name the selected cases and run none");
    command->add_option("--topology", order->topology, "The machine of each case")
        ->capture_default_str();
    command->add_option("--accel", order->accel, "As for tests")->capture_default_str();
    command
        ->add_option("--jobs", order->jobs,
                     "Cases at a time, as far as the host's CPUs carry them; 0: one for each CPU")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    command->add_option("--artifacts", order->artifacts, "Where the files of what did not pass go")
        ->capture_default_str();
    command->add_option("--markdown", order->markdown, "The table as Markdown, into this file");
    command->add_option("--junit", order->junit, "The verdicts as JUnit XML, into this file");
    command->callback([=, &status] { status = selftests(*order); });
}

}  // namespace ktstr::tool

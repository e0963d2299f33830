// SPDX-License-Identifier: MIT
// What must hold between the keys of a KTSTR_TEST, checked while it compiles. One rule is one
// struct template: its name is the sentence and its arguments are the numbers it judges, so that
// the compiler prints both. A rule stays quiet where another one has already spoken.
#pragma once

#include <ktstr/test/spec.hpp>
#include <ktstr/topology/topology.hpp>

#include <cstddef>
#include <string_view>

namespace ktstr::detail {

// The machine.

template <int NumaNodes, int Llcs, int Cores, int Threads>
struct topology_counts_start_at_one {
    static_assert(NumaNodes >= 1 && Llcs >= 1 && Cores >= 1 && Threads >= 1,
                  "KTSTR_TEST: numa_nodes, llcs, cores and threads must be at least 1");
};
template <int Llcs, int NumaNodes>
struct llcs_divide_evenly_among_numa_nodes {
    static_assert(NumaNodes < 1 || Llcs < 1 || Llcs % NumaNodes == 0,
                  "KTSTR_TEST: llcs must be a multiple of numa_nodes");
};
template <long long Vcpus, int Limit>
struct vcpus_fit_in_one_machine {
    static_assert(Vcpus <= Limit,
                  "KTSTR_TEST: llcs * cores * threads must be at most 252, what one machine holds");
};
template <int Position>
struct topologies_are_written_like_1n2l4c1t {
    static_assert(Position < 0,
                  "KTSTR_TEST: each of topologies is written like \"1n2l4c1t\": NUMA nodes, LLCs, "
                  "cores per LLC, threads per core");
};
template <int Position>
struct topologies_differ {
    static_assert(Position < 0, "KTSTR_TEST: the same topology is given twice in topologies");
};
template <bool HasTopologies, bool HasDimension>
struct topologies_exclude_single_dimensions {
    static_assert(!(HasTopologies && HasDimension),
                  "KTSTR_TEST: topologies and any of numa_nodes, llcs, cores and threads exclude "
                  "each other");
};
template <int MemoryMib>
struct memory_mib_is_at_least_one {
    static_assert(MemoryMib >= 1, "KTSTR_TEST: memory_mib must be at least 1");
};

// Time.

template <long long Milliseconds>
struct duration_is_positive {
    static_assert(Milliseconds > 0, "KTSTR_TEST: duration must be positive");
};
template <long long Milliseconds>
struct timeout_is_positive {
    static_assert(Milliseconds > 0, "KTSTR_TEST: timeout must be positive");
};
template <long long TimeoutMs, long long DurationMs>
struct timeout_covers_duration {
    static_assert(TimeoutMs >= DurationMs || TimeoutMs <= 0,
                  "KTSTR_TEST: timeout must not be shorter than duration");
};

// The host's CPUs.

// no_perf_mode is a statement and no switch: see test_spec.
template <bool HasBudget, bool NoPerfMode>
struct cpu_budget_requires_no_perf_mode {
    static_assert(!HasBudget || NoPerfMode, "KTSTR_TEST: cpu_budget requires no_perf_mode");
};
template <int Budget>
struct cpu_budget_is_at_least_one {
    static_assert(Budget >= 1, "KTSTR_TEST: cpu_budget must be at least 1");
};
template <int Budget, long long Vcpus>
struct cpu_budget_within_vcpus {
    static_assert(Budget <= Vcpus || Vcpus < 1,
                  "KTSTR_TEST: cpu_budget must not be above the machine's CPUs");
};
template <bool PerformanceMode, bool NoPerfMode>
struct performance_mode_excludes_no_perf_mode {
    static_assert(!(PerformanceMode && NoPerfMode),
                  "KTSTR_TEST: performance_mode and no_perf_mode exclude each other");
};

template <bool HasArgs, bool HasScheduler>
struct scheduler_args_require_scheduler {
    static_assert(!HasArgs || HasScheduler, "KTSTR_TEST: scheduler_args requires a scheduler");
};

template <bool Whole>
struct built_in_schedulers_come_and_go {
    static_assert(Whole,
                  "KTSTR_TEST: a scheduler that the kernel has built in has both enable and "
                  "disable, and no binary");
};

template <bool HasStaged, bool HasScheduler>
struct staged_requires_scheduler {
    static_assert(
        !HasStaged || HasScheduler,
        "KTSTR_TEST: staged requires a scheduler with a program, which the test begins with");
};
template <int Position>
struct staged_have_names_of_their_own {
    static_assert(Position < 0,
                  "KTSTR_TEST: each of staged has a name that no other scheduler of the test has");
};
template <int Position>
struct staged_have_programs {
    static_assert(Position < 0, "KTSTR_TEST: one of staged has no program that could be attached");
};
template <bool FreshScheduler, bool HasScheduler>
struct fresh_scheduler_requires_scheduler {
    static_assert(!FreshScheduler || HasScheduler,
                  "KTSTR_TEST: fresh_scheduler requires a scheduler");
};

template <bool HasSchedulers, bool HasScheduler>
struct schedulers_exclude_scheduler {
    static_assert(!(HasSchedulers && HasScheduler),
                  "KTSTR_TEST: schedulers and scheduler exclude each other");
};
template <int Position>
struct schedulers_have_different_names {
    static_assert(Position < 0, "KTSTR_TEST: two of schedulers have the same name");
};
template <int Position>
struct schedulers_names_can_stand_in_a_tests_name {
    static_assert(Position < 0,
                  "KTSTR_TEST: each of schedulers has a name of letters, digits, '_', '-', '.' and "
                  "'+', for it becomes part of the test's");
};

// Tests without a machine.

template <bool HostOnly, bool RequiresSteal>
struct host_only_excludes_requires_steal {
    static_assert(!(HostOnly && RequiresSteal),
                  "KTSTR_TEST: host_only and requires_steal exclude each other");
};
template <bool HostOnly, bool RequiresKvm>
struct host_only_excludes_requires_kvm {
    static_assert(!(HostOnly && RequiresKvm),
                  "KTSTR_TEST: host_only and requires_kvm exclude each other");
};
template <bool HostOnly, bool HasScheduler>
struct host_only_excludes_scheduler {
    static_assert(!(HostOnly && HasScheduler),
                  "KTSTR_TEST: host_only and scheduler exclude each other");
};
template <bool HostOnly, bool HasSchedulers>
struct host_only_excludes_schedulers {
    static_assert(!(HostOnly && HasSchedulers),
                  "KTSTR_TEST: host_only and schedulers exclude each other");
};
template <bool HostOnly, bool HasTopologies>
struct host_only_excludes_topologies {
    static_assert(!(HostOnly && HasTopologies),
                  "KTSTR_TEST: host_only and topologies exclude each other");
};
template <bool HostOnly, bool HasBudget>
struct host_only_excludes_cpu_budget {
    static_assert(!(HostOnly && HasBudget),
                  "KTSTR_TEST: host_only and cpu_budget exclude each other");
};
template <bool HostOnly, bool PerformanceMode>
struct host_only_excludes_performance_mode {
    static_assert(!(HostOnly && PerformanceMode),
                  "KTSTR_TEST: host_only and performance_mode exclude each other");
};

// The guest kernel's command line.

enum class reserved { none, console, rdinit, init, panic, loglevel };

constexpr reserved reserved_by(std::string_view arg) {
    // The kernel takes quotation marks off.
    if (arg.starts_with('"'))
        arg.remove_prefix(1);
    if (arg.ends_with('"'))
        arg.remove_suffix(1);
    // To the kernel `-` and `_` are one in a name, and so are `.` and `/` in a sysctl's.
    const auto is = [arg](std::string_view name) {
        for (std::size_t i = 0; i < name.size(); ++i) {
            const char c = i < arg.size() ? arg[i] : '\0';
            if ((c == '-' ? '_' : c == '/' ? '.' : c) != name[i])
                return false;
        }
        return true;
    };
    // What would keep the kernel's words from the console, or their time stamps from the words.
    for (const std::string_view silencing :
         {"loglevel=", "printk.", "sysctl.kernel.printk", "console_msg_format="})
        if (is(silencing))
            return reserved::loglevel;
    if (arg == "quiet")
        return reserved::loglevel;
    if (is("console="))
        return reserved::console;
    if (is("rdinit="))
        return reserved::rdinit;
    if (is("init="))
        return reserved::init;
    if (is("panic="))
        return reserved::panic;
    return reserved::none;
}

template <reserved What, int Position>
struct kernel_args_leave_alone_what_ktstr_sets {
    static_assert(What == reserved::none || What == reserved::loglevel,
                  "KTSTR_TEST: kernel_args may not set console=, rdinit=, init= or panic=, ktstr "
                  "sets them itself");
    static_assert(
        What != reserved::loglevel,
        "KTSTR_TEST: kernel_args may not set quiet, loglevel=, printk.* or another word that "
        "silences the kernel: verdicts are read from what it prints");
};
template <int Position>
struct kernel_args_are_one_word_each {
    static_assert(Position < 0,
                  "KTSTR_TEST: each of kernel_args is one word: not empty, no space, not \"--\"");
};

struct kernel_args_seen {
    int reserved_at = -1;
    reserved what = reserved::none;
    int not_a_word_at = -1;
};

/// Those of the test, and those that its schedulers bring along.
consteval kernel_args_seen look_at_kernel_args(const test_spec& spec) {
    kernel_args_seen seen;
    const auto look_at = [&seen](const auto& args) {
        for (std::size_t i = 0; i < args.size(); ++i) {
            const std::string_view arg = args[i];
            if (seen.what == reserved::none && reserved_by(arg) != reserved::none) {
                seen.what = reserved_by(arg);
                seen.reserved_at = static_cast<int>(i);
            }
            // Everything behind "--" would go to PID 1, and a space would smuggle in a second word.
            if (seen.not_a_word_at < 0 && (arg.empty() || arg == "--" ||
                                           arg.find_first_of(" \t\n") != std::string_view::npos))
                seen.not_a_word_at = static_cast<int>(i);
        }
    };
    look_at(spec.kernel_args);
    if (spec.scheduler != nullptr)
        look_at(spec.scheduler->kernel_args);
    for (const scheduler* one : spec.schedulers)
        look_at(one->kernel_args);
    return seen;
}

/// The product of the dimensions, or a billion for anything above it: nothing may overflow here.
consteval long long vcpus(const topology& t) {
    constexpr long long ceiling = 1'000'000'000;
    if (t.llcs < 1 || t.cores < 1 || t.threads < 1)
        return 0;
    const long long cores = static_cast<long long>(t.llcs) * t.cores;
    return cores > ceiling || cores * t.threads > ceiling ? ceiling : cores * t.threads;
}

/// The shapes of all machines that the test gets: one that can't be, where there is one, else the
/// first; and the most and the fewest CPUs.
struct shapes_seen {
    topology first{};
    long long most_vcpus = 0, least_vcpus = 0;
    int count = 0;
    int not_a_text_at = -1, twice_at = -1;

    consteval void add(const topology& t) {
        const long long n = vcpus(t);
        if (count == 0 || (topology_problem(first).empty() && !topology_problem(t).empty()))
            first = t;
        most_vcpus = count == 0 || n > most_vcpus ? n : most_vcpus;
        least_vcpus = count == 0 || n < least_vcpus ? n : least_vcpus;
        ++count;
    }
};

consteval shapes_seen look_at_shapes(const test_spec& spec) {
    shapes_seen seen;
    for (std::size_t i = 0; i < spec.topologies.size(); ++i) {
        const auto t = read_topology(spec.topologies[i]);
        if (t)
            seen.add(*t);
        else if (seen.not_a_text_at < 0)
            seen.not_a_text_at = static_cast<int>(i);
        for (std::size_t before = 0; before < i; ++before)
            if (seen.twice_at < 0 && spec.topologies[before] == spec.topologies[i])
                seen.twice_at = static_cast<int>(i);
    }
    if (spec.topologies.empty())
        for (const scheduler* one : spec.schedulers)
            seen.add(spec.shape_under(*one));
    if (seen.count == 0)
        seen.add(spec.shape());
    return seen;
}

struct schedulers_seen {
    bool any_has_program = false;
    int same_name_at = -1, bad_name_at = -1;
    int staged_again_at = -1, staged_nothing_at = -1;
    bool built_ins_are_whole = true;

    consteval void add(const scheduler& one) {
        any_has_program = any_has_program || one.has_program();
        if (one.enable.empty() != one.disable.empty() || (one.has_program() && !one.enable.empty()))
            built_ins_are_whole = false;
    }
};

consteval schedulers_seen look_at_schedulers(const test_spec& spec) {
    schedulers_seen seen;
    if (spec.scheduler != nullptr)
        seen.add(*spec.scheduler);
    for (std::size_t i = 0; i < spec.schedulers.size(); ++i) {
        const scheduler* one = spec.schedulers[i];
        seen.add(*one);
        if (seen.bad_name_at < 0 && !can_stand_in_a_name(one->name))
            seen.bad_name_at = static_cast<int>(i);
        for (std::size_t before = 0; before < i; ++before)
            if (seen.same_name_at < 0 && spec.schedulers[before]->name == one->name)
                seen.same_name_at = static_cast<int>(i);
    }
    for (std::size_t i = 0; i < spec.staged.size(); ++i) {
        const scheduler* one = spec.staged[i];
        bool again = spec.scheduler != nullptr && spec.scheduler->name == one->name;
        for (const scheduler* other : spec.schedulers)
            again = again || other->name == one->name;
        for (std::size_t before = 0; before < i; ++before)
            again = again || spec.staged[before]->name == one->name;
        if (again && seen.staged_again_at < 0)
            seen.staged_again_at = static_cast<int>(i);
        if (!one->has_program() && seen.staged_nothing_at < 0)
            seen.staged_nothing_at = static_cast<int>(i);
    }
    return seen;
}

/// What the rules judge, gathered in one evaluation: going back to the spec for each of them is
/// what a file with many tests would otherwise spend most of its compile time on.
struct facts {
    int numa_nodes, llcs, cores, threads;
    long long vcpus, least_vcpus;
    int topologies_not_a_text_at, topologies_twice_at;
    bool has_topologies, has_dimension;
    int memory_mib;
    long long duration_ms;
    long long
        own_duration_ms;  // 0: the default, which a body without a scenario need not care about
    long long timeout_ms;
    bool has_budget;
    int budget;
    bool no_perf_mode, performance_mode, host_only, requires_steal, requires_kvm;
    bool has_scheduler, has_schedulers, has_scheduler_args, has_staged, fresh_scheduler;
    schedulers_seen schedulers;
    kernel_args_seen kernel_args;
};

consteval facts facts_of(const test_spec& spec) {
    const shapes_seen shapes = look_at_shapes(spec);
    const topology& shape = shapes.first;
    return {.numa_nodes = shape.numa_nodes,
            .llcs = shape.llcs,
            .cores = shape.cores,
            .threads = shape.threads,
            .vcpus = shapes.most_vcpus,
            .least_vcpus = shapes.least_vcpus,
            .topologies_not_a_text_at = shapes.not_a_text_at,
            .topologies_twice_at = shapes.twice_at,
            .has_topologies = !spec.topologies.empty(),
            .has_dimension = spec.numa_nodes || spec.llcs || spec.cores || spec.threads,
            .memory_mib = spec.memory_mib.value_or(1),
            .duration_ms = spec.duration.count(),
            .own_duration_ms = spec.duration == test_spec{}.duration ? 0 : spec.duration.count(),
            .timeout_ms = spec.body_limit().count(),
            .has_budget = spec.cpu_budget.has_value(),
            .budget = spec.cpu_budget.value_or(1),
            .no_perf_mode = spec.no_perf_mode,
            .performance_mode = spec.performance_mode,
            .host_only = spec.host_only,
            .requires_steal = spec.requires_steal,
            .requires_kvm = spec.requires_kvm,
            .has_scheduler = spec.scheduler != nullptr,
            .has_schedulers = !spec.schedulers.empty(),
            .has_scheduler_args = !spec.scheduler_args.empty(),
            .has_staged = !spec.staged.empty(),
            .fresh_scheduler = spec.fresh_scheduler,
            .schedulers = look_at_schedulers(spec),
            .kernel_args = look_at_kernel_args(spec)};
}

template <facts F>
struct rules
    : topology_counts_start_at_one<F.numa_nodes, F.llcs, F.cores, F.threads>,
      llcs_divide_evenly_among_numa_nodes<F.llcs, F.numa_nodes>,
      vcpus_fit_in_one_machine<F.vcpus, max_vcpus>,
      topologies_are_written_like_1n2l4c1t<F.topologies_not_a_text_at>,
      topologies_differ<F.topologies_twice_at>,
      topologies_exclude_single_dimensions<F.has_topologies, F.has_dimension>,
      memory_mib_is_at_least_one<F.memory_mib>,
      duration_is_positive<F.duration_ms>,
      timeout_is_positive<F.timeout_ms>,
      timeout_covers_duration<F.timeout_ms, F.own_duration_ms>,
      cpu_budget_requires_no_perf_mode<F.has_budget, F.no_perf_mode>,
      cpu_budget_is_at_least_one<F.budget>,
      cpu_budget_within_vcpus<F.budget, F.least_vcpus>,
      performance_mode_excludes_no_perf_mode<F.performance_mode, F.no_perf_mode>,
      scheduler_args_require_scheduler<F.has_scheduler_args, F.schedulers.any_has_program>,
      built_in_schedulers_come_and_go<F.schedulers.built_ins_are_whole>,
      staged_requires_scheduler<F.has_staged, F.schedulers.any_has_program>,
      staged_have_names_of_their_own<F.schedulers.staged_again_at>,
      staged_have_programs<F.schedulers.staged_nothing_at>,
      fresh_scheduler_requires_scheduler<F.fresh_scheduler, F.schedulers.any_has_program>,
      schedulers_exclude_scheduler<F.has_schedulers, F.has_scheduler>,
      schedulers_have_different_names<F.schedulers.same_name_at>,
      schedulers_names_can_stand_in_a_tests_name<F.schedulers.bad_name_at>,
      host_only_excludes_requires_steal<F.host_only, F.requires_steal>,
      host_only_excludes_requires_kvm<F.host_only, F.requires_kvm>,
      host_only_excludes_scheduler<F.host_only, F.has_scheduler>,
      host_only_excludes_schedulers<F.host_only, F.has_schedulers>,
      host_only_excludes_topologies<F.host_only, F.has_topologies>,
      host_only_excludes_cpu_budget<F.host_only, F.has_budget>,
      host_only_excludes_performance_mode<F.host_only, F.performance_mode>,
      kernel_args_leave_alone_what_ktstr_sets<F.kernel_args.what, F.kernel_args.reserved_at>,
      kernel_args_are_one_word_each<F.kernel_args.not_a_word_at> {
    static constexpr bool hold = true;
};

/// What KTSTR_TEST asserts. A spec that is no constant (`llcs = some_variable`) has no facts; the
/// compiler says so where the test is made, and the rules must not bury that under their own errors.
template <class Keys, class Rules = rules<facts_of(Keys::spec())>>
consteval bool rules_hold(int) {
    return Rules::hold;
}
template <class Keys>
consteval bool rules_hold(...) {
    return true;
}

}  // namespace ktstr::detail

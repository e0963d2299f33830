// SPDX-License-Identifier: MIT
// Names only: what a header may say about its neighbours without including them.
#pragma once

namespace ktstr {

class context;
class cpu_set;
class hold;
struct cgroup_def;
struct check_record;
struct context_data;
struct scenario_result;
struct scheduler;
struct step;
struct test_case;
struct test_spec;
struct topology;

}  // namespace ktstr

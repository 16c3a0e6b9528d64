// SPDX-License-Identifier: Apache-2.0
// How many cores this process may use: the default number of workers.
//
// The smallest of CPU affinity and the CPU quotas of the process's cgroup and all cgroups above it (v2: cpu.max; v1: cpu.cfs_quota_us /
// cpu.cfs_period_us), quotas rounded up, at least 1. More workers than that only take each other's time: a quota of 2 on a machine with
// 64 cores throttles 64 workers for most of every period.
#pragma once
#include <string>

namespace skua::detail {

// Where it looks; tests pass a tree of their own.
struct cpu_sources {
  std::string root;         // put before /proc/self/cgroup, /proc/self/mountinfo and every mount point
  unsigned affinity = 0;    // cores in the affinity mask; 0: asks the kernel
};

// Never fails: what cannot be read does not limit.
unsigned usable_cpus(cpu_sources const& sources = {});

} // namespace skua::detail

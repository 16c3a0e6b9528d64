// SPDX-License-Identifier: Apache-2.0
// Formats: proc_pid_mountinfo(5), cgroups(7), and the kernel's admin-guide/cgroup-v2 ("cpu.max") and scheduler/sched-bwc ("cpu.cfs_*").
#include "scheduler/cpu_count.hpp"
#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sched.h>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace skua::detail {

namespace {

constexpr unsigned no_limit = std::numeric_limits<unsigned>::max();

unsigned cores_in_affinity_mask() {
  for (int cores = 1024; cores <= 1 << 20; cores *= 2) {   // the kernel refuses a mask that is smaller than its own
    cpu_set_t* const set = CPU_ALLOC(static_cast<std::size_t>(cores));
    if (set == nullptr) break;
    std::size_t const size = CPU_ALLOC_SIZE(static_cast<std::size_t>(cores));
    int const count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return static_cast<unsigned>(count);
  }
  return std::max(1u, std::thread::hardware_concurrency());
}

std::optional<std::string> first_line(std::string const& path) {
  std::ifstream in(path);
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  return line;
}

// Is `word` one of the comma-separated `list`?
bool contains(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    std::size_t const comma = list.find(',');
    if (list.substr(0, comma) == word) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  auto const octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) && octal(text[i + 3])) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// A cgroup hierarchy that has the CPU controller, and where this process is in it.
struct hierarchy {
  bool v2;
  std::string mount_point;
  std::string mount_root;   // the cgroup that the mount point shows
  std::string path;         // of this process's cgroup
};

// "hierarchy-id:controllers:path", v2: "0::path".
std::optional<std::string> cgroup_path(std::string const& root, bool v2) {
  std::ifstream in(root + "/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    std::size_t const first = line.find(':');
    std::size_t const second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string_view const controllers = std::string_view(line).substr(first + 1, second - first - 1);
    if (v2 ? line.starts_with("0::") : contains(controllers, "cpu")) return line.substr(second + 1);
  }
  return std::nullopt;
}

// "id parent major:minor root mount-point options [optional ..] - type source super-options"
std::vector<hierarchy> hierarchies(std::string const& root) {
  std::vector<hierarchy> found;
  std::ifstream in(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string skipped, mount_root, mount_point, word, type, source, super_options;
    words >> skipped >> skipped >> skipped >> mount_root >> mount_point;
    while (words >> word && word != "-") {
    }
    words >> type >> source >> super_options;
    bool const v2 = type == "cgroup2";
    if (!v2 && !(type == "cgroup" && contains(super_options, "cpu"))) continue;
    if (auto path = cgroup_path(root, v2))
      found.push_back({v2, root + unescape(mount_point), unescape(mount_root), std::move(*path)});
  }
  return found;
}

unsigned rounded_up(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return no_limit;   // v1: -1 is "none"
  return static_cast<unsigned>(std::min<long long>((quota - 1) / period + 1, no_limit));
}

unsigned quota_of(hierarchy const& h, std::string const& directory) {
  long long quota = 0, period = 0;
  if (h.v2) {
    auto const line = first_line(directory + "/cpu.max");   // "max 100000" or "150000 100000"
    if (!line || !(std::istringstream(*line) >> quota >> period)) return no_limit;
  } else {
    auto const q = first_line(directory + "/cpu.cfs_quota_us"), p = first_line(directory + "/cpu.cfs_period_us");
    if (!q || !p || !(std::istringstream(*q) >> quota) || !(std::istringstream(*p) >> period)) return no_limit;
  }
  return rounded_up(quota, period);
}

// The smallest quota of the process's cgroup and of those above it, as far as the mount shows them.
unsigned smallest_quota(hierarchy const& h) {
  std::string below = h.path;
  if (h.mount_root != "/" && below.starts_with(h.mount_root)) below.erase(0, h.mount_root.size());
  if (below.find("/..") != std::string::npos) below.clear();   // outside our cgroup namespace: nothing below the mount point is ours
  while (below.ends_with('/')) below.pop_back();
  if (!below.starts_with('/')) below.clear();
  unsigned least = quota_of(h, h.mount_point);
  for (; !below.empty(); below.erase(below.rfind('/'))) least = std::min(least, quota_of(h, h.mount_point + below));
  return least;
}

} // namespace

unsigned usable_cpus(cpu_sources const& sources) {
  unsigned least = sources.affinity != 0 ? sources.affinity : cores_in_affinity_mask();
  for (hierarchy const& h : hierarchies(sources.root)) least = std::min(least, smallest_quota(h));
  return std::max(least, 1u);
}

} // namespace skua::detail

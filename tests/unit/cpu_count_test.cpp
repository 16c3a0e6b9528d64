// SPDX-License-Identifier: Apache-2.0
// The default number of workers, on cgroup trees made for the test. The lines of mountinfo and cgroup are from real machines.
#include "scheduler/cpu_count.hpp"
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sched.h>
#include <string>

namespace {

namespace fs = std::filesystem;

class CpuCount : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "skua-cpu-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(std::string const& path, std::string const& text) {
    fs::path const at = root_ + path;
    fs::create_directories(at.parent_path());
    std::ofstream(at) << text << '\n';
  }
  void mount_v2(std::string const& mount_root = "/", std::string const& at = "/sys/fs/cgroup") {
    write("/proc/self/mountinfo", "22 1 0:21 / /proc rw,nosuid - proc proc rw\n"
                                  "31 22 0:27 " + mount_root + " " + at + " rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate");
  }
  void mount_v1(std::string const& mount_root = "/") {
    write("/proc/self/mountinfo", "30 1 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                                  "31 1 0:27 " + mount_root + " /sys/fs/cgroup/cpu,cpuacct rw master:11 - cgroup cgroup rw,cpu,cpuacct");
  }
  unsigned count(unsigned affinity = 64) const { return skua::detail::usable_cpus({root_, affinity}); }

  std::string root_;
};

TEST_F(CpuCount, is_the_affinity_where_there_is_no_cgroup) { EXPECT_EQ(count(6), 6u); }

TEST_F(CpuCount, is_the_affinity_where_the_cgroup_has_no_quota) {
  mount_v2();
  write("/proc/self/cgroup", "0::/user.slice");
  write("/sys/fs/cgroup/user.slice/cpu.max", "max 100000");
  EXPECT_EQ(count(6), 6u);
}

TEST_F(CpuCount, is_the_quota_of_cgroup_v2) {
  mount_v2();
  write("/proc/self/cgroup", "0::/app");
  write("/sys/fs/cgroup/app/cpu.max", "300000 100000");
  EXPECT_EQ(count(), 3u);
}

TEST_F(CpuCount, rounds_the_quota_up) {
  mount_v2();
  write("/proc/self/cgroup", "0::/app");
  write("/sys/fs/cgroup/app/cpu.max", "250001 100000");
  EXPECT_EQ(count(), 3u);
  write("/sys/fs/cgroup/app/cpu.max", "200000 100000");
  EXPECT_EQ(count(), 2u);
}

TEST_F(CpuCount, is_at_least_one) {
  mount_v2();
  write("/proc/self/cgroup", "0::/app");
  write("/sys/fs/cgroup/app/cpu.max", "1000 100000");
  EXPECT_EQ(count(), 1u);
}

TEST_F(CpuCount, is_never_more_than_the_affinity) {
  mount_v2();
  write("/proc/self/cgroup", "0::/app");
  write("/sys/fs/cgroup/app/cpu.max", "800000 100000");
  EXPECT_EQ(count(2), 2u);
}

TEST_F(CpuCount, obeys_the_quotas_of_all_cgroups_above) {
  mount_v2();
  write("/proc/self/cgroup", "0::/pods/pod7/app");
  write("/sys/fs/cgroup/pods/pod7/app/cpu.max", "800000 100000");
  write("/sys/fs/cgroup/pods/pod7/cpu.max", "max 100000");
  write("/sys/fs/cgroup/pods/cpu.max", "400000 100000");
  EXPECT_EQ(count(), 4u);
}

TEST_F(CpuCount, finds_the_quota_at_the_mount_point_inside_a_container) {
  mount_v2();
  write("/proc/self/cgroup", "0::/");
  write("/sys/fs/cgroup/cpu.max", "150000 100000");
  EXPECT_EQ(count(), 2u);
}

TEST_F(CpuCount, strips_the_part_of_the_path_that_the_mount_does_not_show) {
  mount_v2("/docker/4f2a");
  write("/proc/self/cgroup", "0::/docker/4f2a/worker");
  write("/sys/fs/cgroup/worker/cpu.max", "500000 100000");
  EXPECT_EQ(count(), 5u);
}

TEST_F(CpuCount, looks_at_the_mount_point_only_when_the_process_is_outside_its_namespace) {
  mount_v2();
  write("/proc/self/cgroup", "0::/../../other");
  write("/sys/fs/cgroup/cpu.max", "700000 100000");
  EXPECT_EQ(count(), 7u);
}

TEST_F(CpuCount, reads_mount_points_with_spaces) {
  mount_v2("/", "/sys/my\\040cgroup");
  write("/proc/self/cgroup", "0::/app");
  write("/sys/my cgroup/app/cpu.max", "300000 100000");
  EXPECT_EQ(count(), 3u);
}

TEST_F(CpuCount, is_the_quota_of_cgroup_v1) {
  mount_v1();
  write("/proc/self/cgroup", "5:memory:/elsewhere\n4:cpu,cpuacct:/app");
  write("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "150000");
  write("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "50000");
  EXPECT_EQ(count(), 3u);
}

TEST_F(CpuCount, takes_minus_one_of_cgroup_v1_for_no_quota) {
  mount_v1();
  write("/proc/self/cgroup", "4:cpu,cpuacct:/app");
  write("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "-1");
  write("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000");
  EXPECT_EQ(count(5), 5u);
}

TEST_F(CpuCount, obeys_the_quotas_above_in_cgroup_v1) {
  mount_v1();
  write("/proc/self/cgroup", "4:cpu,cpuacct:/docker/4f2a");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "200000");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000");
  EXPECT_EQ(count(), 2u);
}

TEST_F(CpuCount, ignores_what_it_cannot_parse) {
  mount_v2();
  write("/proc/self/cgroup", "nonsense\n0::/app");
  write("/sys/fs/cgroup/app/cpu.max", "many");
  EXPECT_EQ(count(3), 3u);
  write("/sys/fs/cgroup/app/cpu.max", "100000 0");
  EXPECT_EQ(count(3), 3u);
  write("/proc/self/mountinfo", "31 22 0:27");
  EXPECT_EQ(count(3), 3u);
}

TEST(CpuCountOfThisProcess, follows_the_affinity_mask) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_GE(skua::detail::usable_cpus(), 1u);
  EXPECT_LE(skua::detail::usable_cpus(), static_cast<unsigned>(CPU_COUNT(&before)));
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(skua::detail::usable_cpus(), 1u);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

} // namespace

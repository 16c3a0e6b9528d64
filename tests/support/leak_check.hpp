// SPDX-License-Identifier: Apache-2.0
// A test fixture: after every test no task, coroutine frame, descriptor or thread is left, and no stop request is counted as under way.
//
// What the test makes (runtimes, handles) is a local of its body or a member of the fixture that is derived. With SKUA_ACCOUNTING frames and tasks
// are counted apart from the
// pool's own books. Threads that end on their own (blocking threads, a sanitizer's) get a moment.
//
//     class Sleep : public skua_test::leak_check {};
//     TEST_F(Sleep, wakes_up) { .. }
#pragma once
#include "skua/detail/frame_pool.hpp"
#include "skua/detail/worker.hpp"
#include "tests/support/entries.hpp"
#include <chrono>
#include <cstdint>
#include <gtest/gtest.h>
#include <ostream>
#include <string>
#include <thread>
#include <unistd.h>

namespace skua_test {

struct resources {
  std::int64_t tasks = 0, frames = 0, stops_under_way = 0;
  int descriptors = 0, threads = 0;
  bool operator==(resources const&) const = default;

  static resources now() {
    [[maybe_unused]] static bool const thread_made = (make_a_thread(), true);   // ThreadSanitizer's own one comes with the first
    return {skua::detail::live_task_blocks(), skua::detail::live_frames(), skua::detail::attention_count.count.load(),
            entries("/proc/self/fd"), entries("/proc/self/task")};
  }
  // And waits until the kernel has forgotten it, which is later than the end of join().
  static void make_a_thread() {
    std::string entry;
    std::thread([&] { entry = "/proc/self/task/" + std::to_string(gettid()); }).join();
    while (access(entry.c_str(), F_OK) == 0) std::this_thread::yield();
  }
  friend std::ostream& operator<<(std::ostream& out, resources const& r) {
    return out << r.tasks << " tasks, " << r.frames << " frames, " << r.stops_under_way << " stops under way, " << r.descriptors
               << " descriptors, " << r.threads << " threads";
  }
};

// What was there before is left: a failure of the running test otherwise.
inline void expect_no_leaks(resources const& before) {
  auto const limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  resources after = resources::now();
  while (after != before && std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    after = resources::now();
  }
  EXPECT_EQ(after, before);
}

// From before the fixture's own members are made to after they are gone: a runtime may be one of them.
class leak_check : public testing::Test {
protected:
  leak_check() : before_(resources::now()) {}
  ~leak_check() override { expect_no_leaks(before_); }

private:
  resources before_;
};

} // namespace skua_test

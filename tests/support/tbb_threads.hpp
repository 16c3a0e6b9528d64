// SPDX-License-Identifier: Apache-2.0
// A fixture for tests that use oneTBB: its threads end with the test, so that the test's own can be counted.
//
// oneTBB lets its threads go when nobody refers to it any more, but beside other load one of them often stayed. tbb::finalize() joins them all.
#pragma once
#include "skua/detail/config.hpp"
#include <gtest/gtest.h>
#include <new>
#include <tbb/global_control.h>

namespace skua_test {

class tbb_threads : public testing::Test {
protected:
  void SetUp() override {
    if (SKUA_TSAN) GTEST_SKIP() << "Debian's oneTBB is not instrumented: ThreadSanitizer does not see what it orders";
  }
  // Runtimes and arenas are locals of the test's body, so they have gone.
  void TearDown() override { EXPECT_TRUE(tbb::finalize(scheduler_, std::nothrow)); }

private:
  tbb::task_scheduler_handle scheduler_{tbb::attach{}};
};

} // namespace skua_test

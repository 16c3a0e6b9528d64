// SPDX-License-Identifier: Apache-2.0
// GoogleTest's main, and after every test: no task, coroutine frame, descriptor or thread is left (leak_check.hpp).
#include "tests/support/leak_check.hpp"
#include <gtest/gtest.h>

namespace {

class leak_listener : public testing::EmptyTestEventListener {
  void OnTestStart(testing::TestInfo const&) override { before_ = skua_test::resources::now(); }
  void OnTestEnd(testing::TestInfo const&) override { skua_test::expect_no_leaks(before_); }   // of the test that has ended
  skua_test::resources before_;
};

} // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new leak_listener);   // which owns it
  return RUN_ALL_TESTS();
}

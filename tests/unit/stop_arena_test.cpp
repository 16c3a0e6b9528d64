// SPDX-License-Identifier: Apache-2.0
// Stop everywhere (tests/support/stop_everywhere.hpp): in_arena. What has begun is waited for, and its value delivered (S4, S7).
#include "skua/arena.hpp"
#include "tests/support/stop_everywhere.hpp"
#include "tests/support/tbb_threads.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

namespace {

using namespace skua_test;
using skua::task;

struct in_an_arena : scene {
  tbb::task_arena arena{2};
  number begun{0}, ended{0}, got{0};
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      got += co_await skua::in_arena(arena, [this] {
        ++begun;
        tbb::parallel_for(0, 4, [this](int n) {
          if (n == 2) point();
        });
        ++ended;
        return 1;
      });
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 4; ++i) {
      co_await turns();
      point();
    }
  }
  void check() {
    EXPECT_EQ(begun, ended);
    EXPECT_EQ(got, ended);
    if (body_ended) { EXPECT_EQ(got, 3); }
  }
};

class StopInArena : public tbb_threads {};

TEST_F(StopInArena, loses_nothing_wherever_it_is_stopped__S4_S7) {
  for (unsigned const workers : {1u, 2u}) EXPECT_GT(stop_everywhere<in_an_arena>(skua::options{.workers = workers}), 1);
}

} // namespace

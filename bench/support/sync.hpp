// SPDX-License-Identifier: Apache-2.0
// The mutex workloads of the peers' programs.
#pragma once
#include "tasks.hpp"
#include <cstddef>
#include <functional>
#include <skua/mutex.hpp>
#include <skua/spawn.hpp>
#include <skua/this_task.hpp>

namespace bench {

struct guarded_count {
  skua::mutex lock;
  std::size_t count = 0;
};

// Locks, counts and unlocks `times` times; holds the mutex over a yield.
inline skua::task<> count_under_mutex(guarded_count& to, std::size_t times, bool hold) {
  for (std::size_t i = 0; i < times; ++i) {
    auto const lock = co_await to.lock.lock();
    ++to.count;
    if (hold) co_await skua::this_task::yield();
  }
}

// `tasks` tasks, `times` times each.
inline skua::task<> contend_for_mutex(std::size_t tasks, std::size_t times, bool hold) {
  guarded_count shared;
  co_await group(tasks, count_under_mutex, std::ref(shared), times, hold);
  require(shared.count == tasks * times);
}

} // namespace bench

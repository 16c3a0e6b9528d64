// SPDX-License-Identifier: Apache-2.0
// What the scheduler runs, below coroutines: an item whose "frame" is a function.
#pragma once
#include "skua/detail/join.hpp"
#include "skua/detail/timer.hpp"
#include <cstdint>
#include <functional>
#include <gtest/gtest.h>
#include <utility>

namespace skua_test {

struct job;

// What looks like a suspended coroutine: the two function pointers, then the promise.
struct fake_frame {
  void (*resume)(fake_frame*);
  void (*destroy)(fake_frame*);
  skua::detail::promise_base promise;
  job* owner;
};

// An operation that is complete: an item that calls a function when it is run.
struct job : skua::detail::timer_operation {
  explicit job(std::function<void()> f) : timer_operation(job_kind), self{run, nullptr, {}, this}, call(std::move(f)) {
    skua::detail::operation::frame = &self;
    skua::detail::operation::home = &word;
    word.branch = &self.promise;
  }
  skua::detail::item as_item() { return item_of(*this, skua::detail::kind::woken); }
  // As an operation that its coroutine has armed, and waits for.
  void arm_at(std::uint64_t ns) {
    ASSERT_EQ(skua::detail::core::arm(*this), skua::detail::core::armed::suspended);
    arm_timer(*this, ns);
  }

  static constexpr skua::detail::operation_kind job_kind{"job", nullptr};
  static void run(fake_frame* f) { f->owner->call(); }
  skua::detail::branch_word word;
  fake_frame self;
  std::function<void()> call;
};

} // namespace skua_test

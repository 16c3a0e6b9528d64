// SPDX-License-Identifier: Apache-2.0
// A driver without a kernel, in which time is virtual: it stands still while anything runs, and jumps to the next deadline when nothing can. So a
// test that sleeps for a day takes a millisecond, and with one worker it takes the same course each time.
//
// Time goes on when the host is at rest: every worker sleeps, nothing is queued, no outside work (blocking calls) is under way. Only the holder of the
// poller role moves it, inside wait(). There is no I/O thread, and so no backstop: with every worker busy in a computation timers do not fire, and
// are not due either.
//
//     mutex_   protects everything else, but for now_ns_, which is read without it
// INV-VIRTUAL-1  now_ns_ never goes back, and moves only to the alarm, while the host is at rest.
//
// A nap waits in real time: it is a pause of the sentinel, not a deadline of the program. So does the wait at rest without an alarm, for threads outside: when
// `stuck_after` has passed the host hears of it.
#pragma once
#include "scheduler/driver.hpp"
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace skua::detail {

class virtual_driver final : public driver {
public:
  // `stuck_after`: of real time, until the host hears that it is stuck; 0: never.
  explicit virtual_driver(std::uint64_t start_ns = 0, std::chrono::nanoseconds stuck_after = {}) noexcept : stuck_after_(stuck_after), now_ns_(start_ns) {}

  char const* name() const noexcept override { return "virtual"; }
  std::uint64_t now_ns() noexcept override { return now_ns_.load(std::memory_order_acquire); }
  void start(driver_host& host) override { host_ = &host; }
  void stop() noexcept override {}
  void wait(std::uint64_t timeout_ns, ready_list& out) noexcept override;
  void before_wait() noexcept override {}
  void role_released() noexcept override {}
  void kick() noexcept override;
  void set_alarm(std::uint64_t deadline_ns) noexcept override;
  void note_rest() noexcept override;
  bool real_time() const noexcept override { return false; }

private:
  bool advance_locked() noexcept;

  std::chrono::nanoseconds const stuck_after_;
  driver_host* host_ = nullptr;
  std::atomic<std::uint64_t> now_ns_;   // release with the lock; acquire by anybody: what was done before that time
  std::mutex mutex_;
  std::condition_variable changed_;     // one waits: the holder of the role
  std::uint64_t alarm_ns_ = forever_ns;
  bool kicked_ = false;
  bool look_again_ = false;             // note_rest(): since the last look at the host
};

} // namespace skua::detail

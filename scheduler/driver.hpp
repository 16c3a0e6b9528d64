// SPDX-License-Identifier: Apache-2.0
// The seam between the scheduler and the world: clock, waiting in the kernel, waking, alarms. Every source of nondeterminism stands behind
// it. Implementations: io/epoll_driver (the real one, with the I/O thread), scheduler/virtual_driver (time jumps; for tests). A simulator
// is another one.
//
// The scheduler parks and wakes through this; it knows nothing of descriptors. The driver produces runnable items; it knows nothing of
// coroutines.
#pragma once
#include "skua/detail/worker.hpp"
#include <cstdint>

namespace skua::detail {

inline constexpr std::uint64_t forever_ns = ~std::uint64_t{0};

// Runnable items that one wait produced, in order. Fixed capacity: a wait is bounded.
class ready_list {
public:
  static constexpr std::size_t capacity = 256, for_timers = 64;   // the part that event sources leave to the timers that are due (D11)
  void add(item x) noexcept { items_[count_++] = x; }
  bool full() const noexcept { return count_ == capacity; }
  bool has_room_for_sources() const noexcept { return room() > for_timers; }
  std::size_t room() const noexcept { return capacity - count_; }
  std::size_t size() const noexcept { return count_; }
  item const* begin() const noexcept { return items_; }
  item const* end() const noexcept { return items_ + count_; }
  void clear() noexcept { count_ = 0; }

private:
  std::size_t count_ = 0;
  item items_[capacity];
};

// What the driver may ask of its scheduler. Any thread, unless it says otherwise.
class driver_host {
public:
  virtual bool role_held() const noexcept = 0;              // does a worker hold the poller role?
  virtual std::uint64_t poll_sequence() const noexcept = 0; // grows whenever a worker has polled
  virtual bool others_asleep() const noexcept = 0;          // by the role's holder: does every other worker sleep, with nothing queued?
  virtual std::uint64_t outside_work() const noexcept = 0;  // blocking calls and the like that are under way: virtual time must not jump
  // By the polling holder: is nothing going to happen by itself? At one moment every worker sleeps, nothing is queued, and no outside work is
  // under way. Only then may virtual time go on.
  virtual bool at_rest() const noexcept = 0;
  // Makes items runnable and wakes a worker if nobody watches; `prefer_poller`: rather the role's holder.
  virtual void submit(item const* items, std::size_t count, bool prefer_poller) noexcept = 0;
  // Fires due timers of all workers into `out`, as many as there is room for; calls set_alarm() for those that remain. Returns that deadline:
  // forever_ns if there is none, 0 if more are due. For whoever waits for it to pass; the alarm itself is left to the scheduler.
  virtual std::uint64_t expire_timers(std::uint64_t now_ns, ready_list& out) noexcept = 0;

  // By the polling holder, where time is virtual: nothing has happened for long, and there is no alarm. If it is at rest and somebody waits for it,
  // the program is stuck, and ended.
  virtual void stuck() noexcept {}

  // By the I/O thread, from time to time while no worker polls: looks after workers that do not come back to their loop (S21). Returns after how
  // many ns it wants to be called again; forever_ns: not before a worker has polled. (The scheduler's monitor is one of its timers, so it returns
  // forever_ns: monitor.cpp.)
  virtual std::uint64_t monitor_tick(std::uint64_t now_ns) noexcept = 0;

protected:
  ~driver_host() = default;
};

struct driver_statistics {
  std::uint64_t harvested = 0;   // events that the I/O thread took
  std::uint64_t strayed = 0;     // of those, while a worker held the role and waited: against the order that epoll is hoped to keep
  std::uint64_t wakes = 0;       // times that the I/O thread was woken, by epoll or out of the deep
};

class driver {
public:
  virtual ~driver() = default;
  virtual char const* name() const noexcept = 0;
  // Monotonic. Any thread.
  virtual std::uint64_t now_ns() noexcept = 0;

  virtual void start(driver_host& host) = 0;   // starts the I/O thread; may throw system_error
  virtual void stop() noexcept = 0;            // joins it; no worker waits any more

  // The holder of the poller role: waits for events, timers or a kick, at most `timeout_ns` (0: looks only; forever_ns). Consumes the
  // kick if it was reported: only the holder may, and only before it gives the role up.
  virtual void wait(std::uint64_t timeout_ns, ready_list& out) noexcept = 0;
  // The role's holder is about to wait: order among the kernel's waiters (cost, not correctness).
  virtual void before_wait() noexcept = 0;
  // The role has been given up, on whatever path, and no handler has run yet: from here nobody waits in the kernel unless the I/O
  // thread does.
  virtual void role_released() noexcept = 0;
  // Makes the holder's wait() return, now or the next time. Any thread. What was done before each kick that a wait() consumes happens before it
  // returns: the holder reads its signal then (tests/model/idle_model.cpp).
  virtual void kick() noexcept = 0;
  // Replaces the alarm: whoever waits calls expire_timers() when this time has come, at once if it has passed; forever_ns: never. Any thread, but
  // one call at a time (timers.cpp has a lock); calls nothing of the host. A driver never changes its alarm otherwise: it would overtake an arm().
  virtual void set_alarm(std::uint64_t deadline_ns) noexcept = 0;

  // So late may the alarm be while a worker is busy with timers that have fired (timers.cpp).
  virtual std::uint64_t alarm_lag_ns() const noexcept { return 0; }

  // at_rest() may have become true: the last worker beside the holder has gone to sleep, or outside work has ended. Any thread.
  virtual void note_rest() noexcept {}

  // Any thread.
  virtual driver_statistics statistics() const noexcept { return {}; }

  // Does time pass by itself? Otherwise (virtual time) nothing that is not the program's may set an alarm.
  virtual bool real_time() const noexcept { return true; }
};

} // namespace skua::detail

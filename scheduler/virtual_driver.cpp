// SPDX-License-Identifier: Apache-2.0
#include "scheduler/virtual_driver.hpp"
#include <chrono>

namespace skua::detail {

// Is an alarm due, if need be after a jump?
bool virtual_driver::advance_locked() noexcept {
  std::uint64_t const now = now_ns_.load(std::memory_order_relaxed);
  if (alarm_ns_ <= now) return true;
  if (alarm_ns_ == forever_ns || !host_->at_rest()) return false;
  now_ns_.store(alarm_ns_, std::memory_order_release);   // INV-VIRTUAL-1
  return true;
}

void virtual_driver::wait(std::uint64_t timeout_ns, ready_list& out) noexcept {
  bool const at_rest = timeout_ns == forever_ns;
  std::unique_lock lock(mutex_);
  for (;;) {
    if (kicked_) {
      kicked_ = false;
      return;
    }
    look_again_ = false;   // before the look: whoever says it afterwards makes us look again
    if (at_rest ? advance_locked() : alarm_ns_ <= now_ns_.load(std::memory_order_relaxed)) {
      std::uint64_t const now = now_ns_.load(std::memory_order_relaxed);
      lock.unlock();
      host_->expire_timers(now, out);   // sets the alarm
      if (out.size() != 0) return;
      lock.lock();
      continue;   // only timeouts were due: what they stopped has been injected, and we are kicked for it
    }
    if (timeout_ns == 0) return;
    auto const changed = [this] { return kicked_ || look_again_; };
    if (at_rest && (stuck_after_.count() == 0 || alarm_ns_ != forever_ns)) {
      changed_.wait(lock, changed);
    } else if (at_rest) {
      if (changed_.wait_for(lock, stuck_after_, changed)) continue;
      lock.unlock();
      host_->stuck();   // may make tasks runnable: we are kicked for that
      lock.lock();
    } else if (!changed_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), changed)) {
      timeout_ns = 0;   // once more, then back
    }
  }
}

void virtual_driver::kick() noexcept {
  {
    std::lock_guard const guard(mutex_);
    kicked_ = true;
  }
  changed_.notify_one();
}

void virtual_driver::set_alarm(std::uint64_t deadline_ns) noexcept {
  {
    std::lock_guard const guard(mutex_);
    alarm_ns_ = deadline_ns;
    look_again_ = true;
  }
  changed_.notify_one();
}

void virtual_driver::note_rest() noexcept {
  {
    std::lock_guard const guard(mutex_);
    look_again_ = true;
  }
  changed_.notify_one();
}

} // namespace skua::detail

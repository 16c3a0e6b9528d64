// SPDX-License-Identifier: Apache-2.0
// Timers: one queue per worker, one alarm for all. timer_queue.hpp has the protocol of a queue.
//
//     arm      on this worker's queue. When its earliest deadline got earlier: so does the alarm, if need be
//     expire   due timers of all queues, from anywhere: the worker loop, the holder of the poller role, the I/O thread. The queues take turns in being
//              first, and each call is bounded by the room in the list
//
//     alarm_ns_   the time that the driver has been told last; written with alarm_lock_, and with it the driver is told: so what the driver has been
//                 told last is what stands here.
//     due_ns_     the earliest deadline; written with the lock. Read by anybody: a hint whether timers are due.
// INV-ALARM-1  When nobody is between arm() and alarm_not_later_than(), due_ns_ <= the earliest deadline of all queues. An arm() that lowered its queue's
//              deadline takes the lock after that; expire_timers() reads the queues with the lock: it sees the deadline, or the arm() sees its alarm.
// INV-ALARM-2  alarm_ns_ is no later than due_ns_, or by alarm_lag_ns() of the driver at most. Then a worker that has fired a crowd is running it, and
//              looks again when it has, or makes the alarm punctual before it waits (settle_alarm). If it does not come back, whoever waits is told
//              so much later. (In a crowd the next timer is due at once, again and again, and each alarm takes 15 us of CPU in a virtual machine. 10^6
//              tasks that sleep at once, with this and with more_cascades: 790 alarms, not 6400; CPU time 0.26 s, not 0.36, on one worker, 0.33 and
//              0.41 on two.)
#include "scheduler/timer_queue.hpp"
#include "scheduler/scheduler.hpp"
#include <algorithm>
#include <mutex>

namespace skua::detail {

void scheduler::arm(timer_entry& e, std::uint64_t deadline_ns, timer_kind k) noexcept {
  worker_counters::add(tl.counters.timers_armed);
  if (self().timers.arm(e, deadline_ns, static_cast<unsigned>(k))) [[unlikely]] alarm_not_later_than(deadline_ns);
}

void scheduler::alarm_not_later_than(std::uint64_t deadline_ns) noexcept {
  std::lock_guard const guard(alarm_lock_);
  if (deadline_ns < due_ns_.load(std::memory_order_relaxed)) due_ns_.store(deadline_ns, std::memory_order_relaxed);
  if (deadline_ns < alarm_ns_.load(std::memory_order_relaxed)) set_alarm_locked(deadline_ns);
}

void scheduler::set_alarm_locked(std::uint64_t time_ns) noexcept {
  alarm_ns_.store(time_ns, std::memory_order_relaxed);
  driver_->set_alarm(time_ns);
}

// This worker has nothing to run.
void scheduler::settle_alarm() noexcept {
  if (alarm_ns_.load(std::memory_order_relaxed) <= due_ns_.load(std::memory_order_relaxed)) return;
  std::lock_guard const guard(alarm_lock_);
  std::uint64_t const due = due_ns_.load(std::memory_order_relaxed);
  if (due < alarm_ns_.load(std::memory_order_relaxed)) set_alarm_locked(due);
}

// Of the timers and the monitor.
std::uint64_t scheduler::next_timer() const noexcept {
  std::uint64_t next = monitor_due_ns_.load(std::memory_order_relaxed);
  for (auto const& w : workers_) next = std::min(next, w->timers.next_deadline());
  return next;
}

void scheduler::fire(timer_entry& e, ready_list& out, stop_sink& sink) noexcept {
  if (static_cast<timer_kind>(e.kind()) == timer_kind::timeout) return timeout_fired(e, sink);
  auto& op = static_cast<timer_operation&>(e);
  if (complete(op)) out.add(item_of(op, kind::woken));
}

item scheduler::expire_due(worker& w) noexcept {
  if (due_ns_.load(std::memory_order_relaxed) == forever_ns) return 0;
  std::uint64_t const now = now_ns();
  if (due_ns_.load(std::memory_order_relaxed) > now) return 0;
  expire_timers(now, w.ready);
  if (w.ready.size() == 0) return 0;
  std::size_t const n = w.ready.size();
  item const x = adopt(w.ready.begin(), n);
  w.ready.clear();
  if (n > 1) notify_after_push();
  return x;
}

std::uint64_t scheduler::expire_timers(std::uint64_t now_ns, ready_list& out) noexcept {
  monitor(now_ns);
  std::uint64_t fired = 0;
  std::size_t const others = out.size();
  {
    stop_sink sink(*this);   // injects what timeouts have stopped, at the latest at the end of this block
    auto const n = static_cast<unsigned>(workers_.size());
    unsigned at = expire_from_.fetch_add(1, std::memory_order_relaxed) % n;
    for (unsigned i = 0; !out.full(); ++i, at = at + 1 == n ? 0 : at + 1) {
      if (i >= n && (fired != 0 || i == n + tuning::more_cascades || next_timer() > now_ns)) break;   // otherwise a cascade goes on
      workers_[at]->timers.expire(now_ns, out.room(), [&](timer_entry& e) {
        ++fired;
        fire(e, out, sink);
      });
    }
  }
  if (tl.owner == this)
    worker_counters::add(tl.counters.timers_fired, fired);
  else
    outside_fired_.fetch_add(fired, std::memory_order_relaxed);

  std::lock_guard const guard(alarm_lock_);
  std::uint64_t const next = next_timer(), stands = alarm_ns_.load(std::memory_order_relaxed);   // INV-ALARM-1: with the lock
  due_ns_.store(next, std::memory_order_relaxed);
  bool const busy = tl.owner == this && out.size() - others >= tuning::timer_crowd;
  std::uint64_t const latest = busy ? std::max(next, now_ns + driver_->alarm_lag_ns()) : next;   // INV-ALARM-2
  bool const in_time = stands > now_ns && (latest == next ? stands == next : stands <= latest);
  if (!in_time) set_alarm_locked(latest);
  return next;
}

// ------------------------------------------------------------------------------------------------ the door from the headers

namespace {
constinit thread_local scheduler* clock_lender = nullptr;   // of a blocking thread
}

scheduler* scheduler::lender() noexcept { return clock_lender; }
void scheduler::lend_clock() noexcept { clock_lender = this; }

std::uint64_t clock_now_ns() noexcept {
  if (tl.owner != nullptr) return tl.owner->now_ns();
  return clock_lender != nullptr ? clock_lender->now_ns() : monotonic_ns();
}

std::uint64_t deadline_base_ns() noexcept { return tl.owner != nullptr ? tl.owner->deadline_base_ns() : clock_now_ns(); }

void arm_timer(timer_operation& op, std::uint64_t deadline_ns) noexcept { tl.owner->arm(op, deadline_ns, timer_kind::operation); }
void arm_timeout(timer_entry& timer, std::uint64_t deadline_ns) noexcept { tl.owner->arm(timer, deadline_ns, timer_kind::timeout); }
bool disarm_timer(timer_entry& timer) noexcept { return timer_queue::disarm(timer); }

} // namespace skua::detail

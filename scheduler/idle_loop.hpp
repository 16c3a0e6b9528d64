// SPDX-License-Identifier: Apache-2.0
// What a worker without work does, step by step: search, nap as the sentinel, wait at rest, sleep. idle.hpp has the words and the invariants; this
// file is their order, a template so that the model checks it as well.
//
//     search                               as long as its credit lasts
//     the poller role is free, or ours     another worker is active: nap in the driver, look, nap ..
//                                          nobody is: wait in the driver until an event, a timer or a waker comes
//     somebody else holds it               sleep on the futex
//
// A worker that waited at rest and got events goes on as a running one at once: nobody relied on it as a watcher, so it has nothing to look at. A
// worker that was watching leaves by stop_watching(), always.
//
// `Env` is, beside what idle_core asks for (anything_queued, anything_injected, wake, wait_on, kick, role_released):
//     item search(look_for, bool& active)  looks for work; `active`: some other worker did something, or has work
//     bool stopping()                      the scheduler ends: watch() returns 0
//     bool another_nap(bool active)        or is it time to wait at rest?
//     void wait_for_nap(), wait_at_rest()  the driver's wait; both add to a list
//     size_t ready()                       items in that list
//     item adopt_ready()                   queues all but the first, which it returns, on this worker
//     void after_adopting()                as any pusher: wakes one if nobody watches
//     void everybody_busy()                nobody sleeps or watches any more, as far as it was to be seen
//     void about_to_sleep()                it has lain down, without the role
#pragma once
#include "scheduler/idle.hpp"
#include "skua/detail/item.hpp"

namespace skua::detail {

// How long a search may last.
enum class look_for {
  credit,    // what stolen work has earned
  observe,   // it has been woken
  nap        // between two naps
};

template <class Sync, class Env>
class idle_loop {
  using core = idle_core<Sync>;

public:
  idle_loop(core& idle, unsigned self, Env& env) noexcept : idle_(idle), self_(self), env_(env) {}

  // Returns an item to run. 0: the scheduler stops.
  item watch() noexcept {
    idle_.start_watching();
    for (;;) {
      bool active = false;
      item x = env_.search(look_, active);
      if (x != 0 || env_.stopping()) {
        if (holds_role_) idle_.give_up_role(env_);
        stop_watching();
        return x;
      }
      if (!holds_role_) holds_role_ = idle_.take_role(self_);
      if (!holds_role_)
        sleep();
      else if (!idle_.alone() && env_.another_nap(active))
        x = nap();
      else
        x = rest();
      if (x != 0) return x;
    }
  }

private:
  void sleep() noexcept {
    look_ = look_for::observe;
    if (!idle_.lie_down(self_, core::asleep, env_, left_alone_)) {
      left_alone_ = true;   // the second time, somebody is woken who can nap
      return;
    }
    env_.about_to_sleep();
    idle_.sleep(self_, env_);
    left_alone_ = false;
  }

  item nap() noexcept {
    look_ = look_for::nap;
    if (!idle_.begin_nap(self_, env_)) return 0;
    env_.wait_for_nap();
    idle_.end_nap(self_);
    if (env_.ready() == 0) return 0;
    idle_.give_up_role(env_);
    item const x = env_.adopt_ready();
    stop_watching();   // sees what was queued just now, if somebody sleeps
    return x;
  }

  item rest() noexcept {
    look_ = look_for::observe;
    if (!idle_.lie_down(self_, core::polling, env_)) return 0;   // keeps the role, and watches
    do env_.wait_at_rest();
    while (env_.ready() == 0 && idle_.still_polling(self_));
    if (env_.ready() == 0) {
      idle_.rise(self_, core::polling, core::one_watching);   // it has been claimed
      return 0;
    }
    bool const by_itself = idle_.rise(self_, core::polling, 0), several = env_.ready() > 1;
    idle_.give_up_role(env_);
    item const x = env_.adopt_ready();
    if (by_itself) {
      if (several) env_.after_adopting();
      env_.everybody_busy();
    } else {
      stop_watching();   // whoever claimed it relies on it
    }
    return x;
  }

  void stop_watching() noexcept {
    if (idle_.stop_watching(env_)) env_.everybody_busy();
  }

  core& idle_;
  unsigned const self_;
  Env& env_;
  look_for look_ = look_for::credit;
  bool holds_role_ = false;
  bool left_alone_ = false;   // the look before saw work that it left to its owner
};

} // namespace skua::detail

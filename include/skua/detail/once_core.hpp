// SPDX-License-Identifier: Apache-2.0
// Somebody does something once, the others wait until it is done. once.hpp and lazy.hpp explain; tests/model/once_model.cpp checks this code.
//
// once_core.word
//     bit 0  running   somebody is at it
//     bit 1  done      it has been done; never cleared
//     bit 2  busy      somebody changes the word or the list: its spin lock
//
//     from          to            who                       effect
//     0             running       enter                     the caller is the runner
//     running       running       enter                     queued
//     running       done          finish, the runner        all who wait go on
//     running       running       fail, the runner          the first who waits is the runner now
//     running       0             fail, the runner          nobody waits: the next to enter is the runner
//
// INV-ONCE-1  There is one runner at a time, until it is done: 0 -> running under busy, and it is handed over under busy.
// INV-ONCE-2  finish() touches the primitive last with the store of `done`. So whoever sees `done`, without taking the lock, may destroy it (INV-WAIT-5);
//             and what the runner has made is visible to it: release, acquire.
#pragma once
#include "wait_queue.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

template <class Sync, class Operation>
class once_core {
public:
  using waiter = basic_waiter<Sync, Operation>;
  using ring = basic_waiter_ring<Sync, Operation>;
  enum class entered : unsigned char { done, runner, queued };

  bool is_done() const noexcept { return word_.load(acquire) & done; }   // acquire: pairs with finish()
  bool is_running() const noexcept { return word_.load(std::memory_order_relaxed) & running; }

  // queued: arm it; it is completed when the thing is done, or to be the runner.
  [[nodiscard]] entered enter(waiter& o) noexcept {
    word const w = take_busy();
    if (w & done) return leave(done), entered::done;
    if (w & running) list_.push_back(o);
    leave(running);
    return w & running ? entered::queued : entered::runner;
  }
  // The runner. Those to be completed, as done.
  [[nodiscard]] ring finish() noexcept {
    (void)take_busy();
    ring all = list_.take_all();
    leave(done);
    return all;
  }
  // The runner has failed, or was stopped. The next runner, to be completed; null: nobody waits.
  [[nodiscard]] waiter* fail() noexcept {
    (void)take_busy();
    waiter* const next = list_.take();
    leave(next != nullptr ? running : 0);
    return next;
  }
  // A worker, for a stop.
  [[nodiscard]] bool withdraw(waiter& o) noexcept {
    word const w = take_busy();
    bool const mine = list_.withdraw(o);
    leave(w);
    return mine;
  }

private:
  using word = std::uint32_t;
  static constexpr word running = 1, done = 2, busy = 4;
  static constexpr auto acquire = std::memory_order_acquire;

  word take_busy() noexcept {
    typename Sync::backoff wait;
    for (;;) {
      word const w = word_.fetch_or(busy, acquire);   // acquire: pairs with leave()
      if ((w & busy) == 0) return w;
      do wait.pause();
      while (word_.load(std::memory_order_relaxed) & busy);
    }
  }
  void leave(word w) noexcept { word_.store(w, std::memory_order_release); }   // release: the list; with `done`, what the runner has made

  typename Sync::template atomic<word> word_{0};
  basic_wait_list<Sync, Operation> list_;
};

} // namespace skua::detail

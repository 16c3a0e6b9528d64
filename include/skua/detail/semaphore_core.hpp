// SPDX-License-Identifier: Apache-2.0
// The permits of a counting_semaphore and those who wait for some. semaphore.hpp explains; tests/model/semaphore_model.cpp checks this code.
//
// INV-SEM-1  Permits are in one place: here, or with whoever took them. They are taken under the lock, for a waiter by whoever takes it out of the list.
// INV-SEM-2  Nobody is overtaken: while somebody waits, only the oldest is given permits, however few the others want.
// INV-SEM-3  The oldest waiter that lives wants more than there are. So whoever adds permits, or takes the oldest away (a stop), serves those behind it.
#pragma once
#include "config.hpp"
#include "spin_lock.hpp"
#include <cstdint>

namespace skua::detail {

// `Wanted::of(waiter)`: how many it wants.
template <class Waiting, class Wanted>
class semaphore_core {
public:
  using links = typename Waiting::links;
  using ring = typename Waiting::ring;

  explicit semaphore_core(std::uint64_t permits) noexcept : permits_(permits) {}
  semaphore_core(semaphore_core const&) = delete;

  typename Waiting::lock& lock() noexcept { return lock_; }
  typename Waiting::list& list() noexcept { return waiting_; }
  bool unused() const noexcept { return waiting_.empty(); }
  std::uint64_t available() noexcept {
    locked_scope const g(lock_);   // INV-WAIT-5
    return permits_;
  }

  // Under the lock. False: it must wait.
  bool take(std::uint64_t n) noexcept {
    if (permits_ < n || !waiting_.empty()) return false;   // INV-SEM-2
    permits_ = permits_ - n;
    return true;
  }
  bool try_take(std::uint64_t n) noexcept {
    locked_scope const g(lock_);
    return take(n);
  }
  // `served`: whom the caller is to wake, here and below. False: there would be more than can be counted, and nothing has changed.
  [[nodiscard]] SKUA_INLINE bool add(std::uint64_t n, ring& served) noexcept {
    locked_scope const g(lock_);
    if (n > ~std::uint64_t{0} - permits_) [[unlikely]] return false;
    permits_ = permits_ + n;
    if (!waiting_.empty()) [[unlikely]] serve(served);
    return true;
  }
  [[nodiscard]] bool withdraw(links& w, ring& served) noexcept {
    locked_scope const g(lock_);
    bool const mine = waiting_.withdraw(w);
    if (mine) serve(served);   // INV-SEM-3
    return mine;
  }

private:
  void serve(ring& served) noexcept {
    while (links* const w = waiting_.front()) {
      std::uint64_t const n = Wanted::of(*w);
      if (permits_ < n) return;
      bool const live = Waiting::may_take(*w);
      (void)waiting_.take();
      if (!live) continue;
      permits_ = permits_ - n;
      served.push_back(*w);
    }
  }
  typename Waiting::lock lock_;
  typename Waiting::sync::template var<std::uint64_t> permits_;
  typename Waiting::list waiting_;
};

} // namespace skua::detail

// SPDX-License-Identifier: Apache-2.0
// The value of a watch, its version, and those who wait for another one, under one lock. watch.hpp has the handles; tests/model/watch_model.cpp checks this
// code.
//
// INV-WATCH-1  Every value has a version of its own, one above the last one's; both change and are read together, under the lock.
// INV-WATCH-2  Who is in the list has seen the version that there is, and it is not closed: set() and close() take everybody out. So nobody sleeps over a
//              newer version.
// INV-WATCH-3  `seen` of a receiver is the version of a value that it was given, or told of, or that was there when it subscribed; it only grows. A stop leaves
//              it as it is, so the change is seen the next time.
//
// Who was taken is woken without the lock; nothing here is touched after the unlock, so whoever is woken may free it (INV-WAIT-4).
#pragma once
#include "config.hpp"
#include "shared_cell.hpp"
#include "spin_lock.hpp"
#include <cstdint>
#include <optional>
#include <utility>

namespace skua::detail {

// What a receiver knows. Its fields are the receiver's own, but for `awaited_at`.
template <class Sync>
struct watch_view {
  typename Sync::template var<std::uint64_t> seen{0};
  // Under the lock: the version at which a changed() was put into the list; 0: none, or it has come back.
  typename Sync::template var<std::uint64_t> awaited_at{0};
};

template <class Waiting, class Cell>
class watch_core {
  using sync = typename Waiting::sync;

public:
  using links = typename Waiting::links;
  using ring = typename Waiting::ring;
  using view = watch_view<sync>;

  explicit watch_core(Cell&& v) noexcept : value_(std::in_place, std::move(v)) {}
  watch_core(watch_core const&) = delete;

  typename Waiting::lock& lock() noexcept { return lock_; }

  // By a sender, so it is not closed (INV-HANDLE-1). `old` is to be destroyed without the lock.
  void set(Cell&& v, std::optional<Cell>& old, ring& woken) noexcept {
    locked_scope const g(lock_);
    move_cell(value_, old);
    value_.emplace(std::move(v));
    ++version_;
    woken.append(waiting_.take_all());
  }
  void close(ring& woken) noexcept {
    locked_scope const g(lock_);
    closed_ = true;
    woken.append(waiting_.take_all());
  }
  // A copy of the value; its version, which the caller may have seen then.
  [[nodiscard]] std::uint64_t get(std::optional<Cell>& copy) noexcept {
    locked_scope const g(lock_);
    copy.emplace(*value_);
    return version_;
  }
  // The value that there is counts as seen by a new receiver.
  void subscribe(view& by) noexcept {
    locked_scope const g(lock_);
    by.seen = version_;
  }

  // ---- changed(). With the lock: need it not wait?
  bool changed_locked(view const& by) const noexcept { return version_ != by.seen || closed_; }
  // Who is in the list waits for another version than this one.
  void enlist_locked(view& by, links& w) noexcept {
    by.awaited_at = version_;
    waiting_.push_back(w);
  }
  // Without: it has come back. False: there is nothing new, and it was closed.
  [[nodiscard]] bool come_back(view& by) noexcept {
    locked_scope const g(lock_);
    by.awaited_at = 0;
    bool const news = version_ != by.seen;
    by.seen = version_;
    return news;
  }
  [[nodiscard]] bool withdraw(view& by, links& w) noexcept {
    locked_scope const g(lock_);
    bool const mine = waiting_.withdraw(w);
    if (mine) by.awaited_at = 0;
    return mine;
  }
  // Waits somebody who was put into the list at this version?
  bool waits(std::uint64_t at) noexcept {
    locked_scope const g(lock_);
    return at == version_ && !closed_;
  }

private:
  typename Waiting::lock lock_;
  typename sync::template var<bool> closed_{false};
  typename sync::template var<std::uint64_t> version_{1};
  typename Waiting::list waiting_;
  std::optional<Cell> value_;
};

} // namespace skua::detail

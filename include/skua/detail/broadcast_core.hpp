// SPDX-License-Identifier: Apache-2.0
// The messages of a broadcast, its subscribers, and who waits. broadcast.hpp has the handles, wait_queue.hpp the rules of waiting;
// tests/model/broadcast_model.cpp checks this code.
//
// A ring of the last `capacity` messages, each with the number of subscribers that have not read it, and a cursor for each subscriber, under one lock.
//     messages      first .. end, numbered; a message leaves the ring when its last reader takes it, or when it is dropped
//     cursor        of a subscriber: the number of the message that it reads next
// INV-BCAST-1  `unread` of a message in the ring is the number of subscribers whose cursor is not beyond it; also of those that are just leaving: they are
//              in the list no more, and read what is left for them, so that it is destroyed without the lock.
// INV-BCAST-2  A subscriber that waits has read everything: its cursor is `end`. So a new message is given to everybody who waits, at once.
// INV-BCAST-3  Senders wait only while the ring is full (slow_receiver::wait), and enter it in the order in which they came.
// INV-BCAST-4  A subscriber that waits in a select which has been decided elsewhere is dropped, and has read nothing (INV-WAIT-7).
//
// Who is to be woken is the caller's, to be woken without the lock; nothing here is touched after the unlock, so whoever is woken may free it (INV-WAIT-4).
#pragma once
#include "config.hpp"
#include "send_status.hpp"
#include "shared_cell.hpp"
#include "spin_lock.hpp"
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace skua {

// What happens when a subscriber is `capacity` messages behind.
enum class slow_receiver : unsigned char {
  wait,          // send() waits for it: the slowest one sets the pace
  drop_oldest,   // it misses the oldest message, and is told how many it has missed
  disconnect     // it is disconnected: it gets no message any more, and is told why
};

} // namespace skua

namespace skua::detail {

template <class Sync>
struct basic_subscription {
  typename Sync::template var<std::uint64_t> cursor{0};
  typename Sync::template var<bool> disconnected{false}, waits{false};
  typename Sync::template var<basic_subscription*> before{nullptr}, behind{nullptr};   // in the core's list
};
// What a receiver gets.
template <class Sync, class Cell>
struct broadcast_received {
  basic_subscription<Sync>* by;
  std::optional<Cell> message{};   // none: the end
  typename Sync::template var<std::uint64_t> missed{0};
  typename Sync::template var<bool> disconnected{false};
};
template <class Cell>
struct broadcast_sent {
  Cell message;
  send_status status = send_status::closed;   // what close() leaves as it is
};

// `Ends::receiver(waiter)`, `Ends::sender(waiter)`: its broadcast_received, its broadcast_sent.
template <class Waiting, class Cell, class Ends>
class broadcast_core {
  using sync = typename Waiting::sync;
  template <class T>
  using var = typename sync::template var<T>;

public:
  using links = typename Waiting::links;
  using ring = typename Waiting::ring;
  using list = typename Waiting::list;
  using subscription = basic_subscription<sync>;
  using received = broadcast_received<sync, Cell>;

  broadcast_core(std::size_t capacity, slow_receiver how) : slots_(std::make_unique<slot[]>(capacity)), capacity_(capacity), how_(how) {}
  broadcast_core(broadcast_core const&) = delete;

  typename Waiting::lock& lock() noexcept { return lock_; }
  std::size_t subscribers() noexcept {
    locked_scope const g(lock_);
    return count_;
  }

  // ---- with the lock
  // `v` is moved from if the answer is `sent`. `dropped` is to be destroyed without the lock.
  send_status send_locked(Cell& v, std::optional<Cell>& dropped, ring& woken) noexcept {
    if (closed_) return send_status::closed;
    if (full() && count_ != 0) {
      if (how_ == slow_receiver::wait) return send_status::full;
      if (how_ == slow_receiver::disconnect) disconnect_slow();
    }
    if (count_ == 0) return send_status::sent;   // to nobody
    if (full()) ++first_;
    push(std::move(v), dropped, woken);
    return send_status::sent;
  }
  void enlist_sender_locked(links& w) noexcept {
    Ends::sender(w).status = send_status::closed;   // unless somebody lets it in
    senders_.push_back(w);
  }
  // True: there is a result.
  bool receive_locked(received& r, ring& woken) noexcept {
    subscription& s = *r.by;
    if (s.disconnected) {
      r.disconnected = true;
      return true;
    }
    if (s.cursor < first_) {
      r.missed = first_ - s.cursor;
      s.cursor = first_;
    }
    if (s.cursor == end_) return closed_;
    give(slot_of(s.cursor), r.message);
    ++s.cursor;
    release_read(woken);
    return true;
  }
  void enlist_receiver_locked(links& w) noexcept {
    Ends::receiver(w).by->waits = true;
    receivers_.push_back(w);
  }

  // ---- whole operations
  [[nodiscard]] bool withdraw_sender(links& w) noexcept {
    locked_scope const g(lock_);
    return senders_.withdraw(w);
  }
  [[nodiscard]] bool withdraw_receiver(links& w) noexcept {
    locked_scope const g(lock_);
    bool const mine = receivers_.withdraw(w);
    if (mine) Ends::receiver(w).by->waits = false;
    return mine;
  }
  void close(ring& woken) noexcept {
    locked_scope const g(lock_);
    closed_ = true;
    while (links* const w = take_receiver()) woken.push_back(*w);
    while (links* const w = take_sender()) woken.push_back(*w);
  }
  void subscribe(subscription& s) noexcept {
    locked_scope const g(lock_);
    s.cursor = end_;
    s.behind = subscribers_;
    if (subscribers_ != nullptr) subscribers_->before = &s;
    subscribers_ = &s;
    ++count_;
  }
  // The caller has a handle: this comes back after it has woken others. `wake(ring&&)`.
  template <class Wake>
  void unsubscribe(subscription& s, Wake wake) noexcept {
    std::uint64_t end;   // what comes later is not for it: so this ends, whatever is sent meanwhile
    {
      locked_scope const g(lock_);
      SKUA_CHECK(!s.waits, "a broadcast_receiver was destroyed while a task waits at it");
      if (s.disconnected) return;
      unlink(s);
      end = end_;
    }
    for (bool more = true; more;) {   // one message at a time
      std::optional<Cell> dropped;
      ring woken;
      {
        locked_scope const g(lock_);
        if (s.cursor < first_) s.cursor = first_;
        more = s.cursor < end;
        if (more) {
          slot& at = slot_of(s.cursor);
          ++s.cursor;
          if (--at.unread == 0) move_cell(at.message, dropped);
        }
        release_read(woken);
      }
      wake(std::move(woken));
    }
  }

private:
  struct slot {
    std::optional<Cell> message;
    var<std::size_t> unread{0};
  };
  bool full() const noexcept { return end_ - first_ == capacity_; }
  slot& slot_of(std::uint64_t number) noexcept { return slots_[number % capacity_]; }
  // The oldest that can be given something; null: none.
  links* take_sender() noexcept {
    while (links* const w = senders_.take())
      if (Waiting::may_take(*w)) return w;
    return nullptr;
  }
  links* take_receiver() noexcept {
    while (links* const w = receivers_.take()) {
      Ends::receiver(*w).by->waits = false;
      if (Waiting::may_take(*w)) return w;   // INV-BCAST-4
    }
    return nullptr;
  }
  // One more has read it.
  static void give(slot& at, std::optional<Cell>& to) noexcept {
    if (--at.unread == 0)
      move_cell(at.message, to);   // the last one takes it along
    else
      to.emplace(*at.message);
  }

  void push(Cell&& v, std::optional<Cell>& dropped, ring& woken) noexcept {
    slot& at = slot_of(end_);
    ++end_;
    move_cell(at.message, dropped);
    at.message.emplace(std::move(v));
    at.unread = count_;
    while (links* const w = take_receiver()) {   // INV-BCAST-2
      received& r = Ends::receiver(*w);
      ++r.by->cursor;
      give(at, r.message);
      woken.push_back(*w);
    }
    if (at.unread == 0 && first_ + 1 == end_) first_ = end_;   // else one before it is unread: leave_ring(), when it is read
  }
  // Messages that everybody has read leave.
  void leave_ring() noexcept {
    while (first_ != end_ && slot_of(first_).unread == 0) ++first_;
  }
  // The same, and who waits for room enters.
  void release_read(ring& woken) noexcept {
    leave_ring();
    while (!full()) {
      links* const w = take_sender();
      if (w == nullptr) return;
      auto& s = Ends::sender(*w);
      s.status = send_status::sent;
      woken.push_back(*w);
      std::optional<Cell> dropped;   // empty: with slow_receiver::wait, a message that leaves was taken along
      if (count_ != 0) push(std::move(s.message), dropped, woken);
    }
  }
  void disconnect_slow() noexcept {
    for (subscription* s = subscribers_; s != nullptr;) {
      subscription& slow = *s;
      s = s->behind;
      if (slow.cursor > first_) continue;
      slow.disconnected = true;
      for (std::uint64_t n = first_; n != end_; ++n) --slot_of(n).unread;
      unlink(slow);
    }
    leave_ring();   // they stay where they are until they are overwritten
  }
  void unlink(subscription& s) noexcept {
    (s.before != nullptr ? s.before->behind : subscribers_) = s.behind;
    if (s.behind != nullptr) s.behind->before = s.before;
    s.before = nullptr;
    s.behind = nullptr;
    --count_;
  }

  typename Waiting::lock lock_;
  var<bool> closed_{false};
  list receivers_, senders_;
  std::unique_ptr<slot[]> slots_;
  std::size_t const capacity_;
  slow_receiver const how_;
  var<std::size_t> count_{0};   // of subscribers
  var<std::uint64_t> first_{0}, end_{0};
  var<subscription*> subscribers_{nullptr};
};

} // namespace skua::detail

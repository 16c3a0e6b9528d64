// SPDX-License-Identifier: Apache-2.0
// What the ends of a broadcast share. broadcast.hpp has the handles, wait_queue.hpp the rules of waiting.
//
// A ring of the last `capacity` messages, each with the number of subscribers that have not read it, and a cursor for each subscriber, under one lock.
//     messages      first .. end, numbered; a message leaves the ring when its last reader takes it, or when it is dropped
//     cursor        of a subscriber: the number of the message that it reads next
// INV-BCAST-1  `unread` of a message in the ring is the number of subscribers whose cursor is not beyond it; also of those that are just leaving: they are
//              in the list no more, and read what is left for them, so that it is destroyed without the lock.
// INV-BCAST-2  A subscriber that waits has read everything: its cursor is `end`. So a new message is given to everybody who waits, at once.
// INV-BCAST-3  Senders wait only while the ring is full (slow_receiver::wait), and enter it in the order in which they came.
// INV-BCAST-4  A subscriber that waits in a select which has been decided elsewhere is dropped, and has read nothing (INV-WAIT-7).
// Messages are copied under the lock if that cannot throw and they are small; others are kept in a std::shared_ptr, and copied by their reader.
//
// Lifetime: a state lives as long as a handle: a sender, or a subscription. The last sender closes.
#pragma once
#include "channel_state.hpp"
#include "waiter.hpp"
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
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

template <class T>
inline constexpr bool copied_in_place = std::is_nothrow_copy_constructible_v<T> && std::is_nothrow_move_constructible_v<T> && sizeof(T) <= 64;
template <class T>
using shared_cell = std::conditional_t<copied_in_place<T>, T, std::shared_ptr<T const>>;
template <class T>
shared_cell<T> to_shared_cell(T&& v) {
  if constexpr (copied_in_place<T>)
    return std::move(v);
  else
    return std::make_shared<T const>(std::move(v));
}
// Cells need not be assignable.
template <class Cell>
void move_cell(std::optional<Cell>& from, std::optional<Cell>& to) noexcept {
  if (!from) return;
  to.emplace(std::move(*from));
  from.reset();
}
template <class T>
T out_of_shared_cell(shared_cell<T>&& c) {
  if constexpr (copied_in_place<T>)
    return std::move(c);
  else
    return *c;
}

struct subscription {
  std::uint64_t cursor = 0;
  bool disconnected = false, waits = false;
  subscription *before = nullptr, *behind = nullptr;   // in the state's list
};

template <class T>
struct broadcast_receiving : waiter {
  subscription* by;
  std::optional<shared_cell<T>> message;
  std::uint64_t missed = 0;
  bool disconnected = false;
  broadcast_receiving(operation_kind const& k, subscription* s) noexcept : waiter(k), by(s) {}
};
template <class T>
struct broadcast_sending : waiter {
  shared_cell<T> message;
  send_status status = send_status::closed;   // what close() leaves as it is
  broadcast_sending(operation_kind const& k, shared_cell<T>&& v) noexcept : waiter(k), message(std::move(v)) {}
};

template <class T>
class broadcast_state {
public:
  using cell = shared_cell<T>;
  using taken = waiter_ring;

  broadcast_state(std::size_t capacity, slow_receiver how) : slots_(std::make_unique<slot[]>(capacity)), capacity_(capacity), how_(how) {}

  // ---- with the lock. `dropped` is to be destroyed without it.
  send_status send_locked(cell& v, std::optional<cell>& dropped, taken& woken) noexcept {
    if (closed_) return send_status::closed;
    if (end_ - first_ == capacity_ && count_ != 0) {
      if (how_ == slow_receiver::wait) return send_status::full;
      if (how_ == slow_receiver::disconnect) disconnect_slow();
    }
    if (count_ == 0) return send_status::sent;   // to nobody
    if (end_ - first_ == capacity_) ++first_;
    push(std::move(v), dropped, woken);
    return send_status::sent;
  }
  // True: there is a result.
  bool receive_locked(broadcast_receiving<T>& r, taken& woken) noexcept {
    subscription& s = *r.by;
    if (s.disconnected) return r.disconnected = true;
    if (s.cursor < first_) {
      r.missed = first_ - s.cursor;
      s.cursor = first_;
    }
    if (s.cursor == end_) return closed_;
    give(slot_of(s.cursor++), r.message);
    release_read(woken);
    return true;
  }
  void subscribe(subscription& s) noexcept {
    locked_scope const g(lock_);
    s.cursor = end_;
    s.behind = subscribers_;
    if (subscribers_ != nullptr) subscribers_->before = &s;
    subscribers_ = &s;
    ++count_;
  }
  void unsubscribe(subscription& s) noexcept {
    std::uint64_t end;   // what comes later is not for it: so this ends, whatever is sent meanwhile
    {
      locked_scope const g(lock_);
      SKUA_CHECK(!s.waits, "a broadcast_receiver was destroyed while a task waits at it");
      if (s.disconnected) return;
      unlink(s);
      end = end_;
    }
    for (bool more = true; more;) {   // one message at a time
      std::optional<cell> dropped;
      taken woken;
      {
        locked_scope const g(lock_);
        s.cursor = std::max(s.cursor, first_);
        more = s.cursor < end;
        if (more) {
          slot& at = slot_of(s.cursor++);
          if (--at.unread == 0) move_cell(at.message, dropped);
        }
        release_read(woken);
      }
      wake(std::move(woken));
    }
  }
  void close() noexcept {
    add_reference();   // who is woken may drop the last handle
    taken woken;
    {
      locked_scope const g(lock_);
      closed_ = true;
      while (waiter_links* const w = receivers_.take()) {
        receiving(*w).by->waits = false;
        if (may_take(*w)) woken.push_back(*w);
      }
      take_all_live(senders_, woken);
    }
    wake(std::move(woken));
    release();
  }

  void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }   // relaxed: who copies has one
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;   // acq_rel: what others did happens before the end
  }
  void add_sender() noexcept {
    add_reference();
    sender_count_.fetch_add(1, std::memory_order_relaxed);
  }
  void drop_sender() noexcept {
    if (sender_count_.fetch_sub(1, std::memory_order_acq_rel) == 1) close();
    release();
  }

  spin_lock<> lock_;
  bool closed_ = false;
  wait_list receivers_, senders_;
  std::size_t count_ = 0;   // of subscribers

private:
  struct slot {
    std::optional<cell> message;
    std::size_t unread = 0;
  };
  static broadcast_receiving<T>& receiving(waiter_links& w) noexcept { return static_cast<broadcast_receiving<T>&>(static_cast<waiter&>(w)); }
  slot& slot_of(std::uint64_t number) noexcept { return slots_[number % capacity_]; }
  // One more has read it.
  static void give(slot& at, std::optional<cell>& to) noexcept {
    if (--at.unread == 0)
      move_cell(at.message, to);   // the last one takes it along
    else
      to.emplace(*at.message);
  }

  void push(cell&& v, std::optional<cell>& dropped, taken& woken) noexcept {
    slot& at = slot_of(end_++);
    move_cell(at.message, dropped);
    at.message.emplace(std::move(v));
    at.unread = count_;
    while (waiter_links* const w = receivers_.take()) {   // INV-BCAST-2
      auto& r = receiving(*w);
      r.by->waits = false;
      if (!may_take(*w)) continue;   // INV-BCAST-4
      ++r.by->cursor;
      give(at, r.message);
      woken.push_back(*w);
    }
    if (at.unread == 0 && first_ + 1 == end_) first_ = end_;
  }
  // Messages that everybody has read leave; who waits for room enters.
  void release_read(taken& woken) noexcept {
    while (first_ != end_ && slot_of(first_).unread == 0) ++first_;
    while (end_ - first_ != capacity_) {
      waiter_links* const w = take_live(senders_);
      if (w == nullptr) return;
      auto& s = static_cast<broadcast_sending<T>&>(static_cast<waiter&>(*w));
      s.status = send_status::sent;
      woken.push_back(*w);
      std::optional<cell> dropped;   // empty: with slow_receiver::wait, a message that leaves was taken along
      if (count_ != 0) push(std::move(s.message), dropped, woken);
      while (first_ != end_ && slot_of(first_).unread == 0) ++first_;
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
    while (first_ != end_ && slot_of(first_).unread == 0) ++first_;   // they stay where they are until they are overwritten
  }
  void unlink(subscription& s) noexcept {
    (s.before != nullptr ? s.before->behind : subscribers_) = s.behind;
    if (s.behind != nullptr) s.behind->before = s.before;
    s.before = s.behind = nullptr;
    --count_;
  }

  std::unique_ptr<slot[]> slots_;
  std::size_t capacity_;
  slow_receiver how_;
  std::uint64_t first_ = 0, end_ = 0;
  subscription* subscribers_ = nullptr;
  std::atomic<std::uint32_t> references_{0}, sender_count_{0};
};

} // namespace skua::detail

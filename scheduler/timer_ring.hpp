// SPDX-License-Identifier: Apache-2.0
// The rings that a timer wheel is made of: doubly linked circles through a head of two words.
//
// Being a circle, a ring lets an entry be taken out by whoever has nothing but the entry: no list has to be named, and "the ring is empty
// now" shows as both neighbours being the same link, the head (the wheel finds out by the head's address which ring that was). Being doubly
// linked it appends at the far end, so equal deadlines stay in order.
//
// Rejected: a singly linked slot whose entries point back at the pointer to them (8 bytes a slot less): it can only prepend, which turns
// FIFO around at every cascade. A heap: O(log n), and it needs memory or a third link.
//
// Not thread-safe: whoever owns the wheel owns the rings.
#pragma once
#include "skua/detail/timer_entry.hpp"

namespace skua::detail {

template <class Sync>
struct timer_ring : timer_link<Sync> {
  using link = timer_link<Sync>;
  using entry = basic_wheel_entry<Sync>;

  timer_ring() noexcept {
    this->next = this;
    this->prev = this;
  }
  timer_ring(timer_ring const&) = delete;
  timer_ring& operator=(timer_ring const&) = delete;

  bool empty() const noexcept { return this->next == static_cast<link const*>(this); }
  entry& front() noexcept { return *static_cast<entry*>(static_cast<link*>(this->next)); }

  void append(entry& e) noexcept {
    link* const last = this->prev;
    e.next = this;
    e.prev = last;
    last->next = &e;
    this->prev = &e;
  }

  // Moves the neighbours `first` to `last`, of another ring, to the end of this one. O(1). The head of the ring they were in if it is
  // empty now, else null.
  link* append_run(link& first, link& last) noexcept {
    link *const before = first.prev, *const after = last.next, *const end = this->prev;
    before->next = after;
    after->prev = before;
    end->next = &first;
    first.prev = end;
    last.next = this;
    this->prev = &last;
    return before == after ? before : nullptr;
  }

  // Takes `e` out of whatever ring it is in. The head of that ring if it is empty now, else null.
  static link* unlink(entry& e) noexcept {
    link *const before = e.prev, *const after = e.next;
    before->next = after;
    after->prev = before;
    e.prev = nullptr;
    return before == after ? before : nullptr;
  }
};

} // namespace skua::detail

// SPDX-License-Identifier: Apache-2.0
// Where a channel keeps what was sent and not received: a ring (bounded), chunks (unbounded), a heap (by priority).
//
// Plain data structures; a channel guards them with its lock. So nothing in here may throw or allocate where it is called with the lock held:
// elements move without throwing (channel_cell), and what has to grow is grown by memory that was made before the lock was taken.
//
//     full()             push() is not allowed
//     push(S&&), pop()   noexcept
//     wants()            unbounded only: push() needs a block of memory, to be given by give()
//     take_garbage()     what is to be freed behind the lock
#pragma once
#include "config.hpp"
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace skua::detail {

// How a message is kept. One whose move may throw is kept in a box that is made before anything else happens: so a throw changes nothing.
template <class T>
inline constexpr bool kept_in_place = std::is_nothrow_move_constructible_v<T>;
template <class T>
using channel_cell = std::conditional_t<kept_in_place<T>, T, std::unique_ptr<T>>;
template <class T>
SKUA_INLINE channel_cell<T> to_cell(T&& v) noexcept(kept_in_place<T>) {
  if constexpr (kept_in_place<T>)
    return std::move(v);
  else
    return std::make_unique<T>(std::move(v));
}
template <class T>
SKUA_INLINE T& in_cell(channel_cell<T>& c) noexcept {
  if constexpr (kept_in_place<T>)
    return c;
  else
    return *c;
}

// For the buffers that free nothing before they die.
struct no_garbage {};

// Memory for `n` cells, without any in it.
template <class S>
class raw_cells {
public:
  explicit raw_cells(std::size_t n) : at_(n == 0 ? nullptr : std::allocator<S>().allocate(n)), size_(n) {}
  raw_cells(raw_cells&& o) noexcept : at_(std::exchange(o.at_, nullptr)), size_(std::exchange(o.size_, 0)) {}
  raw_cells& operator=(raw_cells&& o) noexcept {
    std::swap(at_, o.at_);
    std::swap(size_, o.size_);
    return *this;
  }
  ~raw_cells() {
    if (at_ != nullptr) std::allocator<S>().deallocate(at_, size_);
  }
  S* operator+(std::size_t i) const noexcept { return at_ + i; }
  std::size_t size() const noexcept { return size_; }

private:
  S* at_;
  std::size_t size_;
};
template <class S>
SKUA_INLINE S take_cell(S* at) noexcept {
  S v(std::move(*at));
  std::destroy_at(at);
  return v;
}

// At most `capacity` elements, first in, first out.
template <class S>
class ring_buffer {
public:
  using value_type = S;
  using garbage = no_garbage;
  static void take_garbage(garbage&) noexcept {}
  explicit ring_buffer(std::size_t capacity) : cells_(capacity) {}
  ring_buffer(ring_buffer&&) = delete;
  ~ring_buffer() { clear(); }

  std::size_t size() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  bool full() const noexcept { return count_ == cells_.size(); }
  std::size_t capacity() const noexcept { return cells_.size(); }
  SKUA_INLINE void push(S&& v) noexcept {
    std::construct_at(cells_ + back_, std::move(v));
    back_ = next(back_);
    ++count_;
  }
  SKUA_INLINE S pop() noexcept {
    S* const at = cells_ + front_;
    front_ = next(front_);
    --count_;
    return take_cell(at);
  }
  void clear() noexcept {
    while (!empty()) (void)pop();
  }

private:
  SKUA_INLINE std::size_t next(std::size_t i) const noexcept { return i + 1 == cells_.size() ? 0 : i + 1; }

  raw_cells<S> cells_;
  std::size_t front_ = 0, back_ = 0, count_ = 0;
};

// As many elements as there is memory, first in, first out, in a list of chunks. One empty chunk is kept, so that a queue that breathes does not
// allocate. Further ones are garbage: whoever has the lock takes them along, and frees them behind it; until somebody does, push() uses them.
template <class S>
class chunk_buffer {
public:
  using value_type = S;
  static constexpr std::size_t per_chunk = sizeof(S) >= 512 ? 8 : 4096 / sizeof(S) > 32 ? 4096 / sizeof(S) : 32;   // a page; a guess
  struct chunk {
    std::unique_ptr<chunk> next;
    raw_cells<S> cells{per_chunk};
  };
  struct garbage {
    std::unique_ptr<chunk> first;
    garbage() noexcept = default;
    garbage(garbage&&) = delete;
    SKUA_INLINE ~garbage() {
      if (first != nullptr) [[unlikely]] free_list(first);
    }
  };

  chunk_buffer() : first_(std::make_unique<chunk>()), last_(first_.get()) {}
  chunk_buffer(chunk_buffer&&) = delete;
  ~chunk_buffer() {
    clear();
    free_list(first_);
    free_list(garbage_);
  }
  SKUA_INLINE void take_garbage(garbage& to) noexcept {   // `to` is empty
    if (garbage_ != nullptr) [[unlikely]] to.first = std::move(garbage_);
  }

  std::size_t size() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  static constexpr bool full() noexcept { return false; }
  static constexpr std::size_t capacity() noexcept { return ~std::size_t{0}; }
  // push() needs a chunk first.
  SKUA_INLINE bool wants() const noexcept { return back_ == per_chunk && spare_ == nullptr && garbage_ == nullptr; }
  void give(std::unique_ptr<chunk> c) noexcept { spare_ = std::move(c); }
  SKUA_INLINE void push(S&& v) noexcept {
    if (back_ == per_chunk) [[unlikely]] begin_chunk();
    std::construct_at(last_->cells + back_++, std::move(v));
    ++count_;
  }
  SKUA_INLINE S pop() noexcept {
    S* const at = first_->cells + front_;
    --count_;
    if (++front_ == per_chunk) [[unlikely]] return pop_last_of_chunk(at);
    return take_cell(at);
  }
  void clear() noexcept {
    while (!empty()) (void)pop();
  }

private:
  static void free_list(std::unique_ptr<chunk>& list) noexcept {
    while (list != nullptr) list = std::move(list->next);   // one after the other: no recursion over a long list
  }
  SKUA_NOINLINE void begin_chunk() noexcept {
    std::unique_ptr<chunk> c = spare_ != nullptr ? std::move(spare_) : std::exchange(garbage_, std::move(garbage_->next));
    last_->next = std::move(c);
    last_ = last_->next.get();
    back_ = 0;
  }
  SKUA_NOINLINE S pop_last_of_chunk(S* at) noexcept {
    S v = take_cell(at);
    front_ = 0;
    if (first_.get() == last_) {   // and so it is full: it is the next one as well
      back_ = 0;
      return v;
    }
    std::unique_ptr<chunk> empty = std::exchange(first_, std::move(first_->next));
    if (spare_ == nullptr) {
      spare_ = std::move(empty);
    } else {
      empty->next = std::move(garbage_);
      garbage_ = std::move(empty);
    }
    return v;
  }

  std::unique_ptr<chunk> first_;
  chunk* last_;
  std::unique_ptr<chunk> spare_;     // an empty one
  std::unique_ptr<chunk> garbage_;   // more of them, in a list
  std::size_t front_ = 0, back_ = 0, count_ = 0;
};

// At most `capacity` elements; the one with the highest priority first, of equal ones the oldest.
template <class S>
class heap_buffer {
public:
  struct entry {
    S value;
    std::int64_t priority;
    std::uint64_t number;   // of the send, for those of equal priority
    bool before(entry const& o) const noexcept { return priority != o.priority ? priority > o.priority : number < o.number; }
  };
  using value_type = entry;
  using garbage = no_garbage;
  static void take_garbage(garbage&) noexcept {}

  explicit heap_buffer(std::size_t capacity) : cells_(capacity) {}
  heap_buffer(heap_buffer&&) = delete;
  ~heap_buffer() { clear(); }

  std::size_t size() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  bool full() const noexcept { return count_ == cells_.size(); }
  std::size_t capacity() const noexcept { return cells_.size(); }
  void push(entry&& e) noexcept {
    e.number = next_number_++;
    std::size_t hole = count_++;
    std::construct_at(cells_ + hole, std::move(e));
    while (hole != 0 && (cells_ + hole)->before(*(cells_ + (hole - 1) / 2))) {
      swap(hole, (hole - 1) / 2);
      hole = (hole - 1) / 2;
    }
  }
  entry pop() noexcept {
    if (--count_ != 0) swap(0, count_);
    entry e = take_cell(cells_ + count_);
    std::size_t hole = 0;
    for (;;) {
      std::size_t child = 2 * hole + 1;
      if (child >= count_) break;
      if (child + 1 < count_ && (cells_ + child + 1)->before(*(cells_ + child))) ++child;
      if (!(cells_ + child)->before(*(cells_ + hole))) break;
      swap(hole, child);
      hole = child;
    }
    return e;
  }
  void clear() noexcept {
    while (!empty()) (void)pop();
  }

private:
  void swap(std::size_t a, std::size_t b) noexcept {   // by construction: cells need not be assignable
    entry held = take_cell(cells_ + a);
    std::construct_at(cells_ + a, take_cell(cells_ + b));
    std::construct_at(cells_ + b, std::move(held));
  }

  raw_cells<entry> cells_;
  std::size_t count_ = 0;
  std::uint64_t next_number_ = 0;
};

} // namespace skua::detail

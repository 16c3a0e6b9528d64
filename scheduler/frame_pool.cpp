// SPDX-License-Identifier: Apache-2.0
// The cold half of the pools: refill and flush, thread exit, enumeration. detail/frame_pool.hpp has the protocol and the invariants.
#include "scheduler/pool_store.hpp"
#include "skua/detail/sync.hpp"

namespace skua::detail {

template <class Shape>
void* block_pool<Shape>::allocate_slow(std::size_t size) noexcept {
  auto& store = pool_store<Shape>::get();
  if (phase_ == phase::fresh) enter();
  std::size_t const c = class_of(size);
  void* p = nullptr;
  if (!SKUA_POOLED || c >= Shape::classes) {
    p = store.allocate_large(size);
  } else {
    std::unique_lock g(store.gate, std::defer_lock);
    // Also when the gate is open: the depot may hand out what was freed after it closed, and this thread may have looked before that.
    if (Shape::enumerable) g.lock();
    list& l = lists_[c];
    if (l.head != nullptr || refill(c)) {
      p = l.head;
      l.head = words_of(p).next;
      l.set_room(l.get_room() + 1);
    }
  }
  if (SKUA_ACCOUNTING && p == nullptr) allocated_.store(allocated_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  if (phase_ == phase::exited) empty_lists(true);
  return p;
}

template <class Shape>
void block_pool<Shape>::deallocate_slow(void* p, std::size_t size, block_pool& pool) noexcept {
  if (pool.phase_ == phase::fresh) pool.enter();
  std::size_t const c = class_of(size);
  if (!SKUA_POOLED || c >= Shape::classes) {
    pool_store<Shape>::get().deallocate_large(p);
  } else {
    list& l = pool.lists_[c];
    if (l.get_room() == 0 && pool.phase_ == phase::registered) pool.flush(c);
    words_of(p).next = l.head;
    l.head = p;
    l.set_room(l.get_room() - 1);   // exited: below 0 for a moment, on a pool that nobody reads
  }
  if (pool.phase_ == phase::exited) pool.empty_lists(true);
}

template <class Shape>
void block_pool<Shape>::wait_for_gate() noexcept {
  std::lock_guard const passing(pool_store<Shape>::get().gate);
}

template <class Shape>
void block_pool<Shape>::enter() noexcept {
  for (std::size_t c = 0; c != Shape::classes; ++c) lists_[c].set_room(cap_of<Shape>(c));   // INV-POOL-4
  phase_ = phase::registered;
  pool_store<Shape>::get().enter(*this);
}

template <class Shape>
void block_pool<Shape>::trim() noexcept {
  if (phase_ == phase::registered) empty_lists(false);
}

template <class Shape>
void block_pool<Shape>::leave() noexcept {
  if (phase_ != phase::registered) return;
  empty_lists(true);
  for (list& l : lists_) l.set_room(0);   // INV-POOL-4
  phase_ = phase::fresh;
  pool_store<Shape>::get().leave(*this);
}

// What the thread holds goes to the depot.
template <class Shape>
void block_pool<Shape>::empty_lists(bool with_slabs) noexcept {
  auto& store = pool_store<Shape>::get();
  for (std::size_t c = 0; c != Shape::classes; ++c) {
    list& l = lists_[c];
    std::uint32_t n = 0;
    for (void* p = l.head; p != nullptr; p = words_of(p).next) ++n;
    if (n != 0) store.give(c, std::exchange(l.head, nullptr), n);
    l.set_room(phase_ == phase::registered ? cap_of<Shape>(c) : 0);
    if (with_slabs && slabs_[c] != nullptr) store.give_slab(c, std::exchange(slabs_[c], nullptr));
  }
  if (SKUA_ACCOUNTING && phase_ == phase::exited) {
    std::lock_guard g(store.registry);
    store.fold_locked(*this);
  }
}

// The list is empty: a batch from the depot, or new blocks.
template <class Shape>
bool block_pool<Shape>::refill(std::size_t c) noexcept {
  void* const batch = pool_store<Shape>::get().take(c);
  if (batch == nullptr) return carve(c);
  lists_[c].head = batch;
  lists_[c].set_room(cap_of<Shape>(c) - words_of(batch).batch_count);
  return true;
}

template <class Shape>
bool block_pool<Shape>::carve(std::size_t c) noexcept {
  auto& store = pool_store<Shape>::get();
  pool_slab*& s = slabs_[c];
  if (s == nullptr) s = store.take_slab(c);
  if (s == nullptr) {
    constexpr std::uint8_t most_doublings = 5;   // 32 KiB to 1 MiB
    s = store.map_slab(c, std::size_t{32768} << slab_doublings_[c]);
    if (s == nullptr) return false;
    if (slab_doublings_[c] != most_doublings) ++slab_doublings_[c];
  }
  // A page's worth, so that a thread that needs few does not touch many.
  std::uint32_t const first = s->carved.load(std::memory_order_relaxed);   // relaxed: own store, or the depot's lock
  std::uint32_t const wanted = std::clamp<std::uint32_t>(static_cast<std::uint32_t>(4096 / bytes_of(c)), 1, batch_of<Shape>(c));
  std::uint32_t const n = std::min(wanted, s->capacity - first);
  for (std::uint32_t i = first + n; i-- != first;) {
    words_of(s->block(i)).next = lists_[c].head;
    lists_[c].head = s->block(i);
  }
  lists_[c].set_room(cap_of<Shape>(c) - n);
  store.carved.fetch_add(n, std::memory_order_relaxed);   // a count
  s->carved.store(first + n, std::memory_order_release);   // release: pairs with for_each_task_block()
  if (first + n == s->capacity) s = nullptr;
  return true;
}

// The list is full: a batch goes to the depot.
template <class Shape>
void block_pool<Shape>::flush(std::size_t c) noexcept {
  list& l = lists_[c];
  std::uint32_t const n = batch_of<Shape>(c);
  void* const first = l.head;
  void* last = first;
  for (std::uint32_t i = 1; i != n; ++i) last = words_of(last).next;
  l.head = std::exchange(words_of(last).next, nullptr);
  l.set_room(n);
  pool_store<Shape>::get().give(c, first, n);
}

template class block_pool<frame_shape>;
template class block_pool<task_shape>;

// ------------------------------------------------------------------------------------------------ any thread

pool_stats frame_pool_stats() noexcept { return pool_store<frame_shape>::get().stats(); }
pool_stats task_pool_stats() noexcept { return pool_store<task_shape>::get().stats(); }

std::int64_t live_frames() noexcept {
  return SKUA_ACCOUNTING ? pool_store<frame_shape>::get().counted_live() : frame_pool_stats().live();
}
std::int64_t live_task_blocks() noexcept {
  return SKUA_ACCOUNTING ? pool_store<task_shape>::get().counted_live() : task_pool_stats().live();
}

void for_each_task_block(void (*visit)(void* context, void* block, std::size_t size), void* context) {
  auto& store = pool_store<task_shape>::get();
  std::lock_guard g(store.gate);
  bool const always_closed = task_gate.exchange(1, std::memory_order_relaxed) != 0;   // relaxed: the barrier orders it
  struct reopen {
    bool closed;
    ~reopen() {
      // release: pairs with wait_for_enumeration(). Whoever still sees it closed takes the lock.
      if (!closed) task_gate.store(0, std::memory_order_release);
    }
  } const at_exit{always_closed};
  if (!always_closed) real_sync::heavy_barrier();   // INV-POOL-2
  for (large_block* b = store.large_blocks; b != nullptr; b = b->next) visit(context, b + 1, b->size);
  for (pool_slab* s = store.all_slabs.load(std::memory_order_acquire); s != nullptr; s = s->next) {   // acquire: pairs with map_slab()
    std::uint32_t const n = s->carved.load(std::memory_order_acquire);                                // acquire: pairs with carve()
    for (std::uint32_t i = 0; i != n; ++i) visit(context, s->block(i), s->block_bytes);
  }
}

} // namespace skua::detail

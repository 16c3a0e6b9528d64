// SPDX-License-Identifier: Apache-2.0
// What the pools of all threads share: depots, slabs, and the list of pools. detail/frame_pool.hpp has the protocol and the invariants.
//
// Locks, none of which is held while another one is taken, but for `gate` before the others:
//   gate       (task blocks) held while they are enumerated, by every cold allocation, and around the list of large blocks
//   registry   the list of registered pools, and the counts of those that have left
//   depot      one a class: its batches, and slabs that an exited thread has not used up
//
// There is one store a shape, made on first use and never destroyed: frames may die during exit.
//
// Thread safety: all members from any thread; what they do to a pool, on that pool's thread.
#pragma once
#include "skua/detail/frame_pool.hpp"
#include "skua/detail/spin_lock.hpp"
#include "skua/detail/sync.hpp"
#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <sys/mman.h>
#include <utility>

namespace skua::detail {

// The front of a slab.
struct alignas(cache_line) pool_slab {
  pool_slab* next;            // in the list of all slabs; written before it is published
  pool_slab* next_unfinished; // in the depot
  std::uint32_t block_bytes;
  std::uint32_t capacity;     // in blocks
  // Blocks that exist. Written by the thread that carves, release: pairs with for_each_task_block(): a carved block's first bytes.
  std::atomic<std::uint32_t> carved{0};
  char* block(std::uint32_t i) noexcept { return reinterpret_cast<char*>(this + 1) + std::size_t{i} * block_bytes; }
};
static_assert(sizeof(pool_slab) == cache_line, "the first block is aligned as the slab is");

// The front of a task block that is too large for a class.
struct alignas(cache_line) large_block {
  large_block *next, *previous;
  std::size_t size;
};
static_assert(sizeof(large_block) == cache_line);

template <class Shape>
constexpr std::uint32_t batch_of(std::size_t c) noexcept {   // blocks that go to the depot at once: 16 KiB, 8 to 64. A guess.
  return static_cast<std::uint32_t>(std::clamp<std::size_t>(16384 / ((c + 1) * Shape::granule), 8, 64));
}
template <class Shape>
constexpr std::uint32_t cap_of(std::size_t c) noexcept {
  return 2 * batch_of<Shape>(c);
}

template <class Shape>
struct pool_store {
  using pool = block_pool<Shape>;

  struct alignas(cache_line) depot {
    spin_lock<> lock;
    void* batches = nullptr;
    pool_slab* unfinished = nullptr;
  };
  // Leaves the pools of a thread when it exits.
  struct thread_exit {
    pool* first = nullptr;
    ~thread_exit() {
      while (first != nullptr) {
        pool* const p = first;
        p->leave();   // takes itself off the list
        p->phase_ = pool::phase::exited;
        for (auto& l : p->lists_) l.set_room(0);
      }
    }
  };
  static thread_local thread_exit this_thread;

  depot depots[Shape::classes];
  std::mutex gate;
  large_block* large_blocks = nullptr;   // with `gate`
  std::mutex registry;
  pool* pools = nullptr;                 // with `registry`
  std::uint64_t left_allocated = 0, left_freed = 0;   // with `registry`: accounting of pools that have left
  std::atomic<pool_slab*> all_slabs{nullptr};         // only pushed to: CAS release, pairs with the acquire of for_each_task_block()
  std::atomic<std::uint64_t> carved{0}, in_depot{0}, large{0}, slabs{0}, slab_bytes{0};   // counts, relaxed

  pool_store() {
    if (Shape::enumerable && !register_heavy_barrier()) task_gate.store(1, std::memory_order_relaxed);   // for ever: INV-POOL-2
  }
  static pool_store& get() noexcept {
    alignas(pool_store) static std::byte memory[sizeof(pool_store)];
    static pool_store* const s = ::new (static_cast<void*>(memory)) pool_store;   // never destroyed: frames may die during exit
    return *s;
  }

  void give(std::size_t c, void* batch, std::uint32_t count) noexcept {
    free_block& words = pool::words_of(batch);
    words.batch_count = count;
    depot& d = depots[c];
    std::lock_guard g(d.lock);
    words.next_batch = d.batches;
    d.batches = batch;
    in_depot.fetch_add(count, std::memory_order_relaxed);
  }
  void* take(std::size_t c) noexcept {
    depot& d = depots[c];
    std::lock_guard g(d.lock);
    void* const batch = d.batches;
    if (batch != nullptr) {
      d.batches = pool::words_of(batch).next_batch;
      in_depot.fetch_sub(pool::words_of(batch).batch_count, std::memory_order_relaxed);
    }
    return batch;
  }

  void give_slab(std::size_t c, pool_slab* s) noexcept {
    std::lock_guard g(depots[c].lock);
    s->next_unfinished = depots[c].unfinished;
    depots[c].unfinished = s;
  }
  pool_slab* take_slab(std::size_t c) noexcept {
    std::lock_guard g(depots[c].lock);
    pool_slab* const s = depots[c].unfinished;
    if (s != nullptr) depots[c].unfinished = s->next_unfinished;
    return s;
  }
  pool_slab* map_slab(std::size_t c, std::size_t bytes) noexcept {
    void* const p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);   // zeroed: INV-POOL-1
    if (p == MAP_FAILED) return nullptr;
    auto* const s = ::new (p) pool_slab{};
    s->block_bytes = static_cast<std::uint32_t>(pool::bytes_of(c));
    s->capacity = static_cast<std::uint32_t>((bytes - sizeof(pool_slab)) / s->block_bytes);
    s->next = all_slabs.load(std::memory_order_relaxed);   // relaxed: the CAS decides
    while (!all_slabs.compare_exchange_weak(s->next, s, std::memory_order_release, std::memory_order_relaxed)) {}
    slabs.fetch_add(1, std::memory_order_relaxed);
    slab_bytes.fetch_add(bytes, std::memory_order_relaxed);
    return s;
  }

  void* allocate_large(std::size_t size) noexcept {
    constexpr std::size_t front = Shape::enumerable ? sizeof(large_block) : 0;
    void* const p = ::operator new(front + std::max(size, pool::smallest), std::align_val_t{cache_line}, std::nothrow);
    if (p == nullptr) return nullptr;
    large.fetch_add(1, std::memory_order_relaxed);
    if constexpr (Shape::enumerable) {
      auto* const b = ::new (p) large_block{nullptr, nullptr, size};
      std::memset(static_cast<void*>(b + 1), 0, 32);   // INV-POOL-1
      std::lock_guard g(gate);
      b->next = large_blocks;
      if (b->next != nullptr) b->next->previous = b;
      large_blocks = b;
      return b + 1;
    }
    return p;
  }
  void deallocate_large(void* p) noexcept {
    large.fetch_sub(1, std::memory_order_relaxed);   // a count
    if constexpr (Shape::enumerable) {
      auto* const b = static_cast<large_block*>(p) - 1;
      p = b;
      std::lock_guard g(gate);   // INV-POOL-3
      (b->previous != nullptr ? b->previous->next : large_blocks) = b->next;
      if (b->next != nullptr) b->next->previous = b->previous;
    }
    ::operator delete(p, std::align_val_t{cache_line});
  }

  void enter(pool& p) noexcept {
    p.next_of_thread_ = std::exchange(this_thread.first, &p);
    std::lock_guard g(registry);
    p.next_ = pools;
    if (p.next_ != nullptr) p.next_->previous_ = &p;
    pools = &p;
  }
  void leave(pool& p) noexcept {
    pool** at = &this_thread.first;
    while (*at != &p) {
      SKUA_CHECK(*at != nullptr, "a pool was left on another thread than its own");
      at = &(*at)->next_of_thread_;
    }
    *at = p.next_of_thread_;
    std::lock_guard g(registry);
    (p.previous_ != nullptr ? p.previous_->next_ : pools) = p.next_;
    if (p.next_ != nullptr) p.next_->previous_ = p.previous_;
    p.next_ = p.previous_ = nullptr;
    fold_locked(p);
  }
  void fold_locked(pool& p) noexcept {
    left_allocated += p.allocated_.exchange(0, std::memory_order_relaxed);   // relaxed: counts, own thread
    left_freed += p.freed_.exchange(0, std::memory_order_relaxed);
  }

  pool_stats stats() noexcept {
    pool_stats r;
    r.carved = carved.load(std::memory_order_relaxed);
    r.free_in_depot = in_depot.load(std::memory_order_relaxed);
    r.large = large.load(std::memory_order_relaxed);
    r.slabs = slabs.load(std::memory_order_relaxed);
    r.slab_bytes = slab_bytes.load(std::memory_order_relaxed);
    std::lock_guard g(registry);
    for (pool* p = pools; p != nullptr; p = p->next_)
      for (std::size_t c = 0; c != Shape::classes; ++c) r.free_in_threads += cap_of<Shape>(c) - p->lists_[c].get_room();   // INV-POOL-4
    return r;
  }
  std::int64_t counted_live() noexcept {
    std::lock_guard g(registry);
    std::uint64_t allocated = left_allocated, freed = left_freed;
    for (pool* p = pools; p != nullptr; p = p->next_) {
      freed += p->freed_.load(std::memory_order_relaxed);
      allocated += p->allocated_.load(std::memory_order_relaxed);
    }
    return static_cast<std::int64_t>(allocated - freed);
  }
};

template <class Shape>
thread_local typename pool_store<Shape>::thread_exit pool_store<Shape>::this_thread;

} // namespace skua::detail

// SPDX-License-Identifier: Apache-2.0
// Memory for coroutine frames and task blocks: one pool of size classes a thread, over a depot that all threads share.
//
// A block belongs to nobody: it is freed into the pool of the thread that frees it. What a thread has too much of goes, a batch at a time, to the
// depot; what it lacks comes from there, a batch at a time, before it carves new memory. So frames that are allocated on one thread and freed on
// another for ever keep a flat footprint.
//
//   hot     allocate, deallocate: 3 loads, 2 stores, thread-local, inline.
//   cold    everything else: scheduler/frame_pool.cpp, scheduler/pool_store.hpp.
//   memory  slabs of one class each, from 32 KiB, doubling to 1 MiB per thread and class; never given back to the system. Larger blocks
//           than the largest class come from operator new.
//
// Lifecycle of a pool: constant-initialised, so that it can live in a constinit thread_local; the first cold call registers it; when its
// thread exits, lists and unfinished slabs go to the depot (`leave`), and what is freed on the thread later goes there block by block.
//
//   frame_pool   64-byte granule: a frame shares no cache line with another one. Addresses are 0 mod 64.
//   task_pool    32-byte granule, addresses 0 mod 32, enumerable and type-stable:
// INV-POOL-1  Memory of a task slab is never used for anything but task blocks of the same class. The first 32 bytes of a block belong to
//             its users for ever: the pool writes none of them, neither when it is freed nor while it is free. They are zero when it is fresh.
// INV-POOL-2  for_each_task_block() sees every block that was allocated before it began. A block that is freed while it runs is not
//             allocated again before it has finished: `task_gate` is closed, and allocation goes through the lock that it holds. Every thread
//             has seen the closed gate before the first block is visited: a heavy barrier; where that is refused, the gate is always closed.
// INV-POOL-3  Task blocks that are too large for a class are not type-stable: they lie in a list behind the same lock, so they are freed
//             before it begins or after it has finished.
// INV-POOL-5  Who marks a block as dead (in its first 32 bytes), then calls wait_for_enumeration(), then frees it, is either seen to have marked
//             it, or waits until for_each_task_block() has finished: the same barrier as in INV-POOL-2.
// INV-POOL-4  count = cap - room for every list of a registered pool; room is 0 in a pool that is not registered, so its first use is cold.
// Checked by tests/unit/frame_pool_test.cpp.
//
// Under AddressSanitizer and with SKUA_NO_FRAME_POOL everything is treated as too large, so that every block has its own life.
// The library and its user must agree on both, as on SKUA_ACCOUNTING, which counts each block apart from the pool's own books; abi.hpp holds them to it.
//
// Rejected: sending a block home to the thread that carved it (an atomic operation a free; half of all frames of a server die elsewhere) ·
// mixed classes in a slab (a task slab could not be enumerated without a map).
//
// Thread safety: a pool by its own thread only; the free functions from any thread.
#pragma once
#include "bad_alloc.hpp"
#include "config.hpp"
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#if SKUA_ASAN || defined(SKUA_NO_FRAME_POOL)
#define SKUA_POOLED 0
#else
#define SKUA_POOLED 1
#endif

namespace skua::detail {

struct frame_shape {
  static constexpr std::size_t granule = 64;
  static constexpr std::size_t classes = 32;   // up to 2 KiB
  static constexpr std::size_t link_at = 0;    // where a free block holds the pool's words
  static constexpr bool enumerable = false;
};

struct task_shape {
  static constexpr std::size_t granule = 32;
  static constexpr std::size_t classes = 64;   // up to 2 KiB
  static constexpr std::size_t link_at = 32;   // INV-POOL-1
  static constexpr bool enumerable = true;
};

// Not 0: task blocks are being enumerated (or the kernel refuses membarrier), and allocation takes the cold path. INV-POOL-2.
inline constinit std::atomic<std::uint32_t> task_gate{0};

// What the pool writes into a free block, at Shape::link_at.
struct free_block {
  void* next;                  // in the list of a thread, or in a batch
  void* next_batch;            // of the first block of a batch in the depot
  std::uint32_t batch_count;   // likewise: its blocks
};

// The books of all pools of a shape: exact while nobody allocates or frees, approximate otherwise.
struct pool_stats {
  std::uint64_t carved = 0;            // blocks that exist in slabs
  std::uint64_t free_in_threads = 0;   // in the lists of running threads
  std::uint64_t free_in_depot = 0;
  std::uint64_t large = 0;             // live blocks from operator new
  std::uint64_t slabs = 0;
  std::uint64_t slab_bytes = 0;
  std::int64_t live() const noexcept { return static_cast<std::int64_t>(carved + large - free_in_threads - free_in_depot); }
};

struct pool_slab;     // scheduler/pool_store.hpp
template <class Shape>
struct pool_store;

template <class Shape>
class block_pool {
public:
  static constexpr std::size_t largest = Shape::granule * Shape::classes;
  static constexpr std::size_t smallest = 64;
  static_assert(Shape::link_at + sizeof(free_block) <= smallest && smallest % Shape::granule == 0);

  constexpr block_pool() noexcept = default;
  block_pool(block_pool const&) = delete;
  block_pool& operator=(block_pool const&) = delete;

  // At least `size` bytes, aligned to Shape::granule. Throws bad_alloc.
  [[nodiscard]] SKUA_INLINE void* allocate(std::size_t size) {
    if (SKUA_ACCOUNTING) increment(allocated_);
    if (SKUA_POOLED && is_open()) [[likely]] {
      std::size_t const c = class_of(size);
      if (c < Shape::classes) [[likely]] {
        list& l = lists_[c];
        if (void* const p = l.head) [[likely]] {
          l.head = words_of(p).next;
          l.set_room(l.get_room() + 1);
          return p;
        }
      }
    }
    void* const p = allocate_slow(size);
    if (p == nullptr) [[unlikely]] throw_bad_alloc();
    return p;
  }

  // `size` as it was given to allocate(), or that rounded up to the granule.
  SKUA_INLINE void deallocate(void* p, std::size_t size) noexcept {
    if (SKUA_ACCOUNTING) increment(freed_);
    if (SKUA_POOLED) {
      std::size_t const c = class_of(size);
      if (c < Shape::classes) [[likely]] {
        list& l = lists_[c];
        std::uint32_t left;
        if (!__builtin_sub_overflow(l.get_room(), 1u, &left)) [[likely]] {
          words_of(p).next = l.head;
          l.head = p;
          l.set_room(left);
          return;
        }
      }
    }
    deallocate_slow(p, size, *this);
  }

  // INV-POOL-5. Task blocks only; not from inside an enumeration.
  SKUA_INLINE static void wait_for_enumeration() noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);   // the mark before the look; the other side's heavy barrier does the rest
    if (task_gate.load(std::memory_order_acquire) != 0) [[unlikely]] wait_for_gate();   // acquire: pairs with the reopening
  }

  // Gives the free blocks of this thread to the depot: for a thread that is about to be idle for long.
  void trim() noexcept;

  // As at the exit of the thread: free blocks and unfinished slabs go to the depot. The pool may be used again.
  void leave() noexcept;

private:
  friend struct pool_store<Shape>;
  enum class phase : std::uint8_t { fresh, registered, exited };

  struct list {
    void* head = nullptr;
    std::atomic<std::uint32_t> room{0};   // how many more it takes. Written by its thread, read by stats: relaxed, a count
    SKUA_INLINE std::uint32_t get_room() const noexcept { return room.load(std::memory_order_relaxed); }
    SKUA_INLINE void set_room(std::uint32_t n) noexcept { room.store(n, std::memory_order_relaxed); }
  };

  static constexpr std::size_t class_of(std::size_t size) noexcept {
    if constexpr (Shape::granule < smallest)
      if (size < smallest) size = smallest;
    return (size - 1) / Shape::granule;
  }
  static constexpr std::size_t bytes_of(std::size_t c) noexcept { return (c + 1) * Shape::granule; }
  SKUA_INLINE static free_block& words_of(void* p) noexcept {
    return *reinterpret_cast<free_block*>(static_cast<char*>(p) + Shape::link_at);
  }
  SKUA_INLINE static bool is_open() noexcept {
    if constexpr (Shape::enumerable)
      return task_gate.load(std::memory_order_relaxed) == 0;   // relaxed: the other side's heavy barrier, INV-POOL-2
    else
      return true;
  }
  SKUA_INLINE static void increment(std::atomic<std::uint64_t>& n) noexcept {   // own thread only; relaxed: a count
    n.store(n.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  // Null: no memory.
  SKUA_PRESERVE_MOST SKUA_COLD void* allocate_slow(std::size_t size) noexcept;
  SKUA_PRESERVE_MOST SKUA_COLD static void deallocate_slow(void* p, std::size_t size, block_pool& pool) noexcept;   // p first: it is in place
  SKUA_COLD static void wait_for_gate() noexcept;
  void enter() noexcept;
  void empty_lists(bool with_slabs) noexcept;
  bool refill(std::size_t c) noexcept;
  bool carve(std::size_t c) noexcept;
  void flush(std::size_t c) noexcept;

  list lists_[Shape::classes];
  pool_slab* slabs_[Shape::classes] = {};      // the slab that this thread carves from; null: none
  std::uint8_t slab_doublings_[Shape::classes] = {};
  phase phase_ = phase::fresh;
  std::atomic<std::uint64_t> allocated_{0}, freed_{0};   // SKUA_ACCOUNTING only. Written by its thread, read by live_frames()
  block_pool *next_ = nullptr, *previous_ = nullptr;     // in the store's list of registered pools, with its lock
  block_pool* next_of_thread_ = nullptr;                 // in the list of those that this thread leaves when it exits
};

using frame_pool = block_pool<frame_shape>;
using task_pool = block_pool<task_shape>;
extern template class block_pool<frame_shape>;
extern template class block_pool<task_shape>;
static_assert(std::is_trivially_destructible_v<frame_pool> && std::is_trivially_destructible_v<task_pool>);

pool_stats frame_pool_stats() noexcept;
pool_stats task_pool_stats() noexcept;

// Blocks that are allocated and not freed, by all threads, those that have exited included. With SKUA_ACCOUNTING counted block by block,
// otherwise taken from the books above.
std::int64_t live_frames() noexcept;
std::int64_t live_task_blocks() noexcept;

// Calls visit(context, block, size) for every task block, live or free, in no order, while other threads allocate (they wait) and free.
// `visit` may read and change the first 32 bytes of the block, by atomic operations; it must not allocate or free task blocks. One at a time.
void for_each_task_block(void (*visit)(void* context, void* block, std::size_t size), void* context);

template <class F>
void for_each_task_block(F&& visit) {
  for_each_task_block([](void* f, void* block, std::size_t size) { (*static_cast<std::remove_reference_t<F>*>(f))(block, size); },
                      const_cast<void*>(static_cast<void const*>(&visit)));
}

} // namespace skua::detail

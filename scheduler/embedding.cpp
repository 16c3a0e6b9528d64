// SPDX-License-Identifier: Apache-2.0
// Blocks of tasks and the frames placed in them; detail/spawn_block.hpp explains, INV-EMBED-1 and 2 are defined there.
#include "skua/detail/embedding.hpp"
#include "skua/detail/spin_lock.hpp"
#include "skua/task.hpp"
#include <atomic>
#include <mutex>
#include <new>

namespace skua::detail {

namespace {

// Blocks in which a frame lives that is not their task's. Rare: a function that makes several coroutines and returns one of them. The list must need no
// memory, so it runs through the blocks: `parent` is its link while a block is in it. By the stray frame's address, so that many do no harm.
class stray_list {
public:
  bool empty() const noexcept { return count_.load(std::memory_order_acquire) == 0; }   // almost always
  void add(task_header& h, void* frame) noexcept {
    std::lock_guard g(lock_);
    task_header*& first = bucket(frame);
    set(h, first, false);
    first = &h;
    count_.fetch_add(1, std::memory_order_release);
  }
  // The block is to be freed. True: the stray frame in it will do that.
  bool block_ended(task_header& h) noexcept {
    std::lock_guard g(lock_);
    if ((link(h) & task_header::has_stray) == 0) return false;
    set(h, next(h), true);
    return true;
  }
  // The frame is gone. Returns the block if it was a stray, and its block is to be freed now.
  task_header* frame_ended(void* frame) noexcept {
    std::lock_guard g(lock_);
    task_header* before = nullptr;
    for (task_header* h = bucket(frame); h != nullptr; before = h, h = next(*h)) {
      auto const offset = static_cast<std::size_t>(static_cast<char*>(frame) - static_cast<char*>(static_cast<void*>(h)));
      if (offset >= std::size_t{h->block_units} * 32) continue;   // also when the frame lies before it
      if (before != nullptr)
        set(*before, next(*h), (link(*before) & ended) != 0);
      else
        bucket(frame) = next(*h);
      bool const free_it = (link(*h) & ended) != 0;
      std::atomic_ref(h->parent).store(0, std::memory_order_relaxed);
      count_.fetch_sub(1, std::memory_order_release);
      return free_it ? h : nullptr;
    }
    return nullptr;
  }

private:
  static constexpr std::uint64_t ended = 1;
  static std::uint64_t link(task_header& h) noexcept { return std::atomic_ref(h.parent).load(std::memory_order_relaxed); }
  static task_header* next(task_header& h) noexcept {
    return reinterpret_cast<task_header*>(static_cast<std::uintptr_t>(link(h) & ~(task_header::has_stray | ended)));
  }
  // Atomic for inspection, which may look at `parent` at any time.
  static void set(task_header& h, task_header* next, bool has_ended) noexcept {
    std::atomic_ref(h.parent).store(task_header::has_stray | reinterpret_cast<std::uintptr_t>(next) | (has_ended ? ended : 0),
                                    std::memory_order_relaxed);
  }
  task_header*& bucket(void* frame) noexcept { return buckets_[reinterpret_cast<std::uintptr_t>(frame) / 32 % 256]; }

  spin_lock<> lock_;
  std::atomic<std::size_t> count_{0};
  task_header* buckets_[256] = {};
};
constinit stray_list strays;

void release_block(task_header* h) noexcept { tl.task_blocks.deallocate(h, std::size_t{h->block_units} * 32); }

} // namespace

void* allocate_task_block(std::size_t size) { return tl.task_blocks.allocate(size); }

void free_task_block(task_header* h) noexcept {
  h->state.close();   // INV-TASK-1
  task_pool::wait_for_enumeration();                              // INV-TASK-3
  note_free(*h);
  release(h->label);
  if (!strays.empty()) [[unlikely]]
    if (strays.block_ended(*h)) return;
  release_block(h);
}

void init_header(task_header& h, std::uint32_t size, task_kind const& kind, task_label label, std::uint16_t owner) noexcept {
  h.word_.store(0, std::memory_order_relaxed);
  h.branch = nullptr;
  h.outcome = task_header::value;
  h.taken = false;
  h.reason.store(stop_reason::none, std::memory_order_relaxed);
  h.stop_count.store(task_header::not_counted, std::memory_order_relaxed);
  h.block_units = static_cast<std::uint16_t>((size + 31) / 32);
  h.kind = &kind;
  h.label = label;
  h.link = 0;
  if (tl.id_left == 0) [[unlikely]] refill_ids();
  --tl.id_left;
  h.id = tl.next_id++;
  task_header const* const parent = current_task();
  h.parent = parent != nullptr ? parent->id : 0;
  h.owner_index.store(owner, std::memory_order_release);            // of a fresh block `state` says running already
  h.state.open();   // INV-TASK-1
}

void unborn_block::discard() noexcept { free_task_block(h_); }

void* allocate_embedded(std::size_t size) {
  void* const place = std::exchange(tl.embed_at, nullptr);   // INV-EMBED-1
  constexpr std::size_t largest = 1536;   // frames that would take the block out of the pool's classes lie by themselves (S16)
  tl.embed_used = size > largest ? 0 : static_cast<std::uint32_t>(size);
#if !SKUA_ASAN
  if (size <= tl.embed_size) return tl.embed_stray = place;
#else
  (void)place;
#endif
  return tl.pool.allocate(size);
}

void release_embedded(void* frame) noexcept {
  if (tl.embed_stray == frame) tl.embed_stray = nullptr;   // died inside the callable
  if (strays.empty()) [[likely]] return;
  if (task_header* const h = strays.frame_ended(frame)) release_block(h);
}

void embedding::keep_stray(task_header& h, void* frame) noexcept { strays.add(h, frame); }

} // namespace skua::detail

// SPDX-License-Identifier: Apache-2.0
// Blocks of tasks and the frames placed in them; detail/spawn_block.hpp explains, INV-EMBED-1 and 2 are defined there.
#include "skua/detail/embedding.hpp"
#include "skua/task.hpp"
#include <mutex>
#include <new>
#include <unordered_map>

namespace skua::detail {

namespace {

// Frames that lie in a block that is not their task's. Rare: a function that makes several coroutines and returns one of them.
struct stray_table {
  struct entry {
    task_header* block;
    bool block_ended = false;
  };
  std::mutex lock;
  std::unordered_map<void*, entry> by_frame;
  std::atomic<std::size_t> count{0};   // read without the lock: 0 almost always
};
stray_table& strays() {
  static auto* t = new stray_table;   // never destroyed: frames may die during exit
  return *t;
}

void release_block(task_header* h) noexcept { tl.task_blocks.deallocate(h, std::size_t{h->block_units} * 32); }

} // namespace

void* allocate_task_block(std::size_t size) { return tl.task_blocks.allocate(size); }

void free_task_block(task_header* h) noexcept {
  h->state.close();   // INV-TASK-1
  task_pool::wait_for_enumeration();                              // INV-TASK-3
  note_free(*h);
  release_context(h->context);
  stray_table& t = strays();
  if (t.count.load(std::memory_order_acquire) != 0) [[unlikely]] {
    std::lock_guard g(t.lock);
    for (auto& [frame, e] : t.by_frame)
      if (e.block == h) {
        e.block_ended = true;
        return;
      }
  }
  release_block(h);
}

void init_header(task_header& h, std::uint32_t size, task_kind const& kind, task_context* context, std::uint16_t owner,
                 std::source_location site) noexcept {
  h.word_.store(0, std::memory_order_relaxed);
  h.branch = nullptr;
  h.outcome = task_header::value;
  h.taken = false;
  h.reason.store(stop_reason::none, std::memory_order_relaxed);
  h.stop_count.store(task_header::not_counted, std::memory_order_relaxed);
  h.block_units = static_cast<std::uint16_t>((size + 31) / 32);
  h.kind = &kind;
  h.context = context;
  ::new (&h.site) std::source_location(site);
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
  stray_table& t = strays();
  if (t.count.load(std::memory_order_acquire) == 0) [[likely]] return;
  task_header* ended = nullptr;
  {
    std::lock_guard g(t.lock);
    auto const at = t.by_frame.find(frame);
    if (at == t.by_frame.end()) return;
    if (at->second.block_ended) ended = at->second.block;
    t.by_frame.erase(at);
    t.count.fetch_sub(1, std::memory_order_release);
  }
  if (ended != nullptr) release_block(ended);
}

void embedding::keep_stray(task_header& h, void* frame) noexcept {
  stray_table& t = strays();
  std::lock_guard g(t.lock);
  t.by_frame.emplace(frame, stray_table::entry{&h});
  t.count.fetch_add(1, std::memory_order_release);
}

} // namespace skua::detail

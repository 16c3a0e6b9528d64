// SPDX-License-Identifier: Apache-2.0
// The pools of frames and task blocks: classes and alignment, the way of blocks between threads, the books, enumeration.
#include "skua/detail/frame_pool.hpp"
#include <atomic>
#include <cstring>
#include <gtest/gtest.h>
#include <set>
#include <thread>
#include <vector>

namespace {

using skua::detail::frame_pool;
using skua::detail::frame_pool_stats;
using skua::detail::live_frames;
using skua::detail::live_task_blocks;
using skua::detail::task_pool;
using skua::detail::task_pool_stats;

constinit thread_local frame_pool frames;
constinit thread_local task_pool tasks;

#define SKIP_UNLESS_POOLED() \
  if (!SKUA_POOLED) GTEST_SKIP() << "the pools are compiled out"

template <class F>
void on_another_thread(F f) {
  std::thread(f).join();
}

std::uintptr_t address(void* p) { return reinterpret_cast<std::uintptr_t>(p); }

TEST(FramePool, aligns_every_block_to_a_cache_line) {
  for (std::size_t size = 1; size < 5000; size += 37) {
    void* const p = frames.allocate(size);
    EXPECT_EQ(address(p) % 64, 0u) << size;
    std::memset(p, 0xab, size);
    frames.deallocate(p, size);
  }
}

TEST(FramePool, gives_distinct_blocks) {
  std::vector<std::pair<char*, std::size_t>> live;
  for (std::size_t i = 0; i != 2000; ++i) {
    std::size_t const size = 1 + i * 7 % 3000;
    auto* const p = static_cast<char*>(frames.allocate(size));
    std::memset(p, static_cast<int>(i % 251), size);
    live.emplace_back(p, size);
  }
  for (std::size_t i = 0; i != live.size(); ++i) {
    auto const [p, size] = live[i];
    ASSERT_TRUE(p[0] == static_cast<char>(i % 251) && std::memcmp(p, p + 1, size - 1) == 0) << i;
    frames.deallocate(p, size);
  }
}

TEST(FramePool, gives_back_the_block_that_was_freed_last) {
  SKIP_UNLESS_POOLED();
  void* const p = frames.allocate(200);
  frames.deallocate(p, 200);
  void* const q = frames.allocate(193);
  EXPECT_EQ(p, q);
  frames.deallocate(q, 193);
}

TEST(FramePool, counts_what_is_live) {
  std::int64_t const before = live_frames();
  void* const small = frames.allocate(100);
  void* const large = frames.allocate(10'000);
  EXPECT_EQ(live_frames(), before + 2);
  on_another_thread([&] { frames.deallocate(small, 100); });   // freed elsewhere, by a thread that has exited
  EXPECT_EQ(live_frames(), before + 1);
  frames.deallocate(large, 10'000);
  EXPECT_EQ(live_frames(), before);
}

TEST(FramePool, keeps_a_flat_footprint_between_producer_and_consumer) {
  SKIP_UNLESS_POOLED();
  constexpr std::size_t size = 300, window = 1000;
  std::vector<std::atomic<void*>> ring(window);
  std::uint64_t after_warm_up = 0;
  std::thread consumer([&] {
    for (std::size_t i = 0; i != 200 * window; ++i) {
      void* p;
      while ((p = ring[i % window].exchange(nullptr, std::memory_order_acquire)) == nullptr) std::this_thread::yield();
      frames.deallocate(p, size);
    }
  });
  for (std::size_t i = 0; i != 200 * window; ++i) {
    while (ring[i % window].load(std::memory_order_acquire) != nullptr) std::this_thread::yield();
    ring[i % window].store(frames.allocate(size), std::memory_order_release);
    if (i == 20 * window) after_warm_up = frame_pool_stats().carved;
  }
  consumer.join();
  // At most a full window, and what two threads and the depot may hold meanwhile.
  EXPECT_LE(frame_pool_stats().carved, after_warm_up + window + 500);
}

TEST(FramePool, returns_everything_when_a_thread_exits) {
  SKIP_UNLESS_POOLED();
  auto const work = [] {
    std::vector<void*> live;
    for (std::size_t i = 0; i != 500; ++i) live.push_back(frames.allocate(64 + i % 20 * 64));
    for (std::size_t i = 0; i != 500; ++i) frames.deallocate(live[i], 64 + i % 20 * 64);
  };
  std::int64_t const live = live_frames();
  on_another_thread(work);
  auto const first = frame_pool_stats();
  for (int i = 0; i != 20; ++i) on_another_thread(work);
  auto const last = frame_pool_stats();
  EXPECT_EQ(live_frames(), live);
  EXPECT_EQ(last.carved, first.carved);
  EXPECT_EQ(last.slab_bytes, first.slab_bytes);
}

TEST(FramePool, returns_unfinished_slabs_when_a_thread_exits) {
  SKIP_UNLESS_POOLED();
  void* kept[64];
  on_another_thread([&] { kept[0] = frames.allocate(1984); });
  auto const before = frame_pool_stats();
  for (std::size_t i = 1; i != 8; ++i) on_another_thread([&] { kept[i] = frames.allocate(1984); });
  EXPECT_EQ(frame_pool_stats().slab_bytes, before.slab_bytes) << "each thread mapped a slab of its own";
  for (std::size_t i = 0; i != 8; ++i) frames.deallocate(kept[i], 1984);
}

TEST(FramePool, registers_a_thread_that_only_frees) {
  SKIP_UNLESS_POOLED();
  void* const p = frames.allocate(1216);
  std::int64_t const live = frame_pool_stats().live();
  on_another_thread([&] { frames.deallocate(p, 1216); });
  EXPECT_EQ(frame_pool_stats().live(), live - 1);
}

// Frames die in destructors of thread-locals that run after the pool has been left.
struct dies_late {
  void* p = nullptr;
  std::size_t size = 0;
  ~dies_late() {
    if (p == nullptr) return;
    frames.deallocate(p, size);
    frames.deallocate(frames.allocate(448), 448);
  }
};
thread_local dies_late late;

TEST(FramePool, serves_a_thread_that_has_left_its_pool) {
  std::int64_t const live = live_frames();
  on_another_thread([] {
    late.size = 832;   // made first, so that it is destroyed last, after the pool was left
    late.p = frames.allocate(late.size);
  });
  EXPECT_EQ(live_frames(), live);
}

TEST(FramePool, gives_its_lists_to_the_depot_on_trim) {
  SKIP_UNLESS_POOLED();
  void* const p = frames.allocate(128);
  frames.deallocate(p, 128);
  std::int64_t const live = frame_pool_stats().live();
  auto const in_depot = frame_pool_stats().free_in_depot;
  frames.trim();
  EXPECT_GT(frame_pool_stats().free_in_depot, in_depot);
  EXPECT_EQ(frame_pool_stats().live(), live);
  on_another_thread([] {
    auto const carved = frame_pool_stats().carved;
    frames.deallocate(frames.allocate(128), 128);
    EXPECT_EQ(frame_pool_stats().carved, carved) << "the depot was not asked";
  });
}

TEST(FramePool, can_be_left_and_used_again) {
  std::int64_t const live = live_frames();
  void* const p = frames.allocate(128);
  frames.leave();
  frames.leave();
  frames.trim();
  frames.deallocate(p, 128);
  EXPECT_EQ(live_frames(), live);
}

TEST(FramePool, maps_few_slabs_for_many_frames) {
  SKIP_UNLESS_POOLED();
  constexpr std::size_t many = 200'000;
  auto const before = frame_pool_stats();
  std::vector<void*> live;
  live.reserve(many);
  for (std::size_t i = 0; i != many; ++i) live.push_back(frames.allocate(320));
  auto const after = frame_pool_stats();
  EXPECT_LT(after.slabs - before.slabs, 80u);
  EXPECT_LT(after.slab_bytes - before.slab_bytes, many * 320 + (std::size_t{2} << 20));
  for (void* p : live) frames.deallocate(p, 320);
}

// ------------------------------------------------------------------------------------------------ task blocks

struct header {   // what an enumerator may read
  std::atomic<std::uint64_t> id;
  std::atomic<std::uint64_t> state;
  std::atomic<std::uint64_t> generation;
  std::atomic<std::uint64_t> reserved;
};
header& header_of(void* p) { return *static_cast<header*>(p); }

std::set<void*> enumerate() {
  std::set<void*> seen;
  skua::detail::for_each_task_block([&](void* p, std::size_t size) {
    EXPECT_GE(size, 64u);
    EXPECT_TRUE(seen.insert(p).second) << "visited twice";
  });
  return seen;
}

TEST(TaskPool, aligns_to_half_a_cache_line_in_steps_of_half_a_cache_line) {
  std::vector<std::pair<void*, std::size_t>> live;
  for (std::size_t size = 1; size < 5000; size += 31) {
    live.emplace_back(tasks.allocate(size), size);
    EXPECT_EQ(address(live.back().first) % 32, 0u) << size;
  }
  for (auto [p, size] : live) tasks.deallocate(p, (size + 31) / 32 * 32);   // rounded, as task headers keep it
}

TEST(TaskPool, fresh_blocks_begin_with_zeros) {
  for (std::size_t size : {608u, 1536u, 9000u}) {
    void* const p = tasks.allocate(size);
    static constexpr char zeros[32] = {};
    EXPECT_EQ(std::memcmp(p, zeros, 32), 0);
    tasks.deallocate(p, size);
  }
}

TEST(TaskPool, leaves_the_first_bytes_of_a_freed_block_alone) {
  SKIP_UNLESS_POOLED();
  std::vector<void*> live;
  for (int i = 0; i != 1000; ++i) {
    live.push_back(tasks.allocate(96));
    std::memset(live.back(), 0x5a, 96);
  }
  for (void* p : live) tasks.deallocate(p, 96);
  tasks.trim();
  for (void* p : live)
    for (int i = 0; i != 32; ++i) ASSERT_EQ(static_cast<unsigned char*>(p)[i], 0x5a);
}

TEST(TaskPool, enumerates_live_and_free_blocks_of_all_threads) {
  void* const here = tasks.allocate(160);
  void* const large = tasks.allocate(5000);
  void* const freed = tasks.allocate(224);
  void* there = nullptr;
  tasks.deallocate(freed, 224);
  on_another_thread([&] { there = tasks.allocate(288); });
  std::set<void*> const seen = enumerate();
  EXPECT_TRUE(seen.contains(here));
  EXPECT_TRUE(seen.contains(there));
  EXPECT_TRUE(seen.contains(large));
  EXPECT_EQ(seen.contains(freed), SKUA_POOLED != 0);
  tasks.deallocate(large, 5000);
  EXPECT_FALSE(enumerate().contains(large));
  tasks.deallocate(here, 160);
  tasks.deallocate(there, 288);
}

TEST(TaskPool, never_changes_the_class_of_a_block) {
  SKIP_UNLESS_POOLED();
  std::set<void*> first;
  for (int i = 0; i != 300; ++i) first.insert(tasks.allocate(128));
  for (void* p : first) tasks.deallocate(p, 128);
  tasks.leave();
  for (std::size_t size : {96u, 160u, 192u, 1024u})
    for (int i = 0; i != 300; ++i) {
      void* const p = tasks.allocate(size);
      EXPECT_FALSE(first.contains(p));
      tasks.deallocate(p, size);
    }
}

// While somebody enumerates, freed blocks are not allocated again; allocation goes on afterwards.
TEST(TaskPool, reuses_no_block_that_was_freed_during_an_enumeration) {
  std::atomic<bool> done{false};
  std::atomic<int> reused{0};
  std::atomic<std::uint64_t> allocations{0};
  std::vector<std::atomic<void*>> slots(256);   // one thread fills them, the other empties them: blocks travel through the depot
  auto const bury = [](void* p) {
    if (p == nullptr) return;
    header_of(p).state.store(1, std::memory_order_release);   // free
    tasks.deallocate(p, 128);
  };
  std::thread filler([&] {
    for (std::size_t i = 0; !done.load(std::memory_order_relaxed); ++i) {
      void* const p = tasks.allocate(128);
      header_of(p).generation.fetch_add(1, std::memory_order_relaxed);
      header_of(p).state.store(2, std::memory_order_release);   // live
      allocations.fetch_add(1, std::memory_order_relaxed);
      bury(slots[i * 7 % slots.size()].exchange(p, std::memory_order_acq_rel));
      if (i % slots.size() == 0) std::this_thread::yield();
    }
  });
  std::thread emptier([&] {
    for (std::size_t i = 0; !done.load(std::memory_order_relaxed); ++i) {
      bury(slots[i * 11 % slots.size()].exchange(nullptr, std::memory_order_acq_rel));
      if (i % slots.size() == 0) std::this_thread::yield();
    }
  });
  for (int round = 0; round != 300; ++round) {
    struct found {
      header* h;
      std::uint64_t generation;
    };
    std::vector<found> live;
    skua::detail::for_each_task_block([&](void* p, std::size_t size) {
      header& h = header_of(p);
      if (size == 128 && h.state.load(std::memory_order_acquire) == 2) live.push_back({&h, h.generation.load(std::memory_order_relaxed)});
      // Whoever was live a while ago is the same, or free.
      for (std::size_t i = 0; i < live.size(); i += 16)
        if (live[i].h->state.load(std::memory_order_acquire) == 2 && live[i].h->generation.load(std::memory_order_relaxed) != live[i].generation)
          reused.fetch_add(1);
    });
    std::this_thread::yield();
  }
  EXPECT_EQ(reused.load(), 0);
  std::uint64_t const before = allocations.load();
  while (allocations.load() == before) std::this_thread::yield();   // the gate is open again
  done.store(true);
  filler.join();
  emptier.join();
  for (auto& slot : slots) bury(slot.load());
}

TEST(TaskPool, counts_what_is_live) {
  std::int64_t const before = live_task_blocks();
  void* const p = tasks.allocate(100);
  void* const q = tasks.allocate(4096);
  EXPECT_EQ(live_task_blocks(), before + 2);
  tasks.deallocate(p, 100);
  tasks.deallocate(q, 4096);
  EXPECT_EQ(live_task_blocks(), before);
  EXPECT_EQ(skua::detail::task_gate.load(), 0u) << "an enumeration left the gate closed (or the kernel refuses membarrier)";
}

} // namespace

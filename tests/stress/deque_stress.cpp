// SPDX-License-Identifier: Apache-2.0
// The deque under load: an owner that pushes, pops and takes the oldest at random, thieves that steal all the time. Every id is seen exactly
// once, by whomever, with what was written into it before the push. The ring starts with two slots: it grows, and wraps all the time.
// SKUA_STRESS_ITEMS: how many (default 400,000). SKUA_SEED replays the owner's choices.
#include "skua/detail/deque.hpp"
#include <atomic>
#include <cstdlib>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using skua::detail::item;

unsigned long from_environment(char const* name, unsigned long otherwise) {
  char const* const s = std::getenv(name);
  return s != nullptr ? std::strtoul(s, nullptr, 10) : otherwise;
}

struct load {
  explicit load(std::size_t n) : contents(n + 1), seen(std::make_unique<std::atomic<unsigned char>[]>(n + 1)), items(n) {}
  ~load() { queue.release(); }

  void take(item x) {
    if (x == 0) return;
    ASSERT_LE(x, items);
    EXPECT_EQ(contents[x], x * 3);
    EXPECT_EQ(seen[x].fetch_add(1, std::memory_order_relaxed), 0) << "taken twice: " << x;
  }
  void thief() {
    bool lost = false;
    while (!done.load(std::memory_order_acquire)) {
      take(queue.steal(lost));
      if (queue.looks_empty()) std::this_thread::yield();
    }
  }
  void owner(unsigned long seed, unsigned burst) {
    std::mt19937 engine(static_cast<std::mt19937::result_type>(seed));
    auto const random = [&] { return static_cast<unsigned>(engine()); };
    for (item next = 1; next <= items;) {
      for (unsigned n = 1 + random() % burst; n != 0 && next <= items; --n, ++next) {
        contents[next] = next * 3;
        queue.push(next);
      }
      for (unsigned n = random() % burst; n != 0; --n) take(random() % 4 == 0 ? queue.take_oldest() : queue.pop());
    }
    while (!queue.looks_empty()) take(queue.pop());
  }
  void run(unsigned thieves, unsigned burst) {
    unsigned long const seed = from_environment("SKUA_SEED", std::random_device{}());
    SCOPED_TRACE("replay with SKUA_SEED=" + std::to_string(seed));
    queue.init(2);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i != thieves; ++i) threads.emplace_back([this] { thief(); });
    owner(seed, burst);
    done.store(true, std::memory_order_release);
    for (auto& t : threads) t.join();
    for (item x = 1; x <= items; ++x) ASSERT_EQ(seen[x].load(std::memory_order_relaxed), 1) << "lost: " << x;
  }

  skua::detail::work_deque<> queue;
  std::vector<item> contents;
  std::unique_ptr<std::atomic<unsigned char>[]> seen;
  std::size_t items;
  std::atomic<bool> done{false};
};

std::size_t items() { return from_environment("SKUA_STRESS_ITEMS", 400'000); }

TEST(DequeStress, nearly_empty_with_one_thief) { load(items()).run(1, 2); }
TEST(DequeStress, nearly_empty_with_three_thieves) { load(items()).run(3, 3); }
TEST(DequeStress, grows_in_bursts) { load(items()).run(2, 3000); }

// The lifo slot beside the deque: the owner fills and empties it, a thief takes by CAS.
TEST(DequeStress, lifo_slot_is_taken_by_one) {
  load l(items());
  std::thread thief([&] {
    while (!l.done.load(std::memory_order_acquire)) {
      item x = l.queue.lifo.load(std::memory_order_relaxed);
      if (x != 0 && l.queue.lifo.compare_exchange_strong(x, 0, std::memory_order_acquire, std::memory_order_relaxed)) l.take(x);
    }
  });
  for (item next = 1; next <= l.items; ++next) {
    l.contents[next] = next * 3;
    if (l.queue.lifo.load(std::memory_order_relaxed) == 0)
      l.queue.lifo.store(next, std::memory_order_release);
    else
      l.take(l.queue.lifo.exchange(next, std::memory_order_acq_rel));
    if (next % 3 == 0) l.take(l.queue.lifo.exchange(0, std::memory_order_acq_rel));
  }
  l.take(l.queue.lifo.exchange(0, std::memory_order_acq_rel));
  l.done.store(true, std::memory_order_release);
  thief.join();
  for (item x = 1; x <= l.items; ++x) ASSERT_EQ(l.seen[x].load(std::memory_order_relaxed), 1) << "lost: " << x;
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
// The deque under load: an owner that pushes, pops and takes the oldest at random, thieves that steal all the time. Every id is seen exactly
// once, by whomever, with what was written into it before the push. Every round begins with a ring of two slots: it wraps and grows.
// The LIFO slot beside the deque has rounds of its own: with the barrier on all threads, and without.
//
// usage: deque_stress [--seconds S] [--seed N] [--workers THIEVES]
#include "skua/detail/deque.hpp"
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace {

using skua::detail::item;

std::atomic<int> failures{0};
void expect(bool good, char const* what, item x) {
  if (good || failures.fetch_add(1) >= 20) return;
  std::printf("item %llu: %s\n", static_cast<unsigned long long>(x), what);
}

class round_of_work {
public:
  explicit round_of_work(std::size_t n)
      : contents_(n + 1), seen_(std::make_unique<std::atomic<unsigned char>[]>(n + 1)), items_(n) {
    queue_.init(2);
  }
  ~round_of_work() { queue_.release(); }

  void steal_and_pop(unsigned seed, unsigned thieves, unsigned burst) {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i != thieves; ++i)
      threads.emplace_back([this] {
        bool lost = false;
        while (!done_.load(std::memory_order_acquire)) {
          take(queue_.steal(lost));
          if (queue_.looks_empty()) std::this_thread::yield();
        }
      });
    std::mt19937 engine(seed);
    auto const below = [&](unsigned n) { return static_cast<unsigned>(engine()) % n; };
    for (item next = 1; next <= items_;) {
      for (unsigned n = 1 + below(burst); n != 0 && next <= items_; --n) queue_.push(make(next++));
      for (unsigned n = below(burst); n != 0; --n) take(below(4) == 0 ? queue_.take_oldest() : queue_.pop());
    }
    while (!queue_.looks_empty()) take(queue_.pop());
    finish(threads);
  }

  void lifo_slot(unsigned thieves, bool have_barrier) {
    queue_.lifo.reset(have_barrier);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i != thieves; ++i)
      threads.emplace_back([this, i] {
        while (!done_.load(std::memory_order_acquire)) {
          if (item const x = queue_.lifo.peek()) take(queue_.lifo.steal(i, x));
          if (queue_.lifo.looks_empty()) std::this_thread::yield();
        }
      });
    for (item next = 1; next <= items_; ++next) {
      take(queue_.lifo.put(make(next)));
      if (next % 3 == 0) take(queue_.lifo.take());
      if (next % 64 == 0) std::this_thread::yield();   // with something in it, on one core as well
    }
    take(queue_.lifo.take());
    finish(threads);
  }

private:
  item make(item x) {
    contents_[x] = x * 3;
    return x;
  }
  void take(item x) {
    if (x == 0) return;
    if (x > items_) return expect(false, "was never pushed", x);
    expect(contents_[x] == x * 3, "has the wrong contents", x);
    expect(seen_[x].fetch_add(1, std::memory_order_relaxed) == 0, "was taken twice", x);
  }
  void finish(std::vector<std::thread>& threads) {
    done_.store(true, std::memory_order_release);
    for (auto& t : threads) t.join();
    for (item x = 1; x <= items_; ++x) expect(seen_[x].load(std::memory_order_relaxed) == 1, "is lost", x);
  }

  skua::detail::work_deque<> queue_;
  std::vector<item> contents_;
  std::unique_ptr<std::atomic<unsigned char>[]> seen_;
  std::size_t items_;
  std::atomic<bool> done_{false};
};

} // namespace

int main(int argc, char** argv) {
  double seconds = 5;
  auto seed = static_cast<unsigned>(std::random_device{}());
  unsigned thieves = 3;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--seconds") == 0) seconds = std::atof(argv[i + 1]);
    if (std::strcmp(argv[i], "--seed") == 0) seed = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
    if (std::strcmp(argv[i], "--workers") == 0) thieves = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
  }
  std::printf("seed %u, %u thieves\n", seed, thieves);
  auto const end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  bool const have_barrier = skua::detail::register_heavy_barrier();
  std::uint64_t rounds = 0;
  do {
    constexpr std::size_t items = 100'000;
    round_of_work(items).steal_and_pop(seed, 1, 2);          // nearly empty: the last item, and indices used again
    round_of_work(items).steal_and_pop(seed, thieves, 3);
    round_of_work(items).steal_and_pop(seed, thieves, 3000); // grows
    round_of_work(items).lifo_slot(1, have_barrier);
    round_of_work(items).lifo_slot(thieves, have_barrier);
    round_of_work(items).lifo_slot(thieves, false);
    ++rounds;
    ++seed;
  } while (failures == 0 && std::chrono::steady_clock::now() < end);
  std::printf("%s: %llu rounds\n", failures == 0 ? "ok" : "FAILED", static_cast<unsigned long long>(rounds));
  return failures == 0 ? 0 : 1;
}

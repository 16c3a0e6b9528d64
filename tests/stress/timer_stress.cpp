// SPDX-License-Identifier: Apache-2.0
// Timers under load: every thread arms timers a few microseconds ahead on its own queue, disarms others' around their deadlines, and
// expires its queue; one more expires all queues, as the I/O thread does. Every timer is fired or disarmed exactly once, never early, none
// is forgotten, and its memory is poisoned and freed as soon as the protocol allows.
//
// usage: timer_stress [--seconds S] [--seed N] [--workers THREADS]
#include "scheduler/timer_queue.hpp"
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <thread>
#include <vector>

namespace {

using skua::detail::timer_entry;
using skua::detail::timer_never_ns;
using skua::detail::timer_queue;

std::uint64_t now_ns() {
  using namespace std::chrono;
  return static_cast<std::uint64_t>(duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

std::atomic<int> failures{0};
void expect(bool good, char const* what) {
  if (!good && failures.fetch_add(1) < 20) std::printf("%s\n", what);
}

struct counters {
  std::atomic<std::uint64_t> armed{0}, fired{0}, disarmed{0}, refused{0};
};
counters total;

// What a coroutine frame would be. parties: who disarms it (or gives it up), who fires it.
struct frame {
  timer_entry timer;   // first: the entry's address is the frame's
  std::uint64_t deadline = 0;
  std::atomic<int> parties{2};
  std::atomic<int> ended{0};

  static void bury(frame* f) {
    f->~frame();
    std::memset(static_cast<void*>(f), 0xEE, sizeof(frame));
    ::operator delete(f);
  }
  static void leave(frame* f) {
    if (f->parties.fetch_sub(1, std::memory_order_acq_rel) == 1) bury(f);
  }
};

class test {
public:
  test(unsigned threads, unsigned seed, double seconds) : seed_(seed), until_(now_ns() + static_cast<std::uint64_t>(seconds * 1e9)) {
    for (unsigned i = 0; i != threads; ++i) queues_.push_back(std::make_unique<timer_queue>(now_ns()));
  }
  void run() {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i != queues_.size(); ++i) threads.emplace_back([this, i] { arm_and_disarm(i); });
    threads.emplace_back([this] {
      while (now_ns() < until_) {
        for (auto& q : queues_) expire(*q, 256);
        std::this_thread::yield();
      }
    });
    for (std::thread& t : threads) t.join();
    for (auto& slot : exchange_) disarm(slot.exchange(nullptr));
    for (auto& q : queues_)
      while (q->next_deadline() != timer_never_ns) expire(*q, 7);
    expect(total.fired + total.disarmed == total.armed, "a timer was forgotten, or came twice");
  }

private:
  static void expire(timer_queue& q, std::size_t most) {
    std::uint64_t const now = now_ns();
    q.expire(now, most, [&](timer_entry& t) {
      frame* const f = reinterpret_cast<frame*>(&t);
      expect(f->ended.exchange(1) == 0, "fired after its end");
      expect(f->deadline <= now_ns(), "fired early");
      total.fired.fetch_add(1, std::memory_order_relaxed);
      frame::leave(f);
    });
  }
  static void disarm(frame* f) {
    if (f == nullptr) return;
    if (timer_queue::disarm(f->timer)) {
      expect(f->ended.exchange(2) == 0, "disarmed after its end");
      total.disarmed.fetch_add(1, std::memory_order_relaxed);
      frame::bury(f);
    } else {
      total.refused.fetch_add(1, std::memory_order_relaxed);
      frame::leave(f);
    }
  }

  void arm_and_disarm(unsigned index) {
    std::mt19937 engine(seed_ + index);
    auto const below = [&](unsigned n) { return static_cast<unsigned>(engine()) % n; };
    while (now_ns() < until_) {
      auto* const f = ::new (::operator new(sizeof(frame))) frame;
      unsigned const distance = below(64) == 0 ? 20'000'000 : below(8) == 0 ? 0 : 200'000;
      f->deadline = now_ns() + below(distance + 1);
      total.armed.fetch_add(1, std::memory_order_relaxed);
      timer_queue& q = *queues_[below(8) == 0 ? below(static_cast<unsigned>(queues_.size())) : index];
      (void)q.arm(f->timer, f->deadline);
      if (below(8) == 0)
        frame::leave(f);   // nobody disarms it
      else
        disarm(exchange_[below(slots)].exchange(f, std::memory_order_acq_rel));   // somebody's
      if (below(16) == 0) expire(*queues_[index], 1 + below(20));
      if (below(256) == 0) std::this_thread::yield();
    }
  }

  static constexpr unsigned slots = 256;   // timers that wait to be disarmed
  std::vector<std::unique_ptr<timer_queue>> queues_;
  std::atomic<frame*> exchange_[slots]{};
  unsigned const seed_;
  std::uint64_t const until_;
};

} // namespace

int main(int argc, char** argv) {
  double seconds = 5;
  unsigned seed = static_cast<unsigned>(now_ns()), threads = 2;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--seconds")) seconds = std::atof(argv[i + 1]);
    if (!std::strcmp(argv[i], "--seed")) seed = static_cast<unsigned>(std::strtoull(argv[i + 1], nullptr, 10));
    if (!std::strcmp(argv[i], "--workers")) threads = static_cast<unsigned>(std::atoi(argv[i + 1]));
  }
  std::printf("seed %u\n", seed);
  test(threads == 0 ? 1 : threads, seed, seconds).run();
  std::printf("%llu armed, %llu fired, %llu disarmed, %llu refused to be\n", static_cast<unsigned long long>(total.armed),
              static_cast<unsigned long long>(total.fired), static_cast<unsigned long long>(total.disarmed),
              static_cast<unsigned long long>(total.refused));
  return failures == 0 ? 0 : 1;
}

// SPDX-License-Identifier: Apache-2.0
// Every task runs exactly once, to its end: spawned tasks of random length, with fan-out (more tasks, branches), yields, sleeps and wake-ups from a
// foreign thread, from inside and outside, on runtimes of random size that come and go. Each task and each branch marks a slot of its own; a task that
// is lost is missing at the end, one that runs twice is noticed at once.
//
// usage: exactly_once_stress [--seconds S] [--seed N] [--workers N: at most] [--backend NAME] [--rounds N]
#include "skua/future.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "tests/support/stress_rounds.hpp"
#include <condition_variable>
#include <iostream>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class slots {
public:
  explicit slots(std::size_t n) : n_(n), marks_(std::make_unique<std::atomic<unsigned char>[]>(n)) {}
  // A slot for a new task; `none` when they are used up: the tree stops growing then.
  static constexpr std::size_t none = ~std::size_t{0};
  std::size_t take() {
    std::size_t const i = next_.fetch_add(1, std::memory_order_relaxed);
    return i < n_ ? i : none;
  }
  void begin(std::size_t i) { STRESS_CHECK(marks_[i].exchange(1, std::memory_order_relaxed) == 0); }
  void end(std::size_t i) {
    STRESS_CHECK(marks_[i].exchange(2, std::memory_order_release) == 1);
    ended_.fetch_add(1, std::memory_order_release);
  }
  std::size_t taken() const { return std::min(next_.load(), n_); }
  bool all_ended() const { return ended_.load(std::memory_order_acquire) == taken(); }
  void check() const {
    for (std::size_t i = 0; i < taken(); ++i) STRESS_CHECK(marks_[i].load(std::memory_order_acquire) == 2);
  }

private:
  std::size_t n_;
  std::unique_ptr<std::atomic<unsigned char>[]> marks_;
  std::atomic<std::size_t> next_{0}, ended_{0};
};

// Sets promises, one after the other.
class foreign_thread {
public:
  foreign_thread() : thread_([this] { run(); }) {}
  ~foreign_thread() {
    {
      std::lock_guard const lock(mutex_);
      quit_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  skua::future<> wake_me() {
    skua::promise<> p;
    skua::future<> f = p.get_future();
    {
      std::lock_guard const lock(mutex_);
      promises_.push_back(std::move(p));
    }
    changed_.notify_one();
    return f;
  }

private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!quit_) {
      changed_.wait(lock, [this] { return quit_ || !promises_.empty(); });
      std::vector<skua::promise<>> now = std::exchange(promises_, {});
      lock.unlock();
      for (auto& p : now) p.set_value();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<skua::promise<>> promises_;
  bool quit_ = false;
  std::thread thread_;
};
foreign_thread* foreign;

task<> pause(rng& r) {
  switch (r.below(8)) {
  case 0: co_await skua::this_task::yield(); break;
  case 1: co_await skua::sleep_for(std::chrono::microseconds(r.below(50))); break;
  case 2: co_await foreign->wake_me(); break;
  case 3:
    for (auto i = r.below(2000); i != 0; --i) skua::detail::cpu_pause();
    break;
  default: break;
  }
}

task<> work(slots& s, std::size_t mine, std::uint64_t seed);

task<> branches(slots& s, rng& r) {
  std::vector<task<>> all;
  for (unsigned n = r.below(6); n != 0; --n)
    if (std::size_t const i = s.take(); i != slots::none) all.push_back(work(s, i, r.next()));
  co_await skua::when_all(std::move(all));
}
task<> tasks(slots& s, rng& r) {
  std::vector<skua::join_handle<>> joined;
  for (unsigned n = r.below(6); n != 0; --n) {
    std::size_t const i = s.take();
    if (i == slots::none) break;
    if (r.one_in(3))
      skua::spawn_detached(work, std::ref(s), i, r.next());
    else
      joined.push_back(skua::spawn(work, std::ref(s), i, r.next()));
  }
  for (auto& h : joined) co_await h;
}

task<> work(slots& s, std::size_t mine, std::uint64_t seed) {
  s.begin(mine);
  rng r{seed};
  for (unsigned steps = r.below(4); steps != 0; --steps) {
    co_await pause(r);
    if (r.one_in(3)) co_await branches(s, r);
    if (r.one_in(3)) co_await tasks(s, r);
  }
  s.end(mine);
}

// Starts trees until the slots are used up; some of the threads from outside do so as well.
task<> spread(slots& s, std::uint64_t seed) {
  rng r{seed};
  for (std::size_t i; (i = s.take()) != slots::none;) {
    skua::spawn_detached(work, std::ref(s), i, r.next());
    if (r.one_in(4)) co_await pause(r);
  }
}

void round(stress_options const& o, std::uint64_t seed) {
  rng r{seed};
  slots s(1000 + r.below(20'000));
  skua::runtime rt({.workers = 1 + r.below(o.workers), .backend = o.backend});
  std::vector<std::thread> outside;
  for (unsigned n = r.below(3); n != 0; --n)
    outside.emplace_back([&s, &rt, q = rng{r.next()}]() mutable {
      for (std::size_t i; (i = s.take()) != slots::none;) {
        rt.spawn(work, std::ref(s), i, q.next()).detach();
        for (auto k = q.below(5000); k != 0; --k) skua::detail::cpu_pause();
      }
    });
  rt.block_on(spread(s, r.next()));
  for (auto& t : outside) t.join();
  auto const limit = std::chrono::steady_clock::now() + 60s;
  while (!s.all_ended()) {
    if (std::chrono::steady_clock::now() > limit) {
      rt.dump(std::cout);
      s.check();
    }
    std::this_thread::yield();
  }
  s.check();
}

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  std::uint64_t rounds = 0;
  {
    foreign_thread f;
    foreign = &f;
    for (; o.go_on(rounds); ++rounds) round(o, seed_of_round = o.seed + rounds);
  }
  check_nothing_is_left();
  std::printf("ok: %llu rounds\n", static_cast<unsigned long long>(rounds));
  return 0;
}

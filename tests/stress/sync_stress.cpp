// SPDX-License-Identifier: Apache-2.0
// Stress: every synchronisation primitive under random stops. Tasks take locks, permits, turns and signals in random order, hold them over suspensions, and
// are stopped at random points, from a task or a foreign thread; what each primitive promises is checked all the time and at the end of a round.
//
// Invariants: a mutex has one owner (a plain counter is exact) and is free in the end; a shared_mutex has one writer or readers (two plain fields are equal
// under it); no more permits are out than there are, and all are back; each signal of an auto_reset_event is consumed once or still there; a once runs once
// at a time and succeeds once; phases of a barrier are in step; a bounded buffer under a condition variable neither loses nor doubles an item. Then the
// round's primitives are destroyed, at once, by the task that joined the last of its users: nobody may be inside any more.
#include "skua/barrier.hpp"
#include "skua/condition_variable.hpp"
#include "skua/event.hpp"
#include "skua/latch.hpp"
#include "skua/lazy.hpp"
#include "skua/mutex.hpp"
#include "skua/once.hpp"
#include "skua/runtime.hpp"
#include "skua/semaphore.hpp"
#include "skua/shared_mutex.hpp"
#include "skua/time.hpp"
#include "skua/when_any.hpp"
#include "tests/support/stress_rounds.hpp"
#include <atomic>
#include <chrono>
#include <deque>
#include <iostream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

struct totals {
  std::atomic<std::uint64_t> stopped{0}, finished{0}, points{0}, timed_out{0};
} total;

// Everything that the tasks of a round share.
struct shared_state {
  skua::mutex m;
  long counted = 0;                       // under m
  std::atomic<long> entered{0};           // how often m's section was entered
  skua::condition_variable not_empty{m}, not_full{m};
  std::deque<int> buffer;                 // under m, at most 2
  long put = 0, got = 0;                  // under m

  skua::shared_mutex shared;
  long a = 0, b = 0;                      // equal unless a writer is inside
  std::atomic<int> readers{0}, writers{0};

  static constexpr int permits = 3;
  skua::counting_semaphore semaphore{permits};
  std::atomic<int> out{0};

  skua::auto_reset_event signal;
  std::atomic<int> taken{0};              // by 1 at most: the signal is passed on like a baton
  skua::event gate;
  skua::once once;
  std::atomic<int> runners{0}, made{0};
  skua::lazy<int> value{[]() -> task<int> {
    co_await skua::this_task::yield();
    co_return 7;
  }};
  skua::latch latch{1};
};

struct control {
  std::atomic<int> countdown{0};
  std::atomic<skua::join_handle<> const*> target{nullptr};
  bool by_thread = false;
  std::atomic<bool> asked{false};
};

// Requests stops from outside the runtime.
class requester {
public:
  requester() : thread_([this] { run(); }) {}
  ~requester() {
    {
      std::lock_guard const g(lock_);
      over_ = true;
    }
    thread_.join();
  }
  void ask(control& c) {
    std::lock_guard const g(lock_);
    c.asked = true;
    todo_.push_back(&c);
  }

private:
  void run() {
    for (;;) {
      control* c = nullptr;
      {
        std::lock_guard const g(lock_);
        if (!todo_.empty()) {
          c = todo_.front();
          todo_.pop_front();
        } else if (over_) {
          return;
        }
      }
      if (c == nullptr) {
        std::this_thread::yield();
        continue;
      }
      c->target.load()->request_stop();
      c->asked = false;
    }
  }
  std::mutex lock_;
  std::deque<control*> todo_;
  bool over_ = false;
  std::thread thread_;
};
requester* outside;

void point(control& c) {
  total.points.fetch_add(1, std::memory_order_relaxed);
  if (c.countdown.fetch_sub(1, std::memory_order_relaxed) != 1) return;
  if (c.by_thread)
    outside->ask(c);
  else
    c.target.load()->request_stop();
}

template <class T>
struct while_alive {   // counts, also when a stop destroys the frame
  std::atomic<T>& n;
  T by;
  while_alive(std::atomic<T>& n, T by) : n(n), by(by) { n += by; }
  ~while_alive() { n -= by; }
};

task<> pause(control& c, rng& r) {
  point(c);
  if (r.one_in(3)) co_await skua::this_task::yield();
  if (r.one_in(40)) co_await skua::sleep_for(std::chrono::microseconds(r.below(50)));
}

task<> use_mutex(shared_state& s, control& c, rng& r) {
  point(c);
  auto const lock = co_await s.m.lock();
  ++s.entered;
  long const before = s.counted++;
  co_await pause(c, r);
  STRESS_CHECK(s.counted == before + 1);
}
task<> try_mutex(shared_state& s, control& c, rng& r) {
  auto const lock = s.m.try_lock();
  if (!lock) co_return;
  ++s.entered;
  long const before = s.counted++;
  co_await pause(c, r);
  STRESS_CHECK(s.counted == before + 1);
}
task<> put(shared_state& s, control& c, rng& r) {
  auto lock = co_await s.m.lock();
  point(c);
  while (s.buffer.size() == 2) {
    co_await s.not_full.wait(lock);
    STRESS_CHECK(lock);
    point(c);
  }
  s.buffer.push_back(static_cast<int>(r.below(1000)));
  ++s.put;
  if (r.one_in(2)) lock.unlock();
  r.one_in(3) ? s.not_empty.notify_all() : s.not_empty.notify_one();
}
task<> get(shared_state& s, control& c, rng&) {
  auto lock = co_await s.m.lock();
  point(c);
  co_await s.not_empty.wait(lock, [&] { return !s.buffer.empty(); });
  STRESS_CHECK(lock && !s.buffer.empty());
  s.buffer.pop_front();
  ++s.got;
  s.not_full.notify_one();
}
task<> use_shared(shared_state& s, control& c, rng& r) {
  point(c);
  if (r.one_in(3)) {
    auto lock = co_await s.shared.lock();
    {
      while_alive<int> const w(s.writers, 1);
      STRESS_CHECK(s.writers == 1 && s.readers == 0);
      ++s.a;
      struct even {   // a stop may come between the two
        shared_state& s;
        ~even() { s.b = s.a; }
      } const e{s};
      co_await pause(c, r);
    }
    if (r.one_in(3)) {
      auto const reading = lock.downgrade();
      while_alive<int> const n(s.readers, 1);
      STRESS_CHECK(s.writers == 0 && s.a == s.b);
      co_await pause(c, r);
    }
  } else {
    auto const lock = co_await s.shared.lock_shared();
    while_alive<int> const n(s.readers, 1);
    STRESS_CHECK(s.writers == 0 && s.a == s.b);
    co_await pause(c, r);
    STRESS_CHECK(s.writers == 0 && s.a == s.b);
  }
}
task<> use_semaphore(shared_state& s, control& c, rng& r) {
  point(c);
  int const n = 1 + static_cast<int>(r.below(shared_state::permits));
  auto const permit = co_await s.semaphore.acquire(static_cast<std::uint64_t>(n));
  while_alive<int> const inside(s.out, n);
  STRESS_CHECK(s.out <= shared_state::permits);
  co_await pause(c, r);
}
// A baton: the signal is set by whoever consumed it, so there is one at any time.
task<> use_signal(shared_state& s, control& c, rng& r) {
  point(c);
  co_await s.signal.wait();
  STRESS_CHECK(++s.taken == 1);
  struct pass_on {
    shared_state& s;
    ~pass_on() {
      --s.taken;
      s.signal.set();
    }
  } const p{s};
  co_await pause(c, r);
}
task<> use_once(shared_state& s, control& c, rng& r) {
  point(c);
  co_await s.once.call([&]() -> task<> {
    while_alive<int> const n(s.runners, 1);
    STRESS_CHECK(s.runners == 1 && s.made == 0);
    co_await pause(c, r);
    co_await skua::this_task::yield();
    if (r.one_in(2)) throw std::runtime_error("not this time");
    ++s.made;
  });
  STRESS_CHECK(s.made == 1);
}
task<> use_rest(shared_state& s, control& c, rng&) {
  point(c);
  STRESS_CHECK(co_await s.value.get() == 7);
  point(c);
  co_await s.latch.wait();
  point(c);
  co_await s.gate.wait();
}
task<> limited(shared_state& s, control& c, rng& r) {
  try {
    co_await skua::timeout(std::chrono::microseconds(r.below(300)), r.one_in(2) ? use_mutex(s, c, r) : use_semaphore(s, c, r));
  } catch (skua::timeout_error const&) {
    ++total.timed_out;
  }
}
// Which one loses is stopped while it waits for its lock, or holds it.
task<> race(shared_state& s, control& c, rng& r) {
  rng left{r.next()}, right{r.next()};
  (void)co_await skua::when_any(use_mutex(s, c, left), use_shared(s, c, right));
}

task<> user(shared_state& s, control& c, std::uint64_t seed) {
  while (c.target.load() == nullptr) co_await skua::this_task::yield();
  rng r{seed};
  for (unsigned steps = 4 + r.below(12); steps != 0; --steps) {
    switch (r.below(12)) {
    case 0:
    case 1: co_await use_mutex(s, c, r); break;
    case 2: co_await try_mutex(s, c, r); break;
    case 3: co_await put(s, c, r); break;
    case 4: co_await get(s, c, r); break;
    case 5:
    case 6: co_await use_shared(s, c, r); break;
    case 7: co_await use_semaphore(s, c, r); break;
    case 8: co_await use_signal(s, c, r); break;
    case 9:
      try {
        co_await use_once(s, c, r);
      } catch (std::runtime_error const&) {
      }
      break;
    case 10: co_await (r.one_in(2) ? limited(s, c, r) : race(s, c, r)); break;
    case 11: co_await use_rest(s, c, r); break;
    }
  }
}

// A barrier whose members may be stopped: they leave it when they end, however they end.
task<> member(skua::barrier& b, std::atomic<int>* phases, std::size_t me, std::size_t members, control& c, std::uint64_t seed) {
  struct leave {
    skua::barrier& b;
    std::atomic<int>& phase;
    ~leave() {
      phase = 1 << 20;   // it holds nobody up
      b.arrive_and_drop();
    }
  } const l{b, phases[me]};
  while (c.target.load() == nullptr) co_await skua::this_task::yield();
  rng r{seed};
  for (int phase = 1; phase <= 20; ++phase) {
    phases[me] = phase;
    co_await pause(c, r);
    (void)co_await b.arrive_and_wait();
    for (std::size_t i = 0; i < members; ++i) STRESS_CHECK(phases[i] >= phase);
  }
}

constexpr std::size_t users = 24, members = 5;

task<> join(skua::join_handle<> h) {
  try {
    co_await h;
    ++total.finished;
  } catch (skua::task_stopped const&) {
    ++total.stopped;
  }
}

task<> play(control* controls, skua::join_handle<>* handles, std::uint64_t seed) {
  rng r{seed};
  auto s = std::make_unique<shared_state>();
  auto together = std::make_unique<skua::barrier>(members);
  std::atomic<int> phases[members] = {};
  s->signal.set();
  for (std::size_t i = 0; i < users + members; ++i) {
    control& c = controls[i];
    constexpr unsigned lengths[] = {3, 10, 30, 100, 1000};
    c.countdown = static_cast<int>(1 + r.below(lengths[r.below(5)]));
    c.by_thread = r.one_in(2);
    handles[i] = i < users ? skua::spawn(user, std::ref(*s), std::ref(c), r.next())
                           : skua::spawn(member, std::ref(*together), phases, i - users, members, std::ref(c), r.next());
    c.target = &handles[i];
  }
  co_await skua::this_task::yield();
  s->latch.count_down();
  s->gate.set();
  for (std::size_t i = 0; i < users + members; ++i) {
    // One that waits for ever (for a buffer that nobody fills) is stopped from here, sooner or later.
    for (int n = 0; n < 60 && !handles[i].done(); ++n) co_await skua::this_task::yield();
    if (i < users || r.one_in(2)) handles[i].request_stop();
    while (controls[i].asked) co_await skua::this_task::yield();
  }
  for (std::size_t i = 0; i < users + members; ++i) {
    // Nobody asks for it any more once the countdown is over or the task has ended.
    while (!handles[i].done()) co_await skua::sleep_for(10us);   // not a yield: virtual time stands still while anything is ready
    while (controls[i].asked) co_await skua::this_task::yield();
    co_await join(std::move(handles[i]));
  }
  STRESS_CHECK(s->counted == s->entered);
  STRESS_CHECK(s->put == s->got + static_cast<long>(s->buffer.size()));
  STRESS_CHECK(s->m.try_lock());
  STRESS_CHECK(s->shared.try_lock());
  STRESS_CHECK(s->a == s->b && s->readers == 0 && s->writers == 0);
  STRESS_CHECK(s->semaphore.available() == shared_state::permits && s->out == 0);
  STRESS_CHECK(s->taken == 0 && s->signal.try_wait() && !s->signal.try_wait());
  STRESS_CHECK(s->runners == 0 && s->made == (s->once.done() ? 1 : 0));
}

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  std::uint64_t rounds = 0;
  {
    requester q;
    outside = &q;
    skua::runtime rt({.workers = o.workers, .backend = o.backend});
    for (; o.go_on(rounds); ++rounds) {
      std::uint64_t const seed = o.seed + rounds;
      seed_of_round = seed;
      auto controls = std::make_unique<control[]>(users + members);
      auto handles = std::make_unique<skua::join_handle<>[]>(users + members);
      auto h = rt.spawn(play, controls.get(), handles.get(), seed);
      await_round(rt, std::move(h));
    }
  }
  check_nothing_is_left();
  std::printf("ok: %llu rounds: %llu stopped, %llu finished; %llu points, %llu timed out\n", static_cast<unsigned long long>(rounds),
              static_cast<unsigned long long>(total.stopped.load()), static_cast<unsigned long long>(total.finished.load()),
              static_cast<unsigned long long>(total.points.load()), static_cast<unsigned long long>(total.timed_out.load()));
  return 0;
}

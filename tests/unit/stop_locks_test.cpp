// SPDX-License-Identifier: Apache-2.0
// Stop everywhere, operation by operation (tests/support/stop_everywhere.hpp): locks, permits, flags.
#include "skua/barrier.hpp"
#include "skua/condition_variable.hpp"
#include "skua/event.hpp"
#include "skua/future.hpp"
#include "skua/latch.hpp"
#include "skua/lazy.hpp"
#include "skua/mutex.hpp"
#include "skua/once.hpp"
#include "skua/select.hpp"
#include "skua/semaphore.hpp"
#include "skua/shared_mutex.hpp"
#include "skua/time.hpp"
#include "skua/watch.hpp"
#include "tests/support/stop_everywhere.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <utility>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::on;
using skua::task;

// ---------------------------------------------------------------------------------------------- locks

template <class Lock>   // lock(): awaits and returns what owns
struct locking : scene, Lock {
  int inside = 0;   // by the owner
  int got = 0;
  task<> use() {
    auto const l = co_await this->lock();
    EXPECT_EQ(++inside, 1);
    point();
    co_await skua::this_task::yield();
    --inside;
  }
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      // The owner is unwound, too.
      struct leaves {
        int& n;
        ~leaves() { n = 0; }
      };
      auto const l = co_await this->lock();
      leaves const x{inside};
      EXPECT_EQ(++inside, 1);
      ++got;
      point();
      co_await skua::this_task::yield();
    }
  }
  task<> others() {
    for (int i = 0; i < 4; ++i) {
      co_await use();
      point();
      co_await turns();
    }
  }
  void check() {
    EXPECT_EQ(inside, 0);
    EXPECT_TRUE(this->is_free());
    if (body_ended) { EXPECT_EQ(got, 3); }
  }
};
struct by_mutex {
  skua::mutex m;
  auto lock() { return m.lock(); }
  bool is_free() { return static_cast<bool>(m.try_lock()); }
};
struct by_shared_mutex {
  skua::shared_mutex m;
  auto lock() { return m.lock(); }
  bool is_free() { return static_cast<bool>(m.try_lock()); }
};
struct by_semaphore {
  skua::counting_semaphore s{2};
  auto lock() { return s.acquire(2); }
  bool is_free() { return s.available() == 2; }
};
struct by_select {
  skua::mutex m;
  skua::event never_set;
  task<skua::scoped_lock> lock() {
    skua::scoped_lock l = co_await skua::select(on(m.lock(), [](skua::scoped_lock x) { return x; }), on(never_set.wait(), [] { return skua::scoped_lock(); }));
    co_return l;
  }
  bool is_free() { return static_cast<bool>(m.try_lock()); }
};

struct reading : scene {
  skua::shared_mutex m;
  int got = 0;
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      auto const l = co_await m.lock_shared();
      ++got;
      point();
      co_await skua::this_task::yield();
    }
  }
  task<> others() {
    for (int i = 0; i < 3; ++i) {
      auto l = co_await m.lock();
      point();
      co_await turns();
      auto const r = l.downgrade();
      point();
      co_await turns();
    }
  }
  void check() {
    EXPECT_TRUE(m.try_lock());
    if (body_ended) { EXPECT_EQ(got, 3); }
  }
};

// A consumer at a condition variable; another one beside it. What was notified alone to the one that is stopped goes to the other.
struct condition : scene {
  skua::mutex m;
  skua::condition_variable c{m};
  number stock{0}, eaten{0};
  bool over = false;
  task<> consume(bool is_body) {
    for (;;) {
      if (is_body) point();
      auto l = co_await m.lock();
      while (stock == 0 && !over) co_await c.wait(l);
      if (is_body) point();
      if (stock == 0) co_return;
      --stock;
      ++eaten;
    }
  }
  task<> body() { return consume(true); }
  task<> others() {
    auto second = skua::spawn([this] { return consume(false); });
    for (int i = 0; i < 4; ++i) {
      co_await turns();
      {
        auto const l = co_await m.lock();
        ++stock;
      }
      c.notify_one();
      point();
    }
    co_await until([this] { return stock == 0; });   // a notification that is lost hangs here
    {
      auto const l = co_await m.lock();
      over = true;
    }
    c.notify_all();
    co_await second;
  }
  void check() {
    EXPECT_EQ(eaten, 4);
    EXPECT_TRUE(m.try_lock());
  }
};

// ---------------------------------------------------------------------------------------------- flags

struct signals : scene {   // each is taken once
  skua::auto_reset_event e;
  number taken{0}, given{0};
  task<> body() {
    for (int i = 0; i < 3; ++i) {
      point();
      co_await e.wait();
      ++taken;
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 3; ++i) {
      co_await turns();
      if (e.try_wait()) ++taken;   // nobody was there any more
      e.set();
      ++given;
      point();
      co_await until([this] { return taken == given || body_gone; });
    }
    if (e.try_wait()) ++taken;
  }
  void check() { EXPECT_EQ(taken, given); }
};
template <class Flag>
struct flag : scene, Flag {
  bool through = false, other_through = false;
  task<> body() {
    point();
    co_await this->wait();
    point();
    through = true;
  }
  task<> others() {
    auto second = skua::spawn([this]() -> task<> {
      co_await this->wait();
      other_through = true;
    });
    co_await turns();
    point();
    this->raise();
    point();
    co_await second;
  }
  void check() {
    EXPECT_TRUE(other_through);
    EXPECT_EQ(through, body_ended);
  }
};
struct by_event {
  skua::event e;
  auto wait() { return e.wait(); }
  void raise() { e.set(); }
};
struct by_latch {
  skua::latch l{1};
  auto wait() { return l.wait(); }
  void raise() { l.count_down(); }
};
struct by_promise {   // one future each
  skua::promise<> p[2];
  skua::future<> f[2] = {p[0].get_future(), p[1].get_future()};
  number n{0};
  auto wait() { return std::move(f[n++]).operator co_await(); }
  void raise() {
    for (auto& x : p) x.set_value();
  }
};
struct by_watch {
  skua::watch<int> w{0};
  skua::watch_receiver<int> rx[2] = {w.subscribe(), w.subscribe()};
  number n{0};
  auto wait() { return rx[n++].changed(); }
  void raise() { w.set(1); }
};

// The arrival of one that is stopped is taken back: then the others wait for as many as before, and its place is given up explicitly.
struct barrier : scene {
  skua::barrier b{2};
  int phases = 0, other_phases = 0;
  task<> body() {
    struct drops {
      skua::barrier& of;
      ~drops() { of.arrive_and_drop(); }
    } const d{b};
    for (int i = 0; i < 3; ++i) {
      point();
      (void)co_await b.arrive_and_wait();
      ++phases;
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 3; ++i) {
      co_await turns();
      point();
      (void)co_await b.arrive_and_wait();
      ++other_phases;
    }
  }
  void check() {
    EXPECT_EQ(other_phases, 3);
    EXPECT_LE(phases, 3);
  }
};

struct once_and_lazy : scene {   // whoever makes it may be stopped; then the other one does
  skua::once o;
  number begun{0}, done{0};
  skua::lazy<int> l{[this]() -> task<int> {
    point();
    co_await skua::this_task::yield();
    point();
    co_return 7;
  }};
  task<> both(bool is_body) {
    if (is_body) point();
    co_await o.call([this]() -> task<> {
      ++begun;
      point();
      co_await skua::sleep_for(1ms);
      ++done;
    });
    if (is_body) point();
    EXPECT_EQ(co_await l.get(), 7);
  }
  task<> body() { return both(true); }
  task<> others() {
    co_await turns();
    co_await both(false);
  }
  void check() {
    EXPECT_EQ(done, 1);
    EXPECT_TRUE(o.done());
    EXPECT_NE(l.peek(), nullptr);
  }
};

template <class Scene>
class StopLocks : public stop_operations<Scene> {};

using operations = testing::Types<locking<by_mutex>, locking<by_shared_mutex>, locking<by_semaphore>, locking<by_select>, reading, condition, signals,
                                  flag<by_event>,
                                  flag<by_latch>, flag<by_promise>, flag<by_watch>, barrier, once_and_lazy>;
TYPED_TEST_SUITE(StopLocks, operations);

TYPED_TEST(StopLocks, lose_nothing_wherever_they_are_stopped__S1_S4_S9) {
  for (unsigned const workers : {1u, 2u}) EXPECT_GT(this->run(skua::options{.workers = workers, .backend = "virtual"}), 1);
  EXPECT_EQ(owned::alive, 0);
}

} // namespace

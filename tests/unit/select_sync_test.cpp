// SPDX-License-Identifier: Apache-2.0
// select over locks, permits, signals, broadcast and watch: a branch that loses has taken nothing, has lost no place that matters to others, and leaves nothing
// behind (S9); a stop gives everything back (S4); nobody is overlooked because a dead branch stood in front.
#include "skua/broadcast.hpp"
#include "skua/event.hpp"
#include "skua/latch.hpp"
#include "skua/mutex.hpp"
#include "skua/runtime.hpp"
#include "skua/select.hpp"
#include "skua/semaphore.hpp"
#include "skua/shared_mutex.hpp"
#include "skua/watch.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::on;
using skua::select;
using skua::sleep_for;
using skua::task;

class SelectSync : public one_worker {};
class SelectSyncOnManyWorkers : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 4}};
};
constexpr auto nothing = [] {};

// ---------------------------------------------------------------------------------------------- mutex

TEST_F(SelectSync, locks_a_mutex_that_is_free_and_gives_it_up_behind_the_handler) {
  run([]() -> task<> {
    skua::mutex m;
    auto const owns = [&](skua::scoped_lock l) { return l.owns_lock() && !m.try_lock(); };
    bool const got = co_await select(on(m.lock(), owns), on(sleep_for(1h), [] { return false; }));
    EXPECT_TRUE(got);
    EXPECT_TRUE(m.try_lock());
    skua::scoped_lock kept = co_await select(on(m.lock(), [](skua::scoped_lock l) { return l; }));
    EXPECT_TRUE(kept);
    EXPECT_FALSE(m.try_lock());
  });
}

TEST_F(SelectSync, that_loses_a_mutex_has_not_touched_it__S9) {
  run([]() -> task<> {
    skua::mutex m;
    auto held = co_await m.lock();
    int const got = co_await select(on(m.lock(), [](skua::scoped_lock) { return 1; }), on(sleep_for(1s), [] { return 2; }));
    EXPECT_EQ(got, 2);
    held.unlock();
    EXPECT_TRUE(m.try_lock());   // nobody stands in its list any more
  });
}

TEST_F(SelectSync, is_handed_a_mutex_in_its_turn) {
  run([]() -> task<> {
    skua::mutex m;
    std::vector<int> order;
    auto held = co_await m.lock();
    auto first = skua::spawn([&]() -> task<> {
      co_await select(on(m.lock(), [&](skua::scoped_lock) { order.push_back(1); }), on(sleep_for(1h), nothing));
    });
    co_await let_them_wait();
    auto second = skua::spawn([&]() -> task<> {
      auto const l = co_await m.lock();
      order.push_back(2);
    });
    co_await let_them_wait();
    held.unlock();
    EXPECT_FALSE(m.try_lock());   // it was handed over: the select has been decided for it, and nobody may overtake
    co_await first;
    co_await second;
    EXPECT_EQ(order, (std::vector{1, 2}));
  });
}

TEST_F(SelectSync, passes_over_a_dead_branch_in_a_mutex_queue) {
  run([]() -> task<> {
    skua::mutex m;
    skua::event e;
    bool locked = false;
    auto held = co_await m.lock();
    auto chooses = skua::spawn([&]() -> task<int> {
      co_return co_await select(on(m.lock(), [](skua::scoped_lock) { return 1; }), on(e.wait(), [] { return 2; }));
    });
    auto waits = skua::spawn([&]() -> task<> {
      auto const l = co_await m.lock();
      locked = true;
    });
    co_await let_them_wait();
    e.set();         // decides it when it runs, behind the unlock or before
    held.unlock();
    int const got = co_await chooses;
    co_await waits;
    EXPECT_TRUE(got == 1 || got == 2);
    EXPECT_TRUE(locked);
    EXPECT_TRUE(m.try_lock());
  });
}

TEST_F(SelectSync, that_is_stopped_owns_nothing__S4) {
  run([]() -> task<> {
    skua::mutex m;
    skua::shared_mutex s;
    skua::counting_semaphore permits(1);
    auto held = co_await m.lock();
    auto reading = co_await s.lock_shared();
    auto h = skua::spawn([&]() -> task<> {
      co_await select(on(m.lock(), nothing), on(s.lock(), nothing), on(permits.acquire(2), nothing));
      ADD_FAILURE();
    });
    co_await let_them_wait();
    EXPECT_FALSE(s.try_lock_shared());   // it stands behind a writer
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_TRUE(s.try_lock_shared());
    EXPECT_TRUE(permits.try_acquire());
    held.unlock();
    EXPECT_TRUE(m.try_lock());
  });
}

TEST_F(SelectSync, delivers_a_mutex_that_was_handed_over_before_the_stop__S4) {
  run([]() -> task<> {
    skua::mutex m;
    bool owned_it = false;
    auto held = co_await m.lock();
    auto h = skua::spawn([&]() -> task<> {
      co_await select(on(m.lock(), [&](skua::scoped_lock l) { owned_it = l.owns_lock(); }), on(sleep_for(1h), nothing));
      co_await skua::this_task::checkpoint();
      ADD_FAILURE();
    });
    co_await let_them_wait();
    held.unlock();
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_TRUE(owned_it);
    EXPECT_TRUE(m.try_lock());
  });
}

TEST_F(SelectSync, takes_one_of_two_locks_and_leaves_the_other) {
  run([]() -> task<> {
    skua::mutex a, b;
    for (int round = 0; round < 4; ++round) {
      int const got = co_await select(on(a.lock(), [&](skua::scoped_lock) { return b.try_lock() ? 1 : -1; }),
                                      on(b.lock(), [&](skua::scoped_lock) { return a.try_lock() ? 2 : -1; }));
      EXPECT_GT(got, 0);
    }
    auto const held = co_await a.lock();
    EXPECT_EQ(co_await select(on(a.lock(), [](skua::scoped_lock) { return 1; }), on(b.lock(), [](skua::scoped_lock) { return 2; })), 2);
    EXPECT_TRUE(b.try_lock());
  });
}

// ---------------------------------------------------------------------------------------------- shared_mutex, semaphore

TEST_F(SelectSync, takes_a_shared_mutex_both_ways) {
  run([]() -> task<> {
    skua::shared_mutex m;
    EXPECT_TRUE(co_await select(on(m.lock(), [&](skua::scoped_exclusive_lock l) { return l && !m.try_lock_shared(); })));
    EXPECT_TRUE(co_await select(on(m.lock_shared(), [&](skua::scoped_shared_lock l) { return l && m.try_lock_shared() && !m.try_lock(); })));
    auto writing = co_await m.lock();
    auto h = skua::spawn([&]() -> task<int> {
      co_return co_await select(on(m.lock_shared(), [](skua::scoped_shared_lock) { return 1; }), on(sleep_for(1h), [] { return 2; }));
    });
    co_await let_them_wait();
    writing.unlock();
    EXPECT_EQ(co_await h, 1);
    EXPECT_TRUE(m.try_lock());
  });
}

TEST_F(SelectSync, a_writer_that_loses_lets_the_readers_behind_it_go_on) {
  run([]() -> task<> {
    skua::shared_mutex m;
    skua::channel<int> ch(1);
    auto const reading = co_await m.lock_shared();
    auto writer = skua::spawn([&]() -> task<int> {
      co_return co_await select(on(m.lock(), [](skua::scoped_exclusive_lock) { return 1; }), on(ch.recv(), [](std::optional<int>) { return 2; }));
    });
    co_await let_them_wait();
    auto reader = skua::spawn([&]() -> task<> { (void)co_await m.lock_shared(); });
    co_await let_them_wait();
    EXPECT_FALSE(reader.done());
    (void)co_await ch.send(1);
    EXPECT_EQ(co_await writer, 2);
    co_await reader;
  });
}

TEST_F(SelectSync, takes_permits_or_none) {
  run([]() -> task<> {
    skua::counting_semaphore s(3);
    EXPECT_EQ(co_await select(on(s.acquire(2), [&](skua::semaphore_permit p) { return p.count() + 10 * s.available(); })), 12u);
    EXPECT_EQ(s.available(), 3u);
    EXPECT_EQ(co_await select(on(s.acquire(4), [](skua::semaphore_permit) { return 1; }), on(sleep_for(1s), [] { return 2; })), 2);
    EXPECT_EQ(s.available(), 3u);
    auto h = skua::spawn([&]() -> task<std::uint64_t> {
      co_return co_await select(on(s.acquire(4), [](skua::semaphore_permit p) { return p.forget(); }), on(sleep_for(1h), [] { return std::uint64_t{0}; }));
    });
    co_await let_them_wait();
    EXPECT_FALSE(s.try_acquire());   // it stands in the queue
    s.release();
    EXPECT_EQ(co_await h, 4u);
    EXPECT_EQ(s.available(), 0u);
  });
}

TEST_F(SelectSync, an_acquire_that_loses_lets_smaller_ones_behind_it_go_on) {
  run([]() -> task<> {
    skua::counting_semaphore s(1);
    skua::channel<int> ch(1);
    auto large = skua::spawn([&]() -> task<int> {
      co_return co_await select(on(s.acquire(5), [](skua::semaphore_permit) { return 1; }), on(ch.recv(), [](std::optional<int>) { return 2; }));
    });
    co_await let_them_wait();
    auto small = skua::spawn([&]() -> task<> { (void)co_await s.acquire(); });
    co_await let_them_wait();
    EXPECT_FALSE(small.done());
    (void)co_await ch.send(1);
    EXPECT_EQ(co_await large, 2);
    co_await small;
    EXPECT_EQ(s.available(), 1u);
  });
}

// ---------------------------------------------------------------------------------------------- events, latch

TEST_F(SelectSync, waits_for_flags) {
  run([]() -> task<> {
    skua::event e;
    skua::auto_reset_event once;
    skua::latch l(1);
    auto which = [&] {
      return select(on(e.wait(), [] { return 1; }), on(once.wait(), [] { return 2; }), on(l.wait(), [] { return 3; }), on(sleep_for(1s), [] { return 4; }));
    };
    EXPECT_EQ(co_await which(), 4);
    auto h = skua::spawn([&]() -> task<int> { co_return co_await which(); });
    co_await let_them_wait();
    once.set();
    EXPECT_EQ(co_await h, 2);
    EXPECT_FALSE(once.try_wait());   // consumed
    auto g = skua::spawn([&]() -> task<int> { co_return co_await which(); });
    co_await let_them_wait();
    l.count_down();
    EXPECT_EQ(co_await g, 3);
    e.set();
    int const got = co_await which();
    EXPECT_TRUE(got == 1 || got == 3);
  });
}

TEST_F(SelectSync, a_signal_goes_past_a_branch_that_has_lost_to_the_next_who_waits) {
  run([]() -> task<> {
    skua::auto_reset_event a, b;
    auto both = skua::spawn([&]() -> task<int> { co_return co_await select(on(a.wait(), [] { return 1; }), on(b.wait(), [] { return 2; })); });
    co_await let_them_wait();
    auto next = skua::spawn([&]() -> task<> { co_await b.wait(); });
    co_await let_them_wait();
    a.set();   // decides it at once, though it has not run yet:
    b.set();   // this one is not lost at its dead branch
    EXPECT_EQ(co_await both, 1);
    co_await next;
    EXPECT_FALSE(b.try_wait());
  });
}

// ---------------------------------------------------------------------------------------------- broadcast, watch

TEST_F(SelectSync, receives_from_a_broadcast_and_loses_no_message) {
  run([]() -> task<> {
    skua::broadcast<int> tx(4);
    auto a = tx.subscribe(), b = tx.subscribe();
    skua::channel<int> ch(1);
    auto h = skua::spawn([&]() -> task<int> {
      co_return co_await select(on(a.recv(), [](skua::broadcast_message<int> m) { return *m; }), on(ch.recv(), [](std::optional<int> m) { return *m; }));
    });
    co_await let_them_wait();
    EXPECT_TRUE(ch.try_send(100));                           // decides it
    EXPECT_EQ(tx.try_send(1), skua::send_status::sent);      // its dead branch gets nothing
    EXPECT_EQ(co_await h, 100);
    auto take = [&] {
      return select(on(a.recv(), [](skua::broadcast_message<int> m) { return m ? *m : -1; }), on(sleep_for(1s), [] { return -2; }));
    };
    EXPECT_EQ(co_await take(), 1);
    EXPECT_EQ(co_await take(), -2);
    EXPECT_EQ(*co_await b.recv(), 1);
    auto g = skua::spawn([&]() -> task<int> { co_return co_await take(); });
    co_await let_them_wait();
    (void)co_await tx.send(2);
    EXPECT_EQ(co_await g, 2);
    auto last = skua::spawn([&]() -> task<int> { co_return co_await take(); });
    co_await let_them_wait();
    tx.close();
    EXPECT_EQ(co_await last, -1);
    EXPECT_EQ(*co_await b.recv(), 2);
  });
}

TEST_F(SelectSync, sends_to_a_broadcast_when_there_is_room_or_not_at_all) {
  run([]() -> task<> {
    skua::broadcast<owned*> tx(1);
    auto rx = tx.subscribe();
    owned one(1), two(2), three(3);
    EXPECT_TRUE(co_await select(on(tx.send(&one), [](bool sent) { return sent; })));
    EXPECT_FALSE(co_await select(on(tx.send(&two), [](bool) { return true; }), on(sleep_for(1s), [] { return false; })));
    auto h = skua::spawn([&]() -> task<bool> {
      co_return co_await select(on(tx.send(&three), [](bool sent) { return sent; }), on(sleep_for(1h), [] { return false; }));
    });
    co_await let_them_wait();
    EXPECT_EQ((*co_await rx.recv())->value(), 1);
    EXPECT_TRUE(co_await h);
    EXPECT_EQ((*co_await rx.recv())->value(), 3);
  });
}

TEST_F(SelectSync, refuses_a_broadcast_receiver_at_which_somebody_waits) {
  run([]() -> task<> {
    skua::broadcast<int> tx(1);
    auto rx = tx.subscribe();
    auto other = skua::spawn([&]() -> task<int> { co_return *co_await rx.recv(); });
    co_await let_them_wait();
    EXPECT_THROW(co_await select(on(rx.recv(), nothing), on(sleep_for(1h), nothing)), skua::usage_error);
    (void)co_await tx.send(5);
    EXPECT_EQ(co_await other, 5);
  });
}

TEST_F(SelectSync, sees_that_a_watch_has_changed_and_a_loser_sees_it_the_next_time) {
  run([]() -> task<> {
    skua::watch<int> current(1);
    auto rx = current.subscribe();
    auto look = [&] { return select(on(rx.changed(), [&](bool more) { return more ? rx.peek() : -1; }), on(sleep_for(1s), [] { return -2; })); };
    EXPECT_EQ(co_await look(), -2);
    auto h = skua::spawn([&]() -> task<int> { co_return co_await look(); });
    co_await let_them_wait();
    current.set(2);
    EXPECT_EQ(co_await h, 2);
    EXPECT_EQ(co_await look(), -2);   // seen
    skua::event e(true);
    current.set(3);
    int changes = 0;
    for (int i = 0; i < 4; ++i) changes += co_await select(on(rx.changed(), [](bool) { return 1; }), on(e.wait(), [] { return 0; }));
    EXPECT_EQ(changes, 1);            // whenever it lost, it was seen later
  });
}

// ---------------------------------------------------------------------------------------------- fairness

TEST_F(SelectSync, of_several_that_are_always_ready_each_has_its_turn) {
  run([]() -> task<> {
    skua::mutex m;
    skua::counting_semaphore s(1);
    skua::event e(true);
    skua::channel<int> ch(1000);
    for (int i = 0; i < 400; ++i) (void)co_await ch.send(i);
    int won[4] = {};
    for (int i = 0; i < 400; ++i)
      ++won[co_await select(on(m.lock(), [](skua::scoped_lock) { return 0; }), on(s.acquire(), [](skua::semaphore_permit) { return 1; }),
                            on(e.wait(), [] { return 2; }), on(ch.recv(), [](std::optional<int>) { return 3; }))];
    for (int n : won) EXPECT_NEAR(n, 100, 5);
  });
}

// Tasks whose selects take turns on one worker, so that each has every second, third or fourth turn.
TEST_F(SelectSync, of_several_that_are_always_ready_each_has_its_turn_whatever_other_selects_there_are) {
  run([]() -> task<> {
    skua::event e(true), f(true);
    for (int tasks = 1; tasks <= 4; ++tasks) {
      std::vector<skua::join_handle<int>> handles;
      for (int i = 0; i < tasks; ++i)
        handles.push_back(skua::spawn([&]() -> task<int> {
          int first = 0;
          for (int n = 0; n < 200; ++n) {
            first += co_await select(on(e.wait(), [] { return 1; }), on(f.wait(), [] { return 0; }));
            co_await skua::this_task::yield();
          }
          co_return first;
        }));
      for (auto& h : handles) EXPECT_NEAR(co_await h, 100, 15);
    }
  });
}

// ---------------------------------------------------------------------------------------------- races

// Tasks take one of two mutexes, one of two permits, signals, or give up after a moment; some are stopped. At the end everything is free, and was never
// owned twice.
TEST_F(SelectSyncOnManyWorkers, races_of_selects_timers_and_stops_leave_nothing_owned_by_nobody) {
  constexpr int tasks = 16, rounds = SKUA_TSAN || SKUA_ASAN ? 100 : 1'000;
  skua::mutex a, b;
  skua::shared_mutex shared;
  skua::counting_semaphore permits(2);
  skua::auto_reset_event signal;
  std::atomic<int> in_a{0}, in_b{0}, in_permits{0}, writers{0}, ended{0};
  auto user = [&](unsigned seed) -> task<> {
    auto inside = [](std::atomic<int>& n, int most) {
      EXPECT_LE(++n, most);
      --n;
    };
    for (int i = 0; i < rounds; ++i) {
      seed = seed * 1664525 + 1013904223;
      auto const d = std::chrono::nanoseconds(seed >> 14);   // up to 260 us
      if ((seed >> 8) % 5 == 0) signal.set();
      switch ((seed >> 4) % 4) {
      case 0: {
        auto const l = co_await a.lock();
        inside(in_a, 1);
        co_await skua::this_task::yield();
        break;
      }
      case 1:
        co_await select(on(a.lock(), [&](skua::scoped_lock) { inside(in_a, 1); }), on(b.lock(), [&](skua::scoped_lock) { inside(in_b, 1); }),
                        on(sleep_for(d), nothing));
        break;
      case 2:
        co_await select(on(permits.acquire(1 + seed % 2), [&](skua::semaphore_permit p) { inside(in_permits, p.count() == 2 ? 1 : 2); }),
                        on(b.lock(), [&](skua::scoped_lock) { inside(in_b, 1); }),
                        on(shared.lock_shared(), [&](skua::scoped_shared_lock) { EXPECT_EQ(writers, 0); }),
                        on(sleep_for(d), nothing));
        break;
      default:
        co_await select(on(shared.lock(), [&](skua::scoped_exclusive_lock) { inside(writers, 1); }), on(a.lock(), [&](skua::scoped_lock) { inside(in_a, 1); }),
                        on(signal.wait(), nothing), on(sleep_for(d), nothing));
      }
    }
    ++ended;
  };
  auto body = [&]() -> task<> {
    std::vector<skua::join_handle<>> handles;
    for (unsigned i = 0; i < tasks; ++i) handles.push_back(skua::spawn(user, i * 7919 + 1));
    unsigned stopped = 0;
    for (unsigned i = 0; i < tasks; i += 2) {
      co_await sleep_for(2ms);
      handles[i].request_stop();
    }
    for (auto& h : handles) {
      try {
        co_await h;
      } catch (skua::task_stopped const&) {
        ++stopped;
      }
    }
    EXPECT_EQ(stopped + static_cast<unsigned>(ended), unsigned{tasks});
    EXPECT_TRUE(a.try_lock());
    EXPECT_TRUE(b.try_lock());
    EXPECT_TRUE(shared.try_lock());
    EXPECT_EQ(permits.available(), 2u);
  };
  rt.block_on(body);
}

} // namespace

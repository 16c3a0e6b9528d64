// SPDX-License-Identifier: Apache-2.0
// Behaviours that the test suites of Tokio and asyncio check and that no test of ours had: locks, channels. docs/ported-tests*.md says which is from where.
// Virtual time, one worker, unless a test says otherwise.
#include "skua/skua.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"
#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class Ported : public one_worker {};
using PortedLocks = Ported;
using PortedChannels = Ported;

// ---------------------------------------------------------------- locks, events

TEST_F(PortedLocks, shared_mutex_serves_readers_and_writers_in_the_order_in_which_they_came) {
  run([]() -> task<> {
    skua::shared_mutex m;
    std::string order;
    auto first = co_await m.lock();
    auto writer = [&](char name) -> task<> {
      auto const l = co_await m.lock();
      order += name;
      co_await skua::this_task::yield();
    };
    auto reader = [&](char name) -> task<> {
      auto const l = co_await m.lock_shared();
      order += name;
      co_await skua::this_task::yield();
    };
    std::vector<skua::join_handle<>> all;
    for (char name : std::string("AbcDEf")) {   // capitals write
      all.push_back(name < 'a' ? skua::spawn(writer, name) : skua::spawn(reader, name));
      co_await let_them_wait();
    }
    first = {};
    for (auto& h : all) co_await h;
    EXPECT_EQ(order, "AbcDEf");
  });
}

TEST_F(PortedLocks, auto_reset_event_keeps_a_signal_that_comes_when_all_who_waited_were_stopped) {
  run([]() -> task<> {
    skua::auto_reset_event e;
    auto wait = [&]() -> task<> { co_await e.wait(); };
    auto a = skua::spawn(wait), b = skua::spawn(wait);
    co_await let_them_wait();
    co_await stop_and_join(a);
    co_await stop_and_join(b);
    e.set();
    EXPECT_TRUE(e.try_wait());
    EXPECT_FALSE(e.try_wait());
  });
}

TEST_F(PortedLocks, semaphore_passes_over_who_was_stopped_in_the_middle_of_the_queue) {
  run([]() -> task<> {
    skua::counting_semaphore s(0);
    std::string order;
    auto wait = [&](char name, std::uint64_t n) -> task<> {
      auto const p = co_await s.acquire(n);
      order += name;
    };
    auto a = skua::spawn(wait, 'a', 1u);
    co_await let_them_wait();
    auto b = skua::spawn(wait, 'b', 5u);
    co_await let_them_wait();
    auto c = skua::spawn(wait, 'c', 1u);
    co_await let_them_wait();
    co_await stop_and_join(b);
    EXPECT_EQ(order, "");
    s.release();
    co_await a;
    co_await c;   // with a's permit
    EXPECT_EQ(order, "ac");
    EXPECT_EQ(s.available(), 1u);
  });
}

TEST_F(PortedLocks, condition_variable_notifies_so_many_and_no_more) {
  run([]() -> task<> {
    skua::mutex m;
    skua::condition_variable changed(m);
    int woken = 0;
    auto wait = [&]() -> task<> {
      auto lock = co_await m.lock();
      co_await changed.wait(lock);
      ++woken;
    };
    std::vector<skua::join_handle<>> all;
    for (int i = 0; i < 5; ++i) all.push_back(skua::spawn(wait));
    co_await let_them_wait();
    changed.notify_one();
    changed.notify_one();
    co_await let_them_wait();
    EXPECT_EQ(woken, 2);
    changed.notify_all();
    for (auto& h : all) co_await h;
    EXPECT_EQ(woken, 5);
  });
}

TEST_F(PortedLocks, lazy_destroys_its_value_once_and_nothing_if_there_is_none) {
  run([]() -> task<> {
    EXPECT_EQ(owned::alive, 0);
    {
      skua::lazy<owned> made([]() -> task<owned> { co_return owned(1); }), never_made([]() -> task<owned> { co_return owned(2); });
      EXPECT_EQ((co_await made.get()).value(), 1);
      EXPECT_EQ(owned::alive, 1);
    }
    EXPECT_EQ(owned::alive, 0);
  });
}

// ---------------------------------------------------------------- channels

TEST_F(PortedChannels, channel_knows_what_it_holds_and_whether_it_is_closed_in_every_state) {
  auto state = [](auto const& ch) { return std::array{ch.size() != 0, ch.is_closed(), ch.is_drained()}; };
  for (bool closed_by_hand : {true, false}) {
    auto [tx, rx] = skua::channel<int>(2).split();
    EXPECT_EQ(state(rx), (std::array{false, false, false}));
    EXPECT_TRUE(tx.try_send(1));
    EXPECT_TRUE(tx.try_send(2));
    EXPECT_EQ(rx.size(), 2u);
    EXPECT_EQ(tx.try_send(3).status(), skua::send_status::full);
    EXPECT_EQ(state(rx), (std::array{true, false, false}));
    if (closed_by_hand)
      rx.close();
    else
      tx = {};
    EXPECT_EQ(state(rx), (std::array{true, true, false}));
    EXPECT_EQ(rx.try_recv(), 1);
    EXPECT_EQ(rx.try_recv(), 2);
    EXPECT_EQ(state(rx), (std::array{false, true, true}));
    EXPECT_EQ(rx.try_recv(), std::nullopt);
  }
}

TEST_F(PortedChannels, channel_serves_the_others_when_many_waiting_receivers_are_stopped) {
  run([]() -> task<> {
    skua::channel<int> ch(4);
    auto take = [&]() -> task<int> { co_return (co_await ch.recv()).value(); };
    std::vector<skua::join_handle<int>> all;
    for (int i = 0; i < 10; ++i) {
      all.push_back(skua::spawn(take));
      co_await let_them_wait();
    }
    for (std::size_t i = 0; i < 10; ++i)
      if (i != 3 && i != 7) co_await stop_and_join(all[i]);
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(ch.try_send(i));
    EXPECT_EQ(co_await all[3], 0);
    EXPECT_EQ(co_await all[7], 1);
    EXPECT_EQ(ch.size(), 2u);
  });
}

TEST_F(PortedChannels, oneshot_that_was_closed_by_the_receiver_refuses_and_one_that_was_sent_is_there) {
  run([]() -> task<> {
    {
      auto [tx, rx] = skua::oneshot<owned>();
      EXPECT_FALSE(tx.is_abandoned());
      rx.close();
      EXPECT_TRUE(tx.is_abandoned());
      auto r = tx.send(owned(1));
      EXPECT_FALSE(r);
      EXPECT_EQ(std::move(r).value().value(), 1);
    }
    {
      auto [tx, rx] = skua::oneshot<owned>();
      EXPECT_FALSE(rx.ready());
      EXPECT_FALSE(rx.try_recv());
      EXPECT_TRUE(tx.send(owned(2)));
      EXPECT_TRUE(rx.ready());
      EXPECT_EQ(rx.try_recv()->value(), 2);
      EXPECT_FALSE(rx);
    }
    EXPECT_EQ(owned::alive, 0);
    co_return;
  });
}

TEST_F(PortedChannels, broadcast_counts_for_each_subscriber_what_it_has_missed) {
  run([]() -> task<> {
    for (std::size_t capacity : {1u, 2u, 5u}) {
      skua::broadcast<int> all(capacity, skua::slow_receiver::drop_oldest);
      auto quick = all.subscribe(), slow = all.subscribe();
      int next = 0;
      for (int round = 0; round < 3; ++round) {   // it lags, catches up, and lags again
        std::size_t const sent = capacity + 1 + static_cast<std::size_t>(round);
        for (std::size_t i = 0; i < sent; ++i) {
          EXPECT_TRUE(co_await all.send(next));
          auto m = co_await quick.recv();
          EXPECT_EQ(*m, next);
          EXPECT_EQ(m.missed(), 0u);
          ++next;
        }
        for (std::size_t i = 0; i < capacity; ++i) {
          auto m = co_await slow.recv();
          EXPECT_EQ(*m, next - static_cast<int>(capacity - i));   // the oldest that is left
          EXPECT_EQ(m.missed(), i == 0 ? sent - capacity : 0u);
        }
      }
    }
  });
}

TEST_F(PortedChannels, broadcast_gives_what_is_left_when_all_senders_are_gone) {
  run([]() -> task<> {
    std::optional<skua::broadcast<int>> all(std::in_place, 2, skua::slow_receiver::drop_oldest);
    auto rx = all->subscribe();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await all->send(i));
    auto late = rx.resubscribe();   // what is sent from now on: nothing
    all.reset();
    auto m = co_await rx.recv();
    EXPECT_EQ(*m, 1);
    EXPECT_EQ(m.missed(), 1u);
    EXPECT_EQ(*co_await rx.recv(), 2);
    EXPECT_FALSE(co_await rx.recv());
    EXPECT_FALSE(co_await late.recv());
  });
}

TEST_F(PortedChannels, watch_that_nobody_looks_at_keeps_its_latest_value_for_the_next_who_does) {
  run([]() -> task<> {
    skua::watch<int> level(0), other = level;
    { auto gone = level.subscribe(); }
    level.set(1);
    other.set(2);   // any copy sets
    auto rx = level.subscribe();
    EXPECT_EQ(rx.peek(), 2);
    other.set(3);
    EXPECT_TRUE(co_await rx.changed());
    EXPECT_EQ(rx.get(), 3);
  });
}

TEST_F(PortedChannels, watch_that_is_closed_still_has_the_value_that_is_waited_for) {
  run([]() -> task<> {
    std::optional<skua::watch<int>> level(std::in_place, 1);
    auto rx = level->subscribe(), waiting = level->subscribe();
    auto wait_for_nine = [](skua::watch_receiver<int>& w) -> task<std::optional<int>> { co_return co_await w.wait_for([](int v) { return v == 9; }); };
    auto h = skua::spawn(wait_for_nine, std::ref(waiting));
    co_await let_them_wait();
    level.reset();
    EXPECT_EQ(co_await rx.wait_for([](int v) { return v == 1; }), 1);
    EXPECT_EQ(co_await rx.wait_for([](int v) { return v == 2; }), std::nullopt);
    EXPECT_FALSE(co_await rx.changed());
    EXPECT_EQ(co_await h, std::nullopt);
  });
}

// What is always ready gives way from time to time (D11), so a task beside it runs.
TEST_F(PortedChannels, operations_that_are_always_ready_let_others_run) {
  run([]() -> task<> {
    bool over = false;
    auto beside = [&](auto always_ready) -> task<> {
      over = false;
      auto busy = skua::spawn([&]() -> task<> {
        while (!over) co_await always_ready();
      });
      co_await let_them_wait();   // it is its turn again and again
      over = true;
      co_await busy;
    };
    skua::channel<int> ch(1);
    co_await beside([&]() -> task<> {
      EXPECT_TRUE(ch.try_send(1));
      co_await skua::select(skua::on(ch.recv(), [](std::optional<int>) {}), skua::on(skua::sleep_for(1h), [] {}));
    });
    skua::broadcast<int> all(1);
    auto listener = all.subscribe();
    co_await beside([&]() -> task<> {
      EXPECT_TRUE(co_await all.send(1));
      EXPECT_TRUE(co_await listener.recv());
    });
    skua::watch<int> level(0);
    auto at = level.subscribe();
    co_await beside([&]() -> task<> {
      level.set(1);
      EXPECT_TRUE(co_await at.changed());
    });
    skua::counting_semaphore s(1);
    co_await beside([&]() -> task<> { (void)co_await s.acquire(); });
    skua::mutex m;
    co_await beside([&]() -> task<> { (void)co_await m.lock(); });
    skua::strand strand;
    co_await beside([&]() -> task<> { co_await strand.run([] {}); });
  });
}

} // namespace

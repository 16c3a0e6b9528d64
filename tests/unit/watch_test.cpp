// SPDX-License-Identifier: Apache-2.0
// watch: the latest value, changes, the end, stop.
#include "skua/watch.hpp"
#include "skua/outside_work.hpp"
#include "skua/runtime.hpp"
#include "skua/select.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;
using skua::watch;
using skua::watch_receiver;

class Watch : public leak_check {
protected:
  template <class F>
  void run(F f) {
    rt.block_on(std::move(f));
  }
  skua::runtime rt{skua::options{.workers = 2, .backend = "virtual"}};
};

TEST_F(Watch, tells_of_changes_and_gives_the_latest_value) {
  run([]() -> task<> {
    watch<std::string> w("a");
    auto rx = w.subscribe();
    EXPECT_EQ(rx.get(), "a");
    auto h = skua::spawn([](watch_receiver<std::string> at) -> task<std::string> {
      EXPECT_TRUE(co_await at.changed());
      co_return at.get();
    }, rx);
    co_await skua::sleep_for(1ms);
    w.set("b");
    EXPECT_EQ(co_await h, "b");
    w.set("c");
    w.set("d");
    EXPECT_TRUE(co_await rx.changed());   // one change, however many there were
    EXPECT_EQ(rx.peek(), "d");
    EXPECT_EQ(w.get(), "d");
    EXPECT_THROW(co_await skua::timeout(1ms, [](auto& at) -> task<> { (void)co_await at.changed(); }(rx)), skua::timeout_error);
  });
}

TEST_F(Watch, counts_a_value_as_seen_when_it_was_read) {
  run([]() -> task<> {
    watch<int> w(0);
    auto rx = w.subscribe();
    w.set(1);
    auto copy = rx;
    EXPECT_EQ(rx.get(), 1);
    auto late = [](watch_receiver<int>& at) -> task<> { (void)co_await at.changed(); };
    EXPECT_THROW(co_await skua::timeout(1ms, late(rx)), skua::timeout_error);
    EXPECT_EQ(copy.peek(), 1);
    EXPECT_TRUE(co_await copy.changed());   // looking is not reading
    w.set(2);
    EXPECT_TRUE(co_await rx.changed());     // nor is a change that came during a stop lost
  });
}

TEST_F(Watch, ends_when_the_last_sender_is_gone_and_everything_was_seen) {
  run([]() -> task<> {
    std::optional<watch<int>> w(std::in_place, 0);
    auto rx = w->subscribe();
    auto h = skua::spawn([](watch_receiver<int> at) -> task<int> {
      int changes = 0;
      while (co_await at.changed()) ++changes;
      co_return changes;
    }, rx);
    co_await skua::sleep_for(1ms);
    w->set(1);
    co_await skua::sleep_for(1ms);
    auto copy = *w;
    w.reset();
    copy.set(2);
    { auto const last = std::move(copy); }
    EXPECT_EQ(co_await h, 2);
    EXPECT_TRUE(co_await rx.changed());
    EXPECT_EQ(rx.get(), 2);
    EXPECT_FALSE(co_await rx.changed());
  });
}

TEST_F(Watch, waits_for_a_value_that_it_is_asked_for) {
  run([]() -> task<> {
    watch<int> w(3);
    auto rx = w.subscribe();
    EXPECT_EQ(co_await rx.wait_for([](int n) { return n > 2; }), 3);
    auto h = skua::spawn([](watch_receiver<int> at) -> task<std::optional<int>> { co_return co_await at.wait_for([](int n) { return n == 10; }); }, rx);
    for (int i = 0; i <= 10; ++i) {
      co_await skua::sleep_for(1ms);
      w.set(i);
    }
    EXPECT_EQ(co_await h, 10);
    w = watch<int>(0);
    EXPECT_EQ(co_await rx.wait_for([](int n) { return n == 11; }), std::nullopt);
  });
}

TEST_F(Watch, holds_what_cannot_be_assigned) {
  struct fixed {
    int const value;
  };
  run([]() -> task<> {
    watch<fixed> w({1});
    auto rx = w.subscribe();
    w.set({2});
    EXPECT_TRUE(co_await rx.changed());
    EXPECT_EQ(rx.get().value, 2);
  });
}

TEST_F(Watch, is_set_by_threads_from_outside) {
  run([]() -> task<> {
    watch<int> w(0);
    auto rx = w.subscribe();
    std::thread outside([w, busy = skua::outside_work()] {
      for (int i = 1; i <= 1000; ++i) w.set(i);
    });
    int last = 0;
    while (last != 1000) {
      EXPECT_TRUE(co_await rx.changed());
      int const n = rx.get();
      EXPECT_GE(n, last);
      last = n;
    }
    outside.join();
  });
}

// ---------------------------------------------------------------------------------------------- lifetime

TEST(WatchDeathTest, a_receiver_that_is_destroyed_or_moved_while_it_is_awaited_is_named) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto const body = [](auto misuse) {
    skua::runtime rt{skua::options{.workers = 1}};
    rt.block_on([&]() -> task<> {
      watch<int> w(0);
      std::optional<watch_receiver<int>> rx(w.subscribe());
      auto h = skua::spawn([](watch_receiver<int>& at) -> task<bool> { co_return co_await at.changed(); }, std::ref(*rx));
      co_await yield_times(5);
      misuse(rx);
      co_await h;
    });
  };
  constexpr auto text = "a watch_receiver was destroyed, moved or assigned to while a task waits at it";
  EXPECT_DEATH(body([](auto& rx) { rx.reset(); }), text);
  EXPECT_DEATH(body([](auto& rx) { watch_receiver<int> const other(std::move(*rx)); }), text);
  EXPECT_DEATH(body([](auto& rx) { *rx = watch_receiver<int>(); }), text);
}

// It was awaited, and is not any more: by a value, a stop, the end, and as a branch of a select that lost in whatever way.
TEST_F(Watch, a_receiver_may_go_as_soon_as_nobody_waits) {
  run([]() -> task<> {
    for (int how = 0; how < 6; ++how) {
      std::optional<watch<int>> w(std::in_place, 0);
      std::optional<watch_receiver<int>> rx(w->subscribe());
      auto const waits = [](watch_receiver<int>& at) -> task<> { (void)co_await at.changed(); };
      auto const selects = [](watch_receiver<int>& at) -> task<> {
        co_await skua::select(skua::on(at.changed(), [] {}), skua::on(skua::sleep_for(1ms), [] {}));
      };
      auto h = how < 3 ? skua::spawn(waits, std::ref(*rx)) : skua::spawn(selects, std::ref(*rx));
      co_await yield_times(5);
      if (how % 3 == 0) w->set(1);
      if (how == 1) h.request_stop();
      if (how % 3 == 2) w.reset();
      try {
        co_await h;   // 4: it has lost
      } catch (skua::task_stopped const&) {
      }
      if (w) (void)rx->get();
      watch_receiver<int> moved(std::move(*rx)), other = watch<int>(1).subscribe();   // what it was awaited for is forgotten
      rx.reset();
      moved = std::move(other);
    }
  });
}

} // namespace

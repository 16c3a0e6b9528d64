// SPDX-License-Identifier: Apache-2.0
// watch: the latest value, changes, the end, stop.
#include "skua/watch.hpp"
#include "skua/outside_work.hpp"
#include "skua/runtime.hpp"
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

} // namespace

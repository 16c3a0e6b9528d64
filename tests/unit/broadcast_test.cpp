// SPDX-License-Identifier: Apache-2.0
// broadcast: everybody gets everything; slow subscribers; closing; stop.
#include "skua/broadcast.hpp"
#include "skua/runtime.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::broadcast;
using skua::broadcast_receiver;
using skua::send_status;
using skua::slow_receiver;
using skua::task;

class Broadcast : public one_worker {};
class BroadcastOnManyWorkers : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 4}};
};

// Large, so that it is shared; counts its instances.
struct shared_value {
  static inline std::atomic<int> alive{0};
  int value;
  std::string padding = std::string(100, 'x');
  explicit shared_value(int v) : value(v) { ++alive; }
  shared_value(shared_value const& o) : value(o.value) { ++alive; }
  ~shared_value() { --alive; }
};

template <class T>
task<std::vector<T>> all_of(broadcast_receiver<T> rx) {
  std::vector<T> all;
  while (auto m = co_await rx.recv()) {
    EXPECT_EQ(m.missed(), 0u);
    all.push_back(*m);
  }
  co_return all;
}

TEST_F(Broadcast, gives_every_message_to_every_subscriber) {
  run([]() -> task<> {
    broadcast<int> b(4);
    std::vector<skua::join_handle<std::vector<int>>> readers;
    for (int i = 0; i < 3; ++i) readers.push_back(skua::spawn(all_of<int>, b.subscribe()));
    std::vector<int> sent;
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(co_await b.send(i));
      sent.push_back(i);
    }
    EXPECT_EQ(b.subscribers(), 3u);
    b = broadcast<int>(1);   // the last sender is gone
    for (auto& h : readers) EXPECT_EQ(co_await h, sent);
  });
}

TEST_F(Broadcast, gives_what_is_sent_after_the_subscription) {
  run([]() -> task<> {
    broadcast<std::string> b(4);
    EXPECT_TRUE(co_await b.send("to nobody"));
    auto early = b.subscribe();
    EXPECT_TRUE(co_await b.send("one"));
    auto late = early.resubscribe();
    EXPECT_TRUE(co_await b.send("two"));
    EXPECT_EQ(*co_await early.recv(), "one");
    EXPECT_EQ(*co_await early.recv(), "two");
    EXPECT_EQ(*co_await late.recv(), "two");
    b.close();
    EXPECT_FALSE(co_await b.send("three"));
    EXPECT_FALSE(co_await early.recv());
    EXPECT_FALSE((co_await late.recv()).disconnected());
  });
}

TEST_F(Broadcast, waits_for_the_slowest_subscriber) {
  run([]() -> task<> {
    broadcast<int> b(2);
    auto slow = b.subscribe();
    auto fast = b.subscribe();
    int sent = 0;
    auto h = skua::spawn([&sent](broadcast<int> to) -> task<> {
      for (int i = 0; i < 5; ++i) {
        EXPECT_TRUE(co_await to.send(i));
        ++sent;
      }
    }, b);
    co_await let_them_wait();
    EXPECT_EQ(sent, 2);
    EXPECT_EQ(b.try_send(99), send_status::full);
    EXPECT_EQ(*co_await fast.recv(), 0);
    EXPECT_EQ(*co_await fast.recv(), 1);
    co_await let_them_wait();
    EXPECT_EQ(sent, 2);
    EXPECT_EQ(*co_await slow.recv(), 0);
    co_await let_them_wait();
    EXPECT_EQ(sent, 3);
    { auto const gone = std::move(slow); }   // it sets the pace no more
    for (int i = 2; i < 5; ++i) {
      EXPECT_EQ(*co_await fast.recv(), i);
      co_await let_them_wait();
    }
    co_await h;
  });
}

TEST_F(Broadcast, drops_the_oldest_and_says_how_many) {
  run([]() -> task<> {
    broadcast<shared_value> b(3, slow_receiver::drop_oldest);
    auto slow = b.subscribe();
    auto fast = b.subscribe();
    for (int i = 0; i < 10; ++i) {
      EXPECT_TRUE(co_await b.send(shared_value(i)));
      auto m = co_await fast.recv();
      EXPECT_EQ(m->value, i);
      EXPECT_EQ(m.missed(), 0u);
    }
    EXPECT_EQ(shared_value::alive, 3);
    auto m = co_await slow.recv();
    EXPECT_EQ(m->value, 7);
    EXPECT_EQ(m.missed(), 7u);
    auto n = co_await slow.recv();
    EXPECT_EQ(n->value, 8);
    EXPECT_EQ(n.missed(), 0u);
  });
  EXPECT_EQ(shared_value::alive, 0);
}

TEST_F(Broadcast, disconnects_the_slow) {
  run([]() -> task<> {
    broadcast<shared_value> b(2, slow_receiver::disconnect);
    auto slow = b.subscribe();
    auto fast = b.subscribe();
    for (int i = 0; i < 5; ++i) {
      EXPECT_TRUE(co_await b.send(shared_value(i)));
      EXPECT_EQ((co_await fast.recv())->value, i);
    }
    EXPECT_EQ(b.subscribers(), 1u);
    auto m = co_await slow.recv();
    EXPECT_FALSE(m);
    EXPECT_TRUE(m.disconnected());
    auto again = slow.resubscribe();
    EXPECT_TRUE(co_await b.send(shared_value(9)));
    EXPECT_EQ((co_await again.recv())->value, 9);
    EXPECT_EQ((co_await fast.recv())->value, 9);
  });
  EXPECT_EQ(shared_value::alive, 0);
}

TEST_F(Broadcast, keeps_no_message_that_everybody_has_read) {
  run([]() -> task<> {
    broadcast<shared_value> b(8);
    auto one = b.subscribe();
    auto two = b.subscribe();
    for (int i = 0; i < 8; ++i) EXPECT_TRUE(co_await b.send(shared_value(i)));
    EXPECT_EQ(shared_value::alive, 8);
    for (int i = 0; i < 8; ++i) (void)co_await one.recv();
    EXPECT_EQ(shared_value::alive, 8);
    for (int i = 0; i < 4; ++i) (void)co_await two.recv();
    EXPECT_EQ(shared_value::alive, 4);
    { auto const gone = std::move(two); }
    EXPECT_EQ(shared_value::alive, 0);
  });
}

TEST_F(Broadcast, loses_nothing_to_a_stop) {
  run([]() -> task<> {
    broadcast<int> b(1);
    auto rx = b.subscribe();
    auto one = [](broadcast_receiver<int>& r) -> task<int> { co_return *co_await r.recv(); };
    EXPECT_THROW((void)co_await skua::timeout(1ms, one(rx)), skua::timeout_error);
    EXPECT_TRUE(co_await b.send(1));
    auto more = [](broadcast<int>& to) -> task<> { (void)co_await to.send(2); };
    EXPECT_THROW(co_await skua::timeout(1ms, more(b)), skua::timeout_error);   // not sent
    EXPECT_EQ(*co_await rx.recv(), 1);
    EXPECT_TRUE(co_await b.send(3));
    EXPECT_EQ(*co_await rx.recv(), 3);
  });
}

TEST_F(Broadcast, is_read_without_waiting) {
  run([]() -> task<> {
    broadcast<std::string> b(1);
    auto rx = b.subscribe();
    EXPECT_FALSE(rx.try_recv());
    EXPECT_TRUE(co_await b.send("one"));
    auto sender = skua::spawn([](broadcast<std::string> to) -> task<bool> { co_return co_await to.send("two"); }, b);
    co_await let_them_wait();
    std::optional<skua::broadcast_message<std::string>> one;
    std::thread([&] { one = rx.try_recv(); }).join();   // lets the sender in
    EXPECT_EQ(*one.value(), "one");
    EXPECT_TRUE(co_await sender);
    EXPECT_EQ(*rx.try_recv().value(), "two");
    EXPECT_FALSE(rx.try_recv());
    b.close();
    auto const end = rx.try_recv();
    EXPECT_TRUE(end && !*end && !end->disconnected());
  });
}

TEST_F(Broadcast, is_read_without_waiting_by_the_slow) {
  run([]() -> task<> {
    broadcast<int> dropping(2, slow_receiver::drop_oldest), strict(2, slow_receiver::disconnect);
    auto late = dropping.subscribe();
    auto out = strict.subscribe();
    for (int i = 0; i < 5; ++i) {
      EXPECT_TRUE(co_await dropping.send(i));
      EXPECT_TRUE(co_await strict.send(i));
    }
    auto m = late.try_recv();
    EXPECT_EQ(*m.value(), 3);
    EXPECT_EQ(m->missed(), 3u);
    auto const end = out.try_recv();
    EXPECT_TRUE(end && !*end && end->disconnected());
  });
}

TEST_F(Broadcast, whose_copy_throws_loses_that_message_for_that_subscriber) {
  struct picky {
    int value;
    explicit picky(int v) : value(v) {}
    picky(picky&&) = default;
    picky(picky const& o) : value(o.value) {
      if (value == 0) throw std::runtime_error("copy");
    }
  };
  run([]() -> task<> {
    broadcast<picky> b(4);
    auto rx = b.subscribe();
    EXPECT_TRUE(co_await b.send(picky(0)));
    EXPECT_TRUE(co_await b.send(picky(1)));
    EXPECT_THROW((void)co_await rx.recv(), std::runtime_error);
    EXPECT_EQ((co_await rx.recv())->value, 1);
  });
}

// A message whose end sends another one: there is always something left to read.
struct chain {
  broadcast<chain> const* to = nullptr;
  std::shared_ptr<int> left;
  chain(broadcast<chain> const* b, std::shared_ptr<int> n) : to(b), left(std::move(n)) {}
  chain(chain&& o) noexcept : to(std::exchange(o.to, nullptr)), left(o.left) {}
  chain(chain const& o) noexcept : left(o.left) {}
  ~chain() {
    if (to != nullptr && to->subscribers() != 0 && --*left > 0) (void)to->try_send(chain(to, left));
  }
};
TEST_F(Broadcast, a_subscriber_that_leaves_reads_what_is_there_and_nothing_later) {
  broadcast<chain> b(2);
  auto const left = std::make_shared<int>(1000);
  {
    auto const rx = b.subscribe();
    EXPECT_EQ(b.try_send(chain(&b, left)), send_status::sent);
  }
  EXPECT_EQ(*left, 1000);
  EXPECT_EQ(b.subscribers(), 0u);
}

// Whoever leaves is no subscriber any more, while its last messages are still in the ring.
TEST_F(Broadcast, one_that_leaves_holds_nobody_up) {
  struct calls {
    std::shared_ptr<std::function<void()>> f;
    bool last = false;
    explicit calls(std::function<void()> g) : f(std::make_shared<std::function<void()>>(std::move(g))), last(true) {}
    calls(calls&& o) noexcept : f(o.f), last(std::exchange(o.last, false)) {}
    calls(calls const& o) noexcept : f(o.f) {}
    ~calls() {
      if (last && *f) (*f)();
    }
  };
  for (auto how : {slow_receiver::wait, slow_receiver::drop_oldest, slow_receiver::disconnect}) {
    broadcast<calls> b(2, how);
    std::optional<broadcast_receiver<calls>> other;
    int called = 0;
    {
      auto const rx = b.subscribe();
      EXPECT_EQ(b.try_send(calls([&] {
        if (called++ != 0) return;
        EXPECT_EQ(b.subscribers(), 0u);
        other = b.subscribe();
        EXPECT_EQ(b.try_send(calls([] {})), send_status::sent);   // one is left, one goes in
      })), send_status::sent);
      EXPECT_EQ(b.try_send(calls([&] { ++called; })), send_status::sent);
    }
    EXPECT_EQ(called, 2);
    rt.block_on([&]() -> task<> {
      auto m = co_await other->recv();
      EXPECT_TRUE(m);
      EXPECT_EQ(m.missed(), 0u);
    });
  }
}

TEST_F(Broadcast, a_message_that_is_dropped_is_destroyed_by_the_task_that_sends) {
  struct tells {
    std::vector<std::uint64_t>* to = nullptr;
    explicit tells(std::vector<std::uint64_t>* t) : to(t) {}
    tells(tells&& o) noexcept : to(std::exchange(o.to, nullptr)) {}
    tells(tells const&) noexcept {}
    ~tells() {
      if (to != nullptr) to->push_back(skua::this_task::id());
    }
  };
  run([]() -> task<> {
    std::vector<std::uint64_t> by;
    bool done = false;
    auto other = skua::spawn([&]() -> task<> {
      while (!done) co_await skua::this_task::yield();
    });
    {
      broadcast<tells> b(1, slow_receiver::drop_oldest);
      auto rx = b.subscribe();
      for (int i = 0; i < 1000; ++i) EXPECT_TRUE(co_await b.send(tells(&by)));   // it yields now and then
      done = true;
      EXPECT_EQ(by, std::vector<std::uint64_t>(999, skua::this_task::id()));
    }
    co_await other;
  });
}

TEST_F(Broadcast, carries_what_cannot_be_assigned) {
  struct fixed {
    int const value;
  };
  static_assert(!std::is_copy_assignable_v<fixed>);
  run([]() -> task<> {
    broadcast<fixed> b(2, slow_receiver::drop_oldest);
    auto one = b.subscribe();
    auto two = b.subscribe();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await b.send({i}));
    EXPECT_EQ((co_await one.recv())->value, 1);
    EXPECT_EQ((co_await two.recv())->value, 1);
  });
}

TEST(BroadcastDeathTest, a_receiver_is_not_destroyed_while_a_task_waits_at_it) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto body = [] {
    skua::runtime rt({.workers = 1});
    broadcast<int> b(1);
    std::optional<broadcast_receiver<int>> rx(b.subscribe());
    auto wait = [&]() -> task<> { (void)co_await rx->recv(); };
    rt.block_on([&]() -> task<> {
      auto h = skua::spawn(wait);
      co_await let_them_wait();
      rx.reset();
    });
  };
  EXPECT_DEATH(body(), "destroyed while a task waits at it");
}

TEST_F(Broadcast, misuse_is_a_clear_error) {
  EXPECT_THROW(broadcast<int>(0), skua::usage_error);
  run([]() -> task<> {
    broadcast<int> b(1);
    auto rx = b.subscribe();
    auto h = skua::spawn([&]() -> task<> { (void)co_await rx.recv(); });
    co_await let_them_wait();
    EXPECT_THROW((void)co_await rx.recv(), skua::usage_error);
    EXPECT_THROW((void)rx.try_recv(), skua::usage_error);
    EXPECT_TRUE(co_await b.send(1));
    co_await h;
    broadcast_receiver<int> none;
    EXPECT_THROW((void)none.recv(), skua::usage_error);
    EXPECT_THROW((void)none.try_recv(), skua::usage_error);
  });
}

TEST_F(BroadcastOnManyWorkers, keeps_the_order_for_everybody) {
  constexpr int messages = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;
  for (std::size_t capacity : {1u, 3u, 64u}) {
    auto body = [&]() -> task<> {
      broadcast<std::pair<int, int>> b(capacity);
      std::vector<skua::join_handle<std::vector<std::pair<int, int>>>> readers;
      for (int i = 0; i < 3; ++i) readers.push_back(skua::spawn(all_of<std::pair<int, int>>, b.subscribe()));
      std::vector<skua::join_handle<>> writers;
      for (int w = 0; w < 2; ++w)
        writers.push_back(skua::spawn([](broadcast<std::pair<int, int>> to, int who) -> task<> {
          for (int i = 0; i < messages; ++i) EXPECT_TRUE(co_await to.send({who, i}));
        }, b, w));
      for (auto& h : writers) co_await h;
      b.close();
      std::vector<std::pair<int, int>> first;
      for (auto& h : readers) {
        auto all = co_await h;
        EXPECT_EQ(all.size(), 2u * messages);
        int next[2] = {0, 0};
        for (auto [who, i] : all) EXPECT_EQ(i, next[who]++);
        if (first.empty()) first = all;
        EXPECT_TRUE(all == first);   // one order for all
      }
    };
    rt.block_on(body);
  }
}

} // namespace

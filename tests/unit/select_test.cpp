// SPDX-License-Identifier: Apache-2.0
// select: exactly one operation is performed, the others have had no effect (S9); every kind of branch; stop. tests/model/select_model.cpp has the protocol.
#include "skua/select.hpp"
#include "skua/runtime.hpp"
#include "skua/timeout.hpp"
#include "tests/support/channel_ends.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"
#include <array>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::channel;
using skua::on;
using skua::otherwise;
using skua::select;
using skua::sleep_for;
using skua::stopping;
using skua::task;

class Select : public one_worker {};
class SelectOnManyWorkers : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 4}};
};
constexpr auto nothing = [] {};

// ---------------------------------------------------------------------------------------------- at once

TEST_F(Select, performs_the_one_operation_that_can_be_performed) {
  run([]() -> task<> {
    channel<int> a(1), b(1), full(1);
    (void)co_await b.send(5);
    (void)co_await full.send(0);
    int const got = co_await select(on(a.recv(), [](std::optional<int>) { return -1; }), on(b.recv(), [](std::optional<int> m) { return *m; }),
                                    on(full.send(9), [](skua::send_result<int>) { return -2; }), on(sleep_for(1h), [] { return -3; }));
    EXPECT_EQ(got, 5);
    EXPECT_EQ(full.size(), 1u);
    EXPECT_EQ(co_await full.recv(), 0);
    EXPECT_TRUE(full.empty());   // 9 was not sent
  });
}

TEST_F(Select, performs_exactly_one_of_several_that_could_be_performed) {
  run([]() -> task<> {
    channel<int> a(100), b(100), to(1000);
    for (int i = 0; i < 100; ++i) {
      (void)co_await a.send(i);
      (void)co_await b.send(i);
    }
    int from_a = 0, from_b = 0, sent = 0;
    for (int round = 0; round < 150; ++round) {
      std::size_t const before = a.size() + b.size() - to.size();
      co_await select(on(a.recv(), [&](std::optional<int> m) { EXPECT_EQ(*m, from_a++); }),
                      on(b.recv(), [&](std::optional<int> m) { EXPECT_EQ(*m, from_b++); }),
                      on(to.send(round), [&](skua::send_result<int> r) {
                        EXPECT_TRUE(r);
                        ++sent;
                      }));
      EXPECT_EQ(a.size() + b.size() - to.size(), before - 1);
    }
    EXPECT_EQ(from_a + from_b + sent, 150);
    EXPECT_GT(from_a, 20);   // each has its turn
    EXPECT_GT(from_b, 20);
    EXPECT_GT(sent, 20);
  });
}

TEST_F(Select, with_otherwise_does_not_wait) {
  run([]() -> task<> {
    channel<int> a(1);
    auto look = [&a]() { return select(on(a.recv(), [](std::optional<int> m) { return *m; }), otherwise([] { return -1; })); };
    EXPECT_EQ(co_await look(), -1);
    (void)co_await a.send(3);
    EXPECT_EQ(co_await look(), 3);
    EXPECT_EQ(co_await look(), -1);
  });
}

TEST_F(Select, passes_over_branches_whose_condition_does_not_hold) {
  run([]() -> task<> {
    channel<int> a(1), b(1);
    (void)co_await a.send(1);
    (void)co_await b.send(2);
    for (int i = 0; i < 4; ++i) {
      int const got = co_await select(on(a.recv(), [](std::optional<int> m) { return *m; }).only_if(false),
                                      on(b.recv(), [](std::optional<int> m) { return *m; }));
      EXPECT_EQ(got, 2);
      (void)co_await b.send(2);
    }
    EXPECT_THROW(co_await select(on(a.recv(), nothing).only_if(false)), skua::usage_error);
    EXPECT_EQ(a.size(), 1u);
  });
}

TEST_F(Select, returns_what_the_handler_returned) {
  run([]() -> task<> {
    channel<int> a(1);
    channel<std::string> b(1);
    (void)co_await b.send("x");
    auto v = co_await select(on(a.recv(), [](std::optional<int> m) { return m; }), on(b.recv(), [](std::optional<std::string> m) { return *m + "y"; }),
                             on(sleep_for(1h), nothing));
    EXPECT_EQ(v.index(), 1u);
    EXPECT_EQ(std::get<1>(v), "xy");
    auto w = co_await select(on(a.recv(), [](std::optional<int> m) { return m; }), on(sleep_for(1ms), nothing));
    EXPECT_EQ(w.index(), 1u);
  });
}

TEST_F(Select, throws_what_the_handler_throws_and_has_performed_the_operation) {
  run([]() -> task<> {
    channel<int> a(1);
    (void)co_await a.send(1);
    EXPECT_THROW(co_await select(on(a.recv(), [](std::optional<int>) { throw std::runtime_error("handler"); })), std::runtime_error);
    EXPECT_TRUE(a.empty());
  });
}

// ---------------------------------------------------------------------------------------------- after waiting

TEST_F(Select, waits_for_the_first_and_takes_the_others_back) {
  run([]() -> task<> {
    channel<owned> a(0), b(0), c(0);
    auto h = skua::spawn([a, b, c]() -> task<int> {
      co_return co_await select(on(a.recv(), [](std::optional<owned> m) { return m->value(); }),
                                on(b.recv(), [](std::optional<owned> m) { return m->value(); }),
                                on(c.send(owned(9)), [](skua::send_result<owned>) { return -1; }));
    });
    co_await let_them_wait();
    EXPECT_FALSE(h.done());
    EXPECT_TRUE(b.try_send(owned(2)));                                       // handed over
    EXPECT_EQ(a.try_send(owned(1)).status(), skua::send_status::full);       // it does not wait here any more, though it has not run yet
    EXPECT_EQ(b.try_send(owned(3)).status(), skua::send_status::full);
    EXPECT_FALSE(c.try_recv());
    EXPECT_EQ(co_await h, 2);
  });
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(Select, that_loses_a_send_has_its_message_destroyed_and_not_sent) {
  run([]() -> task<> {
    channel<owned> full(1);
    (void)co_await full.send(owned(0));
    channel<int> other(1);
    auto h = skua::spawn([=]() -> task<int> {
      co_return co_await select(on(full.send(owned(1)), [](skua::send_result<owned>) { return 1; }), on(other.recv(), [](std::optional<int>) { return 2; }));
    });
    co_await let_them_wait();
    (void)co_await other.send(1);
    EXPECT_EQ(co_await h, 2);
    EXPECT_EQ(owned::alive, 1);
    (void)co_await full.recv();
    EXPECT_FALSE(full.try_recv());
  });
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(Select, that_waits_to_send_sends_when_there_is_room) {
  run([]() -> task<> {
    channel<int> a(1), b(1);
    (void)co_await a.send(0);
    (void)co_await b.send(0);
    auto h = skua::spawn([=]() -> task<int> {
      co_return co_await select(on(a.send(1), [](skua::send_result<int> r) { return r ? 1 : -1; }),
                                on(b.send(2), [](skua::send_result<int> r) { return r ? 2 : -2; }));
    });
    co_await let_them_wait();
    EXPECT_EQ(co_await b.recv(), 0);
    EXPECT_EQ(co_await h, 2);
    EXPECT_EQ(co_await b.recv(), 2);
    EXPECT_EQ(co_await a.recv(), 0);
    EXPECT_TRUE(a.empty());
  });
}

TEST_F(Select, is_told_when_a_channel_closes) {
  run([]() -> task<> {
    channel<int> a(1), b(1);
    (void)co_await b.send(0);
    auto h = skua::spawn([=]() -> task<int> {
      co_return co_await select(on(a.recv(), [](std::optional<int> m) { return m ? 1 : 2; }),
                                on(b.send(7), [](skua::send_result<int> r) { return r ? 3 : r.value(); }));
    });
    co_await let_them_wait();
    b.close();
    EXPECT_EQ(co_await h, 7);
    a.close();
    int const got = co_await select(on(a.recv(), [](std::optional<int> m) { return m ? 1 : 2; }), on(sleep_for(1h), [] { return 3; }));
    EXPECT_EQ(got, 2);
  });
}

TEST_F(Select, meets_another_select) {
  run([]() -> task<> {
    channel<int> a(0), b(0);
    auto sends = skua::spawn([=]() -> task<int> {
      co_return co_await select(on(a.send(1), [](skua::send_result<int>) { return 1; }), on(b.send(2), [](skua::send_result<int>) { return 2; }));
    });
    co_await let_them_wait();
    int const got = co_await select(on(b.recv(), [](std::optional<int> m) { return *m; }), on(a.recv(), [](std::optional<int> m) { return *m; }));
    EXPECT_EQ(co_await sends, got);
    EXPECT_FALSE(a.try_recv());
    EXPECT_FALSE(b.try_recv());
  });
}

TEST_F(Select, does_not_meet_itself_on_one_channel) {
  run([]() -> task<> {
    channel<int> a(0);
    int const got = co_await select(on(a.send(1), [](skua::send_result<int>) { return 1; }), on(a.recv(), [](std::optional<int>) { return 2; }),
                                    on(sleep_for(1ms), [] { return 3; }));
    EXPECT_EQ(got, 3);
    auto h = skua::spawn([a]() -> task<int> {
      co_return co_await select(on(a.send(1), [](skua::send_result<int>) { return 1; }), on(a.recv(), [](std::optional<int> m) { return *m; }));
    });
    co_await let_them_wait();
    EXPECT_EQ(co_await a.recv(), 1);
    EXPECT_EQ(co_await h, 1);
  });
}

// ---------------------------------------------------------------------------------------------- timers, joins, futures, oneshots

TEST_F(Select, with_a_timer_lets_it_win_when_its_time_has_come) {
  run([]() -> task<> {
    channel<int> a(1);
    auto const begin = skua::clock::now();
    int got = co_await select(on(a.recv(), [](std::optional<int>) { return 1; }), on(sleep_for(1h), [] { return 2; }), on(sleep_for(10s), [] { return 3; }));
    EXPECT_EQ(got, 3);
    EXPECT_EQ(skua::clock::now() - begin, 10s);
    got = co_await select(on(a.recv(), [](std::optional<int>) { return 1; }), on(skua::sleep_until(begin), [] { return 2; }));   // it has passed
    EXPECT_EQ(got, 2);
    EXPECT_EQ(skua::clock::now() - begin, 10s);
  });
}

TEST_F(Select, joins_a_task_only_if_that_wins) {
  run([]() -> task<> {
    channel<int> a(1);
    auto h = skua::spawn([]() -> task<int> {
      co_await sleep_for(1s);
      co_return 42;
    });
    int got = co_await select(on(h, [](int n) { return n; }), on(sleep_for(1ms), [] { return -1; }));
    EXPECT_EQ(got, -1);
    EXPECT_TRUE(static_cast<bool>(h));
    got = co_await select(on(h, [](int n) { return n; }), on(a.recv(), [](std::optional<int>) { return -1; }));
    EXPECT_EQ(got, 42);
    try {
      co_await select(on(h, [](int) {}), on(a.recv(), nothing));
      ADD_FAILURE() << "its result was taken";
    } catch (skua::usage_error const& e) {
      std::string const text = e.what();
      EXPECT_NE(text.find("joined before and has given its result; in a loop of selects: on(handle, f).only_if"), std::string::npos) << text;
    }
    got = co_await select(on(h, [](int n) { return n; }).only_if(false), otherwise([] { return 7; }));
    EXPECT_EQ(got, 7);

    auto done = skua::spawn([]() -> task<int> { co_return 1; });
    co_await let_them_wait();
    got = co_await select(on(done, [](int n) { return n; }), on(a.recv(), [](std::optional<int>) { return -1; }));
    EXPECT_EQ(got, 1);
  });
}

TEST_F(Select, throws_what_the_joined_task_threw) {
  run([]() -> task<> {
    auto h = skua::spawn([]() -> task<> {
      co_await sleep_for(1s);
      throw std::out_of_range("task");
    });
    EXPECT_THROW(co_await select(on(h, nothing), on(sleep_for(2s), nothing)), std::out_of_range);
    auto s = skua::spawn([]() -> task<> { co_await sleep_for(1h); });
    co_await let_them_wait();
    s.request_stop();
    EXPECT_THROW(co_await select(on(s, nothing), on(sleep_for(2s), nothing)), skua::task_stopped);
  });
}

TEST_F(Select, refuses_a_task_that_somebody_else_awaits) {
  run([]() -> task<> {
    auto h = skua::spawn([]() -> task<int> {
      co_await sleep_for(1s);
      co_return 1;
    });
    auto other = skua::spawn([&h]() -> task<int> { co_return co_await h; });
    co_await let_them_wait();
    channel<int> a(1);
    EXPECT_THROW(co_await select(on(a.recv(), nothing), on(h, nothing)), skua::usage_error);
    EXPECT_EQ(co_await other, 1);
    (void)co_await a.send(3);   // nobody was left behind there
    EXPECT_EQ(a.size(), 1u);
  });
}

TEST_F(Select, takes_a_future_or_a_oneshot_only_if_that_wins) {
  run([]() -> task<> {
    skua::promise<int> p;
    auto f = p.get_future();
    auto [tx, rx] = skua::oneshot<std::string>();
    auto both = [&]() { return select(on(f, [](int n) { return std::to_string(n); }), on(rx.recv(), [](std::optional<std::string> m) { return *m; }),
                                      on(sleep_for(1ms), [] { return std::string("late"); })); };
    EXPECT_EQ(co_await both(), "late");
    skua::spawn_detached([](skua::promise<int> q) -> task<> {
      q.set_value(7);
      co_return;
    }, std::move(p));
    EXPECT_EQ(co_await both(), "7");
    EXPECT_FALSE(static_cast<bool>(f));
    EXPECT_TRUE(tx.send("reply"));
    EXPECT_EQ(co_await select(on(rx.recv(), [](std::optional<std::string> m) { return *m; }), on(sleep_for(1ms), [] { return std::string("late"); })), "reply");
  });
}

// ---------------------------------------------------------------------------------------------- stop

TEST_F(Select, that_is_stopped_has_performed_nothing) {
  run([]() -> task<> {
    channel<owned> a(0), b(1);
    (void)co_await b.send(owned(0));
    auto h = skua::spawn([=]() -> task<> {
      co_await select(on(a.recv(), nothing), on(b.send(owned(1)), nothing), on(sleep_for(1h), nothing));
      ADD_FAILURE();
    });
    co_await let_them_wait();
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(owned::alive, 1);
    EXPECT_EQ(a.try_send(owned(2)).status(), skua::send_status::full);
    EXPECT_EQ((co_await b.recv())->value(), 0);
    EXPECT_FALSE(b.try_recv());
  });
}

TEST_F(Select, sees_a_stop_before_it_performs_anything) {
  run([]() -> task<> {
    channel<int> a(1);
    (void)co_await a.send(1);
    auto h = skua::spawn([=]() -> task<> { co_await select(on(a.recv(), nothing)); });
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(a.size(), 1u);
  });
}

TEST_F(Select, delivers_what_had_won_before_the_stop) {
  run([]() -> task<> {
    channel<int> a(0);
    int got = 0;
    auto h = skua::spawn([&got, a]() -> task<> {
      co_await select(on(a.recv(), [&](std::optional<int> m) { got = *m; }), on(sleep_for(1h), nothing));
      co_await skua::this_task::checkpoint();
      got = -1;
    });
    co_await let_them_wait();
    EXPECT_TRUE(a.try_send(4));
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(got, 4);
  });
}

TEST_F(Select, takes_a_stop_as_an_event_if_it_is_asked_to) {
  run([]() -> task<> {
    channel<int> a(0);
    std::vector<int> log;
    auto h = skua::spawn([&log, a]() -> task<> {
      for (bool go_on = true; go_on;)
        co_await select(on(a.recv(), [&](std::optional<int> m) { log.push_back(*m); }), on(stopping, [&] {
                          log.push_back(-1);
                          go_on = false;
                        }));
      log.push_back(-2);
      co_await select(on(a.recv(), nothing), on(stopping, [&] { log.push_back(-3); }));   // level-triggered
      co_await skua::this_task::yield();
      log.push_back(-4);
    });
    co_await let_them_wait();
    EXPECT_TRUE(a.try_send(1));
    co_await let_them_wait();
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(log, (std::vector<int>{1, -1, -2, -3}));
  });
}

TEST_F(Select, under_a_timeout_is_stopped_by_it) {
  run([]() -> task<> {
    channel<int> a(0);
    auto body = [](channel<int> c) -> task<> { co_await select(on(c.recv(), nothing), on(c.send(1), nothing)); };
    EXPECT_THROW(co_await skua::timeout(1s, body(a)), skua::timeout_error);
    EXPECT_FALSE(a.try_recv());
  });
}

// ---------------------------------------------------------------------------------------------- races

// Two selects over the same two channels, in opposite order, with timers that are due at once and stops: every message is received once or comes back.
TEST_F(SelectOnManyWorkers, races_of_selects_timers_and_stops_lose_nothing) {
  constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 1'500 : 15'000;
  struct tally {
    int sent = 0, received = 0, late = 0, stopped = 0;
  };
  auto body = [&]() -> task<> {
    tally all;
    for (int i = 0; i < rounds; ++i) {
      channel<owned> a(0), b(0);
      std::atomic<int> sent{0}, received{0};
      auto h = skua::spawn([=, &received]() -> task<> {
        co_await select(on(a.recv(), [&](std::optional<owned> m) { received += m->value(); }),
                        on(b.recv(), [&](std::optional<owned> m) { received += m->value(); }),
                        on(sleep_for(std::chrono::microseconds(i % 40)), nothing));
      });
      auto s = skua::spawn([=, &sent]() -> task<> {
        co_await select(on(b.send(owned(1)), [&](skua::send_result<owned> r) { sent += r ? 1 : 0; }),
                        on(a.send(owned(1)), [&](skua::send_result<owned> r) { sent += r ? 1 : 0; }),
                        on(sleep_for(std::chrono::microseconds(i % 23)), nothing));
      });
      auto t = skua::spawn([]() -> task<int> {
        co_await skua::this_task::yield();
        co_return 1;
      });
      for (int spin = 0; spin < i % 97; ++spin) skua::detail::cpu_pause();
      if (i % 3 == 0) h.request_stop();
      if (i % 5 == 0) s.request_stop();
      int joined = 0;
      while (joined == 0) joined = co_await select(on(t, [](int n) { return n; }), on(sleep_for(1us), [] { return 0; }));
      for (auto* one : {&h, &s}) {
        try {
          co_await *one;
        } catch (skua::task_stopped const&) {
          ++all.stopped;
        }
      }
      EXPECT_EQ(sent, received);
      if (sent != received) co_return;
      all.sent += sent;
      all.received += received;
    }
    EXPECT_EQ(all.sent, all.received);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(SelectOnManyWorkers, a_pipeline_of_selects_passes_everything_on) {
  constexpr int messages = SKUA_TSAN || SKUA_ASAN ? 3'000 : 30'000;
  auto body = [&]() -> task<> {
    channel<int> in1(3), in2(0), out(1);
    auto source = [](channel<int> to, int from) -> task<> {
      for (int i = 0; i < messages; ++i) EXPECT_TRUE(co_await to.send(from + i));
      to.close();
    };
    auto merge = skua::spawn([=]() -> task<> {
      bool one = true, two = true;
      while (one || two) {
        std::optional<int> m = co_await select(on(in1.recv(), [&](std::optional<int> v) { return one = v.has_value(), v; }).only_if(one),
                                               on(in2.recv(), [&](std::optional<int> v) { return two = v.has_value(), v; }).only_if(two));
        if (m) {
          EXPECT_TRUE(co_await out.send(*m));
        }
      }
      out.close();
    });
    auto s1 = skua::spawn(source, in1, 0);
    auto s2 = skua::spawn(source, in2, 1'000'000);
    int next1 = 0, next2 = 1'000'000;
    while (auto m = co_await out.recv()) {
      if (*m < 1'000'000) {
        EXPECT_EQ(*m, next1++);
      } else {
        EXPECT_EQ(*m, next2++);
      }
    }
    EXPECT_EQ(next1, messages);
    EXPECT_EQ(next2, 1'000'000 + messages);
    co_await merge;
    co_await s1;
    co_await s2;
  };
  rt.block_on(body);
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
// Channels and stops: nothing is lost, nothing is taken twice. tests/stress/channel_stress.cpp has the races.
#include "skua/channel.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/channel_ends.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::channel;
using skua::task;

class ChannelStop : public one_worker {};
class ChannelStopOnManyWorkers : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 4}};
};

// ---------------------------------------------------------------------------------------------- stop

// S1: seen on entry, although the operation could be performed at once.
TEST_F(ChannelStop, sees_a_stop_before_it_takes_or_gives) {
  run([]() -> task<> {
    channel<int> ch(2);
    EXPECT_TRUE(co_await ch.send(1));
    auto receives = skua::spawn([](channel<int> c) -> task<> {
      (void)co_await c.recv();
      ADD_FAILURE();
    }, ch);
    auto sends = skua::spawn([](channel<int> c) -> task<> {
      (void)co_await c.send(2);
      ADD_FAILURE();
    }, ch);
    receives.request_stop();
    sends.request_stop();
    EXPECT_THROW(co_await receives, skua::task_stopped);
    EXPECT_THROW(co_await sends, skua::task_stopped);
    EXPECT_EQ(ch.size(), 1u);
    EXPECT_EQ(co_await ch.recv(), 1);
  });
}

// S4: what is stopped while it waits has taken nothing.
TEST_F(ChannelStop, loses_nothing_to_a_receiver_that_is_stopped) {
  run([]() -> task<> {
    channel<int> ch(1);
    auto first = skua::spawn(get<int>, ch);
    co_await let_them_wait();
    auto second = skua::spawn(get<int>, ch);
    co_await let_them_wait();
    first.request_stop();
    EXPECT_THROW(co_await first, skua::task_stopped);
    EXPECT_TRUE(co_await ch.send(1));
    EXPECT_EQ(co_await second, 1);
  });
}

TEST_F(ChannelStop, gets_nothing_from_a_sender_that_is_stopped) {
  run([]() -> task<> {
    channel<owned> ch(1);
    EXPECT_TRUE(co_await ch.send(owned(0)));
    auto first = skua::spawn(put<owned>, ch, owned(1));
    co_await let_them_wait();
    auto second = skua::spawn(put<owned>, ch, owned(2));
    co_await let_them_wait();
    first.request_stop();
    EXPECT_THROW(co_await first, skua::task_stopped);
    EXPECT_EQ((co_await ch.recv())->value(), 0);
    EXPECT_EQ((co_await ch.recv())->value(), 2);
    co_await second;
  });
  EXPECT_EQ(owned::alive, 0);
}

// S4: a hand-over that came first is delivered, and the next suspension point sees the stop.
TEST_F(ChannelStop, delivers_a_message_that_was_handed_over_before_the_stop) {
  run([]() -> task<> {
    channel<int> ch(1);
    int got = 0;
    auto h = skua::spawn([&got, ch]() -> task<> {
      got = *co_await ch.recv();
      co_await skua::this_task::checkpoint();
      got = -1;
    });
    co_await let_them_wait();
    EXPECT_TRUE(ch.try_send(5));   // taken: it runs when we wait
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(got, 5);
  });
}

TEST_F(ChannelStop, can_be_received_from_again_after_a_timeout) {
  run([]() -> task<> {
    channel<int> ch(1);
    EXPECT_THROW(co_await skua::timeout(1ms, get<int>(ch)), skua::timeout_error);
    EXPECT_TRUE(co_await ch.send(4));
    EXPECT_THROW(co_await skua::timeout(1ms, put<int>(ch, 5)), skua::timeout_error);
    EXPECT_EQ(co_await ch.recv(), 4);
    EXPECT_TRUE(ch.empty());
  });
}

TEST_F(ChannelStopOnManyWorkers, a_stop_and_a_message_race_without_loss) {
  constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;
  auto body = [&]() -> task<> {
    int received = 0, kept = 0;
    for (int i = 0; i < rounds; ++i) {
      channel<owned> ch(0);
      auto h = skua::spawn([](channel<owned> c) -> task<int> { co_return (co_await c.recv())->value(); }, ch);
      auto s = skua::spawn([](channel<owned> c, int v) -> task<int> {
        auto r = co_await c.send(owned(v));
        co_return r ? -1 : r.value().value();
      }, ch, i);
      for (int spin = 0; spin < i % 97; ++spin) skua::detail::cpu_pause();
      h.request_stop();
      bool stopped = false;
      try {
        EXPECT_EQ(co_await h, i);
      } catch (skua::task_stopped const&) {
        stopped = true;
      }
      if (stopped) ch.close();
      EXPECT_EQ(co_await s, stopped ? i : -1);   // it comes back
      ++(stopped ? kept : received);
    }
    EXPECT_EQ(received + kept, rounds);
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

} // namespace

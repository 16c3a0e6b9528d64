// SPDX-License-Identifier: Apache-2.0
// Channels: order, room, hand-over, closing, values of all kinds, handles. tests/model/wait_queue_model.cpp has the waiting,
// tests/stress/channel_stress.cpp the races, channel_stop_test.cpp stops.
#include "skua/channel.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "tests/support/channel_ends.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <array>
#include <memory>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::channel;
using skua::send_status;
using skua::task;

class Channel : public one_worker {};
class ChannelOnManyWorkers : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 4}};
};

template <class T>
task<std::vector<T>> drain(skua::receiver<T> rx) {
  std::vector<T> all;
  while (auto m = co_await rx.recv()) all.push_back(std::move(*m));
  co_return all;
}

// ---------------------------------------------------------------------------------------------- order and room

TEST_F(Channel, gives_messages_in_the_order_in_which_they_were_sent) {
  run([]() -> task<> {
    channel<int> ch(3);
    for (int round = 0; round < 10; ++round) {   // round the ring several times
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await ch.send(i));
      EXPECT_EQ(ch.size(), 3u);
      for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await ch.recv(), i);
      EXPECT_TRUE(ch.empty());
      EXPECT_TRUE(co_await ch.send(-1));   // so that the ring does not begin at its beginning again
      EXPECT_EQ(co_await ch.recv(), -1);
    }
    EXPECT_EQ(ch.capacity(), 3u);
  });
}

TEST_F(Channel, that_is_full_makes_send_wait_until_there_is_room) {
  run([]() -> task<> {
    channel<int> ch(1);
    int sent = 0;
    auto h = skua::spawn([&sent, ch]() -> task<> {
      for (int i = 0; i < 4; ++i) {
        EXPECT_TRUE(co_await ch.send(i));
        ++sent;
      }
    });
    co_await let_them_wait();
    EXPECT_EQ(sent, 1);
    EXPECT_EQ(co_await ch.recv(), 0);   // the waiting message takes the room
    EXPECT_EQ(ch.size(), 1u);
    co_await let_them_wait();
    EXPECT_EQ(sent, 2);
    for (int i = 1; i < 4; ++i) EXPECT_EQ(co_await ch.recv(), i);
    co_await h;
    EXPECT_EQ(sent, 4);
  });
}

TEST_F(Channel, that_is_empty_makes_recv_wait_and_hands_the_message_over) {
  run([]() -> task<> {
    channel<int> ch(4);
    auto h = skua::spawn(get<int>, ch);
    co_await let_them_wait();
    EXPECT_FALSE(h.done());
    EXPECT_TRUE(co_await ch.send(7));
    EXPECT_EQ(ch.size(), 0u);   // it never was in the buffer
    EXPECT_EQ(co_await h, 7);
  });
}

TEST_F(Channel, of_capacity_0_ends_a_send_when_somebody_has_received_it) {
  run([]() -> task<> {
    channel<int> ch(0);
    EXPECT_EQ(ch.try_send(1).status(), send_status::full);
    auto h = skua::spawn(put<int>, ch, 1);
    co_await let_them_wait();
    EXPECT_FALSE(h.done());
    EXPECT_EQ(co_await ch.recv(), 1);
    co_await h;
    auto g = skua::spawn(get<int>, ch);
    co_await let_them_wait();
    EXPECT_TRUE(ch.try_send(2));   // somebody waits for it
    EXPECT_EQ(co_await g, 2);
    EXPECT_EQ(ch.try_recv(), std::nullopt);
  });
}

TEST_F(Channel, serves_receivers_in_the_order_in_which_they_came) {
  run([]() -> task<> {
    channel<int> ch(2);
    std::vector<skua::join_handle<int>> waiting;
    for (int i = 0; i < 5; ++i) {
      waiting.push_back(skua::spawn(get<int>, ch));
      co_await let_them_wait();
    }
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(co_await ch.send(i));
    for (int i = 0; i < 5; ++i) EXPECT_EQ(co_await waiting[static_cast<std::size_t>(i)], i);
  });
}

TEST_F(Channel, serves_senders_in_the_order_in_which_they_came_and_nobody_overtakes) {
  run([]() -> task<> {
    channel<int> ch(1);
    EXPECT_TRUE(co_await ch.send(0));
    std::vector<skua::join_handle<>> waiting;
    for (int i = 1; i < 5; ++i) {
      waiting.push_back(skua::spawn(put<int>, ch, i));
      co_await let_them_wait();
    }
    EXPECT_EQ(ch.try_send(99).status(), send_status::full);
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(co_await ch.recv(), i);
      if (i < 4) {
        EXPECT_EQ(ch.try_send(99).status(), send_status::full);   // the room is the next one's
      }
    }
    for (auto& h : waiting) co_await h;
  });
}

TEST_F(ChannelOnManyWorkers, gives_every_message_to_one_receiver_and_keeps_each_senders_order) {
  constexpr int senders = 4, receivers = 3;
  constexpr int each = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;
  for (std::size_t capacity : {0u, 1u, 7u, 1024u}) {
    auto body = [&]() -> task<> {
      auto [tx, rx] = channel<std::pair<int, int>>(capacity).split();
      std::vector<skua::join_handle<>> senders_;
      std::vector<skua::join_handle<std::vector<std::pair<int, int>>>> receivers_;
      for (int r = 0; r < receivers; ++r) receivers_.push_back(skua::spawn(drain<std::pair<int, int>>, rx));
      for (int s = 0; s < senders; ++s)
        senders_.push_back(skua::spawn([](auto to, int who) -> task<> {
          for (int i = 0; i < each; ++i) EXPECT_TRUE(co_await to.send({who, i}));
        }, tx, s));
      tx = {};
      rx = {};
      for (auto& h : senders_) co_await h;
      std::array<std::vector<int>, senders> got;
      for (auto& h : receivers_) {
        std::array<int, senders> last{-1, -1, -1, -1};
        for (auto [who, i] : co_await h) {
          EXPECT_LT(last[static_cast<std::size_t>(who)], i);
          last[static_cast<std::size_t>(who)] = i;
          got[static_cast<std::size_t>(who)].push_back(i);
        }
      }
      for (auto& one : got) {
        std::sort(one.begin(), one.end());
        EXPECT_EQ(one.size(), static_cast<std::size_t>(each));
        EXPECT_TRUE(std::adjacent_find(one.begin(), one.end()) == one.end());
      }
    };
    rt.block_on(body);
  }
}

// ---------------------------------------------------------------------------------------------- the end

TEST_F(Channel, that_is_closed_is_drained_and_then_ends) {
  run([]() -> task<> {
    channel<int> ch(4);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await ch.send(i));
    ch.close();
    ch.close();
    EXPECT_TRUE(ch.is_closed());
    EXPECT_FALSE(ch.is_drained());
    for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await ch.recv(), i);
    EXPECT_TRUE(ch.is_drained());
    EXPECT_EQ(co_await ch.recv(), std::nullopt);
    EXPECT_EQ(co_await ch.recv(), std::nullopt);
    EXPECT_EQ(ch.try_recv(), std::nullopt);
  });
}

TEST_F(Channel, that_is_closed_gives_the_message_back) {
  run([]() -> task<> {
    channel<std::unique_ptr<int>> ch(4);
    ch.close();
    auto r = co_await ch.send(std::make_unique<int>(5));
    EXPECT_FALSE(r);
    EXPECT_EQ(r.status(), send_status::closed);
    EXPECT_EQ(*r.value(), 5);
    auto again = ch.try_send(std::move(r).value());
    EXPECT_EQ(again.status(), send_status::closed);
    std::unique_ptr<int> const mine = std::move(again).value();
    EXPECT_EQ(*mine, 5);
  });
}

TEST_F(Channel, that_is_closed_ends_those_who_wait_for_a_message) {
  run([]() -> task<> {
    channel<int> ch(1);
    std::vector<skua::join_handle<std::optional<int>>> waiting;
    for (int i = 0; i < 100; ++i)   // more than are taken at once
      waiting.push_back(skua::spawn([](channel<int> c) -> task<std::optional<int>> { co_return co_await c.recv(); }, ch));
    co_await let_them_wait();
    ch.close();
    for (auto& h : waiting) EXPECT_EQ(co_await h, std::nullopt);
  });
}

TEST_F(Channel, that_is_closed_gives_those_who_wait_for_room_their_messages_back) {
  run([]() -> task<> {
    channel<int> ch(1);
    EXPECT_TRUE(co_await ch.send(0));
    std::vector<skua::join_handle<int>> waiting;
    for (int i = 1; i <= 100; ++i)
      waiting.push_back(skua::spawn([](channel<int> c, int v) -> task<int> {
        auto r = co_await c.send(v);
        EXPECT_EQ(r.status(), send_status::closed);
        co_return r.value();
      }, ch, i));
    co_await let_them_wait();
    ch.close();
    for (int i = 1; i <= 100; ++i) EXPECT_EQ(co_await waiting[static_cast<std::size_t>(i - 1)], i);
    EXPECT_EQ(co_await ch.recv(), 0);   // it had been sent
    EXPECT_EQ(co_await ch.recv(), std::nullopt);
  });
}

TEST_F(Channel, closes_when_the_last_sender_is_gone) {
  run([]() -> task<> {
    auto [tx, rx] = channel<int>(4).split();
    auto h = skua::spawn(drain<int>, rx);
    {
      auto const copy = tx;
      tx = {};
      EXPECT_TRUE(co_await copy.send(1));
      co_await let_them_wait();
      EXPECT_FALSE(h.done());
      EXPECT_TRUE(co_await copy.send(2));
    }
    EXPECT_EQ(co_await h, (std::vector<int>{1, 2}));
  });
}

TEST_F(Channel, whose_last_receiver_is_gone_closes_and_discards_what_was_sent) {
  run([]() -> task<> {
    auto [tx, rx] = channel<owned>(2).split();
    EXPECT_TRUE(co_await tx.send(owned(1)));
    EXPECT_TRUE(co_await tx.send(owned(2)));
    auto h = skua::spawn([](skua::sender<owned> to) -> task<int> {
      auto r = co_await to.send(owned(3));
      co_return r ? -1 : r.value().value();
    }, tx);
    co_await let_them_wait();
    EXPECT_FALSE(tx.is_abandoned());
    rx = {};
    EXPECT_EQ(co_await h, 3);
    EXPECT_TRUE(tx.is_abandoned());
    EXPECT_EQ(owned::alive, 0);   // nobody could have received them
    EXPECT_EQ((co_await tx.send(owned(4))).status(), send_status::closed);
  });
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(Channel, destroys_what_is_left_with_the_last_handle) {
  {
    channel<owned> ch(8);
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(ch.try_send(owned(i)));
    EXPECT_EQ(ch.try_recv()->value(), 0);
    EXPECT_EQ(owned::alive, 4);
  }
  EXPECT_EQ(owned::alive, 0);
}

// ---------------------------------------------------------------------------------------------- without waiting, and from outside

TEST_F(ChannelOnManyWorkers, takes_and_gives_messages_of_threads_from_outside) {
  channel<int> there(16), back(16);
  auto h = rt.spawn([](channel<int> from, channel<int> to) -> task<> {
    while (auto m = co_await from.recv()) EXPECT_TRUE(co_await to.send(*m + 1));
    to.close();
  }, there, back);
  int sent = 0, received = 0;
  while (received < 1000) {
    bool const gave = sent < 1000 && there.try_send(sent);
    if (gave) ++sent;
    if (auto m = back.try_recv()) {
      EXPECT_EQ(*m, ++received);
    } else if (!gave) {
      std::this_thread::yield();
    }
  }
  there.close();
  rt.block_on([](auto handle) -> task<> { co_await handle; }, std::move(h));
  EXPECT_TRUE(back.is_drained());
}

TEST_F(Channel, lives_as_long_as_a_handle) {
  run([]() -> task<> {
    skua::join_handle<int> h;
    {
      channel<int> ch(1);
      h = skua::spawn(get<int>, ch);
      skua::spawn_detached([](channel<int> c) -> task<> {
        co_await let_them_wait();
        (void)co_await c.send(3);
      }, ch);
    }
    EXPECT_EQ(co_await h, 3);
  });
}

TEST_F(Channel, handle_that_was_moved_from_is_refused) {
  run([]() -> task<> {
    channel<int> ch(1);
    channel<int> const other = std::move(ch);
    EXPECT_FALSE(ch);   // NOLINT(bugprone-use-after-move)
    EXPECT_TRUE(other);
    EXPECT_FALSE(other == ch);
    EXPECT_TRUE(other == channel<int>(other));
    EXPECT_THROW((void)ch.recv(), skua::usage_error);
    EXPECT_THROW((void)ch.send(1), skua::usage_error);
    EXPECT_THROW((void)ch.try_recv(), skua::usage_error);
    EXPECT_THROW(ch.close(), skua::usage_error);
    co_return;
  });
}

// INV-WAIT-4: who is woken may destroy everything, while the sender is still on its way out.
TEST_F(ChannelOnManyWorkers, may_be_destroyed_by_the_receiver_as_soon_as_it_has_its_message) {
  constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;
  for (int i = 0; i < rounds; ++i) {
    auto* const ch = new channel<int>(static_cast<std::size_t>(i % 2));
    auto h = rt.spawn([](channel<int>* c) -> task<int> {
      auto const m = co_await c->recv();
      delete c;
      co_return *m;
    }, ch);
    for (int spin = 0; spin < i % 50; ++spin) skua::detail::cpu_pause();
    while (!ch->try_send(i)) std::this_thread::yield();   // on one core: to the receiver
    ASSERT_EQ(rt.block_on([](auto handle) -> task<int> { co_return co_await handle; }, std::move(h)), i);
  }
}

// ---------------------------------------------------------------------------------------------- values

TEST_F(Channel, carries_values_whose_move_throws) {
  fragile::moves_left = 1 << 30;
  run([]() -> task<> {
    channel<fragile> ch(2);
    EXPECT_TRUE(co_await ch.send(fragile(1)));
    fragile::moves_left = 0;
    EXPECT_THROW((void)co_await ch.send(fragile(2)), std::runtime_error);   // nothing was sent
    EXPECT_EQ(ch.size(), 1u);
    fragile::moves_left = 1 << 30;
    auto h = skua::spawn(get<fragile>, ch);
    EXPECT_EQ((co_await h).value, 1);

    EXPECT_TRUE(co_await ch.send(fragile(3)));
    EXPECT_TRUE(co_await ch.send(fragile(4)));
    fragile::moves_left = 0;
    EXPECT_THROW((void)co_await ch.recv(), std::runtime_error);   // this message is gone, the next one is not
    fragile::moves_left = 1 << 30;
    EXPECT_EQ((co_await ch.recv())->value, 4);
    ch.close();
    auto r = co_await ch.send(fragile(5));
    EXPECT_EQ(r.value().value, 5);
  });
  EXPECT_EQ(fragile::alive, 0);
}

TEST_F(Channel, moves_large_and_aligned_values) {
  struct alignas(64) big {
    std::array<int, 500> of;
  };
  run([]() -> task<> {
    channel<std::unique_ptr<big>> boxed(2);
    auto b = std::make_unique<big>();
    b->of[499] = 7;
    EXPECT_TRUE(co_await boxed.send(std::move(b)));
    EXPECT_EQ((*co_await boxed.recv())->of[499], 7);
    channel<std::array<int, 500>> direct(2);
    std::array<int, 500> a{};
    a[499] = 8;
    EXPECT_TRUE(co_await direct.send(a));
    EXPECT_EQ((*co_await direct.recv())[499], 8);
  });
}

// ---------------------------------------------------------------------------------------------- fairness (D11)

TEST_F(Channel, that_is_always_ready_lets_others_run) {
  run([]() -> task<> {
    bool stop = false;
    auto h = skua::spawn([&stop]() -> task<> {
      stop = true;
      co_return;
    });
    channel<int> ch(1);
    long rounds = 0;
    while (!stop) {
      EXPECT_TRUE(co_await ch.send(1));
      EXPECT_EQ(co_await ch.recv(), 1);
      if (++rounds == 1'000'000) break;
    }
    EXPECT_LT(rounds, 10'000);
    co_await h;
  });
}

TEST_F(Channel, pair_that_plays_ping_pong_lets_others_run) {
  run([]() -> task<> {
    channel<int> there(1), back(1);
    bool stop = false;
    long rounds = 0;
    auto a = skua::spawn([&, there, back]() -> task<> {
      while (!stop && rounds < 1'000'000) {
        EXPECT_TRUE(co_await there.send(1));
        (void)co_await back.recv();
        ++rounds;
      }
      there.close();
    });
    auto b = skua::spawn([there, back]() -> task<> {
      while (auto m = co_await there.recv()) EXPECT_TRUE(co_await back.send(*m));
    });
    co_await yield_times(100);
    stop = true;
    co_await a;
    co_await b;
    EXPECT_LT(rounds, 1'000'000);
  });
}

} // namespace

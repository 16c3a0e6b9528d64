// SPDX-License-Identifier: Apache-2.0
// Waiting at channels, selects, broadcasts, watches, oneshots, intervals and strands allocates nothing, nor does an operation that does not wait.
#include "skua/broadcast.hpp"
#include "skua/channel.hpp"
#include "skua/interval.hpp"
#include "skua/oneshot.hpp"
#include "skua/runtime.hpp"
#include "skua/select.hpp"
#include "skua/strand.hpp"
#include "skua/watch.hpp"
#include "tests/support/allocation_count.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <memory>
#include <utility>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class ChannelAllocation : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 1, .backend = "virtual"}};
};

// Runs body() twice in one task, with a partner that does the other half; the second time nothing is allocated.
template <class Body, class Partner>
task<> second_time(Body body, Partner partner) {
  skua::channel<int> turn(0), done(0);
  auto h = skua::spawn([](Partner p, skua::channel<int> t, skua::channel<int> d) -> task<> {
    while (auto m = co_await t.recv()) {
      co_await p();
      (void)co_await d.send(*m);
    }
  }, std::move(partner), turn, done);
  std::uint64_t before = 0, after = 0;
  for (int i = 0; i < 4; ++i) {
    before = allocations();
    (void)co_await turn.send(i);
    co_await body();
    (void)co_await done.recv();
    after = allocations();
  }
  EXPECT_EQ(after, before);
  turn.close();
  co_await h;
}

TEST_F(ChannelAllocation, none_at_a_bounded_channel) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  rt.block_on([]() -> task<> {
    skua::channel<std::pair<long, long>> there(1), back(0);
    co_await second_time(
        [=]() -> task<> {
          for (int i = 0; i < 100; ++i) (void)co_await there.send({i, i});
          for (int i = 0; i < 100; ++i) EXPECT_EQ((co_await back.recv())->first, i);
        },
        [=]() -> task<> {
          for (int i = 0; i < 100; ++i) EXPECT_EQ((co_await there.recv())->first, i);
          for (int i = 0; i < 100; ++i) (void)co_await back.send({i, i});
        });
  });
}

TEST_F(ChannelAllocation, none_at_an_unbounded_channel_that_breathes) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  rt.block_on([]() -> task<> {
    skua::unbounded_channel<int> ch;
    co_await second_time(
        [=]() -> task<> {
          for (int i = 0; i < 1000; ++i) EXPECT_TRUE(ch.send(i));
          co_return;
        },
        [=]() -> task<> {
          for (int i = 0; i < 1000; ++i) EXPECT_EQ(co_await ch.recv(), i);
        });
  });
}

TEST_F(ChannelAllocation, none_in_a_select) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  rt.block_on([]() -> task<> {
    skua::channel<int> a(0), b(0), never(0);
    co_await second_time(
        [=]() -> task<> {
          for (int i = 0; i < 100; ++i)
            co_await skua::select(skua::on(a.recv(), [](std::optional<int>) {}), skua::on(never.recv(), [](std::optional<int>) {}),
                                  skua::on(b.recv(), [](std::optional<int>) {}), skua::on(skua::sleep_for(1h), [] { ADD_FAILURE(); }));
        },
        [=]() -> task<> {
          for (int i = 0; i < 100; ++i) co_await skua::select(skua::on(a.send(i), [] {}), skua::on(b.send(i), [] {}));
        });
  });
}

TEST_F(ChannelAllocation, none_at_a_broadcast_of_small_values_a_watch_and_an_interval) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  rt.block_on([]() -> task<> {
    skua::broadcast<int> all(2);
    auto rx = all.subscribe();
    skua::watch<int> level(0);
    auto at = level.subscribe();
    skua::interval every(1ms);
    co_await second_time(
        [&]() -> task<> {
          for (int i = 0; i < 100; ++i) EXPECT_EQ(*co_await rx.recv(), i);
          EXPECT_TRUE(co_await at.changed());
        },
        [&]() -> task<> {
          for (int i = 0; i < 100; ++i) EXPECT_TRUE(co_await all.send(i));
          co_await every.tick();
          level.set(level.get() + 1);
        });
  });
}

TEST_F(ChannelAllocation, none_at_a_oneshot_beyond_the_frame_pool) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  rt.block_on([]() -> task<> {
    skua::channel<skua::oneshot_sender<int>> requests(1);
    co_await second_time(
        [=]() -> task<> {
          for (int i = 0; i < 100; ++i) {
            auto [reply, answer] = skua::oneshot<int>();
            (void)co_await requests.send(std::move(reply));
            EXPECT_EQ(co_await answer.recv(), i);
          }
        },
        [=]() -> task<> {
          for (int i = 0; i < 100; ++i) (void)(*co_await requests.recv()).send(i);
        });
  });
}

TEST_F(ChannelAllocation, none_at_a_promise_beyond_the_frame_pool) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  rt.block_on([]() -> task<> {
    skua::channel<skua::promise<int>> requests(1);
    co_await second_time(
        [=]() -> task<> {
          for (int i = 0; i < 100; ++i) {
            skua::promise<int> reply;
            auto answer = reply.get_future();
            (void)co_await requests.send(std::move(reply));
            EXPECT_EQ(co_await answer, i);
          }
        },
        [=]() -> task<> {
          for (int i = 0; i < 100; ++i) (*co_await requests.recv()).set_value(i);
        });
  });
}

TEST_F(ChannelAllocation, none_at_a_strand) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  rt.block_on([]() -> task<> {
    skua::strand s;
    long n = 0;
    auto use = [&]() -> task<> {
      for (int i = 0; i < 100; ++i) co_await s.run([&n] { ++n; });
    };
    co_await second_time(use, use);
    EXPECT_EQ(n, 800);
  });
}

TEST_F(ChannelAllocation, one_box_for_a_message_whose_move_may_throw) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  rt.block_on([]() -> task<> {
    skua::channel<fragile> ch(1);
    auto const before = allocations();
    (void)co_await ch.send(fragile(1));
    EXPECT_EQ(allocations(), before + 1);
    (void)co_await ch.recv();
    EXPECT_EQ(allocations(), before + 1);
  });
}

} // namespace

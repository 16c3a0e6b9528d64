// SPDX-License-Identifier: Apache-2.0
// oneshot: the message, either side gone, stop. tests/model/future_model.cpp has the protocol.
#include "skua/oneshot.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::oneshot;
using skua::oneshot_receiver;
using skua::oneshot_sender;
using skua::task;

class Oneshot : public one_worker {};
class OneshotOnManyWorkers : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 2}};
};
task<std::optional<int>> receive(oneshot_receiver<int> rx) { co_return co_await rx.recv(); }

TEST_F(Oneshot, gives_a_message_that_was_sent_before_or_later) {
  run([]() -> task<> {
    auto [tx, rx] = oneshot<std::string>();
    EXPECT_FALSE(rx.ready());
    EXPECT_EQ(rx.try_recv(), std::nullopt);
    EXPECT_TRUE(tx.send("now"));
    EXPECT_FALSE(static_cast<bool>(tx));
    EXPECT_TRUE(rx.ready());
    EXPECT_EQ(co_await rx.recv(), "now");
    EXPECT_FALSE(static_cast<bool>(rx));

    auto [later, at] = oneshot<int>();
    auto h = skua::spawn(receive, std::move(at));
    co_await yield_times(3);
    EXPECT_TRUE(later.send(2));
    EXPECT_EQ(co_await h, 2);
  });
}

TEST_F(Oneshot, whose_sender_is_dropped_gives_no_message) {
  run([]() -> task<> {
    auto [tx, rx] = oneshot<int>();
    auto h = skua::spawn(receive, std::move(rx));
    co_await yield_times(3);
    tx = {};
    EXPECT_EQ(co_await h, std::nullopt);

    auto [gone, at] = oneshot<int>();
    gone = {};
    EXPECT_EQ(at.try_recv(), std::nullopt);
    EXPECT_FALSE(static_cast<bool>(at));
  });
}

TEST_F(Oneshot, whose_receiver_is_gone_gives_the_message_back) {
  run([]() -> task<> {
    auto [tx, rx] = oneshot<std::unique_ptr<int>>();
    EXPECT_FALSE(tx.is_abandoned());
    rx.close();
    EXPECT_TRUE(tx.is_abandoned());
    auto r = tx.send(std::make_unique<int>(3));
    EXPECT_FALSE(r);
    EXPECT_EQ(*r.value(), 3);
    co_return;
  });
}

TEST_F(Oneshot, destroys_a_message_that_nobody_received_once) {
  {
    auto [tx, rx] = oneshot<owned>();
    EXPECT_TRUE(tx.send(owned(1)));
    EXPECT_EQ(owned::alive, 1);
  }
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(Oneshot, misuse_is_a_clear_error) {
  run([]() -> task<> {
    auto [tx, rx] = oneshot<int>();
    EXPECT_TRUE(tx.send(1));
    EXPECT_THROW((void)tx.send(2), skua::usage_error);
    EXPECT_EQ(co_await rx.recv(), 1);
    EXPECT_THROW((void)co_await rx.recv(), skua::usage_error);
  });
}

TEST_F(Oneshot, can_be_awaited_again_after_a_timeout) {
  run([]() -> task<> {
    auto [tx, rx] = oneshot<int>();
    auto wait = [](oneshot_receiver<int>* at) -> task<std::optional<int>> { co_return co_await at->recv(); };
    EXPECT_THROW((void)co_await skua::timeout(1ms, wait(&rx)), skua::timeout_error);
    EXPECT_TRUE(tx.send(9));
    EXPECT_EQ(co_await rx.recv(), 9);
  });
}

TEST_F(Oneshot, sees_a_stop_before_it_takes_the_message) {
  run([]() -> task<> {
    auto [tx, rx] = oneshot<int>();
    EXPECT_TRUE(tx.send(9));
    auto h = skua::spawn([](oneshot_receiver<int>* at) -> task<> { (void)co_await at->recv(); }, &rx);
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(co_await rx.recv(), 9);
  });
}

TEST_F(Oneshot, that_is_always_ready_lets_others_run__D11) {
  run([]() -> task<> {
    bool ran = false;
    auto h = skua::spawn([&ran]() -> task<> {
      ran = true;
      co_return;
    });
    int rounds = 0;
    for (; !ran && rounds < 10'000; ++rounds) {
      auto [tx, rx] = oneshot<int>();
      EXPECT_TRUE(tx.send(rounds));
      EXPECT_EQ(co_await rx.recv(), rounds);
    }
    EXPECT_LT(rounds, 10'000);
    co_await h;
  });
}

// A stop, a message and a receiver that goes away race: the message is received, comes back, or is destroyed with the receiver; never lost or doubled.
TEST_F(OneshotOnManyWorkers, a_stop_and_a_message_race_without_loss) {
  constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 2'000 : 20'000;
  for (int i = 0; i < rounds; ++i) {
    auto [tx, rx] = oneshot<owned>();
    auto h = rt.spawn([](oneshot_receiver<owned> at) -> task<int> {
      auto m = co_await at.recv();
      co_return m ? m->value() : -1;
    }, std::move(rx));
    for (int spin = 0; spin < i % 97; ++spin) skua::detail::cpu_pause();
    if (i % 2) h.request_stop();
    bool const back = !tx.send(owned(i));
    try {
      int const got = rt.block_on([](auto handle) -> task<int> { co_return co_await handle; }, std::move(h));
      ASSERT_EQ(got, i);
      ASSERT_FALSE(back);
    } catch (skua::task_stopped const&) {
    }
    ASSERT_EQ(owned::alive, 0);
  }
}

TEST_F(OneshotOnManyWorkers, is_sent_by_a_thread_from_outside) {
  for (int i = 0; i < 200; ++i) {
    auto [tx, rx] = oneshot<int>();
    auto h = rt.spawn(receive, std::move(rx));
    std::thread outside([to = std::move(tx), i]() mutable { EXPECT_TRUE(to.send(i)); });
    EXPECT_EQ(rt.block_on([](auto handle) -> task<std::optional<int>> { co_return co_await handle; }, std::move(h)), i);
    outside.join();
  }
}

} // namespace

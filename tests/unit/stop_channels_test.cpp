// SPDX-License-Identifier: Apache-2.0
// Stop everywhere, operation by operation (tests/support/stop_everywhere.hpp): channels, oneshot, broadcast, select.
#include "skua/broadcast.hpp"
#include "skua/channel.hpp"
#include "skua/mutex.hpp"
#include "skua/event.hpp"
#include "skua/oneshot.hpp"
#include "skua/select.hpp"
#include "skua/semaphore.hpp"
#include "skua/timeout.hpp"
#include "tests/support/stop_everywhere.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <optional>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::on;
using skua::task;

// ---------------------------------------------------------------------------------------------- channels

template <class Channel, int Capacity>
struct receiving : scene {
  Channel ch = make();
  static Channel make() {
    if constexpr (Capacity >= 0)
      return Channel(Capacity);
    else
      return Channel();
  }
  std::vector<int> got;
  task<> body() {
    for (;;) {
      point();
      auto m = co_await ch.recv();
      if (!m) co_return;
      got.push_back(m->value());
      point();
    }
  }
  task<> others() {
    for (int i = 0; i < 4; ++i) {
      co_await turns();
      owned o(i);
      point();
      auto sent = co_await skua::timeout(1h, send(std::move(o)));
      EXPECT_TRUE(sent || body_gone);
      point();
      if (body_gone) break;
    }
    ch.close();
    co_await until([this] { return body_gone.load(); });
    while (auto m = co_await ch.recv()) got.push_back(m->value());
  }
  // Never waits for ever: if the body is gone, the messages are taken out by the sender itself.
  task<bool> send(owned o) {
    for (;;) {
      auto r = [&] {
        if constexpr (requires { ch.try_send(std::move(o), 1); })
          return ch.try_send(std::move(o), 1);
        else if constexpr (requires { ch.try_send(std::move(o)); })
          return ch.try_send(std::move(o));
        else
          return ch.send(std::move(o));
      }();
      if (r.status() == skua::send_status::sent) {
        ++sent_;
        co_return true;
      }
      o = std::move(r.value());
      if (body_gone) {
        if (auto m = ch.try_recv()) got.push_back(m->value());
        else if (Capacity == 0) co_return false;
      }
      co_await skua::this_task::yield();
    }
  }
  int sent_ = 0;
  void check() {
    EXPECT_EQ(static_cast<int>(got.size()), sent_);   // each once, in order
    for (int i = 0; i < static_cast<int>(got.size()); ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], i);
  }
};

template <class Channel, int Capacity>
struct sending : scene {
  Channel ch{Capacity};
  int sent = 0;
  std::vector<int> got;
  task<> body() {
    for (int i = 0; i < 4; ++i) {
      point();
      if constexpr (requires { ch.send(owned(i), 1); })
        EXPECT_TRUE(co_await ch.send(owned(i), 1));
      else
        EXPECT_TRUE(co_await ch.send(owned(i)));
      ++sent;
      point();
    }
  }
  task<> others() {
    while (!body_gone || !ch.empty()) {
      co_await turns();
      point();
      if (auto m = ch.try_recv()) got.push_back(m->value());
      point();
    }
  }
  void check() {   // a send that was stopped has not sent; one that was let in before goes on (S4)
    EXPECT_EQ(static_cast<int>(got.size()), sent);
    for (int i = 0; i < static_cast<int>(got.size()); ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], i);
  }
};

struct one_answer : scene {
  std::atomic<bool> ready{false};
  int got = 0;
  task<> body() {
    auto [tx, rx] = skua::oneshot<owned>();
    tx_.emplace(std::move(tx));
    ready = true;
    point();
    auto m = co_await rx.recv();
    got = m ? m->value() : -1;
    point();
  }
  std::optional<skua::oneshot_sender<owned>> tx_;
  task<> others() {
    co_await until([this] { return ready || body_gone; });
    if (!ready) co_return;
    co_await turns();
    point();
    (void)std::move(*tx_).send(owned(7));
    point();
  }
  void check() {
    if (body_ended) { EXPECT_EQ(got, 7); }
    tx_.reset();
  }
};

// The body and another subscriber: the other one gets everything, the body what came until it was stopped, without a gap.
struct hearing : scene {
  skua::broadcast<int> tx{2};
  skua::broadcast_receiver<int> mine = tx.subscribe(), other = tx.subscribe();
  std::vector<int> got, all;
  task<> body() {
    for (;;) {
      point();
      auto m = co_await mine.recv();
      if (!m) co_return;
      got.push_back(*m);
      point();
    }
  }
  task<> others() {
    auto second = skua::spawn([this]() -> task<> {
      while (auto m = co_await other.recv()) all.push_back(*m);
    });
    for (int i = 0; i < 5; ++i) {
      co_await turns();
      point();
      while (tx.try_send(i) != skua::send_status::sent) {
        if (body_gone)
          if (auto m = mine.try_recv()) got.push_back(**m);   // or `other` is what it waits for
        co_await skua::this_task::yield();
      }
    }
    tx.close();
    co_await second;
    co_await until([this] { return body_gone.load(); });
    while (auto m = co_await mine.recv()) got.push_back(*m);
  }
  void check() {
    EXPECT_EQ(all, (std::vector{0, 1, 2, 3, 4}));
    EXPECT_EQ(got, all);   // what the body did not take is still there for whoever asks next
  }
};
struct broadcasting : scene {
  skua::broadcast<int> tx{1};
  skua::broadcast_receiver<int> rx = tx.subscribe();
  int sent = 0;
  std::vector<int> got;
  task<> body() {
    for (int i = 0; i < 4; ++i) {
      point();
      EXPECT_TRUE(co_await tx.send(i));
      ++sent;
      point();
    }
  }
  task<> others() {
    auto closer = skua::spawn([this]() -> task<> {
      co_await until([this] { return body_gone.load(); });
      tx.close();
    });
    while (auto m = co_await rx.recv()) {
      got.push_back(*m);
      point();
      co_await turns();
    }
    co_await closer;
  }
  void check() {
    EXPECT_EQ(static_cast<int>(got.size()), sent);
    for (int i = 0; i < static_cast<int>(got.size()); ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], i);
  }
};

// A select over everything at once: whatever is given is taken by it, or is still there.
struct choosing : scene {
  skua::channel<owned> in{0}, out{0};
  skua::counting_semaphore permits{0};
  skua::auto_reset_event signal;
  skua::mutex m;
  int messages = 0, taken_permits = 0, taken_signals = 0, locked = 0, sent = 0, ticks = 0;   // the body's
  int gave_messages = 0, gave_permits = 0, gave_signals = 0, received = 0;                   // the others'
  task<> body() {
    for (int i = 0; i < 10; ++i) {
      point();
      co_await skua::select(on(in.recv(), [&](std::optional<owned> x) { messages += x ? 1 : 0; }),
                            on(out.send(owned(i)), [&](skua::send_result<owned> r) { sent += r ? 1 : 0; }),
                            on(permits.acquire(), [&](skua::semaphore_permit p) { taken_permits += static_cast<int>(p.forget()); }),
                            on(signal.wait(), [&] { ++taken_signals; }), on(m.lock(), [&](skua::scoped_lock l) { locked += l ? 1 : 0; }),
                            on(skua::sleep_for(1ms), [&] { ++ticks; }));
      point();
    }
  }
  task<> others() {
    auto held = co_await m.lock();
    for (int i = 0; !body_gone; ++i) {
      co_await turns();
      point();
      switch (i % 5) {
      case 0: gave_messages += in.try_send(owned(1)).status() == skua::send_status::sent; break;
      case 1: received += out.try_recv().has_value(); break;
      case 2:
        permits.release();
        ++gave_permits;
        break;
      case 3:
        if (signal.try_wait()) --gave_signals;
        signal.set();
        ++gave_signals;
        break;
      case 4:
        held.unlock();
        point();
        held = co_await m.lock();
        break;
      }
      point();
    }
  }
  void check() {
    EXPECT_EQ(messages, gave_messages);
    EXPECT_EQ(sent, received);
    EXPECT_EQ(taken_permits + static_cast<int>(permits.available()), gave_permits);
    EXPECT_EQ(taken_signals + signal.try_wait(), gave_signals);
    EXPECT_TRUE(m.try_lock());
    if (body_ended) { EXPECT_EQ(messages + sent + taken_permits + taken_signals + locked + ticks, 10); }
  }
};

template <class Scene>
class StopChannels : public stop_operations<Scene> {};

using operations = testing::Types<receiving<skua::channel<owned>, 0>, receiving<skua::channel<owned>, 2>, receiving<skua::unbounded_channel<owned>, -1>,
                                  receiving<skua::priority_channel<owned>, 2>, sending<skua::channel<owned>, 0>, sending<skua::channel<owned>, 1>,
                                  sending<skua::priority_channel<owned>, 1>, one_answer, hearing, broadcasting, choosing>;
TYPED_TEST_SUITE(StopChannels, operations);

TYPED_TEST(StopChannels, lose_nothing_wherever_they_are_stopped__S1_S4_S9) {
  for (unsigned const workers : {1u, 2u}) EXPECT_GT(this->run(skua::options{.workers = workers, .backend = "virtual"}), 1);
  EXPECT_EQ(owned::alive, 0);
}

} // namespace

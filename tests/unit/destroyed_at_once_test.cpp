// SPDX-License-Identifier: Apache-2.0
// INV-WAIT-4: who is woken may destroy what it has waited at, while whoever woke it is still on its way out. Here by a thread of its own; for what has no test
// of this beside its others (event, latch, mutex, shared_mutex, counting_semaphore, once, strand, channel, promise have one). Under a sanitizer above all.
#include "skua/barrier.hpp"
#include "skua/broadcast.hpp"
#include "skua/condition_variable.hpp"
#include "skua/event.hpp"
#include "skua/mutex.hpp"
#include "skua/oneshot.hpp"
#include "skua/runtime.hpp"
#include "skua/select.hpp"
#include "skua/semaphore.hpp"
#include "skua/watch.hpp"
#include "tests/support/leak_check.hpp"
#include <atomic>
#include <memory>
#include <thread>
#include <utility>

namespace {

using namespace skua_test;
using skua::on;
using skua::task;

class DestroyedAtOnce : public leak_check {
protected:
  // `wait(thing)` in a task, which then destroys the thing; `let_go(thing)` on this thread, meanwhile or before.
  template <class Thing, class Wait, class LetGo>
  void by_its_waiter(Wait wait, LetGo let_go) {
    constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 5'000 : 10'000;
    for (int i = 0; i < rounds; ++i) {
      auto* const thing = new Thing;
      auto h = rt.spawn([](Thing* mine, Wait w) -> task<> {
        std::unique_ptr<Thing> const destroyed(mine);
        co_await w(*mine);
      }, thing, wait);
      for (int spin = 0; spin < i % 50; ++spin) skua::detail::cpu_pause();
      let_go(*thing);
      rt.block_on([](auto handle) -> task<> { co_await handle; }, std::move(h));
    }
  }
  skua::runtime rt{skua::options{.workers = 2}};
};

TEST_F(DestroyedAtOnce, an_auto_reset_event) {
  by_its_waiter<skua::auto_reset_event>([](auto& e) -> task<> { co_await e.wait(); }, [](auto& e) { e.set(); });
}

TEST_F(DestroyedAtOnce, a_barrier) {
  struct of_two : skua::barrier {
    of_two() : barrier(2) {}
  };
  by_its_waiter<of_two>([](auto& b) -> task<> { (void)co_await b.arrive_and_wait(); }, [](auto& b) { b.arrive_and_drop(); });
}

// The wait is queued before the mutex is free, and who has found it so notifies without the mutex.
TEST_F(DestroyedAtOnce, a_condition_variable_and_its_mutex) {
  struct place {
    skua::mutex m;
    skua::condition_variable changed{m};
    bool waits = false;
  };
  by_its_waiter<place>([](place& p) -> task<> {
    auto lock = co_await p.m.lock();
    p.waits = true;
    co_await p.changed.wait(lock);
  }, [](place& p) {
    for (bool waits = false; !waits;) {
      auto const lock = p.m.try_lock();
      waits = lock && p.waits;
      if (!waits) std::this_thread::yield();
    }
    p.changed.notify_one();
  });
}

TEST_F(DestroyedAtOnce, an_unbounded_channel) {
  by_its_waiter<skua::unbounded_channel<int>>([](auto& ch) -> task<> { EXPECT_EQ(co_await ch.recv(), 1); }, [](auto& ch) { EXPECT_TRUE(ch.send(1)); });
}

TEST_F(DestroyedAtOnce, a_priority_channel) {
  struct place {
    skua::priority_channel<int> ch{1};
  };
  by_its_waiter<place>([](place& p) -> task<> { EXPECT_EQ(co_await p.ch.recv(), 1); }, [](place& p) { EXPECT_TRUE(p.ch.try_send(1, 1)); });
}

TEST_F(DestroyedAtOnce, a_channel_that_has_room_again) {
  struct place {
    skua::channel<int> ch{1};
    place() { EXPECT_TRUE(ch.try_send(0)); }
  };
  by_its_waiter<place>([](place& p) -> task<> { EXPECT_TRUE(co_await p.ch.send(1)); }, [](place& p) { EXPECT_EQ(p.ch.try_recv(), 0); });
}

TEST_F(DestroyedAtOnce, a_channel_that_is_closed) {
  struct place {
    skua::channel<int> ch{0};
  };
  by_its_waiter<place>([](place& p) -> task<> { EXPECT_FALSE(co_await p.ch.recv()); }, [](place& p) { p.ch.close(); });
}

TEST_F(DestroyedAtOnce, both_ends_of_a_oneshot) {
  struct ends {
    std::pair<skua::oneshot_sender<int>, skua::oneshot_receiver<int>> of = skua::oneshot<int>();
  };
  by_its_waiter<ends>([](ends& e) -> task<> { EXPECT_EQ(co_await e.of.second.recv(), 1); }, [](ends& e) { EXPECT_TRUE(e.of.first.send(1)); });
}

TEST_F(DestroyedAtOnce, all_ends_of_a_broadcast) {
  struct ends {
    skua::broadcast<int> all{1};
    skua::broadcast_receiver<int> rx = all.subscribe();
  };
  by_its_waiter<ends>([](ends& e) -> task<> { EXPECT_EQ(*co_await e.rx.recv(), 1); },
                      [](ends& e) { EXPECT_EQ(e.all.try_send(1), skua::send_status::sent); });
}

TEST_F(DestroyedAtOnce, all_ends_of_a_watch) {
  struct ends {
    skua::watch<int> level{0};
    skua::watch_receiver<int> rx = level.subscribe();
  };
  by_its_waiter<ends>([](ends& e) -> task<> {
    EXPECT_TRUE(co_await e.rx.changed());
    EXPECT_EQ(e.rx.peek(), 1);
  }, [](ends& e) { e.level.set(1); });
}

TEST_F(DestroyedAtOnce, everything_that_a_select_has_waited_for) {
  struct sources {
    skua::channel<int> messages{0};
    skua::counting_semaphore permits{0};
    skua::event opened;
  };
  int turn = 0;
  by_its_waiter<sources>([](sources& s) -> task<> {
    co_await skua::select(on(s.messages.recv(), [](std::optional<int> m) { EXPECT_EQ(m, 1); }),
                          on(s.permits.acquire(1), [](skua::semaphore_permit p) { std::move(p).forget(); }),
                          on(s.opened.wait(), [] {}));
  }, [&turn](sources& s) {
    switch (turn++ % 3) {
    case 0:
      while (!s.messages.try_send(1)) std::this_thread::yield();   // until it waits
      break;
    case 1: s.permits.release(1); break;
    case 2: s.opened.set(); break;
    }
  });
}

} // namespace

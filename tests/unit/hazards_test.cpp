// SPDX-License-Identifier: Apache-2.0
// What docs/hazards.md says of what goes wrong, as far as it can be shown without undefined behaviour. What waits for ever does so under a timeout, in virtual
// time.
#include "skua/skua.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/one_worker.hpp"
#include "tests/support/values.hpp"
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class Hazards : public one_worker {};

// `t` would wait for ever: only the timeout ends it.
template <class T>
task<> expect_to_wait_for_ever(task<T> t) {
  bool late = false;
  try {
    (void)co_await skua::timeout(24h, [](task<T> inner) -> task<> { (void)co_await std::move(inner); }(std::move(t)));
  } catch (skua::timeout_error const&) {
    late = true;
  }
  EXPECT_TRUE(late);
}

TEST_F(Hazards, a_task_that_awaits_its_own_handle_waits_until_it_is_stopped) {
  run([]() -> task<> {
    skua::join_handle<> self;
    bool behind = false;
    self = skua::spawn([&]() -> task<> {
      co_await skua::this_task::yield();
      co_await expect_to_wait_for_ever([](auto& h) -> task<> { co_await h; }(self));
      behind = true;
    });
    co_await skua::sleep_for(48h);   // who awaits it now is another one: it has given up
    co_await self;
    EXPECT_TRUE(behind);
  });
}

TEST_F(Hazards, a_child_of_a_full_group_that_is_awaited_by_another_task_of_it_never_begins) {
  run([]() -> task<> {
    bool begun = false;
    co_await skua::with_task_group({.max_concurrency = 1}, [&](skua::task_group& g) -> task<> {
      auto outer = g.spawn([&]() -> task<> {
        auto inner = g.spawn([&]() -> task<> {
          begun = true;
          co_return;
        });
        co_await expect_to_wait_for_ever([](auto& h) -> task<> { co_await h; }(inner));
        EXPECT_FALSE(begun);
      });
      co_await outer;
    });
    EXPECT_TRUE(begun);   // when there was room
  });
}

TEST_F(Hazards, more_permits_than_there_are_hold_up_all_who_come_later) {
  run([]() -> task<> {
    skua::counting_semaphore s(10);
    auto take = [&](std::uint64_t n) -> task<> { (void)co_await s.acquire(n); };
    auto greedy = skua::spawn(take, 11u);
    co_await let_them_wait();
    EXPECT_EQ(s.available(), 10u);
    co_await expect_to_wait_for_ever(take(1));
    greedy.request_stop();
    (void)co_await skua::settle(greedy);
    co_await take(1);
  });
}

TEST_F(Hazards, a_channel_that_its_own_reader_can_send_to_never_ends) {
  run([]() -> task<> {
    auto drain = [](auto from) -> task<> {
      while (co_await from.recv()) {
      }
    };
    skua::channel<int> both(1);
    auto reader = skua::spawn(drain, both);   // has a handle with which one can send
    both = skua::channel<int>(1);
    co_await expect_to_wait_for_ever([](auto& h) -> task<> { co_await h; }(reader));
    auto [tx, rx] = skua::channel<int>(1).split();
    auto better = skua::spawn(drain, std::move(rx));
    tx = {};
    co_await better;
  });
}

TEST_F(Hazards, a_subscriber_that_never_reads_holds_up_a_broadcast_that_waits_for_the_slow) {
  run([]() -> task<> {
    skua::broadcast<int> all(2, skua::slow_receiver::wait);
    std::optional idle = all.subscribe();
    EXPECT_TRUE(co_await all.send(1));
    EXPECT_TRUE(co_await all.send(2));
    auto send = [&]() -> task<> { (void)co_await all.send(3); };
    co_await expect_to_wait_for_ever(send());
    idle.reset();
    co_await send();
  });
}

TEST_F(Hazards, a_rendezvous_takes_nothing_that_is_only_tried) {
  run([]() -> task<> {
    skua::channel<int> ch(0);
    EXPECT_EQ(ch.try_send(1).status(), skua::send_status::full);
    auto reader = skua::spawn([&]() -> task<std::optional<int>> { co_return co_await ch.recv(); });
    co_await let_them_wait();
    EXPECT_TRUE(ch.try_send(2));
    EXPECT_EQ(co_await reader, 2);
  });
}

TEST_F(Hazards, the_arms_of_a_select_are_made_although_they_lose) {
  run([]() -> task<> {
    skua::channel<owned> full(1);
    EXPECT_TRUE(full.try_send(owned(0)));
    int made = 0;
    auto make = [&] {
      ++made;
      return owned(1);
    };
    int const won = co_await skua::select(skua::on(full.recv(), [](std::optional<owned> m) { return m->value(); }),
                                          skua::on(full.send(make()), [](skua::send_result<owned>) { return -1; }));
    EXPECT_TRUE(won == 0 || won == -1);
    EXPECT_EQ(made, 1);   // whichever won
    int const lost = co_await skua::select(skua::on(skua::sleep_for(0s), [] { return 1; }).only_if(false),
                                           skua::on(full.send(make()), [] { return 2; }).only_if(false), skua::otherwise([] { return 3; }));
    EXPECT_EQ(lost, 3);
    EXPECT_EQ(made, 2);   // an arm whose condition does not hold is made as well
    while (full.try_recv()) {
    }
    EXPECT_EQ(owned::alive, 0);   // and what was made is gone
  });
}

TEST_F(Hazards, virtual_time_stands_still_while_anything_runs_and_does_not_know_other_clocks) {
  run([]() -> task<> {
    auto const begin = skua::clock::now();
    co_await yield_times(1000);
    std::this_thread::sleep_for(2ms);   // a mistake: blocks the worker, and time does not notice
    EXPECT_EQ(skua::clock::now(), begin);
    auto const real = std::chrono::steady_clock::now();
    co_await skua::sleep_for(std::chrono::hours(24 * 365));
    EXPECT_EQ(skua::clock::now() - begin, std::chrono::hours(24 * 365));
    EXPECT_LT(std::chrono::steady_clock::now() - real, std::chrono::hours(24));
  });
}

TEST_F(Hazards, the_stop_of_a_joined_task_is_a_failure_for_settle_and_an_exception_for_catch) {
  run([]() -> task<> {
    auto stopped_task = [] {
      auto h = skua::spawn(never);
      h.request_stop();
      return h;
    };
    auto first = stopped_task(), second = stopped_task(), third = stopped_task();
    auto const o = co_await skua::settle(first);
    EXPECT_TRUE(o.failed());
    EXPECT_FALSE(o.stopped());
    EXPECT_FALSE(co_await skua::stopped_as_optional(second));
    bool caught = false;
    try {
      co_await third;
    } catch (std::exception const&) {   // sees it: it is not this task that was stopped
      caught = true;
    }
    EXPECT_TRUE(caught);
  });
}

TEST_F(Hazards, a_lock_that_is_held_while_its_owner_waits_holds_up_everybody_until_it_is_stopped) {
  run([]() -> task<> {
    skua::mutex m;
    skua::channel<int> answers(0);
    auto owner = skua::spawn([&]() -> task<> {
      auto const lock = co_await m.lock();
      (void)co_await answers.recv();   // from somebody who needs the lock first
    });
    auto other = [&]() -> task<> {
      auto const lock = co_await m.lock();
      (void)co_await answers.send(1);
    };
    co_await let_them_wait();
    co_await expect_to_wait_for_ever(other());
    owner.request_stop();
    auto const mine = co_await m.lock();
    (void)co_await skua::settle(owner);
  });
}

TEST_F(Hazards, what_is_spawned_without_a_group_has_no_deadline_and_no_task_local) {
  static constinit skua::task_local<int> number;
  run([]() -> task<> {
    auto look = []() -> task<> {
      EXPECT_FALSE(skua::this_task::deadline());
      EXPECT_EQ(number.get(), nullptr);
      co_return;
    };
    auto spawns = [&]() -> task<> {
      EXPECT_TRUE(skua::this_task::deadline());
      EXPECT_EQ(number.value_or(0), 1);
      co_await skua::spawn(look);
    };
    co_await skua::timeout(1s, number.with(1, spawns()));
  });
}

task<> nap() { co_await skua::sleep_for(1s); }
task<> stopped_with_clean_up(bool group, std::string* how) {
  auto clean_up = [=]() -> task<> {
    try {
      if (group)
        co_await skua::with_task_group([](skua::task_group& g) -> task<> {
          co_await g.spawn(nap);
        });
      else
        co_await skua::spawn(nap);
      *how = "done";
    } catch (skua::task_stopped const& e) {
      *how = to_string(e.reason());
    }
  };
  co_await skua::finally(never(), clean_up);
}
TEST(HazardsOfTheEnd, a_clean_up_that_spawns_fails_while_the_runtime_ends_and_one_with_a_group_does_not) {
  std::string spawns, groups;
  {
    skua::runtime rt({.workers = 1, .backend = "virtual"});
    rt.spawn(stopped_with_clean_up, false, &spawns).detach();
    rt.spawn(stopped_with_clean_up, true, &groups).detach();
    rt.block_on(let_them_wait);
  }
  EXPECT_EQ(spawns, to_string(skua::stop_reason::shutdown));
  EXPECT_EQ(groups, "done");
}

TEST_F(Hazards, branches_that_are_stopped_half_way_have_done_one_half) {
  run([]() -> task<> {
    skua::channel<int> from(1), to(0);
    EXPECT_TRUE(from.try_send(1));
    auto move_on = [&]() -> task<> {
      auto const m = co_await from.recv();   // done
      (void)co_await to.send(*m);            // stopped here: the message is gone
    };
    co_await expect_to_wait_for_ever(move_on());
    EXPECT_EQ(from.size(), 0u);
    EXPECT_FALSE(to.try_recv());
  });
}

TEST_F(Hazards, a_group_that_holds_back_the_failures_goes_on_until_all_have_ended) {
  run([]() -> task<> {
    auto const begin = skua::clock::now();
    bool thrown = false;
    try {
      co_await skua::with_task_group({.on_error = skua::on_error::collect}, [](skua::task_group& g) -> task<> {
        g.spawn([]() -> task<> { throw std::runtime_error("at once"); co_return; });
        g.spawn([]() -> task<> { co_await skua::sleep_for(24h); });
        co_return;
      });
    } catch (skua::task_group_error const&) {
      thrown = true;
    }
    EXPECT_TRUE(thrown);
    EXPECT_EQ(skua::clock::now() - begin, 24h);
  });
}

} // namespace

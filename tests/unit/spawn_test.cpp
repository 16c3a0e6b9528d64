// SPDX-License-Identifier: Apache-2.0
// spawn and join_handle: who owns what (S12, S16), joining (S11), failures nobody awaits (S23), misuse. Strays: INV-EMBED-1 and 2.
// spawn_arguments_test.cpp has what a task keeps.
#include "skua/spawn.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

class Spawn : public leak_check {
protected:
  Spawn() { fragile::moves_left = 1 << 30; }
  std::vector<std::string> failures;   // on one worker
  skua::runtime rt{skua::options{.workers = 1, .backend = "virtual", .on_unhandled_failure = [this](skua::failure const& f) {
                                   try {
                                     std::rethrow_exception(f.error);
                                   } catch (std::exception const& e) {
                                     failures.push_back(std::string(f.task_name) + ":" + e.what());
                                   }
                                 }}};
};

// ---------------------------------------------------------------------------------------------- results

TEST_F(Spawn, gives_results_of_every_kind) {
  auto body = []() -> task<> {
    EXPECT_EQ((co_await skua::spawn([]() -> task<owned> { co_return owned(3); })).value(), 3);
    int n = 0;
    int& r = co_await skua::spawn([](int* p) -> task<int&> { co_return *p; }, &n);
    EXPECT_EQ(&r, &n);
    co_await skua::spawn([]() -> task<> { co_return; });
    EXPECT_EQ(co_await skua::spawn([]() -> task<char> { co_return 'c'; }), 'c');
    EXPECT_EQ(co_await skua::spawn([]() -> task<std::string> { co_return std::string(100, 's'); }), std::string(100, 's'));
    auto untaken = skua::spawn([]() -> task<owned> { co_return owned(4); });
    co_await until([&] { return untaken.done(); });
  };
  rt.block_on(body);
  EXPECT_EQ(owned::alive, 0);
}

// ---------------------------------------------------------------------------------------------- one allocation

// S16: header, callable, arguments and first frame are one block; the first spawn of its kind learns how large the frame is.
TEST_F(Spawn, makes_one_allocation_a_task__S16) {
#if SKUA_ASAN
  GTEST_SKIP() << "frames lie by themselves under AddressSanitizer";
#endif
  auto body = []() -> task<> {
    auto make = [](int n) { return skua::spawn([n](std::string const&) -> task<int> {
                              co_await never();
                              co_return n;
                            },
                                               std::string("an argument")); };
    auto first = make(0);
    co_await yield_times(3);
    std::int64_t const frames = skua::detail::live_frames(), blocks = skua::detail::live_task_blocks();
    std::vector<decltype(first)> more;
    for (int i = 0; i < 10; ++i) more.push_back(make(i));
    EXPECT_EQ(skua::detail::live_frames(), frames);   // they have not run yet: never()'s frame comes later
    EXPECT_EQ(skua::detail::live_task_blocks(), blocks + 10);
  };
  rt.block_on(body);
}
TEST_F(Spawn, makes_two_allocations_for_a_frame_that_is_too_large__S16) {
  auto body = []() -> task<> {
    auto make = [] { return skua::spawn([]() -> task<int> {
                       std::array<char, 5000> a{};
                       co_await skua::this_task::yield();
                       a[4999] = 3;
                       co_await skua::this_task::yield();
                       co_return a[4999] + a[0];
                     }); };
    for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await make(), 3);
  };
  rt.block_on(body);
}

// A function that makes several coroutines: the first frame lies in the block, whose task it is not.
struct box {
  std::optional<task<int>> kept;
};
TEST_F(Spawn, survives_a_stray_frame_that_outlives_the_task__INV_EMBED_2) {
  auto body = []() -> task<> {
    for (int i = 0; i < 3; ++i) {   // the first learns the size of the frame
      box b;
      auto h = skua::spawn([](box* at) -> task<int> {
        at->kept.emplace(value_of(1));
        return value_of(2);
      },
                           &b);
      EXPECT_EQ(co_await h, 2);
      h = {};
      EXPECT_EQ(co_await std::move(*b.kept), 1);
    }
  };
  rt.block_on(body);
}
TEST_F(Spawn, survives_a_stray_frame_that_dies_first_or_on_another_thread__INV_EMBED_2) {
  auto body = []() -> task<> {
    for (int i = 0; i < 3; ++i) {
      auto h = skua::spawn([] {
        (void)value_of(1);   // dies in the callable
        return value_after(2, 2);
      });
      EXPECT_EQ(co_await h, 2);
      box b;
      auto other = skua::spawn([](box* at) -> task<int> {
        at->kept.emplace(value_of(1));
        return value_after(3, 2);
      },
                               &b);
      std::thread([&b] { b.kept.reset(); }).join();
      EXPECT_EQ(co_await other, 2);
    }
  };
  rt.block_on(body);
}
TEST_F(Spawn, survives_a_task_that_is_kept_and_returned_later__INV_EMBED_2) {
  auto body = []() -> task<> {
    for (int i = 0; i < 3; ++i) {
      std::optional<task<int>> kept;
      auto swap = [&kept]() -> task<int> {
        task<int> now = kept ? std::move(*kept) : value_of(-1);
        kept.emplace(value_of(7));
        return now;
      };
      EXPECT_EQ(co_await skua::spawn(swap), -1);
      EXPECT_EQ(co_await skua::spawn(swap), 7);
      auto last = skua::spawn(std::move(*kept));
      EXPECT_EQ(co_await last, 7);
    }
  };
  rt.block_on(body);
}
TEST_F(Spawn, nested_in_the_callable_has_a_block_of_its_own__INV_EMBED_1) {
  auto body = []() -> task<> {
    for (int i = 0; i < 3; ++i) {
      skua::join_handle<int> inner;
      auto h = skua::spawn([&inner]() -> task<int> {
        inner = skua::spawn(value_after, 1, 5);
        return value_after(1, 6);
      });
      EXPECT_EQ(co_await h, 6);
      EXPECT_EQ(co_await inner, 5);
    }
  };
  rt.block_on(body);
}

// ---------------------------------------------------------------------------------------------- joining

TEST_F(Spawn, may_be_joined_before_and_after_the_end) {
  auto body = []() -> task<> {
    auto early = skua::spawn(value_after, 5, 1);
    EXPECT_FALSE(early.done());
    EXPECT_EQ(co_await early, 1);
    EXPECT_TRUE(early.done());
    auto late = skua::spawn(value_of, 2);
    co_await until([&] { return late.done(); });
    EXPECT_EQ(co_await late, 2);
  };
  rt.block_on(body);
}

TEST_F(Spawn, failure_is_rethrown_by_the_join) {
  auto body = []() -> task<int> {
    auto h = skua::spawn(fail_after, 2, "broken");
    try {
      co_await h;
    } catch (std::runtime_error const& e) {
      co_return e.what() == std::string("broken");
    }
    co_return -1;
  };
  EXPECT_EQ(rt.block_on(body), 1);
  EXPECT_TRUE(failures.empty());
}

TEST_F(Spawn, joined_after_it_was_stopped_throws_task_stopped__S11) {
  auto body = []() -> task<> {
    auto h = skua::spawn(never);
    co_await skua::this_task::yield();
    h.request_stop();
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_TRUE(h.done());
    h.request_stop();                                // of an ended task: nothing
    EXPECT_THROW(co_await h, skua::task_stopped);   // there is no value that was taken
  };
  rt.block_on(body);
}

TEST_F(Spawn, stopped_joiner_leaves_the_task_running_and_the_handle_good__S11) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    skua::promise<int> p;
    auto work = skua::spawn([](skua::future<int> f) -> task<int> { co_return co_await f; }, p.get_future());
    auto joiner = skua::spawn([&]() -> task<> {
      witness w(gone);
      co_await work;
      ADD_FAILURE() << "joined";
    });
    co_await yield_times(2);
    joiner.request_stop();
    EXPECT_THROW(co_await joiner, skua::task_stopped);
    EXPECT_EQ(gone, 1);
    EXPECT_FALSE(work.done());
    p.set_value(8);
    EXPECT_EQ(co_await work, 8);
  };
  rt.block_on(body);
}

TEST_F(Spawn, handle_moves_to_wherever_it_is_awaited__S12) {
  auto body = []() -> task<> {
    auto h = skua::spawn(value_after, 3, 6);
    std::uint64_t const id = h.id();
    auto taker = skua::spawn([](skua::join_handle<int> g) -> task<int> { co_return co_await g; }, std::move(h));
    EXPECT_FALSE(static_cast<bool>(h));
    EXPECT_EQ(h.id(), 0u);
    EXPECT_NE(id, 0u);
    EXPECT_EQ(co_await taker, 6);
  };
  rt.block_on(body);
}

TEST_F(Spawn, task_of_one_runtime_may_be_joined_in_another) {
  skua::runtime other({.workers = 1});
  auto h = other.spawn([]() -> task<int> {
    co_await skua::sleep_for(1ms);
    co_return 11;
  });
  skua::runtime third({.workers = 1});
  EXPECT_EQ(third.block_on([](auto g) -> task<int> {
    int const n = co_await g;
    co_await skua::this_task::yield();
    co_return n;
  },
                           std::move(h)),
            11);
}

// ---------------------------------------------------------------------------------------------- dropping and detaching

TEST_F(Spawn, dropped_handle_requests_stop_and_does_not_wait__S12) {
  std::atomic<int> gone = 0;
  skua::stop_reason why{};
  auto body = [&]() -> task<> {
    {
      auto h = skua::spawn([&]() -> task<> {
        witness w(gone);
        struct asks {
          skua::stop_reason& to;
          ~asks() { to = skua::this_task::stop_reason(); }
        } a{why};
        co_await never();
      });
      co_await yield_times(2);
    }
    EXPECT_EQ(gone, 0);
    co_await until([&] { return gone == 1; });
  };
  rt.block_on(body);
  EXPECT_EQ(why, skua::stop_reason::dropped);
}

TEST_F(Spawn, assigned_handle_drops_what_it_held__S12) {
  std::atomic<int> gone = 0;
  auto body = [&]() -> task<> {
    auto make = [&] { return skua::spawn([&]() -> task<> {
                        witness w(gone);
                        co_await never();
                      }); };
    auto h = make();
    co_await skua::this_task::yield();
    h = make();
    co_await until([&] { return gone == 1; });
    auto& same = h;
    h = std::move(same);
    EXPECT_TRUE(static_cast<bool>(h));
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
  };
  rt.block_on(body);
}

TEST_F(Spawn, failure_of_a_task_whose_handle_was_dropped_reaches_the_failure_handler__S12_S23) {
  auto body = []() -> task<> {
    {
      auto h = skua::spawn(skua::named("early"), fail_after, 0, std::string("ended before the drop"));
      co_await until([&] { return h.done(); });
    }
    {
      auto h = skua::spawn(skua::named("late"), []() -> task<> {
        while (!skua::this_task::stop_requested()) co_await value_of(0);   // no suspension point
        throw std::runtime_error("ended after the drop");
      });
    }
    co_await yield_times(3);
    auto joined = skua::spawn(fail_with, "taken");
    EXPECT_THROW(co_await joined, std::runtime_error);
  };
  rt.block_on(body);
  EXPECT_EQ(failures, (std::vector<std::string>{"early:ended before the drop", "late:ended after the drop"}));
}

TEST_F(Spawn, detached_task_runs_on_and_its_failure_reaches_the_handler__S23) {
  std::atomic<int> ran = 0;
  auto body = [&]() -> task<> {
    skua::spawn_detached([&]() -> task<> {
      co_await yield_times(3);
      ++ran;
    });
    skua::spawn(skua::named("lost"), fail_after, 1, std::string("alone")).detach();
    co_await until([&] { return ran == 1 && failures.size() == 1; });
  };
  rt.block_on(body);
  EXPECT_EQ(failures, std::vector<std::string>{"lost:alone"});
}

// ---------------------------------------------------------------------------------------------- misuse, and failures of spawn itself

TEST_F(Spawn, handle_that_is_awaited_twice_or_empty_is_a_usage_error) {
  auto refused = [](auto const& h) -> task<std::string> {
    try {
      co_await h;
    } catch (skua::usage_error const& e) {
      co_return e.what();
    }
    co_return "joined";
  };
  auto body = [&]() -> task<> {
    auto h = skua::spawn(value_of, 1);
    EXPECT_EQ(co_await h, 1);
    EXPECT_TRUE((co_await refused(h)).starts_with("skua: this join_handle's task was joined before and has given its result"));
    EXPECT_EQ(co_await refused(skua::join_handle<int>()), "skua: this join_handle is empty: it was moved from, or detached");
    skua::join_handle<> const forever = skua::spawn(never);
    auto waits = [&]() -> task<> { co_await forever; };
    auto first = skua::spawn(waits);
    co_await yield_times(2);
    EXPECT_EQ(co_await refused(forever), "skua: this join_handle's task is being awaited by somebody else");
    first.request_stop();
    EXPECT_THROW(co_await first, skua::task_stopped);
  };
  rt.block_on(body);
}

TEST_F(Spawn, outside_the_runtime_is_a_usage_error) {
  EXPECT_THROW(skua::spawn(value_of, 1).detach(), skua::usage_error);
  EXPECT_THROW(skua::spawn(value_of(1)).detach(), skua::usage_error);
}

TEST_F(Spawn, that_fails_has_started_nothing) {
  auto body = []() -> task<int> {
    int errors = 0;
    auto counted = [&](auto f) {
      try {
        f();
      } catch (std::runtime_error const&) {
        ++errors;
      } catch (skua::usage_error const&) {
        ++errors;
      }
    };
    auto uses = [](fragile f) -> task<int> { co_return f.value; };
    for (int moves = 0; moves < 2; ++moves)   // into the call, into the frame
      counted([&] {
        fragile f(1);
        fragile::moves_left = moves;
        skua::spawn(skua::named("never born"), uses, std::move(f)).detach();
      });
    auto uses_kept = [](fragile f, int const&) -> task<int> { co_return f.value; };
    for (int moves = 0; moves < 3; ++moves)   // into the block first
      counted([&] {
        fragile f(1);
        fragile::moves_left = moves;
        skua::spawn(skua::named("never born"), uses_kept, std::move(f), 2).detach();
      });
    counted([] { skua::spawn([](int) -> task<int> { throw std::runtime_error("a plain function"); }, 1).detach(); });
    counted([] { skua::spawn([]() -> task<int> { return {}; }).detach(); });
    counted([] { skua::spawn(task<int>()).detach(); });
    co_await skua::this_task::yield();
    co_return errors;
  };
  EXPECT_EQ(rt.block_on(body), 8);
  EXPECT_EQ(fragile::alive, 0);
  EXPECT_TRUE(failures.empty());
}

} // namespace

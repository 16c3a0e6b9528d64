// SPDX-License-Identifier: Apache-2.0
// Unit: mistakes of the program get a clear error, and nothing else.
#include "skua/async_generator.hpp"
#include "skua/barrier.hpp"
#include "skua/blocking.hpp"
#include "skua/broadcast.hpp"
#include "skua/channel.hpp"
#include "skua/deadline.hpp"
#include "skua/event.hpp"
#include "skua/future.hpp"
#include "skua/oneshot.hpp"
#include "skua/runtime.hpp"
#include "skua/select.hpp"
#include "skua/shield.hpp"
#include "skua/signal.hpp"
#include "skua/stop_token.hpp"
#include "skua/strand.hpp"
#include "skua/task_group.hpp"
#include "skua/task_local.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include <atomic>
#include <chrono>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::task;

task<int> seven() { co_return 7; }

TEST(Misuse, a_task_that_is_awaited_twice) {
  skua::run([]() -> task<> {
    auto t = seven();
    EXPECT_EQ(co_await std::move(t), 7);
    EXPECT_THROW(co_await std::move(t), skua::usage_error);
    EXPECT_THROW(co_await skua::when_all(seven(), std::move(t)), skua::usage_error);
    EXPECT_THROW((void)skua::spawn(std::move(t)), skua::usage_error);
  }());
}

TEST(Misuse, a_handle_that_is_awaited_twice_or_by_two) {
  skua::run([]() -> task<> {
    auto h = skua::spawn(seven);
    EXPECT_EQ(co_await h, 7);
    EXPECT_THROW(co_await h, skua::usage_error);
    skua::join_handle<> empty;
    EXPECT_THROW(co_await empty, skua::usage_error);

    auto slow = skua::spawn([]() -> task<> { co_await skua::sleep_for(20ms); });
    auto other = skua::spawn([&slow]() -> task<bool> {
      try {
        co_await slow;
        co_return true;
      } catch (skua::usage_error const&) {
        co_return false;
      }
    });
    bool first = true;
    try {
      co_await slow;
    } catch (skua::usage_error const&) {
      first = false;
    }
    EXPECT_NE(first, co_await other);
  }());
}

// What was made of tasks has nothing left to run. It would be a use after free.
template <class Made>
task<bool> is_refused_the_second_time(Made& made) {
  (void)co_await made;
  try {
    (void)co_await made;
  } catch (skua::usage_error const&) {
    co_return true;
  }
  co_return false;
}
TEST(Misuse, a_combinator_that_is_kept_and_awaited_twice) {
  static constinit skua::task_local<int> local;
  auto const seven_times = [](int n) {
    std::vector<task<int>> all;
    for (; n != 0; --n) all.push_back(seven());
    return all;
  };
  skua::run([&]() -> task<> {
    auto const refused = [](auto made) -> task<bool> {
      auto kept = made();
      co_return co_await is_refused_the_second_time(kept);
    };
    EXPECT_TRUE(co_await refused([] { return skua::timeout(1h, seven()); }));
    EXPECT_TRUE(co_await refused([] { return skua::with_deadline(skua::clock::now() + 1h, seven()); }));
    EXPECT_TRUE(co_await refused([] { return skua::shield(seven()); }));
    EXPECT_TRUE(co_await refused([] { return skua::settle(seven()); }));
    EXPECT_TRUE(co_await refused([] { return skua::stopped_as_optional(seven()); }));
    EXPECT_TRUE(co_await refused([] { return skua::stop_on(std::stop_token(), seven()); }));
    EXPECT_TRUE(co_await refused([] { return local.with(1, seven()); }));
    EXPECT_TRUE(co_await refused([] { return skua::with_task_group([](skua::task_group&) -> task<int> { co_return 7; }); }));
    EXPECT_TRUE(co_await refused([] { return skua::when_all(seven(), seven()); }));
    EXPECT_TRUE(co_await refused([] { return skua::when_any(seven(), seven()); }));
    EXPECT_TRUE(co_await refused([&] { return skua::when_all(seven_times(3)); }));
    EXPECT_TRUE(co_await refused([&] { return skua::when_any(seven_times(3)); }));
    EXPECT_TRUE(co_await refused([] { return skua::select(skua::on(skua::sleep_for(0s), [] { return 7; })); }));

    auto abandoned = skua::abandon(skua::spawn_blocking([] { return 7; }));
    EXPECT_EQ(co_await std::move(abandoned), 7);
    EXPECT_THROW(co_await std::move(abandoned), skua::usage_error);
  }());
}

// An operation is performed again: what the first time has left behind is not given twice.
TEST(Misuse, an_operation_that_is_kept_and_awaited_twice) {
  skua::run({.workers = 1}, []() -> task<> {
    skua::channel<std::string> channel(2);
    (void)co_await channel.send("a");
    (void)co_await channel.send("b");
    channel.close();
    auto received = channel.recv();
    EXPECT_EQ(co_await received, "a");
    EXPECT_EQ(co_await received, "b");
    EXPECT_EQ(co_await received, std::nullopt);

    skua::channel<std::string> drained(2);
    (void)co_await drained.send("a");
    auto late = drained.recv();
    EXPECT_EQ(co_await late, "a");
    drained.close();
    while (skua::detail::attention()) co_await skua::this_task::yield();   // the runtime has begun: it looks without suspending
    late.at().size_.store(1);   // what is seen while another receiver takes the last message
    EXPECT_EQ(co_await late, std::nullopt);

    skua::barrier barrier(2);
    auto arrives = barrier.arrive_and_wait();
    auto another = skua::spawn([&]() -> task<bool> { co_return co_await barrier.arrive_and_wait(); });
    co_await skua::this_task::yield();
    EXPECT_TRUE(co_await arrives);
    EXPECT_FALSE(co_await another);
    skua::spawn_detached([&]() -> task<> {
      co_await skua::this_task::yield();
      EXPECT_TRUE(co_await barrier.arrive_and_wait());
    });
    EXPECT_FALSE(co_await arrives);

    skua::broadcast<std::string> broadcast(1, skua::slow_receiver::drop_oldest);
    auto subscriber = broadcast.subscribe();
    for (auto text : {"a", "b"}) (void)co_await broadcast.send(text);
    auto heard = subscriber.recv();
    auto b = co_await heard;
    EXPECT_TRUE(b && *b == "b" && b.missed() == 1);
    broadcast.close();
    auto end = co_await heard;
    EXPECT_FALSE(end);
    EXPECT_EQ(end.missed(), 0u);

    auto letters = []() -> skua::async_generator<std::string> { co_yield "a"; }();
    auto next = letters.next();
    EXPECT_EQ(co_await next, "a");
    EXPECT_EQ(co_await next, std::nullopt);
    EXPECT_EQ(co_await next, std::nullopt);

    skua::strand strand;
    auto fails = strand.run([]() -> int { throw std::runtime_error("again"); });
    EXPECT_THROW(co_await fails, std::runtime_error);
    EXPECT_THROW(co_await fails, std::runtime_error);   // and no exception is left over (leak sanitizer)
  }());
}

// Its message has left, and there is nothing to send: for a receiver that dereferenced it.
TEST(Misuse, a_send_that_is_kept_and_awaited_when_its_message_has_left) {
  struct boxed : std::string {   // its move may throw, so it is in a box
    using std::string::string;
    boxed(boxed const&) = default;
  };
  skua::run({.workers = 1}, []() -> task<> {
    skua::channel<boxed> channel(1);
    auto sent = channel.send("a");
    EXPECT_TRUE(co_await sent);
    EXPECT_THROW((void)co_await sent, skua::usage_error);
    EXPECT_THROW((void)skua::on(std::move(sent), [] {}), skua::usage_error);

    auto waits = channel.send("b");
    EXPECT_THROW((void)co_await skua::timeout(0s, waits), skua::timeout_error);
    EXPECT_EQ(channel.try_recv(), "a");
    EXPECT_TRUE(co_await waits);   // it had not been sent
    EXPECT_EQ(channel.try_recv(), "b");

    auto selected = channel.send("c");
    co_await skua::select(skua::on(std::move(selected), [](auto const& r) { EXPECT_TRUE(r); }));
    EXPECT_THROW((void)co_await selected, skua::usage_error);
    channel.close();
    auto refused = channel.send("d");
    EXPECT_EQ((co_await refused).value(), "d");
    EXPECT_THROW((void)co_await refused, skua::usage_error);

    skua::broadcast<boxed> broadcast(1);
    auto subscriber = broadcast.subscribe();
    auto told = broadcast.send("a");
    EXPECT_TRUE(co_await told);
    EXPECT_THROW((void)co_await told, skua::usage_error);
    EXPECT_THROW((void)skua::on(std::move(told), [] {}), skua::usage_error);
    auto later = broadcast.send("b");
    EXPECT_THROW((void)co_await skua::timeout(0s, later), skua::timeout_error);
    EXPECT_EQ(*co_await subscriber.recv(), "a");
    EXPECT_TRUE(co_await later);
    EXPECT_EQ(*co_await subscriber.recv(), "b");
  }());
}

// Its first statements would run before the group is there.
TEST(Misuse, the_body_of_a_group_that_is_no_coroutine) {
  skua::run([]() -> task<> {
    auto const spawns_too_early = [](skua::task_group& group) -> task<int> {
      group.spawn(seven);
      return seven();
    };
    EXPECT_THROW(co_await skua::with_task_group(spawns_too_early), skua::usage_error);
    EXPECT_EQ(co_await skua::with_task_group([](skua::task_group&) { return seven(); }), 7);
  }());
}

// The tasks of a group, and its body, would go on in a runtime that is not theirs, and neither would ever end.
TEST(Misuse, a_group_that_is_used_by_a_task_of_another_runtime) {
  skua::runtime here({.workers = 1}), elsewhere({.workers = 1});
  here.block_on([&]() -> task<> {
    co_await skua::with_task_group([&](skua::task_group& group) -> task<> {
      group.spawn([]() -> task<> { co_await skua::sleep_for(1ms); });
      co_await elsewhere.spawn([&group]() -> task<> {
        EXPECT_THROW(group.spawn(seven), skua::usage_error);
        EXPECT_THROW(co_await group.start<>([](skua::started<> ready) -> task<> { co_return ready(); }), skua::usage_error);
        EXPECT_THROW(co_await group.join(), skua::usage_error);
        EXPECT_THROW(co_await group.room(), skua::usage_error);
      });
    });
  }());
}

// A coroutine of somebody else's, which begins at once and may await what it likes.
struct foreign_coroutine {
  struct promise_type {
    foreign_coroutine get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};
// As if a task awaited it that somebody else's awaitable has resumed, on a thread of its own: others than tasks are refused at compile time.
template <class A>
struct awaited_by_a_task {
  A inner;
  bool await_ready() { return inner.await_ready(); }
  auto await_suspend(std::coroutine_handle<> h) {
    return inner.await_suspend(std::coroutine_handle<task<>::promise_type>::from_address(h.address()));
  }
  auto await_resume() { return inner.await_resume(); }
};
template <class Make>
foreign_coroutine await_outside(Make make, bool& refused) {
  try {
    (void)co_await awaited_by_a_task<decltype(make())>{make()};
  } catch (skua::usage_error const& e) {
    refused = std::string_view(e.what()).find("resumed outside its workers") != std::string_view::npos;
  }
}
TEST(Misuse, what_is_awaited_on_a_thread_that_is_no_worker) {
  static constinit skua::task_local<int> local;
  skua::event never_set;
  auto const refuses = [](auto make) {
    bool refused = false;
    await_outside(make, refused);
    return refused;
  };
  EXPECT_TRUE(refuses([] { return local.with(1, seven()); }));
  EXPECT_TRUE(refuses([] { return skua::timeout(1s, seven()); }));
  EXPECT_TRUE(refuses([] { return skua::with_deadline(skua::clock::now() + 1s, seven()); }));
  EXPECT_TRUE(refuses([] { return skua::shield(seven()); }));
  EXPECT_TRUE(refuses([] { return skua::settle(seven()); }));
  EXPECT_TRUE(refuses([] { return skua::stop_on(std::stop_token(), seven()); }));
  EXPECT_TRUE(refuses([] { return skua::with_task_group([](skua::task_group&) { return seven(); }); }));
  EXPECT_TRUE(refuses([] { return skua::when_any(seven(), seven()); }));
  EXPECT_TRUE(refuses([] { return skua::sleep_for(1s); }));
  EXPECT_TRUE(refuses([] { return skua::this_task::yield(); }));
  EXPECT_TRUE(refuses([&] { return never_set.wait(); }));
  EXPECT_EQ(local.get(), nullptr);
}

// Nobody would ever hear of its end.
TEST(MisuseDeathTest, a_task_that_ends_on_a_thread_that_is_no_worker_is_named) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  struct resumed_elsewhere {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const { std::thread(h).detach(); }
    void await_resume() const noexcept {}
  };
  auto const end_there = [] {
    skua::run([]() -> task<> {
      co_await skua::spawn(skua::named("stray"), []() -> task<> { co_await resumed_elsewhere(); });
    }());
  };
  EXPECT_DEATH(end_there(), "task [0-9]+ 'stray' \\(spawned at .*misuse_test.cpp:[0-9]+\\) ended on a thread that is no worker.*skua::callback");
}

// It would be a use after free: the joiner's await looks at the handle's task.
TEST(MisuseDeathTest, a_handle_that_is_dropped_while_another_task_awaits_it_is_named) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  auto const drop = [] {
    skua::run({.workers = 1, .backend = "virtual"}, []() -> task<> {
      auto h = std::make_unique<skua::join_handle<>>(skua::spawn(skua::named("slow one"), []() -> task<> { co_await skua::sleep_for(1h); }));
      auto other = skua::spawn([at = h.get()]() -> task<> { co_await *at; });
      co_await skua::sleep_for(1s);
      h.reset();
      co_await other;
    }());
  };
  EXPECT_DEATH(drop(), "the handle of task [0-9]+ 'slow one' \\(spawned at .*misuse_test.cpp:[0-9]+\\) was dropped while another task awaits it");
}

TEST(Misuse, a_future_or_oneshot_that_is_moved_while_it_is_awaited) {
  skua::run({.workers = 1}, []() -> task<> {
    skua::promise<int> promise;
    auto future = promise.get_future();
    auto first = skua::spawn([](skua::future<int>& of) -> task<> { EXPECT_THROW((void)co_await of, skua::usage_error); }, std::ref(future));
    auto [reply, answer] = skua::oneshot<int>();
    auto second = skua::spawn([](skua::oneshot_receiver<int>& of) -> task<> { EXPECT_THROW((void)co_await of.recv(), skua::usage_error); }, std::ref(answer));
    co_await skua::this_task::yield();
    auto const taken = std::move(future);
    auto const taken_too = std::move(answer);
    promise.set_value(1);
    (void)reply.send(1);
    co_await first;
    co_await second;
  }());
}

struct throws_at_its_end {
  ~throws_at_its_end() noexcept(false) { throw std::runtime_error("from a destructor"); }
};
// There is nobody to give the exception to.
TEST(MisuseDeathTest, a_generator_whose_locals_throw_when_it_is_dropped) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  auto const drop = [] {
    skua::run([]() -> task<> {
      auto numbers = []() -> skua::async_generator<int> {
        throws_at_its_end const local;
        co_yield 1;
      }();
      (void)co_await numbers.next();
    }());
  };
  EXPECT_DEATH(drop(), "a destructor threw while a generator was destroyed");
}

// It would wait for itself.
TEST(Misuse, a_runtime_that_is_shut_down_by_its_own_blocking_work) {
  skua::runtime rt({.workers = 1}), other({.workers = 1});
  rt.block_on([&]() -> task<> {
    co_await skua::spawn_blocking([&] {
      EXPECT_THROW(rt.shutdown(1h), skua::usage_error);
      EXPECT_TRUE(other.shutdown(1h).clean());
    });
  }());
}
TEST(MisuseDeathTest, a_runtime_that_is_destroyed_by_its_own_blocking_work) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  auto const destroy = [] {
    auto rt = std::make_unique<skua::runtime>(skua::options{.workers = 1});
    rt->block_on([&]() -> task<> { co_await skua::spawn_blocking([&] { rt.reset(); }); }());
  };
  EXPECT_DEATH(destroy(), "must not be destroyed on a blocking thread of its own");
}

TEST(Misuse, spawning_outside_the_runtime) {
  EXPECT_THROW((void)skua::spawn(seven), skua::usage_error);
}

TEST(Misuse, a_runtime_inside_a_task) {
  skua::runtime rt({.workers = 1});
  rt.block_on([]() -> skua::task<> {
    EXPECT_THROW(skua::runtime inner({.workers = 1}), skua::usage_error);
    bool ran = false;
    auto inner_main = [&]() -> skua::task<int> {
      ran = true;
      co_return 0;
    };
    EXPECT_THROW(skua::run_until_signal(inner_main()), skua::usage_error);
    EXPECT_FALSE(ran);
    co_return;
  });
}

TEST(Misuse, blocking_a_worker_on_its_own_runtime) {
  skua::runtime rt;
  rt.block_on([&rt]() -> task<> {
    EXPECT_THROW(rt.block_on(seven()), skua::usage_error);
    EXPECT_THROW(rt.shutdown(1s), skua::usage_error);
    co_return;
  });
}

TEST(Misuse, an_option_out_of_range) {
  skua::options o;
  o.workers = 100'000;
  EXPECT_THROW(skua::runtime rt(o), std::invalid_argument);
  skua::options b;
  b.backend = "carrier pigeon";
  EXPECT_THROW(skua::runtime rt(b), std::invalid_argument);
}

TEST(Misuse, a_runtime_destroyed_with_tasks_alive_stops_and_joins_them) {
  static std::atomic<int> destroyed;   // tasks end on several workers
  destroyed = 0;
  struct witness {
    ~witness() { ++destroyed; }
  };
  {
    skua::runtime rt;
    for (int i = 0; i < 100; ++i)
      rt.spawn([]() -> task<> {
          witness w;
          co_await skua::sleep_for(1h);
        }).detach();
    rt.block_on([]() -> task<> { co_await skua::sleep_for(5ms); });
  }
  EXPECT_EQ(destroyed, 100);
}

TEST(Misuse, a_runtime_used_after_fork) {
  skua::runtime rt;
  pid_t const child = ::fork();
  if (child == 0) {
    int status = 1;
    try {
      rt.block_on(seven());
    } catch (skua::usage_error const&) {
      status = 0;
    } catch (...) {
      status = 2;
    }
    ::_exit(status);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(rt.block_on(seven()), 7);
}

} // namespace

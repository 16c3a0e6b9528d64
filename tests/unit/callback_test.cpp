// SPDX-License-Identifier: Apache-2.0
// callback: C interfaces that call back, from any thread, at any time; a stop that takes the call back, or has to wait for it.
#include "skua/callback.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <condition_variable>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::callback;
using skua::completion;
using skua::task;

class Callback : public leak_check {
protected:
  template <class F>
  decltype(auto) run(F f) {
    return rt.block_on(std::move(f));
  }
  skua::runtime rt{skua::options{.workers = 2}};
};

// A library as they come: requests are answered by a thread of its own, and can be cancelled until it has begun to answer.
class c_library {
public:
  using done = void (*)(void* user, int result);
  c_library() : thread_([this] { serve(); }) {}
  ~c_library() {
    {
      std::lock_guard const g(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void request(int n, done f, void* user) {
    {
      std::lock_guard const g(mutex_);
      open_[user] = {n, f};
    }
    changed_.notify_all();
  }
  bool cancel(void* user) {
    std::lock_guard const g(mutex_);
    return open_.erase(user) == 1;
  }
  void pause(bool on) {
    {
      std::lock_guard const g(mutex_);
      paused_ = on;
    }
    changed_.notify_all();
  }

private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ends_ || (!paused_ && !open_.empty()); });
      if (open_.empty()) return;
      auto const [user, request] = *open_.begin();
      open_.erase(open_.begin());
      lock.unlock();
      request.second(user, request.first * 2);
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<void*, std::pair<int, done>> open_;
  bool paused_ = false, ends_ = false;
  std::thread thread_;
};

task<int> ask(c_library& lib, int n) {
  co_return co_await callback<int>(
      [&](completion<int> c) { lib.request(n, [](void* user, int result) { completion<int>::from_pointer(user).set_value(result); }, c.to_pointer()); },
      [&](completion<int> c) { return lib.cancel(c.to_pointer()); });
}

TEST_F(Callback, waits_for_a_call_from_a_thread_of_the_library) {
  c_library lib;
  EXPECT_EQ(run([&]() -> task<int> {
    int sum = 0;
    for (int i = 0; i < 100; ++i) sum += co_await ask(lib, i);
    co_return sum;
  }), 9900);
}

TEST_F(Callback, may_be_called_before_start_returns) {
  EXPECT_EQ(run([]() -> task<std::string> { co_return co_await callback<std::string>([](completion<std::string> c) { c.set_value("xxx"); }); }), "xxx");
  run([]() -> task<> { co_await callback([](completion<> c) { c.set_value(); }); });
  int target = 0;
  run([&]() -> task<> {
    int& r = co_await callback<int&>([&](completion<int&> c) { c.set_value(target); });
    EXPECT_EQ(&r, &target);
  });
}

TEST_F(Callback, that_is_always_called_at_once_lets_other_tasks_run__D11) {
  skua::runtime one({.workers = 1});
  one.block_on([]() -> task<> {
    bool ran = false;
    auto h = skua::spawn([&ran]() -> task<> {
      ran = true;
      co_return;
    });
    int rounds = 0;
    for (; !ran && rounds < 10'000; ++rounds) EXPECT_EQ(co_await callback<int>([&](completion<int> c) { c.set_value(rounds); }), rounds);
    EXPECT_LT(rounds, 10'000);
    co_await h;
  });
}

TEST_F(Callback, throws_what_was_set_what_start_throws_and_what_constructing_the_value_throws) {
  EXPECT_THROW(run([]() -> task<int> {
    co_return co_await callback<int>([](completion<int> c) { c.set_exception(std::make_exception_ptr(std::out_of_range("set"))); });
  }), std::out_of_range);
  EXPECT_THROW(run([]() -> task<> { co_await callback([](completion<>) { throw std::invalid_argument("start"); }); }), std::invalid_argument);
  struct picky {
    explicit picky(int) { throw std::domain_error("constructor"); }
  };
  EXPECT_THROW(run([]() -> task<> { co_await callback<picky>([](completion<picky> c) { c.set_value(1); }); }), std::domain_error);
}

TEST_F(Callback, that_the_library_takes_back_is_unwound_at_once) {
  c_library lib;
  lib.pause(true);
  run([&]() -> task<> { EXPECT_THROW((void)co_await skua::timeout(1ms, ask(lib, 1)), skua::timeout_error); });
}

TEST_F(Callback, that_cannot_be_taken_back_is_waited_for_and_delivered) {
  run([]() -> task<> {
    std::optional<completion<owned>> later;
    std::atomic<bool> asked = false, started = false;
    int got = 0;
    auto h = skua::spawn([&]() -> task<> {
      auto v = co_await callback<owned>(
          [&](completion<owned> c) {
            later = c;
            started = true;
          },
          [&](completion<owned>) { asked = true; });
      got = v.value();
      co_await skua::this_task::checkpoint();
      got = -1;
    });
    co_await until([&] { return started.load(); });
    h.request_stop();
    co_await until([&] { return asked.load(); });
    EXPECT_FALSE(h.done());
    later->set_value(owned(6));
    EXPECT_THROW(co_await h, skua::task_stopped);
    EXPECT_EQ(got, 6);
  });
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(Callback, does_not_start_when_it_is_stopped_already) {
  skua::runtime one({.workers = 1});
  one.block_on([]() -> task<> {
    bool started = false;
    auto h = skua::spawn([&]() -> task<> { co_await callback([&](completion<>) { started = true; }); });
    h.request_stop();
    bool stopped = false;
    try {
      co_await h;
    } catch (skua::task_stopped const&) {
      stopped = true;
    }
    EXPECT_TRUE(stopped);
    EXPECT_FALSE(started);
  });
}

TEST_F(Callback, and_a_stop_race_without_loss) {
  c_library lib;
  constexpr int rounds = SKUA_TSAN || SKUA_ASAN ? 1'000 : 5'000;
  int delivered = 0, stopped = 0;
  run([&]() -> task<> {
    for (int i = 0; i < rounds; ++i) {
      auto h = skua::spawn(ask, std::ref(lib), i);
      for (int spin = 0; spin < i % 500; ++spin) skua::detail::cpu_pause();
      h.request_stop();
      try {
        EXPECT_EQ(co_await h, 2 * i);
        ++delivered;
      } catch (skua::task_stopped const&) {
        ++stopped;
      }
    }
  });
  EXPECT_EQ(delivered + stopped, rounds);
}

} // namespace

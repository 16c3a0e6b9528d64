// SPDX-License-Identifier: Apache-2.0
// Edges of the runtime where two things meet: a task's end and a stop request, a handle and the end of its runtime, a yield and the LIFO slot.
#include "skua/skua.hpp"
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

void wait_until(auto condition) {
  while (!condition()) std::this_thread::sleep_for(1ms);
}

// D11: with one worker, nobody else would ever look into its LIFO slot.
TEST(RuntimeEdges, a_task_that_yields_lets_the_one_in_the_lifo_slot_run) {
  skua::runtime rt({.workers = 1});
  auto h = rt.spawn([]() -> skua::task<void> {
    bool ran = false;
    auto other = skua::spawn([&ran]() -> skua::task<void> {
      ran = true;
      co_return;
    });
    while (!ran) co_await skua::this_task::yield();
    co_await other;
  });
  wait_until([&] { return h.done(); });
}

// S1: a stop that happens before a checkpoint is seen there, however long after the request that is.
TEST(RuntimeEdges, request_stop_of_all_tasks_is_seen_at_a_checkpoint_long_after) {
  skua::runtime rt({.workers = 1});
  std::atomic<int> step{0};
  auto h = rt.spawn([&step]() -> skua::task<void> {
    step = 1;
    while (step != 2) std::this_thread::yield();
    for (int i = 0; i < 1'000'000; ++i) co_await skua::this_task::checkpoint();
    step = 3;
  });
  while (step != 1) std::this_thread::yield();
  rt.request_stop();
  step = 2;
  wait_until([&] { return h.done(); });
  EXPECT_EQ(step, 2);
}

// Inspection reads headers while their tasks run, fail and end: for ThreadSanitizer.
TEST(RuntimeEdges, a_dump_may_be_taken_while_tasks_fail) {
  skua::runtime rt({.workers = 2});
  std::atomic<bool> over{false};
  std::thread inspector([&] {
    while (!over) {
      std::ostringstream out;
      rt.dump(out);
      std::this_thread::yield();
    }
  });
  auto const fails = [](int& n) -> skua::task<void> {
    co_await skua::this_task::yield();
    co_await skua::sleep_for(1us);
    throw std::runtime_error(std::to_string(++n));
  };
  int first = 0, second = 0, caught = 0;
  rt.block_on([&]() -> skua::task<void> {
    for (int i = 0; i != 300; ++i) {
      auto a = skua::spawn(fails, std::ref(first)), b = skua::spawn(fails, std::ref(second));
      for (auto* h : {&a, &b}) try {
          co_await *h;
        } catch (std::runtime_error const&) {
          ++caught;
        }
    }
  });
  over = true;
  inspector.join();
  EXPECT_EQ(caught, 600);
}

// S12, S23: its failure goes to the default handler then.
TEST(RuntimeEdges, a_handle_of_a_failed_task_may_be_dropped_after_its_runtime) {
  skua::join_handle<void> h;
  {
    skua::runtime rt({.workers = 1});
    h = rt.spawn([]() -> skua::task<void> {
      throw std::runtime_error("nobody asked");
      co_return;
    });
    wait_until([&] { return h.done(); });
  }
  testing::internal::CaptureStderr();
  h = {};
  EXPECT_NE(testing::internal::GetCapturedStderr().find("nobody asked"), std::string::npos);
}

// What was counted in the attention word is given back once, whichever comes first: the task's end, or the request.
TEST(RuntimeEdges, a_stop_request_that_meets_the_end_of_its_task_is_counted_back_once) {
  std::int64_t const before = skua::detail::attention_count.count;
  {
    skua::runtime rt({.workers = 2});
    for (unsigned i = 0; i < 20000; ++i) {
      auto h = rt.spawn([]() -> skua::task<void> { co_return; });
      for (unsigned spin = i % 2048; spin != 0; --spin) skua::detail::cpu_pause();
      h.request_stop();
    }
  }
  EXPECT_EQ(skua::detail::attention_count.count, before);
}
// The same without luck: the request comes while the task's callable is destroyed, after its end was noted.
TEST(RuntimeEdges, a_stop_request_after_the_end_was_noted_is_counted_back_once) {
  skua::detail::task_header h;
  h.owner_index = 0;
  std::int64_t const before = skua::detail::attention_count.count;
  skua::detail::note_end(h);
  skua::detail::request_stop(h, skua::stop_reason::requested);
  skua::detail::note_free(h);
  EXPECT_EQ(skua::detail::attention_count.count, before);
}

struct asks_when_it_dies {
  std::atomic<int>* asked;   // null: moved from
  explicit asks_when_it_dies(std::atomic<int>& n) noexcept : asked(&n) {}
  asks_when_it_dies(asks_when_it_dies&& o) noexcept : asked(std::exchange(o.asked, nullptr)) {}
  ~asks_when_it_dies() {
    if (asked == nullptr) return;
    (void)skua::this_task::id();
    ++*asked;
  }
};
TEST(RuntimeEdges, destructors_of_a_tasks_arguments_may_ask_for_the_running_task) {
  skua::runtime rt({.workers = 1});
  std::atomic<int> asked = 0;
  for (int i = 0; i < 100; ++i)
    rt.block_on([](asks_when_it_dies const&) -> skua::task<void> { co_return; }, asks_when_it_dies(asked));
  EXPECT_EQ(asked, 100);
}

TEST(RuntimeEdges, a_timeout_that_is_never_awaited_destroys_its_task) {
  skua::runtime rt({.workers = 1});
  auto const witness = std::make_shared<int>(1);
  rt.block_on([](std::shared_ptr<int> w) -> skua::task<void> {
    auto limited = skua::timeout(1s, [](std::shared_ptr<int>) -> skua::task<void> { co_return; }(std::move(w)));
    co_return;
  },
              witness);
  EXPECT_EQ(witness.use_count(), 1);
}

// INV-TASK-3: names, spawn sites and blocks that a listing reads are not freed meanwhile.
TEST(RuntimeEdges, a_dump_while_named_tasks_come_and_go) {
  skua::runtime rt({.workers = 2});
  std::atomic<bool> stop{false};
  auto h = rt.spawn([&stop]() -> skua::task<void> {
    while (!stop) {
      for (int i = 0; i < 100; ++i)
        skua::spawn(skua::named("comes and goes"), []() -> skua::task<void> { co_await skua::this_task::yield(); }).detach();
      co_await skua::this_task::yield();
    }
  });
  auto const until = std::chrono::steady_clock::now() + 300ms;
  while (std::chrono::steady_clock::now() < until) {
    std::ostringstream out;
    rt.dump(out);
    std::istringstream lines(out.str());
    for (std::string line; std::getline(lines, line);) EXPECT_NE(line.find("runtime_edges_test.cpp"), std::string::npos) << line;
  }
  stop = true;
  wait_until([&] { return h.done(); });
}

// INV-EMBED-2: a callable that makes a coroutine for others, spawns a task, and returns yet another coroutine.
TEST(RuntimeEdges, a_frame_that_a_spawned_function_made_for_others_outlives_the_task) {
  skua::runtime rt({.workers = 1});
  int sum = 0;
  rt.block_on([](int& all) -> skua::task<void> {
    std::vector<skua::task<int>> kept;
    int made = 0;
    for (int i = 0; i < 6; ++i)
      co_await skua::spawn([&]() -> skua::task<void> {
        kept.push_back([](int n) -> skua::task<int> { co_return n; }(1 << made++));
        skua::spawn([](std::array<char, 160>) -> skua::task<void> { co_await skua::this_task::yield(); }, std::array<char, 160>{}).detach();
        return []() -> skua::task<void> { co_return; }();
      });
    for (auto& t : kept) all += co_await std::move(t);
  },
              std::ref(sum));
  EXPECT_EQ(sum, 63);
}

// INV-INJECTOR-1: the thread that completes the last operation is still on its way out when the runtime dies. (What ThreadSanitizer sees.)
TEST(RuntimeEdges, a_runtime_waits_for_the_thread_that_completed_its_last_operation) {
  for (int i = 0; i < 50; ++i) {
    skua::promise<int> p;
    std::thread completer;
    {
      skua::runtime rt({.workers = 1});
      auto h = rt.spawn([](skua::future<int> f) -> skua::task<int> { co_return co_await std::move(f); }, p.get_future());
      completer = std::thread([&p] { p.set_value(1); });
      EXPECT_EQ(rt.block_on([](skua::join_handle<int> joined) -> skua::task<int> { co_return co_await joined; }, std::move(h)), 1);
    }
    completer.join();
  }
}

} // namespace

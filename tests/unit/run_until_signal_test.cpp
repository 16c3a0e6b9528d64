// SPDX-License-Identifier: Apache-2.0
// run_until_signal: the three signals, the grace period, and that nothing of ours is left behind (S25).
#include "skua/signal.hpp"
#include "skua/blocking.hpp"
#include "skua/error.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/time.hpp"
#include <atomic>
#include <chrono>
#include <csignal>
#include <gtest/gtest.h>
#include <semaphore>
#include <sys/resource.h>
#include <sys/wait.h>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using skua::task;

skua::options quick() { return {.workers = 2}; }
void raise_here(int signal) { ::kill(::getpid(), signal); }

bool handled_by_nobody(int signal) {
  struct sigaction now;
  sigaction(signal, nullptr, &now);
  return now.sa_handler == SIG_DFL;
}

TEST(RunUntilSignal, ends_with_the_main_task) {
  auto const report = skua::run_until_signal([]() -> task<int> { co_return 3; }(), {SIGTERM}, 1s, quick());
  EXPECT_EQ(report.signal, 0);
  EXPECT_EQ(report.status, 3);
  EXPECT_EQ(report.exit_status(), 3);
  EXPECT_EQ(skua::run_until_signal([]() -> task<> { co_return; }(), {SIGTERM}, 1s, quick()).exit_status(), 0);
}

TEST(RunUntilSignal, throws_what_the_main_task_throws) {
  auto const fails = []() -> task<> {
    co_await skua::this_task::yield();
    throw std::runtime_error("no port");
  };
  EXPECT_THROW(skua::run_until_signal(fails(), {SIGTERM}, 1s, quick()), std::runtime_error);
  EXPECT_TRUE(handled_by_nobody(SIGTERM));
}

task<> wait_for_ever(std::atomic<bool>* unwound) {
  struct note {
    std::atomic<bool>* b;
    ~note() { *b = true; }
  } const n{unwound};
  raise_here(SIGTERM);
  co_await skua::sleep_for(1h);
}
TEST(RunUntilSignal, stops_the_main_task_at_the_first_signal) {
  std::atomic<bool> unwound{false};
  auto const report = skua::run_until_signal(wait_for_ever(&unwound), {SIGINT, SIGTERM}, 10s, quick());
  EXPECT_TRUE(unwound);
  EXPECT_EQ(report.signal, SIGTERM);
  EXPECT_EQ(report.exit_status(), 0);
  EXPECT_TRUE(report.survivors.empty());
}

task<> leave_one_behind(std::atomic<bool>* finished) {
  skua::spawn_detached([](std::atomic<bool>* f) -> task<> {
    co_await skua::sleep_for(20ms);
    *f = true;
  }, finished);
  raise_here(SIGTERM);
  co_await skua::sleep_for(1h);
}
TEST(RunUntilSignal, lets_other_tasks_finish_within_the_grace_period) {
  for (auto grace : {std::chrono::milliseconds(10s), std::chrono::milliseconds::max()}) {
    std::atomic<bool> finished{false};
    auto const report = skua::run_until_signal(leave_one_behind(&finished), {SIGTERM}, grace, quick());
    EXPECT_TRUE(finished) << grace.count();
    EXPECT_EQ(report.exit_status(), 0);
  }
}

task<> leave_an_endless_one_behind(bool twice) {
  skua::spawn_detached([]() -> task<> { co_await skua::sleep_for(1h); });
  raise_here(SIGTERM);
  if (twice) {
    while (!skua::this_task::stop_requested()) std::this_thread::sleep_for(100us);   // signals do not queue: the first one has been seen by now
    raise_here(SIGTERM);
  }
  co_await skua::sleep_for(1h);
}
TEST(RunUntilSignal, stops_what_is_left_when_the_grace_period_is_over) {
  auto const began = std::chrono::steady_clock::now();
  auto const report = skua::run_until_signal(leave_an_endless_one_behind(false), {SIGTERM}, 30ms, quick());
  EXPECT_GE(std::chrono::steady_clock::now() - began, 30ms);
  EXPECT_EQ(report.exit_status(), 0) << "stopped in order";
}

#if !SKUA_TSAN   // its own thread wakes up all the time

// Nothing polls while the grace period lasts, and nothing spins.
TEST(RunUntilSignalTiming, a_task_that_lasts_is_awaited_without_wake_ups) {
  long switches = 0, cpu_us = 0;
  auto const leave = [&]() -> task<> {
    skua::spawn_detached([](long* count, long* us) -> task<> {
      for (int seconds = 0; seconds != 20; ++seconds) {   // in the first ones all may still be on its way to rest
        rusage before{}, after{};
        getrusage(RUSAGE_SELF, &before);
        co_await skua::sleep_for(1s);
        getrusage(RUSAGE_SELF, &after);
        *count = after.ru_nvcsw - before.ru_nvcsw;
        auto const us_of = [](rusage const& r) { return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1'000'000 + r.ru_utime.tv_usec + r.ru_stime.tv_usec; };
        *us = us_of(after) - us_of(before);
        if (*count <= 6 && *us <= 50'000) co_return;
      }
    }, &switches, &cpu_us);
    raise_here(SIGTERM);
    co_await skua::sleep_for(1h);
  };
  EXPECT_EQ(skua::run_until_signal(leave(), {SIGTERM}, 1h, quick()).exit_status(), 0);
  EXPECT_LE(switches, 6);   // the timer's own, and what a sentinel naps before it rests
  EXPECT_LE(cpu_us, 50'000);
}

#endif

TEST(RunUntilSignal, a_second_signal_ends_the_grace_period) {
  auto const report = skua::run_until_signal(leave_an_endless_one_behind(true), {SIGTERM}, 1h, quick());
  EXPECT_EQ(report.exit_status(), 0);
}

// The report has been made: it watches its signal no more.
void raise_and_wait_for_the_report() {
  raise_here(SIGTERM);
  while (!handled_by_nobody(SIGTERM)) std::this_thread::sleep_for(1ms);
}
task<> block_until_the_report() {
  co_await skua::spawn_blocking(raise_and_wait_for_the_report);
  co_await skua::sleep_for(1h);
}
TEST(RunUntilSignal, names_the_tasks_that_would_not_stop) {
  auto const report = skua::run_until_signal(block_until_the_report(), {SIGTERM}, 10ms, {.workers = 2, .shutdown_grace = 20ms});
  EXPECT_EQ(report.survivors.size(), 1u);
  EXPECT_EQ(report.exit_status(), 128 + SIGTERM);
}

TEST(RunUntilSignal, names_the_blocking_work_that_was_abandoned) {
  auto const body = []() -> task<> { co_await skua::abandon(skua::spawn_blocking(raise_and_wait_for_the_report)); };
  auto const report = skua::run_until_signal(body(), {SIGTERM}, 10s, {.workers = 2, .shutdown_grace = 20ms});
  EXPECT_TRUE(report.survivors.empty());
  ASSERT_EQ(report.blocking.size(), 1u);
  EXPECT_TRUE(report.blocking[0].abandoned);
  EXPECT_EQ(report.exit_status(), 128 + SIGTERM);
}

TEST(RunUntilSignal, a_main_task_that_would_not_stop_was_spawned_on_the_users_line) {
  auto const line = std::source_location::current().line() + 1;
  auto const report = skua::run_until_signal(block_until_the_report(), {SIGTERM}, 10ms, {.workers = 2, .shutdown_grace = 20ms});
  ASSERT_EQ(report.survivors.size(), 1u);
  EXPECT_EQ(report.survivors[0].spawned_at.line(), line);
  EXPECT_NE(std::string_view(report.survivors[0].spawned_at.file_name()).find("run_until_signal_test.cpp"), std::string_view::npos);
}

// The main task has ended by itself, and the rest is being stopped, when a task that does not stop raises the signal. It comes while it is watched, and the
// report has it, or afterwards, and its former handling has it.
TEST(RunUntilSignal, reports_a_signal_that_comes_when_all_is_being_stopped_anyway) {
  static std::atomic<int> passed_on;
  struct sigaction mine = {}, before;
  mine.sa_handler = [](int) { ++passed_on; };
  sigaction(SIGUSR1, &mine, &before);
  testing::internal::CaptureStderr();   // the task is named there, round by round
  for (int round = 0; round != 300; ++round) {
    passed_on = 0;
    auto const report = skua::run_until_signal([]() -> task<int> {
      skua::spawn_detached([]() -> task<> {
        while (!skua::this_task::stop_requested()) std::this_thread::yield();
        raise_here(SIGUSR1);
        co_return;
      });
      co_return 3;
    }(), {SIGUSR1}, 1s, {.workers = 2, .shutdown_grace = 0ms});
    EXPECT_EQ(report.signal, passed_on == 0 ? SIGUSR1 : 0);
    EXPECT_EQ(report.status, 3);
  }
  (void)testing::internal::GetCapturedStderr();
  sigaction(SIGUSR1, &before, nullptr);
}

// S25
TEST(RunUntilSignal, restores_the_former_handling) {
  static std::atomic<int> seen;
  seen = 0;
  struct sigaction mine = {}, before;
  mine.sa_handler = [](int) { ++seen; };
  sigaction(SIGUSR1, &mine, &before);
  auto const report = skua::run_until_signal([]() -> task<> {
    raise_here(SIGUSR1);
    co_await skua::sleep_for(1h);
  }(), {SIGUSR1}, 1s, quick());
  EXPECT_EQ(report.signal, SIGUSR1);
  EXPECT_EQ(seen, 0);
  raise_here(SIGUSR1);
  EXPECT_EQ(seen, 1);
  sigaction(SIGUSR1, &before, nullptr);
}

// Between fork and exec a child has our handler and our pipe.
TEST(RunUntilSignal, a_signal_to_a_child_that_was_forked_is_the_childs) {
  if (SKUA_TSAN) GTEST_SKIP() << "ThreadSanitizer calls no handler in the child of a process with threads";
  std::binary_semaphore runs{0}, ended{0};
  int status = 0;
  std::thread forker([&] {   // no thread of ours: in those all signals are blocked
    runs.acquire();
    pid_t const child = ::fork();
    if (child == 0) {
      raise_here(SIGTERM);
      ::_exit(3);
    }
    ::waitpid(child, &status, 0);
    ended.release();
  });
  auto const report = skua::run_until_signal([](auto& r, auto& e) -> task<> {
    co_await skua::spawn_blocking([&] { r.release(), e.acquire(); });
  }(runs, ended), {SIGTERM}, 1s, quick());
  forker.join();
  EXPECT_EQ(report.signal, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) << status;
}

TEST(RunUntilSignal, unblocks_its_signals_and_restores_the_mask) {
  sigset_t term, before, after;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, &before);
  std::atomic<bool> unwound{false};
  EXPECT_EQ(skua::run_until_signal(wait_for_ever(&unwound), {SIGTERM}, 1s, quick()).signal, SIGTERM);
  pthread_sigmask(SIG_SETMASK, &before, &after);
  EXPECT_EQ(sigismember(&after, SIGTERM), 1);
}

TEST(RunUntilSignal, refuses_signals_that_cannot_be_watched) {
  auto const nothing = []() -> task<> { co_return; };
  EXPECT_THROW(skua::run_until_signal(nothing(), {SIGKILL}, 1s, quick()), std::system_error);
  EXPECT_THROW(skua::run_until_signal(nothing(), {0}, 1s, quick()), std::system_error);
  EXPECT_THROW(skua::run_until_signal(nothing(), {SIGTERM, 65}, 1s, quick()), std::system_error);
  EXPECT_TRUE(handled_by_nobody(SIGTERM));
}

TEST(RunUntilSignal, refuses_a_signal_that_another_run_watches) {
  auto const inner = []() -> task<bool> {
    co_return co_await skua::spawn_blocking([] {
      try {
        (void)skua::run_until_signal([]() -> task<> { co_return; }(), {SIGTERM}, 1s, quick());
      } catch (skua::usage_error const&) {
        return true;
      }
      return false;
    });
  };
  auto const report = skua::run_until_signal([](auto f) -> task<int> {
    bool const refused = co_await f();
    co_return refused ? 1 : 0;
  }(inner), {SIGTERM}, 1s, quick());
  EXPECT_EQ(report.status, 1);
}

// A storm: nothing is lost but what a second signal means.
TEST(RunUntilSignal, survives_a_storm_of_signals) {
  for (int i = 0; i < 20; ++i) {
    struct sigaction ignore = {}, before;
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGUSR2, &ignore, &before);
    std::atomic<bool> end{false};
    std::thread storm([&] {
      while (!end) raise_here(SIGUSR2), std::this_thread::sleep_for(20us);
    });
    auto const report = skua::run_until_signal([]() -> task<> { co_await skua::sleep_for(1h); }(), {SIGUSR2}, 1s, quick());
    EXPECT_EQ(report.signal, SIGUSR2);
    end = true;
    storm.join();
    sigaction(SIGUSR2, &before, nullptr);
  }
}

} // namespace

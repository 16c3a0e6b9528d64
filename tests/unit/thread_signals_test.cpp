// SPDX-License-Identifier: Apache-2.0
// scheduler/signals_blocked.hpp: a runtime's threads take no signal that is sent to the process (S25), but those that they raise themselves. If they did
// not, the kernel would kill the process past the program's handler, and no sanitizer and no crash reporter could say what happened.
#include "skua/blocking.hpp"
#include "skua/runtime.hpp"
#include <csignal>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>
#include <utility>

namespace {

using skua::task;

constexpr int raised_by_a_thread_itself[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
constexpr int sent_to_the_process[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE, SIGALRM, SIGUSR1, SIGPROF};

void expect_the_mask_of_a_runtimes_thread() {
  sigset_t blocked;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  for (int const s : raised_by_a_thread_itself) EXPECT_FALSE(sigismember(&blocked, s)) << s;
  for (int const s : sent_to_the_process) EXPECT_TRUE(sigismember(&blocked, s)) << s;
}

TEST(ThreadSignals, are_those_that_a_thread_raises_itself__S25) {
  skua::run({.workers = 1}, []() -> task<> {
    expect_the_mask_of_a_runtimes_thread();
    co_await skua::spawn_blocking(expect_the_mask_of_a_runtimes_thread);
  }());
}

void fault() { ::raise(SIGSEGV); }   // for this thread alone, as the kernel does it
task<> fault_in_a_task() {
  fault();
  co_return;
}
task<> fault_in_blocking_work() { co_await skua::spawn_blocking(fault); }

void run_with_a_handler(task<> t) {
  struct sigaction handling{};
  handling.sa_handler = [](int) { ::_exit(3); };
  ::sigaction(SIGSEGV, &handling, nullptr);
  skua::run({.workers = 1}, std::move(t));
  ::_exit(4);   // nobody has taken it
}

TEST(ThreadSignalsDeathTest, a_fault_reaches_the_programs_handler) {
  EXPECT_EXIT(run_with_a_handler(fault_in_a_task()), testing::ExitedWithCode(3), "");
  EXPECT_EXIT(run_with_a_handler(fault_in_blocking_work()), testing::ExitedWithCode(3), "");
}

} // namespace

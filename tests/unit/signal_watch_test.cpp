// SPDX-License-Identifier: Apache-2.0
// signal_watch by itself; run_until_signal_test has what is made of it.
#include "io/signal_watch.hpp"
#include <atomic>
#include <chrono>
#include <csignal>
#include <gtest/gtest.h>
#include <thread>
#include <unistd.h>

namespace {

using skua::detail::signal_watch;

constexpr auto at_once = std::chrono::steady_clock::time_point::min();

TEST(SignalWatch, gives_signals_in_their_order_and_then_what_it_was_told) {
  signal_watch w({SIGUSR1, SIGUSR2});
  EXPECT_EQ(w.wait(at_once), signal_watch::timed_out);
  w.tell();
  w.tell();
  ::raise(SIGUSR2);
  ::raise(SIGUSR1);
  EXPECT_EQ(w.wait(at_once), SIGUSR2);
  EXPECT_EQ(w.wait(at_once), SIGUSR1);
  EXPECT_EQ(w.wait(at_once), signal_watch::told);
  EXPECT_EQ(w.wait(at_once), signal_watch::timed_out);
}

// tell() says it, then writes a byte that ends a poll. Who takes what was said in between finds the byte later, perhaps with a signal behind it.
TEST(SignalWatch, a_signal_behind_the_byte_of_what_was_taken_already_is_not_lost) {
  signal_watch w({SIGUSR1});
  std::atomic<int> round{0}, told{0};
  constexpr int rounds = 10000;
  std::thread teller([&] {
    for (int i = 1; i <= rounds; ++i) {
      while (round != i) std::this_thread::yield();
      w.tell();
      told = i;
    }
  });
  int lost = 0;
  for (int i = 1; i <= rounds; ++i) {
    round = i;
    for (int spin = 1; w.wait(at_once) != signal_watch::told; ++spin)   // as often as not before the byte is there
      if (spin % 64 == 0) std::this_thread::yield();
    while (told != i) std::this_thread::yield();
    ::raise(SIGUSR1);
    if (w.wait(at_once) != SIGUSR1) ++lost;
    while (w.wait(at_once) != signal_watch::timed_out) {}
  }
  teller.join();
  EXPECT_EQ(lost, 0);
}

} // namespace

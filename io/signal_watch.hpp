// SPDX-License-Identifier: Apache-2.0
// Waits for signals, or for word from another thread, on a thread of the caller's.
//
// The handler writes the signal's number into a pipe (the self-pipe trick, D. J. Bernstein), whichever thread the kernel interrupts. Rejected:
// signalfd and sigwait, which need the signal blocked in every thread of the process, also in those that the runtime knows nothing of.
//
// watchers[signal]    -1 -> fd   constructor, CAS: one watch a signal
//                     fd -> -1   release(), which then waits until no handler is inside (`handlers`); only afterwards is the pipe closed: no
//                                handler writes to a descriptor that has become somebody else's. seq_cst on both: a handler counts itself,
//                                then reads the descriptor; release() clears the descriptor, then reads the count. A handler that the kernel
//                                had begun, and that finds no descriptor, raises the signal again, for its former handling: none is swallowed.
// A child that was forked, and has not called exec yet, has the handler and the pipe as well. Its signals are not ours: a handler that finds itself in another
// process puts the former handling back, and raises the signal again.
#pragma once
#include <atomic>
#include <chrono>
#include <csignal>
#include <vector>

namespace skua::detail {

class signal_watch {
public:
  // Errors: usage_error for a signal that is being watched; system_error. Then nothing has changed.
  explicit signal_watch(std::vector<int> const& signals);
  ~signal_watch();
  signal_watch(signal_watch const&) = delete;
  signal_watch& operator=(signal_watch const&) = delete;

  static constexpr int told = 0, timed_out = -1;
  // By the thread that made it: the number of a signal, in the order in which they came; told; timed_out.
  int wait(std::chrono::steady_clock::time_point deadline) noexcept;
  // Any thread: a wait() under way, or the next one, returns `told` when no signal is left. Once, for any number of calls before it.
  void tell() noexcept;

  // The former handling of the signals is back, and later signals are not seen; wait() still returns those that were caught before. Idempotent.
  void release() noexcept;

private:
  struct watched {
    int signal;
    struct sigaction before;
  };
  void watch(int signal);
  int next_byte() noexcept;
  void end() noexcept;

  int read_end_ = -1, write_end_ = -1;
  std::atomic<bool> told_{false};   // release in tell(); acquire in wait(), which takes it back
  std::vector<watched> signals_;
  bool released_ = false;
  sigset_t mask_before_;
};

} // namespace skua::detail

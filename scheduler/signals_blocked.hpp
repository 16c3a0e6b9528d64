// SPDX-License-Identifier: Apache-2.0
// signals_blocked: which signals the threads of a runtime take.
//
// None that is sent to the process: the program's handlers must not run on a worker, a blocking thread or the I/O thread (S25). But those that an instruction
// of the thread itself raises: who has blocked one is killed by the kernel, past every handler, so neither sanitizers nor crash reporters could report it.
#pragma once
#include <csignal>
#include <pthread.h>

namespace skua::detail {

// While it lives, the calling thread has them blocked, and threads that it creates inherit that.
class signals_blocked {
public:
  signals_blocked() noexcept {
    sigset_t blocked;
    ::sigfillset(&blocked);
    for (int const raised_by_the_thread_itself : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) ::sigdelset(&blocked, raised_by_the_thread_itself);
    ::pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  ~signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  signals_blocked(signals_blocked const&) = delete;
  signals_blocked& operator=(signals_blocked const&) = delete;

private:
  sigset_t before_;
};

} // namespace skua::detail

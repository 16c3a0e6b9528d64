// SPDX-License-Identifier: Apache-2.0
// What lock-free code is written with, so that the model checker runs the very header that ships.
//
// Every concurrent mechanism of the library is a template over `Sync`. The library instantiates it with real_sync; the models with
// relacy_sync (tests/model/relacy_sync.hpp), which has the same members:
//
//     atomic<T>         std::atomic<T>. Every operation names its order and its pair.
//     var<T>            a plain field. Relacy reports every race on it and every use after its death.
//     heavy_barrier()   every running thread of the process executes a full barrier between the call and its return. It is the dear side of
//                       an asymmetric store/load pair: the cheap side is a plain store and a plain load, in this order, with a compiler
//                       barrier (light_barrier()) between them. Only where register_heavy_barrier() has said true.
//     backoff           one object per wait: pause() spins briefly, then gives the processor away.
//
// Thread safety: everything here, from any thread.
#pragma once
#include "config.hpp"
#include <atomic>
#include <cstdint>

namespace skua::detail {

// Asks the kernel for membarrier(2), once per process (again after fork() is harmless). False: it is refused (an old kernel, a seccomp
// filter), and whoever relies on heavy_barrier() takes a seq_cst fence on the cheap side instead.
bool register_heavy_barrier() noexcept;

struct real_sync {
  template <class T>
  using atomic = std::atomic<T>;
  template <class T>
  using var = T;

  static void heavy_barrier() noexcept;
  SKUA_INLINE static void light_barrier() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }   // binds the compiler only

  // Waits for something that another thread is about to do within nanoseconds, unless it lost its processor. By time, not by rounds: one
  // pause instruction takes 10 to 140 cycles. 2 us is a guess: above any critical section in here, below a reschedule.
  class backoff {
  public:
    void pause() noexcept;

  private:
    std::uint64_t since_ticks_ = 0;   // 0: has not begun
  };
};

// A counter that this thread alone changes.
template <class Counter>
SKUA_INLINE void add_to_own(Counter& c, std::uint64_t n) noexcept {
  // release: pairs with scheduler::quiescent(): who sees a task's end sees the spawns that came before it.
  c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_release);
}

} // namespace skua::detail

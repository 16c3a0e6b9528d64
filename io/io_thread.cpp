// SPDX-License-Identifier: Apache-2.0
// The I/O thread: waits below the workers, and takes over when none of them waits. epoll_driver.hpp has the protocol.
#include "io/epoll_driver.hpp"
#include "io/epoll_order.hpp"
#include "scheduler/signals_blocked.hpp"
#include <algorithm>
#include <cerrno>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace skua::detail {

void epoll_driver::start(driver_host& host) {
  host_ = &host;
  signals_blocked const blocked;
  thread_ = std::thread([this] { run_io_thread(); });
}

void epoll_driver::stop() noexcept {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_seq_cst);   // before all three: whoever goes to sleep says so, then reads it
  wake_io_thread();
  set_watch(0);
  kick();   // nobody consumes it any more
  thread_.join();
}

void epoll_driver::note_wake() noexcept { wakes_.store(wakes_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }

void epoll_driver::wake_io_thread() noexcept {
  io_state_.exchange(entering, std::memory_order_seq_cst);
  ::syscall(SYS_futex, &io_state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

// INV-IO-1: the role was given up before, by a seq_cst store.
void epoll_driver::role_released() noexcept {
  std::uint32_t seen = io_state_.load(std::memory_order_seq_cst);   // pairs with sink_deep(): a store/load race
  if (seen != deep || !io_state_.compare_exchange_strong(seen, entering, std::memory_order_seq_cst)) return;
  ::syscall(SYS_futex, &io_state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

// ------------------------------------------------------------------------------------------------ the thread itself

void epoll_driver::run_io_thread() noexcept {
  ::pthread_setname_np(::pthread_self(), (settings_.name.substr(0, 12) + "-io").c_str());
  ::prctl(PR_SET_TIMERSLACK, 1);   // or a cool-down is 50 us longer
  probe_epoll_order();
  while (!stopping_.load(std::memory_order_seq_cst)) {
    cool_down();
    if (sink_deep()) continue;
    wait_below();
  }
}

// INV-IO-3: out of the way of workers that are busy, until `bound` after one of them, or we, polled last.
void epoll_driver::cool_down() noexcept {
  for (;;) {
    std::uint64_t const now = now_ns(), until = polled_ns_.load(std::memory_order_relaxed) + settings_.bound_ns;
    if (now >= until || host_->role_held()) return;
    io_state_.store(cool, std::memory_order_relaxed);
    watch_until_ns_.store(until, std::memory_order_relaxed);
    set_watch(until);
    if (!stopping_.load(std::memory_order_seq_cst)) {   // after set_watch(): stop() sets `stopping_`, then the watch
      std::uint64_t times;
      [[maybe_unused]] ssize_t const r = ::read(watch_fd_, &times, sizeof times);
    }
    watch_until_ns_.store(forever_ns, std::memory_order_relaxed);
    note_wake();
    if (stopping_.load(std::memory_order_relaxed)) return;
  }
}

// While a worker holds the role we are not needed, and would wait above it. True: look again.
bool epoll_driver::sink_deep() noexcept {
  if (!host_->role_held()) return false;
  io_state_.store(deep, std::memory_order_seq_cst);   // before the second look: INV-IO-1
  if (!host_->role_held()) return false;
  while (io_state_.load(std::memory_order_seq_cst) == deep) {
    if (stopping_.load(std::memory_order_seq_cst)) return true;
    ::syscall(SYS_futex, &io_state_, FUTEX_WAIT_PRIVATE, deep, nullptr, nullptr, 0);
  }
  note_wake();
  // Whoever woke us has given the role up. A worker that has taken it since waits above us, or comes when we are in.
  return stopping_.load(std::memory_order_seq_cst);
}

void epoll_driver::wait_below() noexcept {
  std::uint64_t const timeout = host_->monitor_tick(now_ns());
  io_state_.store(in, std::memory_order_seq_cst);
  if (stopping_.load(std::memory_order_seq_cst)) return;
  ready_list batch;
  harvest(timeout, batch, false, most_events);
  note_wake();
  bool const held = host_->role_held();
  if (std::size_t const n = batch.size(); n != 0) {
    harvested_.store(harvested_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    if (held) strayed_.store(strayed_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    host_->submit(batch.begin(), n, held);
  }
  if (!held) {   // what a worker polled meanwhile is later than this, and counts
    std::uint64_t const now = now_ns();
    std::uint64_t seen = polled_ns_.load(std::memory_order_relaxed);
    while (seen < now && !polled_ns_.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {}
  }
}

} // namespace skua::detail

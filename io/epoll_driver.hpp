// SPDX-License-Identifier: Apache-2.0
// The driver that waits in epoll: an idle worker above, a dedicated I/O thread below it, in the same epoll set (D9).
//
// The kernel's queue of waiters is the arbiter. epoll wakes one waiter for an event, and the latest to wait first. The I/O thread waits below, the holder
// of the poller role (an idle worker) above it. So an event goes to the worker, without a hand-over; while no worker waits it goes to the I/O thread at
// once; and nobody wakes periodically. That epoll wakes the latest first is not documented: only cost depends on it, never correctness
// (epoll_order.hpp probes it; `statistics.strayed` counts how often it did not hold).
//
// Words
//   io_state_   in        the I/O thread waits in epoll, or is about to
//               cool      it keeps out of the way: the workers are busy, and poll when they run dry
//               deep      it sleeps, because a worker holds the role; whoever gives the role up must wake it
//               entering  it was woken, and is on its way into epoll
//                 in, entering -> deep, cool; cool -> in; .. -> in    the I/O thread
//                 deep -> entering                                    role_released(), CAS; then it wakes the thread
//               It is the futex that the thread sleeps on when it is deep.
//   watch_fd_   a timerfd that is in no set: the I/O thread, when it is cool, blocks in a read of it. watch_until_ns_: what it is set to, forever_ns while
//               nobody watches. A worker that polls puts it off when it may fire before the next poll, or a quarter of the bound is left:
//               as long as workers poll, the thread is not woken, and that costs a system call every 375 us, or a poll. (Waking every `bound` to see
//               whether somebody has polled took 3 % of a core.) When it is put off late, by a worker that lost its processor, a pause ends early: harmless.
//   kick_fd_    an eventfd, level-triggered: it stays until it is consumed, and only the holder of the role consumes it. The I/O thread never does.
//   timer_fd_   a timerfd, edge-triggered: the alarm. Never read: setting it clears it.
//   Descriptors are edge-triggered: whoever fetches an event has it alone.
//   batch_      how many events a worker fetches at once: if full batches take longer than longest_batch_ns(), so many that they do not. Otherwise a
//               worker that does nothing but serve events would be late for its next poll, and the I/O thread would take over from it.
//
// The I/O thread
//   1. As long as a worker, or it, has polled less than `bound` ago and nobody holds the role: cool.
//   2. If somebody holds the role: deep; looks at the role again; sleeps without a time-out.
//   3. in: waits in epoll without a time-out (unless the host's monitor wants one).
//   4. Gives the batch to the host, which wakes a worker, rather the holder (it waited below us; when it waits again it is above).
//   5. If nobody holds the role: cools down for `bound` from now. Then 1.
// It runs no user code, and waits for nobody: so no task can delay events or timers by more than `bound` and the kernel's own scheduling.
//
// INV-IO-1  When everything sleeps, every event has been harvested: the I/O thread is in epoll, or it is deep and somebody holds the role. Who gives the
//           role up does so on every path by way of role_released(), before it runs anything; the I/O thread says `deep`, then looks at the role:
//           seq_cst on both sides.
// INV-IO-2  A kick is consumed by a holder only, and before it gives the role up: later it might be its successor's.
// INV-IO-3  An event or alarm is harvested within `bound` while no worker polls: a worker that polls harvests what is there, and the watch ends at the
//           latest `bound` after the last poll.
// tests/model/poller.pml models both sides: exhaustively, for two workers.
//
// Rejected, with figures in docs/decisions/005-io-thread.md: an I/O thread that alone waits and hands everything over; everything through io_uring; an I/O
// thread that ticks while the runtime is active.
//
// Thread safety: as driver.hpp says.
#pragma once
#include "scheduler/driver.hpp"
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

struct epoll_event;

namespace skua::detail {

// Something with a descriptor that is neither a socket nor a timer: the completion queue of io_uring.
class event_source {
public:
  // By whoever harvests: the descriptor has become readable since the last time. It must come to an end, and may add to `out` while that has room for
  // sources; the rest goes through driver_host::submit(), or waits for another event, which the source sees to.
  virtual void on_event(ready_list& out) noexcept = 0;

protected:
  ~event_source() = default;
};

class epoll_driver final : public driver {
public:
  enum state : std::uint32_t { in, cool, deep, entering };   // of io_state_
  struct settings {
    std::uint64_t bound_ns = 500'000;   // options::io_bound
    std::string name = "skua";          // the thread is called <name>-io
  };
  // Throws system_error.
  explicit epoll_driver(settings s);
  ~epoll_driver() override;
  epoll_driver(epoll_driver const&) = delete;

  char const* name() const noexcept override { return "epoll"; }
  std::uint64_t now_ns() noexcept override;
  void start(driver_host& host) override;
  void stop() noexcept override;
  void wait(std::uint64_t timeout_ns, ready_list& out) noexcept override;
  void before_wait() noexcept override;
  void role_released() noexcept override;
  void kick() noexcept override;
  void set_alarm(std::uint64_t deadline_ns) noexcept override;
  // Within the bound, with the watch at its latest; and no more where the bound is generous.
  std::uint64_t alarm_lag_ns() const noexcept override { return std::min<std::uint64_t>(settings_.bound_ns / 2, 250'000); }

  // Edge-triggered, for reading. Before start(), or on a worker; `s` outlives stop(). Throws system_error.
  void watch(int fd, event_source& s);
  driver_host& host() const noexcept { return *host_; }
  driver_statistics statistics() const noexcept override;
  state io_thread() const noexcept { return static_cast<state>(io_state_.load(std::memory_order_seq_cst)); }   // for tests

  // For descriptors (descriptor.cpp): adds it to the set, or changes what it is there for. 0, or an error number.
  [[nodiscard]] int control(int fd, std::uint32_t events, std::uint64_t data) noexcept;
  void forget(int fd) noexcept;
  int batch() const noexcept { return batch_.load(std::memory_order_relaxed); }   // events that a worker fetches at once, at most
  std::uint64_t serial() const noexcept { return serial_; }   // unique in the process, from 1

private:
  static constexpr int most_events = 64;     // fetched at once: each completes two operations at most, and the rest of a ready_list is for timers
  // What a worker's batch of events may take; the rest of the bound is for one that takes longer than the last one.
  std::uint64_t longest_batch_ns() const noexcept { return settings_.bound_ns / 4 * 3; }
  static constexpr int least_events = 8;     // of a batch that is made to fit into the bound. A guess: fewer, and the system call counts
  static constexpr unsigned most_sources = 8;

  // What is no descriptor has an index beyond the table's.
  static constexpr std::uint64_t first_special = std::uint64_t{0xffff0000} << 32, kick_data = first_special, alarm_data = first_special + 1,
                                 source_data = first_special + 2;

  void put_off_watch(std::uint64_t now_ns) noexcept;
  void fit_batch(int size, std::uint64_t gap_ns) noexcept;
  int harvest(std::uint64_t timeout_ns, ready_list& out, bool consume_kick, int most) noexcept;
  int fetch(std::uint64_t timeout_ns, ::epoll_event* events, int most) noexcept;
  void close_all() noexcept;

  // io_thread.cpp
  void run_io_thread() noexcept;
  void wait_below() noexcept;
  void cool_down() noexcept;
  bool sink_deep() noexcept;
  void set_watch(std::uint64_t until_ns) noexcept;
  void wake_io_thread() noexcept;
  void note_wake() noexcept;

  settings const settings_;
  std::uint64_t const serial_;
  int epoll_fd_ = -1, kick_fd_ = -1, timer_fd_ = -1, watch_fd_ = -1;
  driver_host* host_ = nullptr;
  std::atomic<event_source*> sources_[most_sources]{};
  std::atomic<unsigned> source_count_{0};
  std::thread thread_;

  alignas(cache_line) std::atomic<std::uint32_t> io_state_{entering};
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> harvested_{0}, strayed_{0}, wakes_{0};   // written by the I/O thread
  alignas(cache_line) std::atomic<std::uint64_t> polled_ns_{0};               // when a worker has polled last; relaxed: a hint how long to keep out of the way
  std::atomic<int> batch_{most_events}, fetched_{0};                  // what a worker fetches at once, and what the last one fetched; relaxed: hints
  std::atomic<std::uint64_t> watch_until_ns_{forever_ns};             // relaxed: the system calls order what matters
};

} // namespace skua::detail

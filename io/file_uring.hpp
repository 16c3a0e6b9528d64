// SPDX-License-Identifier: Apache-2.0
// Files through io_uring: the engine that needs no threads. What has no operation of its own there (replacing a file) goes to the blocking pool,
// and so does what the kernel has no memory for.
//
// One ring a runtime. The worker that awaits a request hands it to the kernel itself, and looks at once whether it has completed: what need not
// wait for a device goes on without a thread switch. All other completions are announced on an eventfd, which the driver watches; whoever
// waits in the driver then harvests.
//
// The life of a request
//     submit     in_flight set; counted; then to the kernel, or into waiting_ if the kernel has as many as there is room for completions
//     withdraw   from waiting_: taken back. From the kernel: asked to give it up (IORING_OP_ASYNC_CANCEL), the completion decides (S4, S7)
//     harvest    result written, in_flight cleared, counted down; complete(); from then on it may be gone
//     resumed    on a worker: what waits for room is handed to the kernel now. A harvester that is no worker leaves it at that: a system call may copy the
//                whole piece, and submission_lock_ is held over it, so neither is for the I/O thread (D9)
// INV-RING-1  At most max_in_kernel_ requests are in the kernel, and whoever asks for one to be given up harvests afterwards: completions do not
//             overflow (and if they did, the kernel would keep them: IORING_FEAT_NODROP).
// INV-RING-2  Whoever submits an entry holds submission_lock_ until the kernel has taken it, so a request to give up cannot be taken later than when
//             withdraw() returns, that is, while the request it names is still alive: it never hits another one at the same address.
// INV-RING-3  If a request waits, a completion is still to be harvested, or what it completed is to be resumed, or somebody is about to submit the one that
//             waits. Submitter: waiting_count_ + 1, read in_kernel_. Harvester: in_kernel_ - 1; whoever is resumed (or the harvester, on a worker)
//             reads waiting_count_ behind that. All seq_cst, so one of them sees the other.
//
// ThreadSanitizer does not see the kernel: the ring is annotated at submit and at harvest.
#pragma once
#include "io/epoll_driver.hpp"
#include "io/file_threads.hpp"
#include "io/uring.hpp"
#include "scheduler/blocking_pool.hpp"
#include "scheduler/file_engine.hpp"
#include "skua/detail/worker.hpp"
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace skua::detail {

class file_uring final : public file_engine, public event_source {
public:
  // Errors: system_error where the kernel does not allow it, or does not have what is needed.
  explicit file_uring(blocking_pool& pool, unsigned max_in_kernel);
  ~file_uring() override;
  char const* name() const noexcept override { return "io_uring"; }
  void submit(file_request& r) override;
  [[nodiscard]] bool withdraw(file_request& r) noexcept override;
  void resumed() noexcept override {
    if (waiting_count_.load(std::memory_order_seq_cst) != 0) submit_waiting();   // INV-RING-3
  }
  std::size_t in_flight() const noexcept override { return in_flight_.load(std::memory_order_acquire) + threads_.in_flight(); }

  // For the driver to watch.
  int event_descriptor() const noexcept { return event_; }
  void on_event(ready_list& out) noexcept override;

private:
  class waiting_list {   // requests that wait for room, in order; linked through blocking_job's links, which nobody else uses meanwhile
  public:
    void push_back(file_request& r) noexcept;
    void remove(file_request& r) noexcept;
    file_request* front() const noexcept;

  private:
    blocking_job* first_ = nullptr;
    blocking_job* last_ = nullptr;
  };
  void check_that_it_works();
  void submit_to_ring(file_request& r);
  [[nodiscard]] bool hand_over_locked(file_request& r) noexcept;
  void submit_waiting() noexcept;
  item settle(file_request& r, std::int64_t result) noexcept;
  item next_woken() noexcept;
  void harvest_here() noexcept;

  uring ring_;
  file_threads threads_;
  std::size_t const max_in_kernel_;
  int event_ = -1;
  std::atomic<std::size_t> in_flight_{0};       // in the kernel or waiting; release in settle(), acquire in in_flight()
  std::atomic<std::size_t> in_kernel_{0};       // +1 under the lock, -1 by a harvester
  std::atomic<std::size_t> waiting_count_{0};   // of waiting_, to be read without the lock
  std::mutex submission_lock_;
  waiting_list waiting_;                        // under it
  std::mutex harvest_lock_;                     // for ring_.reap()
};

} // namespace skua::detail

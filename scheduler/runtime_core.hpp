// SPDX-License-Identifier: Apache-2.0
// One runtime, put together: options, driver, scheduler, blocking pool, files; and the shutdown protocol (D12).
//
//     1  accepting_ false          shutdown(), the destructor: spawning from outside is refused from here on
//     2  stop of every task        what is spawned from here on is born stopped
//     3  wait                      until none is left, or the limit has passed: survivors are reported. The destructor goes on waiting (S22)
//     4  join                      workers, driver (I/O thread), blocking threads
//
// INV-SHUTDOWN-1  No task is alive if the sum of the tasks that are gone (INV-TASK-6), read first, equals the sum of those that were spawned, read second:
//                 both only grow, and spawning from outside is closed (scheduler::quiescent()).
// INV-SHUTDOWN-2  Who spawns from outside says so (entering_) before it looks at accepting_; who closes looks at entering_ afterwards: seq_cst. So a task
//                 from outside is counted before quiescent() is asked, or refused.
// INV-SHUTDOWN-3  One walk over all tasks is enough, or a chain of tasks that spawn each other would stay ahead of it for ever. `ending_` and attention are
//                 raised before the walk, and its heavy barrier (INV-POOL-2) stands between them and the first block that it visits. A spawner writes
//                 its task's header, then looks at attention: either the walk finds the header written, or the spawner looks after the barrier.
#pragma once
#include "scheduler/blocking_pool.hpp"
#include "scheduler/driver.hpp"
#include "scheduler/file_engine.hpp"
#include "scheduler/outside_count.hpp"
#include "scheduler/registry.hpp"
#include "scheduler/scheduler.hpp"
#include "skua/options.hpp"
#include "skua/runtime.hpp"
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <mutex>
#include <string>

namespace skua::detail {

// The composition root knows the back ends (io/compose.cpp). Errors: invalid_argument for an unknown name, system_error.
std::unique_ptr<driver> make_driver(options const& o);

// Threads inside block_on(), for a program that is stuck under virtual time (stuck.cpp). Everything under the lock.
struct stuck_record {
  std::mutex mutex;
  unsigned blocked = 0;       // threads inside
  std::uint64_t times = 0;    // it was stuck
  std::string text;           // the last time
};

class runtime_core final : private scheduler_number, public scheduler {
public:
  explicit runtime_core(options const& o);
  ~runtime_core() override;

  options const& settings() const noexcept { return options_; }
  blocking_pool& blocking() noexcept { return blocking_; }
  file_engine& files() noexcept { return *files_; }
  driver& used_driver() noexcept { return *driver_; }
  using scheduler::index;

  // Any thread.
  void start_from_outside(task_header& h);   // throws usage_error when the runtime is shutting down; the task is destroyed then
  void stop_all_tasks() noexcept;
  shutdown_report shutdown_within(std::chrono::nanoseconds limit);
  skua::metrics measure() noexcept;
  void dump(std::ostream& out);
  void deliver(failure_report const& r) noexcept;

  std::uint64_t outside_work() const noexcept override {
    // acquire: pairs with end()
    return blocking_.outstanding() - waiting_inside_.load(std::memory_order_acquire) + files_->in_flight() + outside_->held.load(std::memory_order_acquire);
  }
  std::shared_ptr<outside_count> const& outside() const noexcept { return outside_; }

  // stuck.cpp
  void block_until_end(task_header& h);   // a thread of block_on()
  void stuck() noexcept override;

private:
  void close() noexcept;
  bool wait_quiescent(std::chrono::steady_clock::time_point until) noexcept;
  std::vector<survivor> survivors();
  std::vector<unfinished_work> unfinished();

  options const options_;
  std::unique_ptr<driver> driver_;
  blocking_pool blocking_;
  std::unique_ptr<file_engine> files_;
  std::shared_ptr<outside_count> const outside_;
  stuck_record stuck_;
  std::atomic<std::uint64_t> waiting_inside_{0};   // blocking work that waits in block_on() for a task of ours: it is not under way
  std::atomic<std::uint64_t> failures_{0};
  std::atomic<std::uint32_t> entering_{0};
  std::atomic<bool> accepting_{true};
};

inline runtime_core& core_of(scheduler& s) noexcept { return static_cast<runtime_core&>(s); }

} // namespace skua::detail

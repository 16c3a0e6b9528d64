// SPDX-License-Identifier: Apache-2.0
// The end of a runtime. runtime_core.hpp has the protocol.
#include "scheduler/runtime_core.hpp"
#include "scheduler/task_list.hpp"
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace skua::detail {

void runtime_core::stop_all_tasks() noexcept {
  // Each is counted in the attention word until its task has ended: it may compute for long before its next checkpoint (S1). A task of a group hears of it
  // from its group, that is, not behind a shield: the stop of a root does not come in there, and neither does this (S15).
  for_each_task(index(), [](task_header& h) {
    if (h.kind->scope == nullptr) request_stop(h, stop_reason::shutdown);
  });
}

void runtime_core::close() noexcept {
  accepting_.store(false, std::memory_order_seq_cst);   // INV-SHUTDOWN-2
  while (entering_.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
}

namespace {

// A thread that sleeps until no task may be left.
class quiet_wait final : quiet_listener {
public:
  explicit quiet_wait(scheduler& s) noexcept : scheduler_(s) { s.listen(*this); }
  ~quiet_wait() { scheduler_.ignore(*this); }
  quiet_wait(quiet_wait const&) = delete;
  void until(std::chrono::steady_clock::time_point t) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, t, [this] { return told_; });
    told_ = false;
  }

private:
  void quiet() noexcept override {
    std::lock_guard const guard(mutex_);
    told_ = true;
    changed_.notify_one();
  }
  scheduler& scheduler_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool told_ = false;
};

} // namespace

bool runtime_core::wait_quiescent(std::chrono::steady_clock::time_point until) noexcept {
  using std::chrono::milliseconds;
  quiet_wait wait(*this);
  auto pause = milliseconds(1);   // it looks by itself, ever more rarely: whatever may have been missed costs a moment, not for ever
  while (!quiescent()) {
    auto const now = std::chrono::steady_clock::now();
    if (now >= until) return false;
    wait.until(std::min<std::chrono::steady_clock::time_point>(until, now + pause));
    pause = std::min(2 * pause, told_reliably() ? milliseconds(128) : milliseconds(2));
    stop_all_tasks();   // where the kernel refuses membarrier one walk may have missed a task (INV-SHUTDOWN-3)
  }
  return true;
}

shutdown_report runtime_core::shutdown_within(std::chrono::nanoseconds limit) {
  close();
  auto const now = std::chrono::steady_clock::now();
  auto const until = limit > std::chrono::hours(24 * 365) ? now + std::chrono::hours(24 * 365) : now + limit;
  begin_to_end();
  raise_attention();   // so that every task sees its stop at its next checkpoint, and every spawn that the runtime is ending
  stop_all_tasks();
  bool const ended = wait_quiescent(until);
  lower_attention();
  shutdown_report report;
  if (!ended) report.survivors = survivors();
  if (!blocking_.wait_drained(until)) report.blocking = unfinished();   // S7: abandoned, or a survivor's
  return report;
}

} // namespace skua::detail

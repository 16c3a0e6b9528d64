// SPDX-License-Identifier: Apache-2.0
// The threads on which blocking calls run (D10): a bounded, elastic pool, one per runtime.
//
// Workers submit jobs; a job lies in the frame of the coroutine that awaits it (or on the heap, if it was abandoned), so the queue needs
// no memory and has no limit of its own: every job in it stands for one coroutine that waits, in order. That is the backpressure;
// nothing is dropped, and there is no second queue in front of this one.
//
//     submit     a thread that is coming back; else an idle one; else a new one, up to the maximum; else the job waits
//     withdraw   takes a job that waits out again (a stop, S2); one that has begun is waited for (S7)
//     idle       the thread that went idle last is woken first, so that those that are not needed are left alone and end
//     end        an idle thread ends after its keep-alive time, or at stop(); it joins the one that ended before it, stop() joins the last:
//                none is detached, none is left when the pool is gone
//
// A job that runs is in a second list, so that a shutdown can say what it waits for.
//
// job.queued       false -> true   submit()
//                  true -> false   a thread that begins the job; withdraw(); under the lock, so exactly one of them (the referee of S4)
// sleeper.woken    false -> true   whoever has work for the thread, or stop(), having taken it off the idle list
// coming_          threads that will look at the queue before they sleep: created, woken, or with a job behind them. Each takes one off
//                  when it looks.
// INV-BLOCK-1  More jobs wait than threads are coming => no thread is idle, and there are as many as are permitted or could be created.
// INV-BLOCK-2  outstanding() falls only after a job's finish() has returned, that is, after its coroutine has been scheduled: while the
//              runtime reads 0, no completion is under way that it has not been told of.
// INV-BLOCK-3  The pool is empty and idle when it is destroyed: its jobs' tasks have ended, abandoned work has been waited for.
//
// Why a mutex and condition variables: submitting costs a thread switch anyway, which is a hundred times a lock.
// Rejected: detached threads (a thread may still be on its way out when stop() returns); waking by a shared condition variable (wakes the
// threads in turn, so none is ever idle for long enough to end); creating threads outside the lock (a creation that fails would strand jobs
// that were queued in the hope of it).
#pragma once
#include "skua/detail/blocking_job.hpp"
#include "skua/options.hpp"
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <source_location>
#include <string>
#include <thread>
#include <vector>

namespace skua::detail {

// Work that has begun and not ended: whose, and for how long.
struct running_work {
  std::uint64_t task_id;
  std::string task_name;
  std::source_location spawned_at;
  std::chrono::nanoseconds running_for;
  bool abandoned;
};

class blocking_pool {
public:
  // `drained`: called whenever outstanding() has fallen to 0, without a lock, by the thread that ended or withdrew the last job (virtual time
  // goes on then). `begun`: by each thread of the pool, first of all.
  explicit blocking_pool(options const& o, std::function<void()> drained = {}, std::function<void()> begun = {});
  ~blocking_pool();   // as stop()
  blocking_pool(blocking_pool const&) = delete;
  blocking_pool& operator=(blocking_pool const&) = delete;

  // Any thread, before stop(). Errors: system_error, if there is no thread and none can be created; the job was not taken then.
  void submit(blocking_job& job);
  // Any thread. True: the job has not begun and never will.
  [[nodiscard]] bool withdraw(blocking_job& job) noexcept;

  // Any thread, at any time. Jobs that have begun and not ended; those and the ones that wait; threads, busy and idle.
  std::size_t active() const noexcept { return active_.load(std::memory_order_acquire); }
  std::size_t outstanding() const noexcept { return outstanding_.load(std::memory_order_acquire); }   // acquire: INV-BLOCK-2
  std::size_t threads() const noexcept { return thread_count_.load(std::memory_order_relaxed); }

  // Any thread: a snapshot. Errors: bad_alloc.
  std::vector<running_work> running();

  // Blocks until no job is left, or the deadline has passed: false. For a shutdown that reports what is still running.
  bool wait_drained(std::chrono::steady_clock::time_point deadline);
  // Blocks until all jobs have ended and all threads are joined. Nothing may be submitted any more. Idempotent.
  void stop() noexcept;

private:
  struct sleeper {   // on the stack of an idle thread
    std::condition_variable wake;
    sleeper* next = nullptr;
    bool woken = false;
  };
  class job_list {   // in the order in which they came
  public:
    void push_back(blocking_job& job) noexcept;
    void remove(blocking_job& job) noexcept;
    blocking_job* front() const noexcept { return first_; }
    std::size_t size() const noexcept { return size_; }

  private:
    std::size_t size_ = 0;
    blocking_job* first_ = nullptr;
    blocking_job* last_ = nullptr;
  };

  void add_thread_locked();
  void serve(std::size_t place) noexcept;
  blocking_job* take_locked() noexcept;
  void run(blocking_job& job) noexcept;
  bool sleep_locked(std::unique_lock<std::mutex>& lock) noexcept;
  void wake_locked(sleeper& s) noexcept;
  void count_down() noexcept;

  std::size_t const max_threads_;
  std::chrono::milliseconds const keep_alive_;
  std::string const thread_name_;
  std::function<void()> const drained_, begun_;

  std::mutex mutex_;                 // everything below but the atomics
  job_list queue_, running_;
  sleeper* idle_ = nullptr;          // a stack: last in, first out
  std::size_t coming_ = 0;           // INV-BLOCK-1
  bool stopping_ = false;
  std::vector<std::thread> places_;  // a thread's number is its place
  std::thread leaving_;              // the one that ended last
  std::condition_variable changed_;  // for wait_drained() and stop(): no job is left, or a thread has gone
  std::atomic<std::size_t> thread_count_{0}, active_{0};
  std::atomic<std::size_t> outstanding_{0};   // -1: release, by the thread that ran or withdrew a job; pairs with outstanding()
};

// The pool of a runtime. Implemented where the runtime is put together.
blocking_pool& blocking_of(scheduler& s) noexcept;

} // namespace skua::detail

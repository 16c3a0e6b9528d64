// SPDX-License-Identifier: Apache-2.0
#include "scheduler/blocking_pool.hpp"
#include "scheduler/signals_blocked.hpp"
#include "skua/detail/config.hpp"
#include "skua/detail/task_header.hpp"
#include <cstdio>
#include <pthread.h>
#include <system_error>
#include <utility>

namespace skua::detail {

namespace {

std::int64_t steady_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The running task's, for reports.
void note_owner(blocking_job& job) noexcept {
  task_header const* const t = current_task();
  if (t == nullptr) return;
  job.task_id = t->id;
  job.label = retain(t->label);
}

} // namespace

void blocking_pool::job_list::push_back(blocking_job& job) noexcept {
  job.next = nullptr;
  job.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &job;
  last_ = &job;
  ++size_;
}

void blocking_pool::job_list::remove(blocking_job& job) noexcept {
  (job.previous != nullptr ? job.previous->next : first_) = job.next;
  (job.next != nullptr ? job.next->previous : last_) = job.previous;
  --size_;
}

blocking_pool::blocking_pool(options const& o, std::function<void()> drained, std::function<void()> begun)
    : max_threads_(o.max_blocking_threads),
      keep_alive_(o.blocking_keep_alive),
      thread_name_(o.name + "-b"),
      drained_(std::move(drained)),
      begun_(std::move(begun)),
      places_(o.max_blocking_threads) {}

blocking_pool::~blocking_pool() { stop(); }

void blocking_pool::submit(blocking_job& job) {
  std::lock_guard lock(mutex_);
  SKUA_CHECK(!stopping_, "blocking work was submitted to a runtime that has shut down");
  job.pool = this;
  if (queue_.size() >= coming_) {
    if (idle_ != nullptr)
      wake_locked(*idle_);
    else if (thread_count_.load(std::memory_order_relaxed) < max_threads_)
      add_thread_locked();
  }
  note_owner(job);
  queue_.push_back(job);
  job.queued = true;
  outstanding_.fetch_add(1, std::memory_order_relaxed);
}

bool blocking_pool::withdraw(blocking_job& job) noexcept {
  {
    std::lock_guard lock(mutex_);
    if (!job.queued) return false;
    queue_.remove(job);
    job.queued = false;
  }
  release(std::exchange(job.label, {}));
  count_down();
  return true;
}

// Errors: system_error if this would have been the only thread; otherwise those that exist will do (INV-BLOCK-1).
void blocking_pool::add_thread_locked() {
  std::size_t place = 0;
  while (places_[place].joinable()) ++place;   // at most max_threads_, and only when the pool grows
  signals_blocked const guard;
  try {
    places_[place] = std::thread(&blocking_pool::serve, this, place);
  } catch (std::system_error const& e) {
    if (thread_count_.load(std::memory_order_relaxed) == 0)
      throw std::system_error(e.code(), "skua: cannot create a thread for blocking work");
    return;
  }
  thread_count_.fetch_add(1, std::memory_order_relaxed);
  ++coming_;
}

void blocking_pool::wake_locked(sleeper& s) noexcept {
  sleeper** at = &idle_;
  while (*at != &s) at = &(*at)->next;
  *at = s.next;
  ++coming_;
  s.woken = true;
  s.wake.notify_one();
}

// False: the thread is to end.
bool blocking_pool::sleep_locked(std::unique_lock<std::mutex>& lock) noexcept {
  if (stopping_) return false;
  sleeper self;
  self.next = idle_;
  idle_ = &self;
  auto const deadline = std::chrono::steady_clock::now() + keep_alive_;
  while (!self.woken)
    if (self.wake.wait_until(lock, deadline) == std::cv_status::timeout && !self.woken) {
      wake_locked(self);   // off the list: nobody relies on this thread any more
      --coming_;
      return false;
    }
  return true;
}

// The look at the queue that a thread in coming_ has promised.
blocking_job* blocking_pool::take_locked() noexcept {
  --coming_;
  blocking_job* const job = queue_.front();
  if (job != nullptr) {
    queue_.remove(*job);
    job->queued = false;
    job->began_ns = static_cast<std::uint64_t>(steady_ns());
    running_.push_back(*job);
    active_.fetch_add(1, std::memory_order_relaxed);
  }
  return job;
}

void blocking_pool::run(blocking_job& job) noexcept {
  job.run(job);
  active_.fetch_sub(1, std::memory_order_release);   // pairs with active(): what the work did
  {
    std::lock_guard lock(mutex_);
    ++coming_;   // before anybody hears of the end
    running_.remove(job);
  }
  release(std::exchange(job.label, {}));
  job.finish(job);   // the job is gone
  count_down();
}

void blocking_pool::count_down() noexcept {
  if (outstanding_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;   // release: INV-BLOCK-2; acquire: the other jobs' ends
  if (drained_) drained_();
  std::lock_guard lock(mutex_);   // so that wait_drained() is either before its look at the count, or asleep
  changed_.notify_all();
}

void blocking_pool::serve(std::size_t place) noexcept {
  char name[16];
  std::snprintf(name, sizeof name, "%s%zu", thread_name_.c_str(), place);
  pthread_setname_np(pthread_self(), name);
  if (begun_) begun_();
  std::thread before;
  {
    std::unique_lock lock(mutex_);
    do
      while (blocking_job* job = take_locked()) {
        lock.unlock();
        run(*job);
        lock.lock();
      }
    while (sleep_locked(lock));
    before = std::exchange(leaving_, std::move(places_[place]));
    thread_count_.fetch_sub(1, std::memory_order_relaxed);
    changed_.notify_all();
  }
  if (before.joinable()) before.join();   // it has left the lock: this is short
}

std::vector<running_work> blocking_pool::running() {
  std::vector<running_work> all;
  std::lock_guard lock(mutex_);
  auto const now = steady_ns();
  for (blocking_job const* j = running_.front(); j != nullptr; j = j->next)
    all.push_back({j->task_id, j->label.name(), j->label.site(),
                   std::chrono::nanoseconds(now - static_cast<std::int64_t>(j->began_ns)), j->abandoned.load(std::memory_order_relaxed)});
  return all;
}

bool blocking_pool::wait_drained(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return outstanding() == 0; });
}

void blocking_pool::stop() noexcept {
  std::thread last;
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    while (idle_ != nullptr) wake_locked(*idle_);
    changed_.wait(lock, [this] { return thread_count_.load(std::memory_order_relaxed) == 0; });
    last = std::exchange(leaving_, std::thread());
  }
  if (last.joinable()) last.join();
  SKUA_CHECK(queue_.front() == nullptr && outstanding() == 0, "INV-BLOCK-3");
}

void submit_blocking(scheduler& s, blocking_job& job) { blocking_of(s).submit(job); }

bool withdraw_blocking(blocking_job& job) noexcept { return job.pool->withdraw(job); }

} // namespace skua::detail

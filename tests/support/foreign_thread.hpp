// SPDX-License-Identifier: Apache-2.0
// A thread that does not belong to the runtime: it does what it is given, one after the other. Destroying it waits for all of that.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace skua_test {

class foreign_thread {
public:
  foreign_thread() : thread_([this] { run(); }) {}
  foreign_thread(foreign_thread const&) = delete;
  ~foreign_thread() {
    post(nullptr);
    thread_.join();
  }
  void post(std::function<void()> f) {
    {
      std::lock_guard const lock(mutex_);
      work_.push_back(std::move(f));
    }
    changed_.notify_one();
  }

private:
  void run() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !work_.empty(); });
      std::function<void()> const f = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      if (!f) return;
      f();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  std::thread thread_;
};

} // namespace skua_test

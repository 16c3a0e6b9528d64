// SPDX-License-Identifier: Apache-2.0
#include "io/epoll_order.hpp"
#include <atomic>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <thread>
#include <unistd.h>

namespace skua::detail {

namespace {

std::atomic<epoll_order> known{epoll_order::unknown};
constexpr int patience_ms = 20;

struct file {
  int fd;
  ~file() {
    if (fd >= 0) ::close(fd);
  }
};

bool sleeps(pid_t thread) noexcept {
  char path[64], text[256];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", static_cast<int>(thread));
  file const f{::open(path, O_RDONLY | O_CLOEXEC)};
  ssize_t const n = f.fd < 0 ? -1 : ::read(f.fd, text, sizeof text - 1);
  if (n <= 0) return false;
  text[n] = 0;
  char const* const after_name = std::strrchr(text, ')');
  return after_name != nullptr && std::strncmp(after_name, ") S", 3) == 0;
}

bool fire_after(int timer, long ns) noexcept {
  itimerspec t{};
  t.it_value.tv_nsec = ns;
  return ::timerfd_settime(timer, 0, &t, nullptr) == 0;
}

// A thread that waits in the set for a moment.
class waiter {
public:
  explicit waiter(int set)
      : thread_([this, set] {
          tid_.store(static_cast<pid_t>(::syscall(SYS_gettid)), std::memory_order_release);
          epoll_event e;
          ended_.store(::epoll_wait(set, &e, 1, patience_ms) == 1 ? by_event : in_vain, std::memory_order_release);
        }) {}
  ~waiter() { thread_.join(); }
  waiter(waiter const&) = delete;

  bool falls_asleep() const noexcept {
    for (int i = 0; i != 200 && waits(); ++i) {   // on a busy machine a turn takes longer than its patience
      ::sched_yield();
      pid_t const tid = tid_.load(std::memory_order_acquire);
      if (tid != 0 && sleeps(tid)) return true;
    }
    return false;
  }
  bool waits() const noexcept { return ended_.load(std::memory_order_acquire) == not_yet; }
  bool was_woken() const noexcept { return ended_.load(std::memory_order_acquire) == by_event; }

private:
  enum end { not_yet, by_event, in_vain };
  std::atomic<pid_t> tid_{0};
  std::atomic<end> ended_{not_yet};
  std::thread thread_;   // the last: it uses the others
};

// Both wait when the timer fires: this thread looks on. (Were it one of the two, it might lose its processor before it waits, and the other would be woken
// for want of anybody else.) Who came first also gives up first: when it was woken, the other one was there.
epoll_order probe() {
  file const set{::epoll_create1(EPOLL_CLOEXEC)}, timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;
  if (set.fd < 0 || timer.fd < 0 || ::epoll_ctl(set.fd, EPOLL_CTL_ADD, timer.fd, &e) != 0) return epoll_order::unknown;

  auto seen = epoll_order::unknown;
  waiter const first(set.fd);
  if (first.falls_asleep()) {
    waiter const second(set.fd);
    if (second.falls_asleep() && fire_after(timer.fd, 1)) {
      while (first.waits() && second.waits()) ::sched_yield();   // they give up
      if (second.was_woken() && first.waits()) seen = epoll_order::latest_first;
      if (first.was_woken() && second.waits()) seen = epoll_order::another;
    }
    fire_after(timer.fd, 1);   // let them go
  }
  fire_after(timer.fd, 1);
  return seen;
}

} // namespace

epoll_order probe_epoll_order() noexcept {
  static std::once_flag once;
  try {
    std::call_once(once, [] { known.store(probe(), std::memory_order_relaxed); });
  } catch (...) {   // no thread to be had: it stays unknown
  }
  return known_epoll_order();
}

epoll_order known_epoll_order() noexcept { return known.load(std::memory_order_relaxed); }

} // namespace skua::detail

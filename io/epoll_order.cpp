// SPDX-License-Identifier: Apache-2.0
#include "io/epoll_order.hpp"
#include <atomic>
#include <cstdio>
#include <cstring>
#include <ctime>
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

bool wait_for_timer(int set) noexcept {
  epoll_event e;
  return ::epoll_wait(set, &e, 1, patience_ms) == 1;
}

epoll_order probe() {
  file const set{::epoll_create1(EPOLL_CLOEXEC)}, timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;
  if (set.fd < 0 || timer.fd < 0 || ::epoll_ctl(set.fd, EPOLL_CTL_ADD, timer.fd, &e) != 0) return epoll_order::unknown;

  std::atomic<pid_t> first{0};
  bool first_got_it = false;
  std::thread t([&] {
    first.store(static_cast<pid_t>(::syscall(SYS_gettid)), std::memory_order_release);
    first_got_it = wait_for_timer(set.fd);
  });
  bool asleep = false;
  for (int i = 0; i != 200 && !asleep; ++i) {
    ::sched_yield();
    pid_t const tid = first.load(std::memory_order_acquire);
    asleep = tid != 0 && sleeps(tid);
  }
  bool second_got_it = false;
  if (asleep && fire_after(timer.fd, 50'000)) second_got_it = wait_for_timer(set.fd);
  if (!asleep || second_got_it) fire_after(timer.fd, 1);   // let the first one go
  t.join();
  if (second_got_it) return epoll_order::latest_first;
  return asleep && first_got_it ? epoll_order::another : epoll_order::unknown;
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

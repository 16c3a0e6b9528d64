// SPDX-License-Identifier: Apache-2.0
// The worker's side: the set, waiting, kick and alarm. io_thread.cpp has the I/O thread.
#include "io/epoll_driver.hpp"
#include "io/descriptor.hpp"
#include "skua/detail/config.hpp"
#include <algorithm>
#include <bit>
#include <cerrno>
#include <ctime>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <system_error>
#include <unistd.h>

namespace skua::detail {

namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;

timespec to_timespec(std::uint64_t ns) noexcept {
  return {static_cast<std::time_t>(ns / second_ns), static_cast<long>(ns % second_ns)};
}

std::uint64_t next_serial() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

[[noreturn]] void fail(char const* what) { throw std::system_error(errno, std::system_category(), what); }

// At once if that time has passed.
void set_timer(int fd, std::uint64_t deadline_ns) noexcept {
  itimerspec t{};
  if (deadline_ns != forever_ns) t.it_value = to_timespec(deadline_ns != 0 ? deadline_ns : 1);   // 0 would disarm it
  ::timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, nullptr);
}

// Kernels before 5.11 lack it, and sandboxes that do not know it say EPERM: whole milliseconds then, rounded up. A nap is ten times as long as it should be;
// nothing else is lost.
int wait_at_most(int set, epoll_event* events, int most, std::uint64_t timeout_ns) noexcept {
  static std::atomic<bool> refused{false};
  if (!refused.load(std::memory_order_relaxed)) {
    timespec const t = to_timespec(timeout_ns);
    int const n = ::epoll_pwait2(set, events, most, &t, nullptr);
    if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
    refused.store(true, std::memory_order_relaxed);
  }
  std::uint64_t const ms = (timeout_ns + 999'999) / 1'000'000;
  return ::epoll_wait(set, events, most, static_cast<int>(ms < 1'000'000 ? ms : 1'000'000));
}

} // namespace

epoll_driver::epoll_driver(settings s) : settings_(std::move(s)), serial_(next_serial()) {
  try {
    if ((epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC)) < 0) fail("skua: epoll_create1");
    if ((kick_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) fail("skua: eventfd");
    if ((timer_fd_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) < 0) fail("skua: timerfd_create");
    if ((watch_fd_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) < 0) fail("skua: timerfd_create");
    if ((errno = control(kick_fd_, EPOLLIN, kick_data)) != 0) fail("skua: epoll_ctl");
    if ((errno = control(timer_fd_, EPOLLIN | EPOLLET, alarm_data)) != 0) fail("skua: epoll_ctl");
  } catch (...) {
    close_all();
    throw;
  }
}

epoll_driver::~epoll_driver() {
  SKUA_CHECK(!thread_.joinable(), "a driver is stopped before it is destroyed");
  close_all();
}

void epoll_driver::close_all() noexcept {
  for (int* fd : {&watch_fd_, &timer_fd_, &kick_fd_, &epoll_fd_})
    if (*fd >= 0) ::close(*fd), *fd = -1;
}

std::uint64_t epoll_driver::now_ns() noexcept {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * second_ns + static_cast<std::uint64_t>(t.tv_nsec);
}

// ------------------------------------------------------------------------------------------------ the set

int epoll_driver::control(int fd, std::uint32_t events, std::uint64_t data) noexcept {
  epoll_event e{};
  e.events = events;
  e.data.u64 = data;
  if (::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &e) == 0) return 0;
  if (errno != EEXIST) return errno;   // for another direction, or left behind by somebody who has released it
  return ::epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &e) == 0 ? 0 : errno;
}

void epoll_driver::forget(int fd) noexcept { ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr); }

void epoll_driver::watch(int fd, event_source& s) {
  unsigned const n = source_count_.fetch_add(1, std::memory_order_relaxed);
  SKUA_CHECK(n < most_sources, "a driver watches a few event sources at most");
  sources_[n].store(&s, std::memory_order_release);   // pairs with harvest(); the kernel orders it as well, but tools do not see that
  if ((errno = control(fd, EPOLLIN | EPOLLET, source_data + n)) != 0) fail("skua: epoll_ctl");
}

// ------------------------------------------------------------------------------------------------ waiting

int epoll_driver::fetch(std::uint64_t timeout_ns, epoll_event* events, int most) noexcept {
  int const n = timeout_ns == forever_ns ? ::epoll_wait(epoll_fd_, events, most, -1)
                : timeout_ns == 0        ? ::epoll_wait(epoll_fd_, events, most, 0)
                                         : wait_at_most(epoll_fd_, events, most, timeout_ns);
  SKUA_CHECK(n >= 0 || errno == EINTR, "epoll_wait failed");
  return n < 0 ? 0 : n;
}

// How many events came, at most `most` of them, which is at most most_events.
int epoll_driver::harvest(std::uint64_t timeout_ns, ready_list& out, bool consume_kick, int most) noexcept {
  static_assert(2 * most_events < ready_list::capacity - ready_list::for_timers, "ready I/O leaves room for event sources, and these for timers");
  SKUA_DCHECK(out.size() == 0, "a wait starts with an empty list");
  epoll_event events[most_events];
  int const n = fetch(timeout_ns, events, most);
  bool alarm = false;
  unsigned sources = 0;   // a bit each: they come last, for they fill the list
  for (int i = 0; i != n; ++i) {
    std::uint64_t const data = events[i].data.u64;
    if (data < first_special) [[likely]] {
      deliver_event(*this, data, events[i].events, out);
    } else if (data == alarm_data) {
      alarm = true;
    } else if (data != kick_data) {
      sources |= 1u << (data - source_data);
    } else if (consume_kick) {   // INV-IO-2
      std::uint64_t kicks;
      [[maybe_unused]] ssize_t const r = ::read(kick_fd_, &kicks, sizeof kicks);
    }
  }
  for (; sources != 0; sources &= sources - 1) sources_[std::countr_zero(sources)].load(std::memory_order_acquire)->on_event(out);
  if (alarm) host_->expire_timers(now_ns(), out);
  return n;
}

void epoll_driver::wait(std::uint64_t timeout_ns, ready_list& out) noexcept {
  int const most = batch_.load(std::memory_order_relaxed), n = harvest(timeout_ns, out, true, most);
  std::uint64_t const now = now_ns(), before = polled_ns_.load(std::memory_order_relaxed);
  std::uint64_t const gap = now > before ? now - before : 0;   // before: later than now, if the I/O thread has just harvested
  if (fetched_.load(std::memory_order_relaxed) == most && gap != 0) [[unlikely]] fit_batch(most, gap);
  fetched_.store(n, std::memory_order_relaxed);
  polled_ns_.store(now, std::memory_order_relaxed);
  std::uint64_t const next = std::max(settings_.bound_ns / 4, gap + gap / 2);   // the next poll is to be expected by then
  if (now + next > watch_until_ns_.load(std::memory_order_relaxed)) [[unlikely]] put_off_watch(now);
}

// The last batch was full, and took `gap`. (Once the poll is overdue, every event wakes the I/O thread, on a core that the worker needs. Echo with 1000
// connections, 8 us a request, on one core: 0.95 of the CPU time; 4 pairs of runs, 0.89 to 1.00.)
void epoll_driver::fit_batch(int size, std::uint64_t gap_ns) noexcept {
  std::uint64_t const fits = static_cast<std::uint64_t>(size) * longest_batch_ns() / gap_ns;
  batch_.store(static_cast<int>(std::clamp<std::uint64_t>(fits, least_events, most_events)), std::memory_order_relaxed);
}

// The I/O thread is cool, and would wake soon to see whether anybody polls.
void epoll_driver::put_off_watch(std::uint64_t now_ns) noexcept {
  std::uint64_t const until = now_ns + settings_.bound_ns;
  std::uint64_t seen = watch_until_ns_.load(std::memory_order_relaxed);
  if (seen != forever_ns && watch_until_ns_.compare_exchange_strong(seen, until, std::memory_order_relaxed)) set_watch(until);
}

void epoll_driver::set_watch(std::uint64_t until_ns) noexcept { set_timer(watch_fd_, until_ns); }

// The I/O thread is on its way into epoll: let it go first, so that we wait above it. Only a matter of cost, so it is bounded. (20: a guess; the
// thread needs one system call to get there, if it has a processor.)
void epoll_driver::before_wait() noexcept {
  for (int i = 0; i != 20 && io_state_.load(std::memory_order_relaxed) == entering; ++i) ::sched_yield();
}

void epoll_driver::kick() noexcept {
  std::uint64_t const one = 1;
  ssize_t r;
  do r = ::write(kick_fd_, &one, sizeof one);
  while (r < 0 && errno == EINTR);
}

void epoll_driver::set_alarm(std::uint64_t deadline_ns) noexcept { set_timer(timer_fd_, deadline_ns); }

driver_statistics epoll_driver::statistics() const noexcept {
  return {harvested_.load(std::memory_order_relaxed), strayed_.load(std::memory_order_relaxed), wakes_.load(std::memory_order_relaxed)};
}

} // namespace skua::detail

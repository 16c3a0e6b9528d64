// SPDX-License-Identifier: Apache-2.0
// Unit: the epoll driver and its I/O thread, under a host that is played by the test. The protocol with real workers is in tests/model/poller.pml.
#include "io/epoll_driver.hpp"
#include "io/descriptor.hpp"
#include "io/epoll_order.hpp"
#include "skua/detail/io_operation.hpp"
#include "tests/support/forbid.hpp"
#include "tests/support/leak_check.hpp"
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <gtest/gtest.h>
#include <mutex>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using skua::detail::epoll_driver;
using skua::detail::forever_ns;
using skua::detail::item;
using skua::detail::ready_list;

class played_host final : public skua::detail::driver_host {
public:
  std::atomic<bool> held{false};
  std::atomic<int> expired{0}, submitted{0}, ticks{0}, without_room{0};
  std::atomic<std::uint64_t> tick_interval_ns{forever_ns};
  epoll_driver* driver = nullptr;

  bool role_held() const noexcept override { return held.load(); }
  std::uint64_t poll_sequence() const noexcept override { return 0; }
  bool others_asleep() const noexcept override { return false; }
  bool at_rest() const noexcept override { return false; }
  std::uint64_t outside_work() const noexcept override { return 0; }
  void submit(item const*, std::size_t n, bool) noexcept override { submitted += static_cast<int>(n); }
  std::uint64_t expire_timers(std::uint64_t, ready_list& out) noexcept override {
    if (out.full())
      ++without_room;
    else
      out.add(1);
    ++expired;
    return forever_ns;
  }
  std::uint64_t monitor_tick(std::uint64_t) noexcept override {
    ++ticks;
    return tick_interval_ns.load();
  }
};

// An event source that counts.
struct counter final : skua::detail::event_source {
  int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::atomic<int> events{0};
  ~counter() { ::close(fd); }
  void on_event(ready_list& out) noexcept override {
    ++events;
    out.add(2);
  }
  void announce() const { ::eventfd_write(fd, 1); }
};

class EpollDriver : public skua_test::leak_check {
protected:
  void TearDown() override {
    if (driver_) driver_->stop();
    driver_.reset();
    leak_check::TearDown();
  }
  epoll_driver& make(std::chrono::nanoseconds bound = 500us) {
    driver_ = std::make_unique<epoll_driver>(epoll_driver::settings{static_cast<std::uint64_t>(bound.count()), "test"});
    host.driver = driver_.get();
    return *driver_;
  }
  // As the holder of the role.
  std::size_t wait(std::chrono::nanoseconds timeout) {
    ready_list out;
    driver_->before_wait();
    driver_->wait(timeout == std::chrono::nanoseconds::max() ? forever_ns : static_cast<std::uint64_t>(timeout.count()), out);
    return out.size();
  }
  void hold() { host.held = true; }
  void release() {
    host.held = false;
    driver_->role_released();
  }
  template <class Condition>
  static void wait_until(Condition c) {
    while (!c()) std::this_thread::yield();
  }
  // Waits until there is something. (Any wait may end early: signals, and what io_uring leaves behind in this process, end system calls.)
  std::size_t wait_for_items() {
    std::size_t n = 0;
    while (n == 0) n = wait(std::chrono::nanoseconds::max());
    return n;
  }
  void wait_until_io_thread_is(epoll_driver::state s) {
    wait_until([&] { return driver_->io_thread() == s; });
  }
  // The role is held from the start: the I/O thread is out of the way, and stays there until it is given up.
  void start_held() {
    hold();
    driver_->start(host);
    wait_until_io_thread_is(epoll_driver::deep);
  }
  // As long as this test may last, and not longer ago than the machine was started.
  static std::chrono::nanoseconds ages() { return std::chrono::steady_clock::now().time_since_epoch() / 2; }
  played_host host;
  counter source;

private:
  std::unique_ptr<epoll_driver> driver_;
};

TEST_F(EpollDriver, a_kick_ends_one_wait_of_the_holder) {
  auto& d = make();
  d.start(host);
  hold();
  d.kick();
  EXPECT_EQ(wait(std::chrono::nanoseconds::max()), 0u);
  for (bool undisturbed = false; !undisturbed;) {   // it would end every other one as well, if it had not been consumed
    auto const begin = std::chrono::steady_clock::now();
    EXPECT_EQ(wait(20ms), 0u);
    undisturbed = std::chrono::steady_clock::now() - begin >= 20ms;
  }
}

TEST_F(EpollDriver, the_io_thread_leaves_a_kick_for_the_holder) {
  auto& d = make();
  d.start(host);
  std::uint64_t const before = d.statistics().wakes;
  d.kick();   // nobody holds the role: the I/O thread is woken, again and again
  wait_until([&] { return d.statistics().wakes >= before + 3; });
  hold();
  EXPECT_EQ(wait(std::chrono::nanoseconds::max()), 0u);
}

using EpollDriverTiming = EpollDriver;
TEST_F(EpollDriverTiming, short_waits_are_short) {
  make();
  start_held();
  auto shortest = std::chrono::steady_clock::duration::max(), longest = std::chrono::steady_clock::duration::zero();
  for (int i = 0; i != 20; ++i) {
    auto const before = std::chrono::steady_clock::now();
    EXPECT_EQ(wait(100us), 0u);
    auto const took = std::chrono::steady_clock::now() - before;
    shortest = std::min(shortest, took);
    longest = std::max(longest, took);
  }
  EXPECT_LT(shortest, 50ms);   // whatever else the machine does
  EXPECT_GE(longest, 100us);
  EXPECT_EQ(wait(0ns), 0u);
}

// Old kernels say ENOSYS of a call that they do not know, and sandboxes that are older than the call EPERM.
int status_where_precise_waits_end_with(int error) {
  skua_test::forbid(SYS_epoll_pwait2, static_cast<unsigned>(error));
  epoll_driver driver({});
  ready_list out;
  std::uint64_t const before = driver.now_ns();
  for (int i = 0; i != 2; ++i) driver.wait(100'000, out);
  return out.size() == 0 && driver.now_ns() - before >= 200'000 ? 0 : 1;
}
TEST(EpollDriverDeathTest, where_precise_waits_are_forbidden_it_waits_whole_milliseconds) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  for (int const error : {ENOSYS, EPERM}) EXPECT_EXIT(std::_Exit(status_where_precise_waits_end_with(error)), testing::ExitedWithCode(0), "");
}

TEST_F(EpollDriver, events_go_to_the_holder_that_waits) {
  auto& d = make();
  d.watch(source.fd, source);
  start_held();
  std::thread announcer([&] {
    std::this_thread::sleep_for(5ms);   // so that as a rule it waits already
    source.announce();
  });
  EXPECT_EQ(wait_for_items(), 1u);
  announcer.join();
  EXPECT_EQ(source.events, 1);
  EXPECT_EQ(d.statistics().harvested, 0u);
}

// D11: a source that has more than the list takes is ready before another one and the timers.
TEST_F(EpollDriver, an_event_source_that_has_much_leaves_room_for_others_and_for_timers) {
  struct greedy final : skua::detail::event_source {
    void on_event(ready_list& out) noexcept override {
      while (out.has_room_for_sources()) out.add(3);
    }
  } much;
  counter ready;
  auto& d = make();
  d.watch(ready.fd, much);
  d.watch(source.fd, source);
  start_held();
  ready.announce();
  source.announce();
  d.set_alarm(1);
  ready_list out;
  while (host.expired == 0 || source.events == 0) {
    out.clear();
    d.before_wait();
    d.wait(forever_ns, out);
  }
  EXPECT_EQ(host.without_room, 0);
}

TEST_F(EpollDriver, events_go_to_the_io_thread_when_nobody_holds_the_role) {
  auto& d = make();
  d.watch(source.fd, source);
  d.start(host);
  for (int i = 1; i != 10; ++i) {
    source.announce();
    wait_until([&] { return host.submitted == i; });
  }
  EXPECT_EQ(d.statistics().harvested, 9u);
}

TEST_F(EpollDriver, events_go_to_the_io_thread_after_the_role_was_given_up) {
  auto& d = make();
  d.watch(source.fd, source);
  d.start(host);
  for (int i = 1; i != 20; ++i) {   // INV-IO-1: whichever state it is in when the role is given up
    hold();
    if (i % 2) std::this_thread::sleep_for(5ms);
    wait(0ns);
    release();
    source.announce();
    wait_until([&] { return host.submitted == i; });
  }
}

TEST_F(EpollDriver, the_alarm_goes_off_for_the_holder_and_for_the_io_thread) {
  auto& d = make();
  start_held();
  std::uint64_t const begin = d.now_ns();
  d.set_alarm(begin + 5'000'000);
  EXPECT_EQ(wait_for_items(), 1u);
  EXPECT_GE(d.now_ns(), begin + 5'000'000);
  EXPECT_EQ(host.expired, 1);
  release();
  d.set_alarm(d.now_ns() + 5'000'000);
  wait_until([&] { return host.submitted == 1; });
  d.set_alarm(1);   // long ago
  wait_until([&] { return host.submitted == 2; });
  d.set_alarm(0);
  wait_until([&] { return host.submitted == 3; });
}

TEST_F(EpollDriver, an_alarm_that_was_replaced_does_not_go_off) {
  auto& d = make();
  start_held();
  d.set_alarm(d.now_ns() + 2'000'000);
  d.set_alarm(forever_ns);
  EXPECT_EQ(wait(10ms), 0u);
  d.set_alarm(1);
  d.set_alarm(forever_ns);
  EXPECT_EQ(wait(10ms), 0u);
  EXPECT_EQ(host.expired, 0);
}

TEST_F(EpollDriver, at_rest_nobody_wakes) {
  auto& d = make();
  start_held();
  std::uint64_t const before = d.statistics().wakes;
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(d.statistics().wakes, before);
}

TEST_F(EpollDriver, the_io_thread_keeps_out_of_the_way_of_workers_that_poll) {
  auto& d = make(ages());
  d.watch(source.fd, source);
  d.start(host);
  source.announce();
  wait_until([&] { return host.submitted == 1; });
  wait_until_io_thread_is(epoll_driver::cool);
  for (int i = 0; i != 20; ++i) {
    hold();
    source.announce();
    EXPECT_EQ(wait_for_items(), 1u);
    release();
  }
  EXPECT_EQ(d.io_thread(), epoll_driver::cool);
  EXPECT_EQ(host.submitted, 1);
}

TEST_F(EpollDriver, the_io_thread_comes_back_when_the_workers_poll_no_more) {   // INV-IO-3
  auto& d = make(20ms);
  d.watch(source.fd, source);
  d.start(host);
  source.announce();
  wait_until([&] { return host.submitted == 1; });   // now it cools down
  source.announce();
  wait_until([&] { return host.submitted == 2; });
}

// Events of a descriptor that is closed: they are fetched, and dropped.
struct dropped_events {
  std::uint64_t const data = [] {
    auto& d = skua::detail::open_descriptor(::eventfd(0, EFD_CLOEXEC));
    std::uint64_t const of = d.epoll_data();
    skua::detail::close_descriptor(d);
    return of;
  }();
  std::vector<int> fds;
  dropped_events(epoll_driver& driver, int count) {
    for (int i = 0; i != count; ++i) {
      fds.push_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      EXPECT_EQ(driver.control(fds.back(), EPOLLIN | EPOLLET, data), 0);
    }
  }
  dropped_events(dropped_events const&) = delete;
  ~dropped_events() {
    for (int fd : fds) ::close(fd);
  }
  void announce() const {
    for (int fd : fds) ::eventfd_write(fd, 1);
  }
};

TEST_F(EpollDriver, a_worker_that_needs_long_for_a_full_batch_fetches_fewer_events) {
  epoll_driver& driver = make();
  dropped_events const events(driver, 100);
  start_held();
  events.announce();
  int const most = driver.batch();
  ASSERT_LT(most, 100);
  wait(0ns);
  std::this_thread::sleep_for(100ms);   // at least
  wait(0ns);                            // the rest
  EXPECT_LE(driver.batch(), most / 4);
  EXPECT_GE(driver.batch(), 1);
  int const fewer = driver.batch();
  std::this_thread::sleep_for(100ms);
  wait(0ns);
  EXPECT_EQ(driver.batch(), fewer) << "that batch was not full: it says nothing";
}

TEST_F(EpollDriver, the_monitor_is_asked_as_often_as_it_wants) {
  host.tick_interval_ns = 2'000'000;
  make().start(host);
  wait_until([&] { return host.ticks > 5; });
}

TEST_F(EpollDriver, stops_in_every_state) {
  for (auto const s : {epoll_driver::in, epoll_driver::deep, epoll_driver::cool}) {
    epoll_driver d({static_cast<std::uint64_t>(ages().count()), "test"});
    d.watch(source.fd, source);
    host.held = s == epoll_driver::deep;
    d.start(host);
    if (s == epoll_driver::cool) source.announce();
    wait_until([&] { return d.io_thread() == s; });
    d.stop();
  }
  epoll_driver never_started({});
  never_started.stop();
}

TEST_F(EpollDriver, the_kernel_wakes_the_latest_waiter_first) {
  // Only cost depends on it, so another kernel's answer is not an error of ours; but then the figures in docs/ do not hold there.
  if (skua::detail::probe_epoll_order() == skua::detail::epoll_order::unknown) GTEST_SKIP() << "the machine is too busy to tell";
  EXPECT_EQ(skua::detail::known_epoll_order(), skua::detail::epoll_order::latest_first);
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
// Stop: a task in every state is asked to stop, from every side (D2, S1, S2, S8, S12); races that a completion wins (S4, S11); depth (S3);
// destructors that throw (S5).
#include "skua/future.hpp"
#include "skua/runtime.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <chrono>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

// ---------------------------------------------------------------------------------------------- what a task is doing when its stop comes

struct seen {
  std::atomic<int> begun{0}, gone{0}, by_requester{0}, went_on{0};
  std::thread::id requester{};
};
// A local of each coroutine.
class mark {
public:
  explicit mark(seen& s) : s_(s) { ++s_.begun; }
  mark(mark const&) = delete;
  ~mark() {
    ++s_.gone;
    if (std::this_thread::get_id() == s_.requester) ++s_.by_requester;   // S2: no user code on the requester's thread
  }

private:
  seen& s_;
};

task<> sleeps(seen& s) {
  mark m(s);
  co_await skua::sleep_for(1h);
  ++s.went_on;
}
task<> waits_for_a_future(seen& s) {
  mark m(s);
  co_await never();
  ++s.went_on;
}
task<> joins_a_task(seen& s) {
  mark m(s);
  auto h = skua::spawn(sleeps, std::ref(s));
  co_await h;
  ++s.went_on;
}
task<> yields(seen& s) {
  mark m(s);
  for (;;) co_await skua::this_task::yield();
}
task<> computes(seen& s) {   // gives nobody else a chance but at its checkpoint
  mark m(s);
  for (;;) {
    co_await skua::this_task::checkpoint();
    if (s.requester == std::this_thread::get_id()) co_await skua::this_task::yield();
    co_await skua::this_task::yield();
  }
}
task<> is_in_when_all(seen& s) {
  mark m(s);
  co_await skua::when_all(sleeps(s), waits_for_a_future(s), yields(s));
  ++s.went_on;
}
task<> is_in_a_tree(seen& s) {
  mark m(s);
  std::vector<task<>> v;
  for (int i = 0; i < 5; ++i) v.push_back(is_in_when_all(s));
  co_await skua::when_all(std::move(v));
  ++s.went_on;
}
task<> is_in_when_any(seen& s) {
  mark m(s);
  co_await skua::when_any(sleeps(s), is_in_when_all(s));
  ++s.went_on;
}
task<> is_in_timeouts(seen& s) {
  mark m(s);
  try {
    co_await skua::timeout(2h, skua::task<>([](seen& t) -> task<> { co_await skua::timeout(3h, sleeps(t)); }(s)));
  } catch (...) {
    ADD_FAILURE() << "a stop is no exception (D2)";
  }
  ++s.went_on;
}
task<> is_deep(seen& s, int depth) {
  mark m(s);
  if (depth == 0) co_await skua::sleep_for(1h);
  if (depth > 0) co_await is_deep(s, depth - 1);
  ++s.went_on;
}
task<> is_in_a_chain(seen& s) { return is_deep(s, 100); }
task<> forks_for_ever(seen& s) {
  mark m(s);
  for (;;) co_await skua::when_all(yield_times(1), value_of(1));
}
task<> times_out_for_ever(seen& s) {
  mark m(s);
  for (;;) {
    try {
      co_await skua::timeout(0ms, never());
    } catch (skua::timeout_error const&) {
    }
  }
}
task<> fails_for_ever(seen& s) {
  mark m(s);
  for (;;) {
    try {
      co_await skua::when_all(never(), fail_after(1, "again"));
    } catch (std::runtime_error const&) {
    }
  }
}
task<> spawns_for_ever(seen& s) {
  mark m(s);
  for (;;) co_await skua::spawn(yield_times, 1);
}

using body = task<> (*)(seen&);
struct state {
  char const* name;
  body run;
};
constexpr state states[] = {{"sleeps", sleeps}, {"waits for a future", waits_for_a_future}, {"joins", joins_a_task}, {"yields", yields},
    {"computes", computes}, {"is in when_all", is_in_when_all}, {"is in a tree", is_in_a_tree}, {"is in when_any", is_in_when_any},
    {"is in timeouts", is_in_timeouts}, {"is in a chain", is_in_a_chain}, {"forks", forks_for_ever}, {"times out", times_out_for_ever},
    {"fails", fails_for_ever}, {"spawns", spawns_for_ever}};

class Stop : public leak_check, public testing::WithParamInterface<std::tuple<unsigned, int>> {
protected:
  unsigned workers() const { return std::get<0>(GetParam()); }
  int progress() const { return std::get<1>(GetParam()); }   // how far a task has come when its stop comes, in yields of the requester
  void each(auto play) {
    for (state const& s : states) {
      seen what;
      {
        skua::runtime rt({.workers = workers()});
        play(rt, s.run, what);
      }
      EXPECT_EQ(what.gone, what.begun) << s.name;
      EXPECT_EQ(what.went_on, 0) << s.name;
      EXPECT_EQ(what.by_requester, 0) << s.name;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(, Stop, testing::Combine(testing::Values(1u, 2u), testing::Values(0, 1, 2, 7)), [](auto const& i) {
  return std::to_string(std::get<0>(i.param)) + "_workers_after_" + std::to_string(std::get<1>(i.param));
});

TEST_P(Stop, by_another_task) {
  each([this](skua::runtime& rt, body run, seen& what) {
    rt.block_on([](body b, seen& s, int n) -> task<> {
      auto h = skua::spawn(b, std::ref(s));
      co_await yield_times(n);
      h.request_stop();
      EXPECT_THROW(co_await h, skua::task_stopped);
      EXPECT_FALSE(skua::this_task::stop_requested());
    },
                run, std::ref(what), progress());
  });
}
TEST_P(Stop, by_a_thread_from_outside__S2) {
  each([this](skua::runtime& rt, body run, seen& what) {
    what.requester = std::this_thread::get_id();
    auto h = rt.spawn(run, std::ref(what));
    for (int i = 0; i < 10 * progress(); ++i) std::this_thread::yield();
    for (int i = 0; i < 3; ++i) h.request_stop();
    EXPECT_THROW(rt.block_on([](auto g) -> task<> { co_await g; }, std::move(h)), skua::task_stopped);
  });
}
TEST_P(Stop, by_one_of_its_own_branches) {
  each([this](skua::runtime& rt, body run, seen& what) {
    rt.block_on([](body b, seen& s, int n) -> task<> {
      skua::join_handle<> h;
      std::atomic<bool> assigned = false;
      auto stops = [&assigned](skua::join_handle<>& self, int m) -> task<> {
        co_await until([&] { return assigned.load(); });
        co_await yield_times(m);
        self.request_stop();
      };
      h = skua::spawn([&]() -> task<> { co_await skua::when_all(b(s), stops(h, n)); });
      assigned = true;
      EXPECT_THROW(co_await h, skua::task_stopped);
    },
                run, std::ref(what), progress());
  });
}
TEST_P(Stop, by_a_dropped_handle__S12) {
  each([this](skua::runtime& rt, body run, seen& what) {
    rt.block_on([](body b, seen& s, int n) -> task<> {
      {
        auto h = skua::spawn(b, std::ref(s));
        co_await yield_times(n);
      }
      co_await yield_times(n);
    },
                run, std::ref(what), progress());
  });
}
TEST_P(Stop, by_the_end_of_the_runtime) {
  each([this](skua::runtime& rt, body run, seen& what) {
    rt.spawn(run, std::ref(what)).detach();
    for (int i = 0; i < 10 * progress(); ++i) std::this_thread::yield();
  });
}
TEST_P(Stop, by_a_sibling_that_fails__S8) {
  each([this](skua::runtime& rt, body run, seen& what) {
    EXPECT_EQ(message_of([&] {
                rt.block_on([](body b, seen& s, int n) -> task<> { co_await skua::when_all(b(s), fail_after(n, "sibling")); }, run, std::ref(what),
                            progress());
              }),
              "sibling");
  });
}
TEST_P(Stop, by_a_timeout__S10) {
  each([this](skua::runtime& rt, body run, seen& what) {
    EXPECT_THROW(rt.block_on([](body b, seen& s, int n) -> task<> { co_await skua::timeout(std::chrono::milliseconds(n), b(s)); }, run,
                             std::ref(what), std::min(progress(), 0)),
                 skua::timeout_error);
  });
}
TEST_P(Stop, by_a_winner__S9) {
  each([this](skua::runtime& rt, body run, seen& what) {
    auto const r = rt.block_on([](body b, seen& s, int n) { return [](auto x, auto y) -> task<std::size_t> {
                                                              auto won = co_await skua::when_any(std::move(x), std::move(y));
                                                              co_return won.index();
                                                            }(b(s), value_after(n, 1)); },
                               run, std::ref(what), progress());
    EXPECT_EQ(r, 1u);
  });
}

// ---------------------------------------------------------------------------------------------- races

class StopRaces : public leak_check {
protected:
  skua::runtime rt{skua::options{.workers = 1, .backend = "virtual"}};
};

// S4: the completion took the operation out before the request came.
TEST_F(StopRaces, completion_that_came_first_is_delivered_and_the_next_operation_sees_the_stop__S4) {
  int delivered = 0, past = 0;
  auto run = [&]() -> task<> {
    skua::promise<owned> p;
    auto h = skua::spawn([&](skua::future<owned> f) -> task<> {
      owned const o = co_await f;
      delivered = o.value();
      co_await skua::this_task::yield();
      ++past;
    },
                         p.get_future());
    co_await yield_times(2);
    p.set_value(owned(5));
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
  };
  rt.block_on(run);
  EXPECT_EQ(delivered, 5);
  EXPECT_EQ(past, 0);
  EXPECT_EQ(owned::alive, 0);
}
// The request came first, but the source gave the operation out before the worker could withdraw it: the source is the referee.
TEST_F(StopRaces, completion_that_comes_before_the_withdrawal_is_delivered__S4) {
  int delivered = 0, past = 0;
  auto run = [&]() -> task<> {
    skua::promise<owned> p;
    auto h = skua::spawn([&](skua::future<owned> f) -> task<> {
      owned const o = co_await f;
      delivered = o.value();
      co_await skua::this_task::yield();
      ++past;
    },
                         p.get_future());
    co_await yield_times(2);
    h.request_stop();
    p.set_value(owned(5));
    EXPECT_THROW(co_await h, skua::task_stopped);
  };
  rt.block_on(run);
  EXPECT_EQ(delivered, 5);
  EXPECT_EQ(past, 0);
  EXPECT_EQ(owned::alive, 0);
}

TEST_F(StopRaces, own_stop_wins_over_task_stopped__S11) {
  int caught = 0;
  auto joiner = [&](skua::join_handle<> h) -> task<> {
    try {
      co_await h;
    } catch (skua::task_stopped const&) {
      ++caught;
    }
  };
  auto run = [&]() -> task<> {
    auto h = skua::spawn(never);
    auto& target = *h.block();   // the handle moves into the joiner
    auto j = skua::spawn(joiner, std::move(h));
    co_await yield_times(2);
    j.request_stop();
    skua::detail::request_stop(target, skua::stop_reason::requested);
    EXPECT_THROW(co_await j, skua::task_stopped);
  };
  rt.block_on(run);
  EXPECT_EQ(caught, 0);
}
TEST_F(StopRaces, end_that_has_the_joiner_in_hand_wins_over_its_own_stop__S4_S11) {
  int caught = 0, past = 0;
  skua::join_handle<> j;
  auto run = [&]() -> task<> {
    struct stops_the_joiner {   // destroyed when the task is unwound, just before its end resumes the joiner
      skua::join_handle<>& j;
      ~stops_the_joiner() { j.request_stop(); }
    };
    auto h = skua::spawn([&]() -> task<> {
      stops_the_joiner s{j};
      co_await never();
    });
    auto& target = *h.block();
    j = skua::spawn([&](skua::join_handle<> g) -> task<> {
      try {
        co_await g;
      } catch (skua::task_stopped const&) {
        ++caught;
      }
      co_await skua::this_task::yield();
      ++past;
    },
                    std::move(h));
    co_await yield_times(2);
    skua::detail::request_stop(target, skua::stop_reason::requested);
    EXPECT_THROW(co_await j, skua::task_stopped);
    j = {};
  };
  rt.block_on(run);
  EXPECT_EQ(caught, 1);
  EXPECT_EQ(past, 0);
}

TEST_F(StopRaces, request_before_the_task_has_run_lets_it_run_to_its_first_checkpoint__S1) {
  int begun = 0, past = 0;
  auto run = [&]() -> task<> {
    auto h = skua::spawn([&]() -> task<int> {
      ++begun;
      co_await value_of(1);   // no suspension point
      ++begun;
      co_await skua::this_task::checkpoint();
      ++past;
      co_return 1;
    });
    h.request_stop();
    EXPECT_THROW(co_await h, skua::task_stopped);
    auto value = skua::spawn(value_of, 6);   // has no checkpoint at all
    value.request_stop();
    EXPECT_EQ(co_await value, 6);
  };
  rt.block_on(run);
  EXPECT_EQ(begun, 2);
  EXPECT_EQ(past, 0);
}

TEST_F(StopRaces, request_to_a_task_of_another_runtime) {
  skua::runtime other({.workers = 2});
  auto run = [&]() -> task<> {
    for (int i = 0; i < 50; ++i) {
      auto h = other.spawn([]() -> task<> { co_await skua::when_all(never(), skua::task<>(yield_times(3)), never()); });
      co_await yield_times(i % 5);
      h.request_stop();
      EXPECT_THROW(co_await h, skua::task_stopped);
    }
  };
  rt.block_on(run);
}

} // namespace

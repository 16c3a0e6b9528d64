// SPDX-License-Identifier: Apache-2.0
// Deadlines as context, and who caused a stop (S10, S13, S14, S15): every nesting, up to three deep, of timeouts, deadlines, shields, clean-ups and groups,
// with a stop from outside at several times, against a model of a few lines. Virtual time, so that not only what is thrown, and where, but the time as well is
// exact.
#include "skua/deadline.hpp"
#include "skua/finally.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/task_group.hpp"
#include "skua/time.hpp"
#include "skua/when_all.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/values.hpp"
#include <chrono>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;
using skua::this_task::deadline;

class Deadline : public several_workers {};
INSTANTIATE_TEST_SUITE_P(, Deadline, testing::Values(1u, 2u), by_workers);

// ---------------------------------------------------------------------------------------------- the table

enum kind { short_timeout, long_timeout, tight_deadline, loose_deadline, shielded, cleaned_up, in_a_group, kinds };
constexpr char const* names[] = {"timeout", "long timeout", "deadline", "loose deadline", "shield", "finally", "group"};
using ms = long;
constexpr ms never_ms = std::numeric_limits<ms>::max(), sleeps = 5000, cleans = 3000;
// No two of them meet, whatever is nested.
ms limit_of(kind k, int level) { return (k == short_timeout || k == tight_deadline ? 2000 : 6400) + 110 * level + (k >= tight_deadline ? 37 : 0); }

struct ending {
  ms at = 0;
  enum { value, stopped, timed_out } how = value;
  int level = -1;   // of the timeout that threw
  bool operator==(ending const&) const = default;
};

// What must happen: layer `i` begins at `t`, and a stop from outside of it comes at `stop`.
ending expected(std::vector<kind> const& layers, std::size_t i, ms t, ms stop) {
  if (i == layers.size()) {
    if (stop <= t) return {t, ending::stopped};
    return stop < t + sleeps ? ending{stop, ending::stopped} : ending{t + sleeps, ending::value};
  }
  switch (layers[i]) {
  case shielded: return expected(layers, i + 1, t, never_ms);
  case cleaned_up: {
    ending e = stop <= t ? ending{t, ending::stopped} : expected(layers, i + 1, t, stop);
    e.at += cleans;
    return e;
  }
  case in_a_group: {
    if (stop <= t) return {t, ending::stopped};
    ending e = expected(layers, i + 1, t, stop);
    if (stop < e.at && e.how != ending::timed_out) e.how = ending::stopped;   // the body was, while it waited for the task
    return e;
  }
  default: {
    if (stop <= t) return {t, ending::stopped};
    bool const absolute = layers[i] == tight_deadline || layers[i] == loose_deadline;
    ms const limit = limit_of(layers[i], static_cast<int>(i)) + (absolute ? 0 : t);
    ending e = expected(layers, i + 1, t, std::min(stop, limit));
    if (e.how == ending::stopped && stop > e.at) return {e.at, ending::timed_out, static_cast<int>(i)};
    return e;
  }
  }
}

struct course {
  std::vector<kind> layers;
  skua::clock::time_point begin{};
  int thrown_at = -1;
};
task<> run(course& c, std::size_t i);

task<> run(course& c, std::size_t i) {
  if (i == c.layers.size()) {
    co_await skua::sleep_for(std::chrono::milliseconds(sleeps));
    co_return;
  }
  auto const limit = std::chrono::milliseconds(limit_of(c.layers[i], static_cast<int>(i)));
  auto inner = run(c, i + 1);
  switch (c.layers[i]) {
  case short_timeout:
  case long_timeout:
    try {
      co_await skua::timeout(limit, std::move(inner));
    } catch (skua::timeout_error const&) {
      if (c.thrown_at < 0) c.thrown_at = static_cast<int>(i);
      throw;
    }
    break;
  case tight_deadline:
  case loose_deadline:
    try {
      co_await skua::with_deadline(c.begin + limit, std::move(inner));
    } catch (skua::timeout_error const&) {
      if (c.thrown_at < 0) c.thrown_at = static_cast<int>(i);
      throw;
    }
    break;
  case shielded: co_await skua::shield(std::move(inner)); break;
  case cleaned_up: co_await skua::finally(std::move(inner), [] { return skua::sleep_for(std::chrono::milliseconds(cleans)); }); break;
  case in_a_group:
    co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
      auto h = g.spawn(std::move(inner));
      co_await h;
    });
    break;
  case kinds: break;
  }
}

task<ending> observe(std::vector<kind> layers, ms stop) {
  course c{std::move(layers)};
  c.begin = skua::clock::now();
  ending e;
  auto h = skua::spawn([](course& k) -> task<> {
    co_await run(k, 0);
    co_await skua::this_task::checkpoint();
  },
                       std::ref(c));
  auto stopper = skua::spawn([](skua::join_handle<>& handle, ms t) -> task<> {
    if (t == never_ms) co_return;
    co_await skua::sleep_for(std::chrono::milliseconds(t));
    handle.request_stop();
  },
                             std::ref(h), stop);
  try {
    co_await h;
    e.how = ending::value;
  } catch (skua::task_stopped const&) {
    e.how = ending::stopped;
  } catch (skua::timeout_error const&) {
    e.how = ending::timed_out;
    e.level = c.thrown_at;
  }
  e.at = std::chrono::duration_cast<std::chrono::milliseconds>(skua::clock::now() - c.begin).count();
  co_await stopper;
  co_return e;
}

std::string text(std::vector<kind> const& layers, ms stop) {
  std::string s = "stop at " + (stop == never_ms ? "no time" : std::to_string(stop)) + ", outermost first:";
  for (kind k : layers) s += std::string(" [") + names[k] + "]";
  return s;
}

TEST_P(Deadline, who_caused_a_stop_decides_what_is_thrown_in_every_nesting__S10_S13_S14_S15) {
  int cases = 0;
  auto body = [&]() -> task<> {
    for (int depth = 0; depth <= 3; ++depth) {
      int combinations = 1;
      for (int d = 0; d < depth; ++d) combinations *= kinds;
      for (int n = 0; n < combinations; ++n) {
        std::vector<kind> layers;
        for (int d = 0, rest = n; d < depth; ++d, rest /= kinds) layers.push_back(static_cast<kind>(rest % kinds));
        for (ms const stop : {never_ms, ms{1003}, ms{4003}, ms{7003}}) {
          ending want = expected(layers, 0, 0, stop);
          if (want.how == ending::value && stop <= want.at) want.how = ending::stopped;   // by the checkpoint behind it all
          ending const got = co_await observe(layers, stop);
          EXPECT_EQ(got.how, want.how) << text(layers, stop);
          EXPECT_EQ(got.level, want.level) << text(layers, stop);
          EXPECT_EQ(got.at, want.at) << text(layers, stop);
          ++cases;
        }
      }
    }
  };
  rt.block_on(body);
  EXPECT_EQ(cases, 4 * (1 + 7 + 49 + 343));
}

// ---------------------------------------------------------------------------------------------- as context

TEST_P(Deadline, is_inherited_by_calls_branches_and_tasks_of_a_group_and_only_ever_tightened) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    auto is = [](std::optional<skua::clock::time_point> t, int where) -> task<> {
      EXPECT_EQ(deadline(), t) << where;
      co_await skua::this_task::yield();
      EXPECT_EQ(deadline(), t) << where;
    };
    co_await is(std::nullopt, 0);
    co_await skua::with_deadline(begin + 10s, [&]() -> task<> {
      co_await is(begin + 10s, 1);
      co_await skua::when_all(is(begin + 10s, 2), is(begin + 10s, 3));
      co_await skua::with_deadline(begin + 20s, is(begin + 10s, 4));
      co_await skua::with_deadline(begin + 5s, is(begin + 5s, 5));
      co_await skua::timeout(3s, skua::when_all(is(begin + 3s, 6), skua::timeout(2s, is(begin + 2s, 7))));
      co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
        g.spawn(is, begin + 10s, 8);
        g.spawn([&]() -> task<> { co_await skua::timeout(4s, is(begin + 4s, 9)); });
        co_await is(begin + 10s, 10);
      });
      auto apart = skua::spawn(is, std::nullopt, 11);   // a root of its own
      co_await apart;
    }());
    co_await is(std::nullopt, 12);
  };
  rt.block_on(body);
  EXPECT_FALSE(deadline());   // outside of any task
}

TEST_P(Deadline, an_earlier_one_around_it_throws_where_it_was_set) {
  auto body = []() -> task<> {
    auto const begin = skua::clock::now();
    int inner = 0, outer = 0;
    auto tighter_outside = [&]() -> task<> {
      try {
        co_await skua::with_deadline(begin + 2s, never());
      } catch (skua::timeout_error const&) {
        ++inner;
      }
    };
    try {
      co_await skua::with_deadline(begin + 1s, tighter_outside());
    } catch (skua::timeout_error const&) {
      ++outer;
    }
    EXPECT_EQ(inner, 0);
    EXPECT_EQ(outer, 1);
    EXPECT_EQ(skua::clock::now() - begin, 1s);
    EXPECT_THROW(co_await skua::with_deadline(begin, never()), skua::timeout_error);   // in the past
    EXPECT_EQ(co_await skua::with_deadline(begin, value_of(3)), 3);
    co_await skua::with_deadline(begin + 5s, skua::sleep_for(1s));
  };
  rt.block_on(body);
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
// Who caused a stop, and which error comes out: every nesting, three deep, of timeout, timeout_at, with_deadline, task_group, shield, finally, when_any and
// when_all; the inner one fires first, the outer one first, all at once; with and without a stop by the user before, at that very moment, and behind; siblings
// that fail and siblings that win. Virtual time: what is thrown, by which layer, and when, are exact. (deadline_test.cpp has clean-up and long limits.)
//
// The model says what must happen. What happens at one moment may happen in any order there: it is asked for every order, and one of its answers must come.
#include "skua/deadline.hpp"
#include "skua/finally.hpp"
#include "skua/runtime.hpp"
#include "skua/shield.hpp"
#include "skua/task_group.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "skua/when_all.hpp"
#include "skua/when_any.hpp"
#include "tests/support/several_workers.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::task;

enum kind { limited, limited_at, deadlined, grouped, shielded, cleaned, raced, joined, kinds };
constexpr char const* names[] = {"timeout", "timeout_at", "with_deadline", "task_group", "shield", "finally", "when_any", "when_all"};
constexpr int depth = 3;
enum order { inner_first, outer_first, all_at_once, orders };
constexpr char const* order_names[] = {"inner first", "outer first", "all at once"};

using ms = double;   // fractions only in the model, to put what happens at once in an order
constexpr ms never_ms = std::numeric_limits<ms>::infinity(), sleeps = 6000, cleans = 700;
// When a layer fires: its limit; in a group or when_all its sibling fails then, in when_any its sibling wins.
ms fires_at(order o, int level) { return o == all_at_once ? 3000 : o == outer_first ? 2000 + 1000 * level : 4000 - 1000 * level; }

struct ending {
  enum how_t { value, stopped, timed_out, failed } how = value;
  int level = -1;   // whose limit or sibling it was
  ms at = 0;
  auto operator<=>(ending const&) const = default;
  friend std::ostream& operator<<(std::ostream& out, ending const& e) {
    constexpr char const* texts[] = {"a value", "stopped", "timed out", "failed"};
    out << texts[e.how];
    if (e.level >= 0) out << " by layer " << e.level;
    return out << " at " << e.at;
  }
};

// ---------------------------------------------------------------------------------------------- the model

struct model {
  std::vector<kind> layers;
  std::vector<ms> fires;

  // Layer i, which begins at 0; a stop from outside of it comes at `stop`; `enclosing`: the earliest limit around it.
  ending expect(std::size_t i, ms stop, ms enclosing) const {
    if (i == layers.size()) return stop < sleeps ? ending{ending::stopped, -1, stop} : ending{ending::value, -1, sleeps};
    ms const fire = fires[i];
    int const level = static_cast<int>(i);
    auto inside = [&](ms s) { return expect(i + 1, s, enclosing); };
    switch (layers[i]) {
    case deadlined:
      if (enclosing <= fire) return inside(stop);   // no timer: it only ever tightens
      [[fallthrough]];
    case limited:
    case limited_at: {
      ending e = expect(i + 1, std::min(stop, fire), std::min(enclosing, fire));
      if (e.how == ending::stopped && stop > e.at) return {ending::timed_out, level, e.at};   // S10
      return e;
    }
    case shielded: return expect(i + 1, never_ms, never_ms);
    case cleaned: {
      ending e = inside(stop);
      e.at += cleans;
      return e;
    }
    case grouped: {   // the body awaits the inner layer's task, then stops the group; a sibling fails
      ending e = inside(std::min(stop, fire));
      if (fire < stop && fire <= e.at) return {ending::failed, level, e.at};   // the first failure in time
      if (e.how == ending::value && stop < e.at) e.how = ending::stopped;     // the body was, while it waited
      return e;
    }
    case raced: {   // the first value wins
      ending e = inside(std::min(stop, fire));
      if (e.how == ending::value) return e;
      if (fire < stop) return {ending::value, -1, std::max(fire, e.at)};
      return {ending::stopped, -1, std::max(stop, e.at)};   // S9: some failed, some were stopped
    }
    case joined: {   // its sibling fails
      ending e = inside(std::min(stop, fire));
      bool const failed = e.how == ending::timed_out || e.how == ending::failed;
      if (fire < stop && (fire <= e.at || !failed)) return {ending::failed, level, std::max(fire, e.at)};
      if (failed) return e;
      return {ending::stopped, -1, std::max(stop, e.at)};   // S8: the sibling was
    }
    case kinds: break;
    }
    return {};
  }
  ending expect(ms stop) const {
    ending e = expect(0, stop, never_ms);
    if (e.how == ending::value && stop <= e.at) e.how = ending::stopped;   // by the checkpoint behind it all (S4)
    e.at = std::round(e.at);
    return e;
  }
};

// Every order of what happens at one moment.
std::set<ending> expected(std::vector<kind> const& layers, order o, ms stop) {
  std::set<ending> all;
  std::vector<int> places = {0, 1, 2, 3};   // of the layers and the stop
  do {
    model m{layers, {}};
    for (int i = 0; i < depth; ++i) m.fires.push_back(fires_at(o, i) + 0.01 * places[static_cast<std::size_t>(i)]);
    all.insert(m.expect(stop + 0.01 * places[3]));
  } while (std::next_permutation(places.begin(), places.end()));
  return all;
}

// ---------------------------------------------------------------------------------------------- the program

struct layer_error {
  ending::how_t how;
  int level;
};
struct course {
  std::vector<kind> layers;
  order fire;
  skua::clock::time_point begin{};
};
std::chrono::milliseconds as_duration(ms t) { return std::chrono::milliseconds(static_cast<long>(t)); }

task<> fails_at(skua::clock::time_point t, int level) {
  co_await skua::sleep_until(t);
  throw layer_error{ending::failed, level};
}
task<> run(course& c, std::size_t i) {
  if (i == c.layers.size()) {
    co_await skua::sleep_until(c.begin + as_duration(sleeps));
    co_return;
  }
  int const level = static_cast<int>(i);
  auto const limit = as_duration(fires_at(c.fire, level));
  auto const at = c.begin + limit;
  auto inner = run(c, i + 1);
  try {
    switch (c.layers[i]) {
    case limited: co_await skua::timeout(limit, std::move(inner)); break;
    case limited_at: co_await skua::timeout_at(at, std::move(inner)); break;
    case deadlined: co_await skua::with_deadline(at, std::move(inner)); break;
    case grouped:
      co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
        g.spawn(fails_at, at, level);
        auto h = g.spawn(std::move(inner));
        co_await h;
        g.request_stop();
      });
      break;
    case shielded: co_await skua::shield(std::move(inner)); break;
    case cleaned: co_await skua::finally(std::move(inner), [] { return skua::sleep_for(as_duration(cleans)); }); break;
    case raced: co_await skua::when_any(std::move(inner), skua::sleep_until(at)); break;
    case joined: co_await skua::when_all(std::move(inner), fails_at(at, level)); break;
    case kinds: break;
    }
  } catch (skua::timeout_error const&) {
    throw layer_error{ending::timed_out, level};   // what was inside has been converted there: it is this layer's
  } catch (skua::task_group_error const& e) {
    std::rethrow_exception(e.failures().front());
  }
}

task<ending> observe(std::vector<kind> layers, order o, ms stop) {
  course c{std::move(layers), o, skua::clock::now()};
  ending e;
  auto h = skua::spawn([](course& k) -> task<> {
    co_await run(k, 0);
    co_await skua::this_task::checkpoint();
  },
                       std::ref(c));
  auto stopper = skua::spawn([](skua::join_handle<>& handle, ms t) -> task<> {
    if (t == never_ms) co_return;
    co_await skua::sleep_for(as_duration(t));
    handle.request_stop();
  },
                             std::ref(h), stop);
  try {
    co_await h;
  } catch (skua::task_stopped const&) {
    e.how = ending::stopped;
  } catch (layer_error const& by) {
    e.how = by.how;
    e.level = by.level;
  }
  e.at = static_cast<ms>(std::chrono::duration_cast<std::chrono::milliseconds>(skua::clock::now() - c.begin).count());
  co_await stopper;
  co_return e;
}

class NestedScopes : public leak_check, public testing::WithParamInterface<unsigned> {
protected:
  skua::runtime rt{skua::options{.workers = GetParam(), .backend = "virtual", .on_unhandled_failure = [](skua::failure const&) {}}};
};
INSTANTIATE_TEST_SUITE_P(, NestedScopes, testing::Values(1u, 2u), by_workers);

TEST_P(NestedScopes, the_one_that_caused_the_stop_throws_in_every_nesting_and_order__S8_S9_S10_S13_S14_S15) {
  int cases = 0, answers = 0;
  auto body = [&]() -> task<> {
    for (int n = 0; n < kinds * kinds * kinds; ++n) {
      std::vector<kind> const layers{static_cast<kind>(n % kinds), static_cast<kind>(n / kinds % kinds), static_cast<kind>(n / kinds / kinds)};
      for (int o = 0; o < orders; ++o)
        for (ms const stop : {never_ms, ms{1500}, ms{2000}, ms{3000}, ms{3300}, ms{4500}}) {
          auto const want = expected(layers, static_cast<order>(o), stop);
          ending const got = co_await observe(layers, static_cast<order>(o), stop);
          ++cases;
          answers += static_cast<int>(want.size());
          if (want.contains(got)) continue;
          std::string text = std::string(order_names[o]) + ", stop at " + std::to_string(stop) + ", outermost first:";
          for (kind k : layers) text += std::string(" [") + names[k] + "]";
          ADD_FAILURE() << text << ": " << got << ", not " << testing::PrintToString(want);
        }
    }
  };
  rt.block_on(body);
  EXPECT_EQ(cases, 512 * 3 * 6);
  EXPECT_LT(answers, 2 * cases);   // the model is no wish: mostly there is one answer
}

// What a scope stops for reasons of its own stays in it: whoever catches its failure goes on, and is not stopped.
TEST_P(NestedScopes, a_stop_of_a_scope_does_not_leak_out_of_it__cpython_128588) {
  auto fails = []() -> task<> {
    throw layer_error{ending::failed, 1};
    co_return;
  };
  auto fails_after_a_while = []() -> task<> {
    co_await skua::this_task::yield();
    throw layer_error{ending::failed, 1};
  };
  auto body = [&]() -> task<> {
    int caught = 0;
    auto goes_on = [&]() -> task<> {
      EXPECT_FALSE(skua::this_task::stop_requested());
      EXPECT_EQ(skua::this_task::stop_reason(), skua::stop_reason::none);
      co_await skua::this_task::checkpoint();
      co_await skua::sleep_for(1ms);
    };
    for (bool const at_once : {true, false}) {
      auto failing = [&] { return at_once ? fails() : fails_after_a_while(); };
      try {
        co_await skua::with_task_group([&](skua::task_group& g) -> task<> {
          g.spawn(failing);
          co_return;
        });
      } catch (layer_error const&) {
        ++caught;
      }
      co_await goes_on();
      try {
        co_await skua::when_all(failing(), never());
      } catch (layer_error const&) {
        ++caught;
      }
      co_await goes_on();
      try {
        co_await skua::timeout(1s, skua::when_all(failing(), skua::shield(skua::sleep_for(2s))));
      } catch (layer_error const&) {
        ++caught;
      }
      co_await goes_on();
      co_await skua::when_any(skua::sleep_for(1ms), never());
      co_await goes_on();
      co_await skua::with_task_group([](skua::task_group& g) -> task<> {
        g.spawn(never);
        g.request_stop();
        co_await skua::sleep_for(1h);
      });
      co_await goes_on();
    }
    EXPECT_EQ(caught, 6);
  };
  rt.block_on(body);
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
// The timer wheel against std::multimap, which keeps equal keys in order of insertion. Random commands; on the wheel that ships, and on tiny
// ones on which a few commands meet every cascade, interrupted ones, and blocks that begin.
//
// RapidCheck prints its seed; to replay a failure: RC_PARAMS="seed=N" or RC_PARAMS="reproduce=..." as it was printed.
#include "scheduler/timer_wheel.hpp"
#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <rapidcheck/gtest.h>
#include <vector>

namespace {

using namespace skua::detail;

struct tiny_shape {
  static constexpr unsigned tick_bits = 2, slot_bits = 2, levels = 3, cascade_limit = 2, scan_limit = 2;
};
struct one_level_shape {
  static constexpr unsigned tick_bits = 0, slot_bits = 3, levels = 1, cascade_limit = 3, scan_limit = 1;
};

struct command {
  enum what { insert_ahead, insert_equal, insert_past, insert_zero, insert_never, remove, advance, advance_few, wake, end } what;
  unsigned magnitude;     // of the distance: 2^magnitude and less
  std::uint64_t random;
};
void showValue(command const& c, std::ostream& out) {
  static char const* const names[] = {"insert_ahead", "insert_equal", "insert_past", "insert_zero", "insert_never",
                                      "remove", "advance", "advance_few", "wake"};
  out << names[c.what] << '(' << c.magnitude << ", " << c.random << ')';
}
rc::Gen<command> any_command() {
  return rc::gen::construct<command>(
      rc::gen::weightedElement<enum command::what>({{8, command::insert_ahead}, {4, command::insert_equal}, {1, command::insert_past},
                                                    {1, command::insert_zero}, {1, command::insert_never}, {4, command::remove},
                                                    {3, command::advance}, {3, command::advance_few}, {3, command::wake}}),
      rc::gen::weightedOneOf<unsigned>({{6, rc::gen::inRange(0u, 12u)}, {2, rc::gen::inRange(0u, 36u)}, {1, rc::gen::inRange(0u, 63u)}}),
      rc::gen::resize(100, rc::gen::arbitrary<std::uint64_t>()));
}

template <class Shape>
struct tester {
  using wheel_type = basic_timer_wheel<real_sync, Shape>;
  struct timer : wheel_type::entry {
    bool late = false;   // its deadline had passed when it was inserted
  };

  wheel_type wheel;
  std::multimap<std::uint64_t, timer*> model;
  std::vector<std::unique_ptr<timer>> storage;
  std::uint64_t now, last_tick = 0, last_deadline = 0;
  std::size_t removed = 0, wakes = 0;

  explicit tester(std::uint64_t start) : wheel(start), now(start) {}
  ~tester() {
    for (auto& [deadline, t] : model)
      if (t->linked()) wheel.remove(*t);
  }

  void insert(std::uint64_t deadline) {
    timer& t = *storage.emplace_back(std::make_unique<timer>());
    t.late = deadline <= now;
    std::uint64_t const before = wheel.earliest();
    bool const earlier = wheel.insert(t, deadline);
    RC_ASSERT(earlier == (deadline < before));
    model.emplace(deadline, &t);
    last_deadline = deadline;
  }
  void fired(timer& t) {
    std::uint64_t const d = t.deadline_ns;
    RC_ASSERT(!t.linked());
    RC_ASSERT(d <= now);                                     // INV-WHEEL-1
    auto const oldest = model.lower_bound(d);
    RC_ASSERT(oldest != model.end() && oldest->second == &t);   // INV-WHEEL-5
    model.erase(oldest);
    if (t.late) return;
    std::uint64_t const tick = d >> Shape::tick_bits;
    RC_ASSERT(tick >= last_tick);
    last_tick = tick;
  }
  timer_progress advance(std::size_t most) {
    std::size_t count = 0;
    bool const looked = now >= wheel.earliest();
    auto const p = wheel.advance(now, most, [&](auto& e) {
      ++count;
      fired(static_cast<timer&>(e));
    });
    RC_ASSERT(count <= most);
    if (p == timer_progress::done) {
      RC_ASSERT(model.empty() || model.begin()->first > now || model.begin()->first == timer_never_ns);
      if (looked && !model.empty() && model.size() <= Shape::scan_limit) RC_ASSERT(wheel.earliest() == model.begin()->first);
      RC_ASSERT(wheel.earliest() > now || now == timer_never_ns);   // INV-WHEEL-4
    } else
      RC_ASSERT(wheel.earliest() == 0u);
    return p;
  }
  void advance_to(std::uint64_t t) {
    now = t;
    while (advance(3) == timer_progress::more) {}
  }
  std::uint64_t ahead(command const& c) const {
    std::uint64_t const d = c.random & ((std::uint64_t{2} << c.magnitude) - 1);
    return now + d < now ? timer_never_ns : now + d;
  }
  void run(command const& c) {
    switch (c.what) {
    case command::insert_ahead: return insert(ahead(c));
    case command::insert_equal: return insert(last_deadline);
    case command::insert_past: return insert(now - (now < c.random % 100 ? now : c.random % 100));
    case command::insert_zero: return insert(0);
    case command::insert_never: return insert(timer_never_ns);
    case command::remove: return remove(c.random);
    case command::advance: return advance_to(ahead(c));
    case command::advance_few: now = ahead(c); advance(c.random % 3); return;
    case command::wake: return wake();
    case command::end: return;
    }
  }
  void remove(std::uint64_t random) {
    if (model.empty()) return;
    auto it = model.begin();
    std::advance(it, random % model.size());
    wheel.remove(*it->second);
    RC_ASSERT(!it->second->linked());
    model.erase(it);
    ++removed;
  }
  // As a driver does: sleeps until earliest(), and looks.
  void wake() {
    if (wheel.earliest() == timer_never_ns) return;
    ++wakes;
    advance_to(std::max(now, wheel.earliest()));
  }
  void check() {
    RC_ASSERT(wheel.empty() == model.empty());
    if (!model.empty()) RC_ASSERT(wheel.earliest() <= model.begin()->first);   // INV-WHEEL-4
  }
  // Whoever wakes at earliest() again and again comes to the end, after few wake-ups.
  void drain() {
    wakes = 0;
    std::size_t const bound = model.size() * (Shape::levels + 2) + removed + 1;
    while (wheel.earliest() != timer_never_ns) {
      wake();
      RC_ASSERT(wakes <= bound);
    }
    RC_ASSERT(model.empty() || model.begin()->first == timer_never_ns);
  }
};

template <class Shape>
void behaves_like_a_multimap(std::uint64_t start) {
  auto const commands = *rc::gen::scale(3.0, rc::gen::container<std::vector<command>>(any_command()));
  tester<Shape> t(start);
  for (command const& c : commands) {
    t.run(c);
    t.check();
  }
  t.drain();
}

RC_GTEST_PROP(TimerWheelProperty, the_shipping_wheel_behaves_like_a_multimap, ()) {
  behaves_like_a_multimap<timer_shape>(
      *rc::gen::element<std::uint64_t>(0, 123'456'789'012'345, (std::uint64_t{1} << 52) - 3000, ~std::uint64_t{0} - 100'000));
}
RC_GTEST_PROP(TimerWheelProperty, a_tiny_wheel_behaves_like_a_multimap, ()) {
  behaves_like_a_multimap<tiny_shape>(*rc::gen::element<std::uint64_t>(0, 250, 1'000'003));
}
RC_GTEST_PROP(TimerWheelProperty, a_wheel_of_one_level_behaves_like_a_multimap, ()) {
  behaves_like_a_multimap<one_level_shape>(*rc::gen::element<std::uint64_t>(0, 7));
}

} // namespace

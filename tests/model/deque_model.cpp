// SPDX-License-Identifier: Apache-2.0
// The deque: an owner works through a script, two thieves steal. The ring starts with two slots, so that scripts wrap and grow it.
// Checked: INV-DEQUE-1 (every item is taken exactly once, by anybody), INV-DEQUE-2 and 3 (what is taken is what was pushed; rings), and that
// the contents of an item have happened before it is taken (races on `contents`).
#include "relacy_sync.hpp"
#include "skua/detail/deque.hpp"

namespace {

using skua::detail::item;
using deque = skua::detail::work_deque<relacy_sync>;

// + push, = push two that were reserved, # the same, visible one by one, - pop, o take the oldest. What is left is popped when everybody has finished.
constexpr char const* scripts[] = {
    "++--",       // the last item: two, then one, against two thieves
    "+-+-",       // an index is used again
    "++-o+",      // a thief must not see the top of `o` with the bottom of before `-`
    "++--+",      // the same with a pop that emptied it
    "++o+--",     // wraps without growth
    "+++-o-",     // grows while thieves read the old ring
    "o+o-++++-",  // empty first; grows, maybe twice
    "=-=-",       // two become visible at once, to thieves that have seen none
    "+=-o-",      // the same with growth before
    "#-#-",
};

struct model : rl::test_suite<model, 3> {
  static constexpr unsigned most = 8;
  mortal<deque> queue;
  mortal<relacy_sync::var<int>> contents[most];
  int taken[most] = {};
  unsigned pushed = 0, script = 0;

  void before() {
    queue.make().init(2);
    script = rl::rand(static_cast<unsigned>(std::size(scripts)));
  }

  item make() {
    contents[pushed].make(static_cast<int>(pushed) + 100);
    return ++pushed;
  }

  bool take(item x) {
    if (x == 0) return false;
    RL_ASSERT(x <= most);
    RL_ASSERT(*contents[x - 1] == static_cast<int>(x) + 99);
    RL_ASSERT(++taken[x - 1] == 1);
    return true;
  }

  void thread(unsigned index) {
    bool lost = false;
    if (index != 0) {
      for (int i = 0; i != 2; ++i) take(queue->steal(lost));
      return;
    }
    for (char const* s = scripts[script]; *s != 0; ++s) {
      if (*s == '+') queue->push(make());
      if (*s == '=' || *s == '#') queue->reserve(2);
      if (*s == '=') queue->push_reserved_each(2, [this](std::size_t) { return make(); });
      if (*s == '#') queue->push_reserved_each<1>(2, [this](std::size_t) { return make(); });
      if (*s == '-') take(queue->pop());
      if (*s == 'o') take(queue->take_oldest());
    }
  }

  void after() {
    while (take(queue->pop())) {}
    RL_ASSERT(queue->looks_empty());
    for (unsigned i = 0; i != pushed; ++i) {
      RL_ASSERT(taken[i] == 1);
      contents[i].destroy();
    }
    queue->release();
    queue.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

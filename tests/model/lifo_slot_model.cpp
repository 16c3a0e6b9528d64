// SPDX-License-Identifier: Apache-2.0
// The LIFO slot: an owner works through a script, two thieves steal. With the barrier, and without (the RMW in its place).
// Checked: INV-LIFO-1 (every item that was put is taken exactly once, by anybody), INV-LIFO-2 (looks_empty() after the owner's operation), and that the
// contents of an item have happened before it is taken (races on `contents`). An item that has been taken may be put again, under the same address.
// runs: random 500000, bound2
#include "relacy_sync.hpp"
#include "skua/detail/lifo_slot.hpp"

namespace {

using skua::detail::item;
using slot = skua::detail::lifo_slot<relacy_sync>;

// + put the next item, - take, = put again what was put first if it has been taken, otherwise the next one.
constexpr char const* scripts[] = {
    "+-",     // removed by take
    "++-",    // removed by put: the new one may be stolen in between
    "+++-",   // .. and that is seen by the put behind it
    "+-+-",   // a thief is turned away, and comes late
    "+=-",    // what was stolen comes back while the claim still holds it
    "+-=-",
    "++=--",
    "++",     // a stolen one is left in the slot
    "+=",
};

struct model : rl::test_suite<model, 3> {
  static constexpr unsigned most = 4;
  mortal<slot> lifo;
  mortal<relacy_sync::var<int>> contents[most];
  mortal<relacy_sync::atomic<int>> idle[most];   // 1: it was taken, and has been run
  int put[most] = {}, taken[most] = {};
  unsigned next = 0, script = 0;

  void before() {
    lifo.make().reset(!one_in(3));
    for (unsigned i = 0; i != most; ++i) {
      idle[i].make();
      contents[i].make();
    }
    script = rl::rand(static_cast<unsigned>(std::size(scripts)));
  }

  static item item_of(unsigned i) { return 16 * (i + 1); }

  void run(item x) {
    if (x == 0) return;
    RL_ASSERT(x % 16 == 0 && x / 16 <= most);
    unsigned const i = static_cast<unsigned>(x / 16 - 1);
    RL_ASSERT(*contents[i] == 100 + static_cast<int>(i));
    *contents[i] = 0;
    ++taken[i];
    RL_ASSERT(taken[i] <= put[i]);
    idle[i]->store(1, std::memory_order_release);
  }

  void owner_puts(unsigned i) {
    idle[i]->store(0, std::memory_order_relaxed);
    *contents[i] = 100 + static_cast<int>(i);
    ++put[i];
    run(lifo->put(item_of(i)));
  }

  void thread(unsigned index) {
    if (index != 0) {
      for (int i = 0; i != 2; ++i)
        if (item const x = lifo->peek()) run(lifo->steal(index, x));
      return;
    }
    for (char const* s = scripts[script]; *s != 0; ++s) {
      if (*s == '+') owner_puts(next++);
      if (*s == '=') owner_puts(idle[0]->load(std::memory_order_acquire) == 1 ? 0 : next++);
      if (*s == '-') {
        run(lifo->take());
        RL_ASSERT(lifo->looks_empty());
      }
    }
  }

  void after() {
    bool const empty = lifo->looks_empty();
    item const x = lifo->take();
    RL_ASSERT(empty == (x == 0));
    run(x);
    for (unsigned i = 0; i != most; ++i) {
      RL_ASSERT(taken[i] == put[i]);
      contents[i].destroy();
      idle[i].destroy();
    }
    lifo.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

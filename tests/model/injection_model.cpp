// SPDX-License-Identifier: Apache-2.0
// The injection queue: two pushers (a batch of two and one more; a single item), a worker that takes its share twice, and one that is about to
// sleep: it announces it and looks. A pusher reads the announcement behind each push.
// Checked: INV-INJECT-1 (exactly once, in order), INV-INJECT-2 (who sleeps has overlooked nothing, unless a pusher knows), INV-INJECT-3 (races on
// link words and contents).
#include "relacy_sync.hpp"
#include "skua/detail/injection_queue.hpp"

namespace {

using skua::detail::item;

struct node {
  relacy_sync::var<item> next{0};
  relacy_sync::var<int> contents{0};
};
mortal<node> nodes[4];   // item i is nodes[i - 1]; 1, 2, 3 are pushed by thread 0 in this order, 4 by thread 1

struct link {
  static relacy_sync::var<item>& next(item x) { return nodes[x - 1]->next; }
};

struct model : rl::test_suite<model, 4> {
  mortal<skua::detail::injection_queue<relacy_sync, link>> queue;
  mortal<relacy_sync::atomic<int>> sleeping;
  int taken[4] = {};
  int took = 0;        // items that threads have taken
  item last = 0;       // of thread 0's items, the one taken last
  bool asleep = false, known = false;

  void before() {
    queue.make();
    sleeping.make(0);
    for (auto& n : nodes) n.make();
  }

  void prepare(item x) { nodes[x - 1]->contents = static_cast<int>(x) + 100; }
  void pushed() {
    if (sleeping->load(std::memory_order_seq_cst) != 0) known = true;
  }

  void take_share(item* out, std::size_t max) {
    skua::detail::injection_share const s = queue->take(out, max, 2);
    RL_ASSERT(s.count <= max);
    RL_ASSERT(!s.busy || s.count == 0);
    for (std::size_t i = 0; i != s.count; ++i) {
      item const x = out[i];
      RL_ASSERT(x >= 1 && x <= 4);
      RL_ASSERT(nodes[x - 1]->contents == static_cast<int>(x) + 100);
      RL_ASSERT(++taken[x - 1] == 1);
      nodes[x - 1]->next = 0;       // the taker's word now
      nodes[x - 1]->contents = 0;
      if (x != 4) {
        RL_ASSERT(x == last + 1);   // takes are one after the other here: only one thread takes while others run
        last = x;
      }
      ++took;
    }
  }

  void thread(unsigned index) {
    item out[4];
    if (index == 0) {
      for (item x = 1; x != 4; ++x) prepare(x);
      item const batch[] = {1, 2};
      queue->push(batch, 2);
      pushed();
      queue->push(3);
      pushed();
    } else if (index == 1) {
      prepare(4);
      queue->push(4);
      pushed();
    } else if (index == 2) {
      take_share(out, 4);
      take_share(out, 1);
    } else {
      sleeping->store(1, std::memory_order_seq_cst);
      asleep = queue->looks_empty();
    }
  }

  void after() {
    if (asleep && !known) RL_ASSERT(took == 4);
    item out[4];
    while (!queue->looks_empty()) take_share(out, 4);
    for (int n : taken) RL_ASSERT(n == 1);
    RL_ASSERT(last == 3);
    for (auto& n : nodes) n.destroy();
    sleeping.destroy();
    queue.destroy();
  }
};

// The same with two workers that take at the same time, and no sleeper: the lock, `busy`, and the hand-over of the stock.
struct takers : rl::test_suite<takers, 3> {
  mortal<skua::detail::injection_queue<relacy_sync, link>> queue;
  int taken[4] = {};

  void before() {
    queue.make();
    for (auto& n : nodes) n.make();
  }
  std::size_t take_share(std::size_t max) {
    item out[4];
    std::size_t const n = queue->take(out, max, 2).count;
    for (std::size_t i = 0; i != n; ++i) {
      RL_ASSERT(nodes[out[i] - 1]->contents == 7);
      RL_ASSERT(++taken[out[i] - 1] == 1);
      nodes[out[i] - 1]->next = 0;
    }
    return n;
  }
  void thread(unsigned index) {
    if (index == 0) {
      item const batch[] = {1, 2, 3};
      for (auto& n : nodes) n->contents = 7;
      queue->push(batch, 3);
      queue->push(4);
    } else {
      take_share(4);
      take_share(4);
    }
  }
  void after() {
    while (take_share(1) != 0) {}
    for (int n : taken) RL_ASSERT(n == 1);
    RL_ASSERT(queue->looks_empty());
    for (auto& n : nodes) n.destroy();
    queue.destroy();
  }
};

} // namespace

int main(int argc, char** argv) {
  int const first = simulate<model>(argc, argv);
  return first != 0 ? first : simulate<takers>(argc, argv);
}

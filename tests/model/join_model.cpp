// SPDX-License-Identifier: Apache-2.0
// A token join of three branches: the home worker, a thief, and a worker that resumes what has suspended. Branch 0 starts at home; 1 and 2 lie in
// the home worker's deque (words that are taken once). Any branch may suspend, with the token or away, and goes on on whichever worker finds it
// first, the home worker among them. Whoever goes on with the parent destroys the join.
// Checked: INV-JOIN-1 (`left` is touched by the token's holder only: a race otherwise), INV-JOIN-2 (the parent goes on exactly once, when all
// branches have ended, with all results visible, and nobody touches the join afterwards).
// runs: random 1000000, bound3
#include "relacy_sync.hpp"
#include "skua/detail/token_join.hpp"

namespace {

struct join_t : skua::detail::token_count<relacy_sync> {
  relacy_sync::var<int> slot[3];
};

struct model : rl::test_suite<model, 3> {
  static constexpr int branches = 3, nothing = -1;
  static constexpr unsigned home_worker = 0;
  mortal<join_t> join;
  relacy_sync::atomic<int> deque[branches]{0, 0, 0};     // 1: the branch is there
  relacy_sync::atomic<int> parked[branches]{0, 0, 0};    // 1: it has suspended, and is ready to go on
  relacy_sync::var<bool> home[branches];                 // its `up` says so
  bool suspends[branches] = {};
  int ended = 0, gone_on = 0;

  void before() {
    join.make();
    for (bool& s : suspends) s = rl::rand(2);
    for (int i = 0; i != branches; ++i) {
      deque[i].store(0, std::memory_order_relaxed);
      parked[i].store(0, std::memory_order_relaxed);
      home[i] = true;
    }
  }

  static bool take(relacy_sync::atomic<int>& word) {
    int expected = 1;
    return word.compare_exchange_strong(expected, 0, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  int pop() {
    for (int i = 1; i != branches; ++i)
      if (take(deque[i])) return i;
    return nothing;
  }

  void run(int i, unsigned worker) {
    if (suspends[i]) return parked[i].store(1, std::memory_order_release);
    end(i, worker);
  }
  void end(int i, unsigned worker) {   // as finish() and surrender()
    join->slot[i] = i + 1;
    ++ended;
    if (!home[i]) {
      if (join->end_away()) resume_parent();
      return;
    }
    if (join->end_home()) return resume_parent();
    if (worker == home_worker)
      if (int const sibling = pop(); sibling != nothing) return run(sibling, worker);   // still home: it has the token now
    if (join->surrender()) resume_parent();
  }
  bool work(unsigned worker) {   // the worker loop, or a thief
    for (int i = 0; i != branches; ++i)
      if (take(parked[i])) return end(i, worker), true;
    int const i = pop();
    if (i == nothing) return false;
    home[i] = false;
    run(i, worker);
    return true;
  }

  void resume_parent() {
    RL_ASSERT(++gone_on == 1);
    for (int i = 0; i != branches; ++i) {
      RL_ASSERT(join->slot[i] == i + 1);
      join->slot[i] = 0;
    }
    join->left = 0;
    join.destroy();
  }

  void thread(unsigned worker) {
    if (worker == home_worker) {
      join->start(branches);
      for (int i = branches; --i != 0;) deque[i].store(1, std::memory_order_release);
      run(0, worker);
      while (work(worker)) {}
      return;
    }
    work(worker);
    work(worker);
  }

  void after() {   // what nobody has found
    while (work(1)) {}
    RL_ASSERT(ended == branches && gone_on == 1);
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

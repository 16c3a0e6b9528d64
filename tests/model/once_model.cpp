// SPDX-License-Identifier: Apache-2.0
// runs: random 300000, bound2
// Three tasks want a thing to be done once; the first attempt may fail; a stop is requested of the first task. Whoever is the last to leave destroys the once,
// while the runner may still be on its way out; one task looks at `done` without the lock.
// Checked: INV-ONCE-1 (one runner at a time, one success), INV-ONCE-2 (what the runner made is seen; nobody touches the once after its death); nobody is left
// waiting.
#include "relacy_sync.hpp"
#include "skua/detail/once_core.hpp"
#include "skua/detail/stop_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;
using once_core = skua::detail::once_core<relacy_sync, core::operation>;
using waiter = once_core::waiter;

struct frame_t : waiter {
  relacy_sync::var<int> runner{0};   // written by the one who hands over
};

struct model : rl::test_suite<model, 4> {
  static constexpr int tasks = 3;
  mortal<once_core> once;
  mortal<frame_t> frame[tasks];
  mortal<core::record> home[tasks];
  relacy_sync::atomic<int> inside{tasks};
  relacy_sync::var<int> made{0};
  bool first_fails = false;
  int attempts = 0, ended[tasks] = {}, unwound[tasks] = {}, failed = 0, succeeded = 0;

  void before() {
    once.make();
    for (int i = 0; i < tasks; ++i) {
      frame[i].make();
      home[i].make();
    }
    inside.store(tasks, std::memory_order_relaxed);
    made = 0;
    first_fails = rl::rand(2) == 0;
  }

  int index_of(core::operation& o) {
    int i = 0;
    while (&o != static_cast<core::operation*>(&frame[i].get())) ++i;
    return i;
  }
  void leave(int i) {
    frame[i]->runner = 0;   // a race with whoever still looks
    frame[i]->home = nullptr;
    frame[i]->before = nullptr;
    frame[i]->behind = nullptr;
    frame[i].destroy();
    if (inside.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    RL_ASSERT(!once->is_running());
    once.destroy();
  }
  void see(int i) {
    RL_ASSERT(made == 1);
    RL_ASSERT(++ended[i] + unwound[i] == 1);
    leave(i);
  }
  void unwind(int i) {
    RL_ASSERT(ended[i] + ++unwound[i] == 1);
    leave(i);
  }
  void fail(int i) {
    waiter* const next = once->fail();
    if (next == nullptr) return;
    int const n = index_of(*next);
    RL_ASSERT(n != i);
    frame[n]->runner = 1;
    if (core::complete(*next)) go_on(n);
  }
  void run(int i) {
    RL_ASSERT(made == 0);
    if (home[i]->stop_requested()) {   // at a suspension point of what it does
      fail(i);
      return unwind(i);
    }
    if (first_fails && ++attempts == 1) {
      made = 2;
      made = 0;
      ++failed;
      fail(i);
      RL_ASSERT(++ended[i] + unwound[i] == 1);
      return leave(i);
    }
    made = 1;
    RL_ASSERT(++succeeded == 1);
    once_core::ring all = once->finish();
    bool const first = rl::rand(2) == 0;
    if (first) see(i);
    while (waiter* const w = all.pop_front()) {
      int const n = index_of(*w);
      if (core::complete(*w)) go_on(n);
    }
    if (!first) see(i);
  }
  void go_on(int i) { frame[i]->runner ? run(i) : see(i); }

  bool withdraw(int i) { return once->withdraw(frame[i].get()); }
  void call(int i) {
    frame[i]->home = &home[i].get();
    if (home[i]->stop_requested()) return unwind(i);
    if (i == 2 && once->is_done()) return see(i);
    switch (once->enter(frame[i].get())) {
    case once_core::entered::done: return see(i);
    case once_core::entered::runner: return run(i);
    case once_core::entered::queued: break;
    }
    switch (core::arm(frame[i].get())) {
    case core::armed::suspended: return;
    case core::armed::completed: return go_on(i);
    case core::armed::stopped:
      if (withdraw(i)) return unwind(i);
      if (core::give_way_arming(frame[i].get()) == core::armed::completed) go_on(i);
    }
  }

  struct sink {
    model& m;
    void stopping(core::operation& o) {   // the requester's thread plays the worker as well
      int const i = m.index_of(o);
      switch (core::dispatch_stopping(o, [&] { return m.withdraw(i); })) {
      case core::armed::completed: return m.go_on(i);
      case core::armed::stopped: return m.unwind(i);
      case core::armed::suspended: return;
      }
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record&) { RL_ASSERT(false); }
  };

  void thread(unsigned t) {
    if (t < tasks) return call(static_cast<int>(t));
    sink s{*this};
    core::request(home[0].get(), s);
  }

  void after() {
    for (int i = 0; i < tasks; ++i) RL_ASSERT(ended[i] + unwound[i] == 1);   // nobody is left behind
    RL_ASSERT(succeeded == 1);
    RL_ASSERT(inside.load(std::memory_order_relaxed) == 0);
    for (auto& h : home) h.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

// SPDX-License-Identifier: Apache-2.0
// Who waits for room in a task group of one place, which a task has: three who wait, each of whom spawns a task when he comes, or does not. The errand that
// passes the place on runs before or after that. One of them may be stopped while he waits, and a stop of the group may come. The body arrives when all three
// are through.
// Checked: INV-GROUP-6 (no wake-up is lost: all three go on, or are stopped), that no more are woken at a time than there are places, INV-GROUP-4, that the
// errand is queued once at a time, and INV-GROUP-1 with it (the group dies as soon as it has ended).
// runs: random 300000, bound1
#include "relacy_sync.hpp"
#include "skua/detail/group_core.hpp"

namespace {

using group_core = skua::detail::group_core<relacy_sync>;

struct waiter_t : group_core::sleeper {
  bool spawns = false, through = false;
};

struct model : rl::test_suite<model, 4> {
  mortal<group_core> group;
  group_core::member first, child[3];
  waiter_t waiter[3];
  relacy_sync::atomic<int> through{0};
  bool passes_early = false, stops_group = false;
  int stopped_one = -1, gone_on = 0, coming = 0, queued = 0, started = 0;

  void before() {
    group.make().open(1);
    through.store(0, std::memory_order_relaxed);
    RL_ASSERT(group->join(first) == group_core::joined::start);
    for (auto& w : waiter) w.spawns = rl::rand(2);
    passes_early = rl::rand(2);
    stopped_one = static_cast<int>(rl::rand(4)) - 1;
    stops_group = one_in(4);
  }

  void end_task(group_core::member& m) {
    group->forget(m);
    fulfil(group->leave());
  }
  void fulfil(group_core::duties const& d) {
    if (d.last) return go_on();
    if (d.start != nullptr) end_task(*static_cast<group_core::member*>(d.start));
    for (group_core::sleeper* s = d.wake; s != nullptr; s = s->behind) RL_ASSERT(++coming <= 1 || stops_group);
    for (group_core::sleeper* s = d.wake; s != nullptr;) {
      auto& w = static_cast<waiter_t&>(*s);
      s = s->behind;
      comes(w);
    }
  }
  void go_on() {
    RL_ASSERT(++gone_on == 1 && queued == 0);
    group.destroy();
  }

  void comes(waiter_t& w) {
    --coming;
    bool const errand = group->came();
    if (errand) RL_ASSERT(++queued == 1);
    if (errand && passes_early) pass();
    if (w.spawns) {
      group_core::member& m = child[&w - waiter];
      if (group->join(m) == group_core::joined::start) end_task(m);
    }
    if (errand && !passes_early) {
      is_through(w);
      return pass();
    }
    is_through(w);
  }
  void pass() {
    --queued;
    fulfil(group->pass());
  }
  void is_through(waiter_t& w) {
    RL_ASSERT(!w.through);
    w.through = true;
    if (through.fetch_add(1, std::memory_order_acq_rel) == 2 && group->arrive()) go_on();
  }

  void thread(unsigned index) {
    if (index != 3) {
      waiter_t& w = waiter[index];
      if (group->sleep(w, true)) return;
      if (w.spawns) {
        group_core::member& m = child[index];
        if (group->join(m) == group_core::joined::start) end_task(m);
      }
      return is_through(w);
    }
    if (stopped_one >= 0 && group->withdraw(waiter[stopped_one])) is_through(waiter[stopped_one]);
    if (stops_group && group->begin_stop(false) == group_core::stopped::tell) {   // as a party: `first` has not left
      while (group->tell(2, [](group_core::member&) {})) {}
      for (;;) {
        group_core::duties const d = group->after_stop();
        if (d.start == nullptr && d.wake == nullptr) break;
        fulfil(d);
      }
    }
    end_task(first);
  }

  void after() {
    for (auto& w : waiter) RL_ASSERT(w.through);
    RL_ASSERT(gone_on == 1);
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

// SPDX-License-Identifier: Apache-2.0
// A task group: its body, a task that spawns another one, a completer, and a stop from outside, with the scope's and the operations' own protocols around it.
//     task word T -> join of the group -> { body }        parties: body, task 0 (there from the start), task 1 (spawned by 0), an errand
// The body comes to a value, fails, suspends, or waits for the tasks to end; task 0 ends, fails, requests stop of the group, or suspends; task 1 suspends, for
// ever if a stop is sure to come. The limit is 1 or 2: with 1, task 1 waits for task 0 to leave. Join, records and tasks die as soon as they may.
// Or somebody who is no party requests stop of the group, whom task 0 waits for: the request may end that wait, and with it the group.
// Checked: INV-GROUP-1 (exactly one goes on, nobody touches the join afterwards, and only when everybody has left), INV-GROUP-2 and 3 (every task is told
// once, or left before, or was refused; none that has left is told), INV-GROUP-4 (a sleeper goes on once), INV-GROUP-5, INV-STOP-5 (the walker that
// tells the group), and that the task sees its stop.
// runs: random 1000000, bound1
#include "relacy_sync.hpp"
#include "skua/detail/group_core.hpp"
#include "skua/detail/stop_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;
using group_core = skua::detail::group_core<relacy_sync>;

struct join_t : core::scope {
  group_core group;
  relacy_sync::var<int> failures{0};
  relacy_sync::var<bool> from_outside{false}, body_lost{false};
};
// Something that runs: the body or a task.
struct frame_t : core::operation, group_core::sleeper {
  relacy_sync::var<int> local{0};
};
struct child_t : core::branch_word, group_core::member {
  relacy_sync::var<int> index{0};
};
enum behaviour { ends, fails, suspends, asks, waits_for_all, waits_for_room };   // asks: request_stop()

struct model : rl::test_suite<model, 4> {
  static constexpr std::uintptr_t closed = 1;
  mortal<core::branch_word> task;
  mortal<join_t> join;
  mortal<core::record> record;
  mortal<child_t> child[2];
  mortal<frame_t> frame[3];   // of task 0, task 1, and the body
  mortal<core::operation> task_op;
  relacy_sync::atomic<std::uintptr_t> source[3];
  relacy_sync::atomic<std::uintptr_t> handed[3];   // operations that a stop has taken
  behaviour what[3] = {};
  bool request_comes = true;
  bool outsider = false;   // in place of the request: no party asks
  bool one_in_a_turn = false;   // whoever tells is cut off after one task
  bool hangs = false;   // nobody completes task 1: only a stop ends it
  core::word errand_bits = 0;
  bool ended[3] = {}, told[2] = {}, refused = false;
  int gone_on = 0, task_unwound = 0, errands = 0;

  // ---- what a thread leaves to the workers; it plays them itself when it is through, or (the outsider) leaves it to another thread

  struct sink {
    model& m;
    core::operation* waiting[4] = {};
    int count = 0;
    bool errand = false, parent_goes_on = false, hands_over = false;
    void stopping(core::operation& o) { waiting[count++] = &o; }
    void ended(core::scope& s) {   // a walker was inside
      static_cast<join_t&>(s).from_outside = true;
      parent_goes_on = true;
    }
    void more(core::record&) { RL_ASSERT(false); }
    void walked(core::record&) { RL_ASSERT(false); }
    void arrived(core::scope&) { RL_ASSERT(false); }
    void claimed(core::scope& s) {
      auto& j = static_cast<join_t&>(s);
      if (j.group.begin_stop(true) != group_core::stopped::tell) return;
      RL_ASSERT(++m.errands == 1);
      errand = true;
    }
    ~sink() {
      if (parent_goes_on) m.go_on();
      for (int i = 0; i < count; ++i)
        if (hands_over)
          m.handed[m.index_of(*waiting[i])].store(core::of(*waiting[i]), std::memory_order_release);
        else
          m.dispatch(*waiting[i]);
      if (errand) m.run_errand();
    }
  };
  struct tree {
    model& m;
    struct place {
      core::branch_word* word;
      core::scope* outer;
    };
    place above(core::scope&) { return {&m.task.get(), nullptr}; }
  };

  void before() {
    task.make();
    join.make();
    join->head.store(core::head_special, std::memory_order_relaxed);
    for (int i = 0; i < 3; ++i) {
      source[i].store(0, std::memory_order_relaxed);
      handed[i].store(0, std::memory_order_relaxed);
    }
    join->group.open(1 + rl::rand(2));
    {
      tree t{*this};
      sink k{*this};
      core::enter(join.get(), record.make(), t, k);
    }
    child[0].make().index = 0;
    RL_ASSERT(join->group.join(child[0].get()) == group_core::joined::start);
    what[0] = static_cast<behaviour>(rl::rand(4));
    what[1] = suspends;
    what[2] = static_cast<behaviour>(rl::rand(5));
    if (what[2] >= asks) what[2] = static_cast<behaviour>(what[2] + 1);
    request_comes = !one_in(3);
    one_in_a_turn = rl::rand(2);
    outsider = !request_comes && rl::rand(2);
    if (outsider) {
      what[0] = suspends;
      if (what[2] == fails) what[2] = suspends;
    }
    hangs = (request_comes || outsider || what[0] == fails || what[0] == asks || what[2] == fails) && rl::rand(2);
  }

  core::branch_word& home(int i) { return i == 2 ? static_cast<core::branch_word&>(record.get()) : child[i].get(); }

  // ---- everything that runs

  void run(int i) {
    if (i == 0) spawn_the_other();
    switch (what[i]) {
    case ends: return end(i, false, false);
    case fails: return end(i, true, false);
    case asks:
      request_stop();
      return end(i, false, false);
    case suspends:
    case waits_for_all:
    case waits_for_room: break;
    }
    frame_t& f = frame[i].make();
    f.local = 8;
    f.home = &home(i);
    if (home(i).stop_requested()) return unwind(i);
    bool published;
    if (what[i] == suspends) {
      std::uintptr_t none = 0;
      published = source[i].compare_exchange_strong(none, core::of(static_cast<core::operation&>(f)), std::memory_order_acq_rel, std::memory_order_acquire);
    } else {
      published = join->group.sleep(f, what[i] == waits_for_room);
    }
    if (!published) return resume(i);
    core::operation& o = f;
    switch (core::arm(o)) {
    case core::armed::suspended: return;
    case core::armed::completed: return resume(i);
    case core::armed::stopped:
      if (withdraw(i)) return unwind(i);
      if (core::give_way_arming(o) == core::armed::completed) resume(i);
    }
  }
  void spawn_the_other() {
    child_t& c = child[1].make();
    c.index = 1;
    bool const stopping = join->group.stopping() != 0;
    auto const how = join->group.join(c);
    RL_ASSERT(!stopping || how == group_core::joined::refused);
    switch (how) {
    case group_core::joined::start: return run(1);
    case group_core::joined::wait: return;
    case group_core::joined::refused:
      refused = true;
      ended[1] = true;
      child[1].destroy();
      return;
    }
  }
  bool withdraw(int i) {
    if (what[i] != suspends) return join->group.withdraw(frame[i].get());
    std::uintptr_t expected = core::of(static_cast<core::operation&>(frame[i].get()));
    return source[i].compare_exchange_strong(expected, closed, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  void bury(int i) {
    RL_ASSERT(frame[i]->local == 8);
    frame[i]->local = 0;
    frame[i]->home = nullptr;
    frame[i].destroy();
  }
  void resume(int i) {
    bury(i);
    end(i, false, false);
  }
  void unwind(int i) {
    bury(i);
    end(i, false, true);
  }
  int index_of(core::operation& o) {
    int i = 0;
    while (&o != static_cast<core::operation*>(&frame[i].get())) RL_ASSERT(++i < 3);
    return i;
  }
  void dispatch_handed() {
    for (auto& h : handed)
      if (std::uintptr_t const o = h.exchange(0, std::memory_order_acquire)) dispatch(*reinterpret_cast<core::operation*>(o));
  }
  void dispatch(core::operation& o) {
    if (&o == &task_op.get()) {
      RL_ASSERT(core::dispatch_stopping(o, [] { return true; }) == core::armed::stopped);
      task_op.destroy();
      return unwind_task();
    }
    int const i = index_of(o);
    switch (core::dispatch_stopping(o, [&] { return withdraw(i); })) {
    case core::armed::completed: return resume(i);
    case core::armed::stopped: return unwind(i);
    case core::armed::suspended: return;
    }
  }

  // ---- ends: as group_state::leave() and body_arrived()

  void end(int i, bool failed, bool stopped) {
    RL_ASSERT(!ended[i]);
    if (i != 2) {
      if (failed) {
        join->failures = join->failures + 1;
        stop(0);
      }
      join->group.forget(child[i].get());
      ended[i] = true;
      child[i]->index = -1;
      child[i].destroy();
      group_core::duties const d = join->group.leave();
      if (d.last) return leave_parent();
      return fulfil(d);
    }
    ended[2] = true;
    if (failed || stopped) {
      {
        sink k{*this};
        core::request(join.get(), k, failed ? core::head_failed : 0);
      }
      join->body_lost = stopped;
      stop(0);
    }
    if (join->group.arrive()) leave_parent();
  }
  void fulfil(group_core::duties const& d) {
    if (d.start != nullptr) run(static_cast<child_t*>(d.start)->index);
    for (group_core::sleeper* s = d.wake; s != nullptr;) {
      auto& f = static_cast<frame_t&>(*s);
      s = s->behind;
      RL_ASSERT(&f == &frame[2].get());
      if (core::complete(f)) resume(2);
    }
  }
  void leave_parent() {
    RL_ASSERT(core::walk_is_over(join.get()));   // the body has one record: its walk is not cut off
    core::ended const e = core::detach(&task.get(), join.get());
    if (e == core::ended::walker_goes_on) return;
    join->from_outside = e == core::ended::go_on_stopped;
    go_on();
  }

  // ---- stop: as group_state::request_stop(), stop(), tell(), run_errand()

  void request_stop() {   // on a worker, by anybody
    if (join->group.begin_stop(true) == group_core::stopped::nothing) return;
    RL_ASSERT(++errands == 1);
    errand_bits = core::head_won;
    run_errand(outsider);
  }

  void stop(core::word bits) {   // a party
    if (join->group.begin_stop(false) == group_core::stopped::nothing) return;
    {
      sink k{*this};
      core::request(join.get(), k, bits);
    }
    if (tell(false)) return;
    join->group.add_errand();
    RL_ASSERT(++errands == 1);
    sink k{*this};
    k.errand = true;
  }
  bool tell(bool hands_over) {
    for (bool more = true; more;) {
      sink k{*this};
      k.hands_over = hands_over;
      more = join->group.tell(1, [&](group_core::member& m) {
        auto& c = static_cast<child_t&>(m);
        int const i = c.index;
        RL_ASSERT(i >= 0 && !ended[i] && !told[i]);
        told[i] = true;
        core::request(c, k);
      });
      if (more && one_in_a_turn) return false;
    }
    for (;;) {
      group_core::duties const d = join->group.after_stop();
      if (d.start == nullptr && d.wake == nullptr) return true;
      fulfil(d);
    }
  }
  void run_errand(bool hands_over = false) {
    {
      sink k{*this};
      k.hands_over = hands_over;
      core::request(join.get(), k, errand_bits);
    }
    if (!tell(hands_over)) {   // still a party
      sink k{*this};
      k.errand = true;
      return;
    }
    if (join->group.arrive()) leave_parent();
  }

  // ---- the parent

  void go_on() {
    RL_ASSERT(++gone_on == 1);
    RL_ASSERT(ended[0] && ended[1] && ended[2]);
    join_t& j = join.get();
    if (j.from_outside) RL_ASSERT(task->word_.load(std::memory_order_relaxed) & core::stop);
    RL_ASSERT(j.failures == (what[0] == fails ? 1 : 0));
    RL_ASSERT(j.group.live() == 0);
    bool const unwinds = j.from_outside && j.body_lost && j.failures == 0;
    record->next = nullptr;   // writes to every field: a race with whoever is not through with it
    record->above = nullptr;
    record.destroy();
    j.failures = 0;
    join.destroy();
    if (unwinds) return unwind_task();
    core::operation& o = task_op.make();   // the task goes on, and is to see its stop
    o.home = &task.get();
    if (task->stop_requested() || core::arm(o) != core::armed::suspended) {
      task_op.destroy();
      unwind_task();
    }
  }
  void unwind_task() { RL_ASSERT(++task_unwound == 1); }

  void thread(unsigned index) {
    if (index == 0) run(2);
    if (index == 1) run(0);
    if (index == 2 && request_comes) {
      sink k{*this};
      core::request(task.get(), k);
    }
    if (index == 2 && outsider) {
      request_stop();
      come(0);
    }
    if (index == 3)
      for (int i = 0; i < 3; ++i)
        if (!(i == 1 && hangs) && !(i == 0 && outsider)) come(i);
    if (index == 3) dispatch_handed();
  }
  void come(int i) {   // what i waits for
    std::uintptr_t const was = source[i].exchange(closed, std::memory_order_acq_rel);
    if (was > closed && core::complete(*reinterpret_cast<core::operation*>(was))) resume(i);
  }

  void after() {
    dispatch_handed();
    RL_ASSERT(ended[0] && ended[1] && ended[2]);
    RL_ASSERT(gone_on == 1);
    RL_ASSERT(task_unwound == (request_comes ? 1 : 0));
    if ((task->word_.load(std::memory_order_relaxed) & ~core::word_bits) != 0) task_op.destroy();
    RL_ASSERT((task->word_.load(std::memory_order_relaxed) & (core::done | core::held | core::inner)) == 0);
    task.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

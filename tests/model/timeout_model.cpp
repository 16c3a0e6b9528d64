// SPDX-License-Identifier: Apache-2.0
// A timeout: its branch, its timer, a completion of what the branch waits for, and a stop from outside.
//     task word T -> join of the timeout, with the timer as a counted party -> { B }
// B comes to a value, fails, or suspends; then it is completed, or stopped by the timer or from outside. The timer queue and the operation's
// source are words. The join, with everything in it, dies as soon as its parent may go on.
// Checked: INV-TIMEOUT-1 (exactly one goes on; nobody touches the join afterwards), INV-STOP-5 (the timer as a party), S10 (a value or an
// error that is there wins; a stop from outside dominates; timeout_error only if this timer fired), S4, and that the task sees a later stop.
// runs: random 1000000, bound2
#include "relacy_sync.hpp"
#include "skua/detail/timeout_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;
using skua::detail::timeout_outcome;

struct join_t : core::scope {
  skua::detail::timeout_parties<relacy_sync> parties;
  relacy_sync::var<int> slot{0};   // the branch's result
  relacy_sync::var<bool> from_outside{false};
};
enum outcome { none, value, failed, stopped };
enum behaviour { ends_at_once, fails_at_once, suspends, fails_when_resumed };

struct model : rl::test_suite<model, 4> {
  static constexpr int armed = 0, disarmed = 1, taken = 2;
  mortal<core::branch_word> task;
  mortal<core::operation> op, task_op;
  mortal<core::record> record;
  mortal<join_t> join;
  relacy_sync::atomic<int> timer{armed};
  relacy_sync::atomic<std::uintptr_t> source{0};   // of the branch's operation
  behaviour what = ends_at_once;
  bool timer_comes = true, requests_come = true, requester_is_the_worker = false, cut_off = false;
  int ended = 0, gone_on = 0, fired = 0, task_unwound = 0, branch_result = none;
  timeout_outcome decided{};

  struct sink {
    model& m;
    core::operation* waiting = nullptr;
    core::scope* scope = nullptr;
    void stopping(core::operation& o) {
      if (m.requester_is_the_worker) return m.dispatch(o);
      RL_ASSERT(waiting == nullptr);
      waiting = &o;
    }
    void ended(core::scope& s) {   // a walker was inside
      auto& j = static_cast<join_t&>(s);
      j.from_outside = true;
      go_on(j);
    }
    void go_on(core::scope& s) {
      if (m.requester_is_the_worker) return m.go_on();
      RL_ASSERT(scope == nullptr);
      scope = &s;
    }
    // The timer's walk has been cut off before it began: a worker goes on with it, also when the timer and the branch have arrived.
    core::record* rest = nullptr;
    void more(core::record& at) {
      RL_ASSERT(rest == nullptr);
      rest = &at;
    }
    void walked(core::record&) { core::end_walk(m.join.get(), &m.task.get(), *this); }
    void arrived(core::scope& s) {
      core::ended const e = core::detach(&m.task.get(), s);
      if (e == core::ended::walker_goes_on) return;
      static_cast<join_t&>(s).from_outside = e == core::ended::go_on_stopped;
      go_on(s);
    }
    ~sink() {   // the workers
      if (rest != nullptr) core::resume_walk(*rest, *this);
      if (scope != nullptr) m.go_on();
      if (waiting != nullptr) m.dispatch(*waiting);
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
    timer.store(armed, std::memory_order_relaxed);
    source.store(0, std::memory_order_relaxed);
    what = static_cast<behaviour>(rl::rand(4));
    timer_comes = !one_in(4);
    requests_come = !timer_comes || !one_in(4);
    requester_is_the_worker = rl::rand(2);
    cut_off = rl::rand(2);
  }

  // ---- the branch

  void run_branch() {
    if (what == ends_at_once) return end(value);
    if (what == fails_at_once) return lose(failed);
    core::record& r = record.make();
    {
      tree t{*this};
      sink k{*this};
      core::enter(join.get(), r, t, k);
    }
    core::operation& o = op.make();
    o.home = &r;
    if (r.stop_requested()) return unwind();
    source.store(core::of(o), std::memory_order_release);
    switch (core::arm(o)) {
    case core::armed::suspended: return;
    case core::armed::completed: return resume();
    case core::armed::stopped:
      if (withdraw()) return unwind();
      if (core::give_way_arming(o) == core::armed::completed) resume();
    }
  }
  bool withdraw() {
    std::uintptr_t expected = core::of(op.get());
    return source.compare_exchange_strong(expected, 0, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  void bury_operation() {
    op->home = nullptr;
    op.destroy();
  }
  void resume() {
    bury_operation();
    if (what == fails_when_resumed) return lose(failed);
    end(value);
  }
  void unwind() {
    bury_operation();
    lose(stopped);
  }
  void lose(outcome how) {
    {
      sink k{*this};
      core::request(join.get(), k, how == failed ? core::head_failed : 0);
    }
    end(how);
  }
  // As resume_parent_slow().
  void end(outcome how) {
    RL_ASSERT(++ended == 1);
    join->slot = how;
    int expected = armed;
    bool const alone = timer.compare_exchange_strong(expected, disarmed, std::memory_order_acq_rel, std::memory_order_relaxed);
    if (!alone && !join->parties.arrive()) return;
    if (!core::walk_is_over(join.get())) return;
    core::ended const e = core::detach(&task.get(), join.get());
    if (e == core::ended::walker_goes_on) return;
    join->from_outside = e == core::ended::go_on_stopped;
    go_on();
  }

  // ---- the timer, as timeout_fired()

  void fire() {
    int expected = armed;
    if (!timer.compare_exchange_strong(expected, taken, std::memory_order_acq_rel, std::memory_order_relaxed)) return;
    fired = 1;
    sink k{*this};
    (void)core::request(join.get(), k, core::head_won, cut_off ? 0 : ~0u);
    if (join->parties.arrive() && core::walk_is_over(join.get())) k.arrived(join.get());
  }

  void complete() {
    std::uintptr_t const was = source.exchange(0, std::memory_order_acq_rel);
    if (was == 0) return;
    auto& o = *reinterpret_cast<core::operation*>(was);
    if (core::complete(o)) resume();
  }

  void dispatch(core::operation& o) {
    bool const of_task = &o == &task_op.get();
    switch (core::dispatch_stopping(o, [&] { return of_task || withdraw(); })) {
    case core::armed::completed: return resume();
    case core::armed::stopped:
      if (!of_task) return unwind();
      task_op.destroy();
      return unwind_task();
    case core::armed::suspended: return;
    }
  }

  // ---- the parent

  void go_on() {
    RL_ASSERT(++gone_on == 1);
    join_t& j = join.get();
    int const result = j.slot;
    bool const from_outside = j.from_outside;
    RL_ASSERT(result != none);
    std::uintptr_t const h = j.head.load(std::memory_order_relaxed);
    RL_ASSERT(((h & core::head_failed) != 0) == (result == failed));
    RL_ASSERT(((h & core::head_won) != 0) == (fired != 0));
    if (from_outside) RL_ASSERT(task->word_.load(std::memory_order_relaxed) & core::stop);
    decided = skua::detail::decide_timeout<core>(h, result != value, from_outside);
    branch_result = result;
    if (result == stopped) RL_ASSERT(decided == (from_outside ? timeout_outcome::stopped : timeout_outcome::timed_out));
    if (result != stopped) RL_ASSERT(decided == timeout_outcome::result);
    if (core::record* r = core::list(h)) {   // writes to every field: a race with whoever is not through with it
      RL_ASSERT(r == &record.get() && r->next == nullptr);
      r->next = nullptr;
      r->above = nullptr;
      record.destroy();
    }
    j.slot = none;
    join.destroy();
    if (decided == timeout_outcome::stopped) return unwind_task();
    core::operation& o = task_op.make();   // the task goes on, and is to see its stop
    o.home = &task.get();
    if (task->stop_requested() || core::arm(o) != core::armed::suspended) {
      task_op.destroy();
      unwind_task();
    }
  }
  void unwind_task() { RL_ASSERT(++task_unwound == 1); }

  void thread(unsigned index) {
    if (index == 0) run_branch();
    if (index == 1 && timer_comes) fire();
    if (index == 2 && requests_come) {
      sink k{*this};
      core::request(task.get(), k);
    }
    if (index == 3) complete();
  }

  void after() {
    RL_ASSERT(ended == 1 && gone_on == 1);
    RL_ASSERT(task_unwound == (requests_come ? 1 : 0));
    if (branch_result == stopped && !requests_come) RL_ASSERT(decided == timeout_outcome::timed_out);
    if (branch_result == stopped && !fired) RL_ASSERT(decided == timeout_outcome::stopped);
    if (task_op_is_armed()) task_op.destroy();
    RL_ASSERT((task->word_.load(std::memory_order_relaxed) & (core::done | core::held | core::inner)) == 0);
    task.destroy();
  }
  bool task_op_is_armed() { return (task->word_.load(std::memory_order_relaxed) & ~core::word_bits) != 0; }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

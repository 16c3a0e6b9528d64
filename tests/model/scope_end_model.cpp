// SPDX-License-Identifier: Apache-2.0
// The whole life of nested scopes, against requests at the root.
//     task word T -> outer scope -> { A -> inner scope -> { B0, B1 }, C }
// B0, B1 and C come to a value at once, fail at once (lost without a record), suspend for the first time and are completed by nobody, or suspend and
// are lucky: what a branch does is drawn at random. A may have suspended before, or never. When the inner scope has ended, A ends the way its branches did, or
// suspends again; T suspends when the outer scope has ended. Whoever is stopped stops its siblings (S8). Two threads request stop at the root.
// One of the two may look at what the task waits for, first or instead; it has no part in what happens.
// Every walk may be cut off after one or two records; one from within goes on behind the end of the branch that began it.
// Frames, scopes and records die as soon as whoever owns them may destroy them.
// Checked: INV-STOP-4, 5, 6: nobody reads a scope or a record that is gone; each scope goes on exactly once, with all results visible; each
// branch ends once; no stop is lost (whoever suspends for ever is stopped). go_on_stopped is true (S10), and so is looked.
// runs: random 1000000
#include "relacy_sync.hpp"
#include "skua/detail/stop_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;

struct join : core::scope {
  relacy_sync::atomic<unsigned> left{2};
};
struct branch {
  mortal<core::record> record;
  relacy_sync::atomic<core::record*> made{nullptr};   // as `up` in the promise: release by its maker, acquire by who looks
  mortal<core::operation> op;
  relacy_sync::var<int> result{0};                    // its slot in the join
  int ends = 0;
};
enum outcome { none, value, failed, stopped };
enum behaviour { ends_at_once, fails_at_once, suspends, suspends_and_ends };

struct model : rl::test_suite<model, 4> {
  mortal<join> outer, inner;
  mortal<core::branch_word> task;
  mortal<core::operation> task_op;
  branch a, b[2], c;
  behaviour what[3] = {};
  unsigned looks = 0;
  bool a_goes_on_waiting = false, worker_is_the_requester = false, walk_ends_first = false, requested = false;
  unsigned allowance = ~0u;
  int inner_ended = 0, outer_ended = 0, task_unwound = 0;

  struct sink {
    model& m;
    core::operation* waiting[6] = {};
    unsigned count = 0;
    core::record* rest[4] = {};
    unsigned rest_count = 0;
    struct {
      core::scope* scope;
      bool from_outside;
    } scopes[2] = {};
    unsigned scope_count = 0;
    bool stop_came = false;   // before the look at the task's word ends
    void stopping(core::operation& o) {
      if (m.worker_is_the_requester) return m.dispatch(o);
      waiting[count++] = &o;
    }
    void go_on(core::scope& s, bool from_outside) {
      if (m.worker_is_the_requester) return m.go_on(s, from_outside);
      scopes[scope_count++] = {&s, from_outside};
    }
    void ended(core::scope& s) { go_on(s, true); }
    void looked(core::scope& s) {
      RL_ASSERT(!stop_came);
      go_on(s, false);
    }
    void arrived(core::scope& s) {
      core::ended const e = core::detach(m.above(s), s);
      if (e != core::ended::walker_goes_on) go_on(s, e == core::ended::go_on_stopped);
    }
    void more(core::record& at) { rest[rest_count++] = &at; }
    void walked(core::record& outermost) {
      bool const in_inner = m.is(m.b[0], outermost) || m.is(m.b[1], outermost);
      core::scope& s = in_inner ? m.inner.get() : m.outer.get();
      core::end_walk(s, m.above(s), *this);
    }
    void walk() {
      while (rest_count != 0) core::resume_walk(*rest[--rest_count], *this, m.allowance);
    }
    ~sink() {   // the workers
      walk();
      for (unsigned i = 0; i != scope_count; ++i) m.go_on(*scopes[i].scope, scopes[i].from_outside);
      for (unsigned i = 0; i != count; ++i) m.dispatch(*waiting[i]);
    }
  };
  struct tree {
    model& m;
    struct place {
      core::branch_word* word;
      core::scope* outer;
    };
    place above(core::scope& s) {
      if (&s == &m.outer.get()) return {&m.task.get(), nullptr};
      if (core::record* r = m.a.made.load(std::memory_order_acquire)) return {r, nullptr};
      core::record& r = m.a.record.make();
      m.a.made.store(&r, std::memory_order_release);
      return {&r, &m.outer.get()};
    }
  };

  void before() {
    outer.make();
    inner.make();
    outer->head.store(0, std::memory_order_relaxed);
    inner->head.store(0, std::memory_order_relaxed);
    for (join* j : {&outer.get(), &inner.get()}) j->within.store(core::walking, std::memory_order_relaxed);   // nobody initialises it
    task.make();
    for (behaviour& w : what) w = static_cast<behaviour>(rl::rand(4));
    a_goes_on_waiting = rl::rand(2);
    worker_is_the_requester = rl::rand(2);
    walk_ends_first = rl::rand(2);
    looks = rl::rand(3);
    unsigned const cut = rl::rand(3);
    allowance = cut == 0 ? ~0u : cut;
    if (rl::rand(2)) (void)word_of(a, outer.get());
  }

  core::record& word_of(branch& x, core::scope& s) {
    if (core::record* r = x.made.load(std::memory_order_acquire)) return *r;
    core::record& r = x.record.make();
    x.made.store(&r, std::memory_order_release);
    tree t{*this};
    sink k{*this};
    core::enter(s, r, t, k);
    RL_ASSERT(k.rest_count == 0);
    return r;
  }
  static bool is(branch& x, core::record& r) { return x.made.load(std::memory_order_acquire) == &r; }
  join& scope_of(branch const& x) { return &x == &b[0] || &x == &b[1] ? inner.get() : outer.get(); }

  // x suspends in an operation that only a stop can end.
  void suspend(branch& x) {
    core::record& r = word_of(x, scope_of(x));
    core::operation& o = x.op.make();
    o.home = &r;
    if (r.stop_requested() || core::arm(o) != core::armed::suspended) unwind(x);
  }
  void unwind(branch& x) {
    x.op->home = nullptr;
    x.op.destroy();
    lose(x, stopped);
  }
  void lose(branch& x, outcome how) {
    sink k{*this};
    core::request(scope_of(x), k, how == failed ? core::head_failed : 0, allowance);
    if (walk_ends_first) k.walk();
    end(x, how);   // the rest of the walk, if there is one, is a worker's (~sink)
  }
  void end(branch& x, outcome how) {
    RL_ASSERT(++x.ends == 1);
    x.result = how;
    join& j = scope_of(x);
    if (j.left.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (!core::walk_is_over(j)) return;
    core::ended const e = core::detach(above(j), j);
    if (e != core::ended::walker_goes_on) go_on(j, e == core::ended::go_on_stopped);
  }
  core::branch_word* above(core::scope& s) { return &s == &inner.get() ? a.made.load(std::memory_order_acquire) : &task.get(); }

  void dispatch(core::operation& o) {
    RL_ASSERT(core::dispatch_stopping(o, [] { return true; }) == core::armed::stopped);
    if (&o == &task_op.get()) return unwind_task();
    for (branch* x : {&a, &b[0], &b[1], &c})
      if (&o == &x->op.get()) return unwind(*x);
    RL_ASSERT(false);
  }

  // Writes to every field: a race with whoever looked at it and has not left.
  void free_records(core::scope& s) {
    for (core::record* r = core::list(s.head.load(std::memory_order_relaxed)); r != nullptr;) {
      core::record* const next = r->next;
      r->next = nullptr;
      r->above = nullptr;
      for (branch* x : {&a, &b[0], &b[1], &c})
        if (r == &x->record.get()) x->record.destroy();
      r = next;
    }
  }
  void go_on(core::scope& s, bool from_outside) {
    bool const is_inner = &s == &inner.get();
    if (is_inner) RL_ASSERT(++inner_ended == 1);
    if (!is_inner) RL_ASSERT(++outer_ended == 1);
    core::branch_word* const above = is_inner ? static_cast<core::branch_word*>(a.made.load(std::memory_order_acquire)) : &task.get();
    if (from_outside) RL_ASSERT(above->word_.load(std::memory_order_relaxed) & core::stop);   // relaxed: it must not hide a missing acquire
    int const first = is_inner ? b[0].result : a.result;
    int const second = is_inner ? b[1].result : c.result;
    RL_ASSERT(first != none && second != none);
    bool const any_failed = first == failed || second == failed, any_stopped = first == stopped || second == stopped;
    RL_ASSERT(any_failed == ((s.head.load(std::memory_order_relaxed) & core::head_failed) != 0));
    free_records(s);
    if (is_inner) {
      inner.destroy();
      if (any_failed) return lose(a, failed);
      if (any_stopped) return lose(a, stopped);
      if (a_goes_on_waiting) return suspend(a);
      return end(a, value);
    }
    outer.destroy();
    core::operation& o = task_op.make();   // the task goes on, and is to see its stop
    o.home = &task.get();
    if (task->stop_requested() || core::arm(o) != core::armed::suspended) unwind_task();
  }
  void unwind_task() {
    RL_ASSERT(++task_unwound == 1);
    task_op->home = nullptr;
    task_op.destroy();
  }

  void run(branch& x, behaviour w) {
    switch (w) {
    case ends_at_once: return end(x, value);
    case fails_at_once: return lose(x, failed);
    case suspends: return suspend(x);
    case suspends_and_ends:
      (void)word_of(x, scope_of(x));   // suspended, and was completed in time
      return end(x, value);
    }
  }
  void request() {
    sink k{*this};
    core::request(task.get(), k, allowance);
    requested = true;
  }

  void look() {
    sink k{*this};
    core::sight s = core::look_into(task.get(), true);
    if (s.at == nullptr) return;
    RL_ASSERT(s.at == &outer.get());
    for (core::record* r = core::look_at(s); r != nullptr; r = r->next) {
      core::sight below = core::look_into(*r, s.calm);
      if (below.at == nullptr) continue;
      RL_ASSERT(below.at == &inner.get());
      for (core::record* q = core::look_at(below); q != nullptr; q = q->next) (void)q->stop_requested();
      core::leave_look(*r, below, k, allowance);
    }
    k.stop_came = requested;
    core::leave_look(task.get(), s, k, allowance);
  }

  void thread(unsigned index) {
    if (index < 2) return run(b[index], what[index]);
    if (index == 2 && looks != 0) {
      look();
      if (looks == 1) return look();
    }
    if (index == 3) run(c, what[2]);
    request();
  }

  void after() {
    RL_ASSERT(inner_ended == 1 && outer_ended == 1 && task_unwound == 1);
    RL_ASSERT(a.ends == 1 && b[0].ends == 1 && b[1].ends == 1 && c.ends == 1);
    RL_ASSERT(task->word_.load(std::memory_order_relaxed) == core::stop);
    task.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

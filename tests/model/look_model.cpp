// SPDX-License-Identifier: Apache-2.0
// Somebody looks at a scope that is being stopped while a branch of it suspends for the first time.
//     task word -> outer scope -> { C, A -> inner scope -> { B } }
// C has suspended. The task has its stop from the start, or the outer scope has, from within (C failed); or a request comes meanwhile.
// Checked: INV-STOP-7: a stop that came before is there when enter() returns, whoever looks; no stop is lost, and nobody stays inside.
// runs: random 300000, bound3
#include "relacy_sync.hpp"
#include "skua/detail/stop_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;

struct join : core::scope {
  relacy_sync::var<int> made{0};   // a plain field of a join that somebody has just made
};
enum how { task_stopped, outer_stopped, request_comes };

struct model : rl::test_suite<model, 3> {
  mortal<join> outer, inner;
  mortal<core::branch_word> task;
  mortal<core::record> a, b, c;
  how what = task_stopped;
  bool outer_is_there = false;
  unsigned allowance = ~0u;

  struct sink {
    model& m;
    core::record* later = nullptr;
    void stopping(core::operation&) { RL_ASSERT(false); }   // nobody is armed here
    void ended(core::scope&) { RL_ASSERT(false); }
    void looked(core::scope&) { RL_ASSERT(false); }
    void arrived(core::scope&) { RL_ASSERT(false); }
    void more(core::record& at) {
      RL_ASSERT(later == nullptr);
      later = &at;
    }
    void walked(core::record& outermost) {
      bool const in_inner = &outermost == &m.b.get();
      core::scope& s = in_inner ? m.inner.get() : m.outer.get();
      core::end_walk(s, in_inner ? &m.a.get() : &m.task.get(), *this);
    }
    ~sink() {
      while (later != nullptr) core::resume_walk(*std::exchange(later, nullptr), *this, m.allowance);
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
      return {&m.a.make(), &m.outer.get()};
    }
  };

  void make(mortal<join>& j) {
    j.make();
    j->head.store(0, std::memory_order_relaxed);
    j->made = 1;
  }
  void before() {
    outer_is_there = false;
    task.make();
    what = static_cast<how>(rl::rand(3));
    unsigned const cut = rl::rand(3);
    allowance = cut == 0 ? ~0u : cut;
    if (what == task_stopped) task->word_.store(core::stop, std::memory_order_relaxed);
    if (what == outer_stopped || rl::rand(2)) {
      make(outer);
      outer_is_there = true;
      sink k{*this};
      tree t{*this};
      core::enter(outer.get(), c.make(), t, k);
    }
    if (what == outer_stopped) {
      sink k{*this};
      core::request(outer.get(), k, core::head_failed);
    }
  }

  void look() {
    sink k{*this};
    core::sight s = core::look_into(task.get(), true);
    if (s.at == nullptr) return;
    RL_ASSERT(s.at == &outer.get() && static_cast<join&>(*s.at).made == 1);
    for (core::record* r = core::look_at(s); r != nullptr; r = r->next) {
      core::sight below = core::look_into(*r, s.calm);
      if (below.at == nullptr) continue;
      RL_ASSERT(below.at == &inner.get() && static_cast<join&>(*below.at).made == 1);
      for (core::record* q = core::look_at(below); q != nullptr; q = q->next) RL_ASSERT(q == &b.get());
      core::leave_look(*r, below, k, allowance);
    }
    core::leave_look(task.get(), s, k, allowance);
  }

  void thread(unsigned index) {
    if (index == 0) {
      if (!outer_is_there) make(outer);
      make(inner);
      sink k{*this};
      tree t{*this};
      core::enter(inner.get(), b.make(), t, k);
      RL_ASSERT(what == request_comes || b->stop_requested());
    } else if (index == 1) {
      look();
      look();
    } else if (what == request_comes) {
      sink k{*this};
      RL_ASSERT(core::request(task.get(), k, allowance));
    }
  }

  void after() {
    RL_ASSERT(b->stop_requested() && a->word_.load(std::memory_order_relaxed) == (core::of(inner.get()) | core::inner | core::stop));
    RL_ASSERT(task->word_.load(std::memory_order_relaxed) == (core::of(outer.get()) | core::inner | (what == outer_stopped ? 0 : core::stop)));
    for (core::record* r = core::list(outer->head.load(std::memory_order_relaxed)); r != nullptr; r = r->next) RL_ASSERT(r->stop_requested());
    if (core::list(outer->head.load(std::memory_order_relaxed)) != &a.get() || a->next != nullptr) c.destroy();
    a.destroy();
    b.destroy();
    task.destroy();
    outer.destroy();
    inner.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

// SPDX-License-Identifier: Apache-2.0
// Records that are made at the first suspension, against a request at the root.
//     task word -> outer scope -> { A -> inner scope -> { B0, B1, F }, C }
// B0 and B1 suspend for the first time, and so does C or, in its place, F fails (and is lost without a record) and stops its siblings. Nobody
// has a record at the start. The request visits everything itself, or is cut off after one or two records and continued by a worker.
// Checked: INV-STOP-3 (no branch stays suspended after the request; nobody is told twice), INV-STOP-4 (each record is made and linked
// once, by the branch that made the list non-empty), INV-STOP-6 (`above` has one writer: a race otherwise), no walker stays inside.
// runs: random 300000, bound2
#include "relacy_sync.hpp"
#include "skua/detail/stop_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;

struct model : rl::test_suite<model, 4> {
  mortal<core::scope> outer, inner;
  mortal<core::branch_word> task;
  mortal<core::record> a, leaf[3];
  mortal<core::operation> op[3];
  bool third_fails = false;
  unsigned allowance = ~0u;
  int told[3] = {}, made = 0, linked = 0, first_requests = 0;

  void before() {
    outer.make();
    inner.make();
    outer->head.store(0, std::memory_order_relaxed);
    inner->head.store(0, std::memory_order_relaxed);
    task.make();
    third_fails = rl::rand(2);
    unsigned const cut = rl::rand(3);
    allowance = cut == 0 ? ~0u : cut;
  }

  void tell(int i) { RL_ASSERT(++told[i] == 1); }

  struct sink {
    model& m;
    core::record* later = nullptr;
    void stopping(core::operation& o) {
      for (int i = 0; i < 3; ++i) {
        if (&o != &m.op[i].get()) continue;
        core::branch_word* const home = o.home;   // a race if arm() did not publish it
        RL_ASSERT(home == &m.leaf[i].get());
        return m.tell(i);
      }
      RL_ASSERT(false);
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record& at) {
      RL_ASSERT(later == nullptr);
      later = &at;
    }
    void walked(core::record& outermost) {
      RL_ASSERT(&outermost != &m.leaf[0].get() && &outermost != &m.leaf[1].get());   // it began in the outer scope
      core::end_walk(m.outer.get(), &m.task.get(), *this);
    }
    void arrived(core::scope&) { RL_ASSERT(false); }
    void finish() {   // as the worker that takes the rest of the walk
      for (int parts = 1; later != nullptr; ++parts) {
        RL_ASSERT(parts <= 7);   // there are four records, one with others below: every part gets on
        core::resume_walk(*std::exchange(later, nullptr), *this, m.allowance);
      }
    }
  };

  struct tree {
    model& m;
    struct place {
      core::branch_word* word;
      core::scope* outer;
    };
    place above(core::scope& s) {
      if (&s == &m.outer.get()) {
        RL_ASSERT(++m.linked == 1);
        return {&m.task.get(), nullptr};
      }
      RL_ASSERT(++m.made == 1);
      return {&m.a.make(), &m.outer.get()};
    }
  };

  void suspend(int i, core::scope& s) {
    core::record& r = leaf[i].make();
    core::operation& o = op[i].make();
    tree t{*this};
    sink k{*this};
    core::enter(s, r, t, k);
    o.home = &r;
    if (r.stop_requested() || core::arm(o) != core::armed::suspended) tell(i);
  }

  void thread(unsigned index) {
    sink k{*this};
    if (index < 2) return suspend(static_cast<int>(index), inner.get());
    if (index == 2) {
      if (!third_fails) return suspend(2, outer.get());
      core::request(inner.get(), k, core::head_failed);
      return;
    }
    first_requests += core::request(task.get(), k, allowance);
    first_requests += core::request(task.get(), k, allowance);
    k.finish();
  }

  static int count(core::scope& s) {
    int n = 0;
    for (core::record* r = core::list(s.head.load(std::memory_order_relaxed)); r != nullptr; r = r->next) ++n;
    return n;
  }

  void after() {
    RL_ASSERT(told[0] == 1 && told[1] == 1 && told[2] == (third_fails ? 0 : 1));
    RL_ASSERT(first_requests == 1 && made == 1 && linked == 1);
    RL_ASSERT(count(inner.get()) == 2);
    RL_ASSERT(count(outer.get()) == (third_fails ? 1 : 2));
    RL_ASSERT((inner->head.load(std::memory_order_relaxed) & core::head_failed) == (third_fails ? core::head_failed : 0));
    constexpr auto stopped_inside = core::stop | core::inner;   // stopped, and no walker is inside
    RL_ASSERT(task->word_.load(std::memory_order_relaxed) == (core::of(outer.get()) | stopped_inside));
    RL_ASSERT(a->word_.load(std::memory_order_relaxed) == (core::of(inner.get()) | stopped_inside));
    for (int i = 0; i < (third_fails ? 2 : 3); ++i) leaf[i].destroy(), op[i].destroy();
    a.destroy();
    task.destroy();
    outer.destroy();
    inner.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

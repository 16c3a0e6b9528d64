// SPDX-License-Identifier: Apache-2.0
// runs: random 400000, bound1
// Three tasks meet at a barrier, twice; the first one may be stopped while it waits, and then drops out, or somebody else drops out for a fourth party. Whoever
// is the last to leave the second phase destroys the barrier, while the one who let it through may still be on its way out.
// Checked: INV-BARRIER-1 (nobody goes through before all have arrived in this phase; what they did before is seen) and INV-BARRIER-2 (a stopped task has not
// arrived), and what waiting_tasks.hpp says.
#include "waiting_tasks.hpp"
#include "skua/detail/barrier_core.hpp"

namespace {

struct nothing {};

struct model : waiting_tasks<model, nothing, 3, 5> {
  using core_t = skua::detail::barrier_core<model_waiting>;
  mortal<core_t> barrier;
  bool stop_comes = false, fourth = false;
  relacy_sync::var<int> done[tasks][3];   // what a task did before it arrived in this phase
  int phase[tasks] = {}, last_in[3] = {};

  void before() {
    make_tasks(false);
    fourth = rl::rand(2);
    stop_comes = rl::rand(2);
    barrier.make(fourth ? 4 : 3);
    for (auto& d : done)
      for (auto& in_phase : d) in_phase = 0;
  }
  bool withdraw(int i) { return barrier->withdraw(frame[i].get()); }
  // waiting_tasks counts one passage of each task: that of the first phase is taken back.
  void got(int i) { through_phase(i, false); }
  void through_phase(int i, bool last) {
    int const now = ++phase[i];
    if (last) RL_ASSERT(++last_in[now] == 1);
    for (int other = 0; other < tasks; ++other)
      if (unwound[other] == 0) RL_ASSERT(done[other][now] == 1);   // a race if it was not acquired
    if (now == 2) {
      leave(i);
      return left();
    }
    --through[i];
    leave(i);
    make_frame(i);
    if (begin(i)) arrive(i);
  }
  void arrive(int i) {
    done[i][phase[i] + 1] = 1;
    ring others;
    switch (barrier->arrive(frame[i].get(), others)) {
    case core_t::arrived::nobody_is_expected: RL_ASSERT(false); return;
    case core_t::arrived::waits: return suspend(i);
    case core_t::arrived::last: break;
    }
    RL_ASSERT(++through[i] + unwound[i] == 1);
    wake(static_cast<ring&&>(others));
    through_phase(i, true);
  }
  void gave_up(int) { drop(); }
  void nothing_left() {
    if (stop_comes) return;   // the one who dropped out may be inside
    RL_ASSERT(barrier->unused());
    barrier.destroy();
  }
  void drop() {
    ring others;
    RL_ASSERT(barrier->arrive_and_drop(others));
    wake(static_cast<ring&&>(others));
  }

  void thread(unsigned t) {
    if (t < tasks) {
      int const i = static_cast<int>(t);
      if (!begin(i)) return;
      return arrive(i);
    }
    if (t == tasks) return fourth ? drop() : void();
    if (stop_comes) stop_first();
  }
  void after() {
    end_tasks();
    if (!stop_comes) {
      RL_ASSERT(last_in[1] + last_in[2] >= (fourth ? 1 : 2));
      return;
    }
    barrier.destroy();
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

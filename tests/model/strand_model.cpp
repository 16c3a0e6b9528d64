// SPDX-License-Identifier: Apache-2.0
// runs: random 300000, bound2
// Three tasks run a function each on a strand; whoever runs the strand executes none or one of others, then hands it over. The
// first task may be stopped. The last one to return destroys the strand, while the one that woke it may still be on its way out.
// Checked: INV-STRAND-1 (functions run one after the other, and see what the last one did; each once, or not at all if its task was stopped), INV-STRAND-2
// (nobody touches the strand after its death), and what waiting_tasks.hpp says.
#include "waiting_tasks.hpp"
#include "skua/detail/strand_core.hpp"

namespace {

struct function_t {
  relacy_sync::var<int> executed{0}, runs_the_strand{0};
};

struct model : waiting_tasks<model, function_t, 3, 4> {
  using core_t = skua::detail::strand_core<model_waiting>;
  mortal<core_t> strand;
  relacy_sync::var<int> guarded{0};
  bool stop_comes = false;
  unsigned at_once = 0;
  int executed[tasks] = {};
  bool ran_it[tasks] = {}, counts[tasks] = {};   // it ran the strand when it came, and has not been counted as gone

  void before() {
    make_tasks(false);
    stop_comes = rl::rand(2);
    at_once = rl::rand(2);
    strand.make();
    guarded = 0;
  }
  bool withdraw(int i) { return strand->withdraw(frame[i].get()); }
  void execute(frame_t& f) {
    guarded += 1;   // a race if two are at it
    f.executed += 1;
    RL_ASSERT(++executed[f.index] == 1);
  }
  static frame_t& of(links& w) { return static_cast<frame_t&>(w); }
  // False: the one it woke is the last, and destroys the strand.
  bool run_the_strand(int i) {
    bool counted = true;
    execute(frame[i].get());
    strand->serve(
        at_once, [this](links& w) { execute(of(w)); }, [](links& w) { of(w).runs_the_strand = 1; },
        [&](links& w) {
          if (!stop_comes && inside.load(std::memory_order_acquire) == 2) counted = inside.fetch_sub(1, std::memory_order_acq_rel) != 2;
          wake(w);
        });
    return counted;
  }
  void got(int i) {
    bool const counted = frame[i]->runs_the_strand ? run_the_strand(i) : !ran_it[i] || counts[i];
    RL_ASSERT(frame[i]->executed == 1);
    frame[i]->executed = 0;
    frame[i]->runs_the_strand = 0;
    leave(i);
    if (counted) left();
  }
  void nothing_left() {
    RL_ASSERT(strand->unused());
    strand.destroy();
  }

  void thread(unsigned t) {
    if (t == tasks) return stop_comes ? stop_first() : void();
    int const i = static_cast<int>(t);
    if (!begin(i)) return;
    if (i == 1 && strand->enter(nullptr)) {   // as await_ready()
      return run_at_once(i);
    }
    if (!strand->enter(&frame[i].get())) return suspend(i);
    run_at_once(i);
  }
  void run_at_once(int i) {
    ran_it[i] = true;
    counts[i] = run_the_strand(i);
    went_through(i);
  }
  void after() {
    end_tasks();
    for (int i = 0; i < tasks; ++i) RL_ASSERT(executed[i] == through[i]);
    RL_ASSERT(guarded == through[0] + through[1] + through[2]);
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

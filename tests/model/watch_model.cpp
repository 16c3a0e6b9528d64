// SPDX-License-Identifier: Apache-2.0
// runs: random 150000, bound1
// Two receivers wait for changes until the watch is closed, and read each value; two senders set one value each, and the last to go closes; the first receiver
// may be stopped while it waits. Whoever drops the last handle frees the watch, while others may still be on their way out.
// Checked: INV-WATCH-1 to 3 (nobody sleeps over a newer version or misses the last value; whoever was told of a change has not seen that version before; a stop
// leaves what is new to be seen), INV-HANDLE-1 and 2, and what waiting_tasks.hpp says.
// One lock guards the whole core, so this searches who comes first, not memory orders. It cannot show: a select (which claims for itself, as a flag that only
// tells; select_model), nor the handles' copies and moves.
#include "waiting_tasks.hpp"
#include "skua/detail/handle_counts.hpp"
#include "skua/detail/watch_core.hpp"

namespace {

struct nothing {};
struct number {
  relacy_sync::var<int> n;
  explicit number(int i) : n(i) {}
};

struct model : waiting_tasks<model, nothing, 2, 5> {
  using core_t = skua::detail::watch_core<model_waiting, number>;
  struct state_t {
    core_t core{number(0)};
    skua::detail::handle_counts<relacy_sync> handles;
  };
  mortal<state_t> state;
  core_t::view view[tasks];
  bool stop_comes = false, stays_open = false, freed = false;
  int value_of[4] = {};   // by version
  bool ended[tasks] = {};

  void before() {
    make_tasks(false);
    fifo = false;   // all go on together
    stop_comes = rl::rand(2);
    stays_open = rl::rand(2);
    state.make();
    for (int s = 0; s < 2; ++s) state->handles.add_sender();
    if (stays_open) state->handles.add_sender();
    for (auto& v : view) {
      state->handles.add();
      state->core.subscribe(v);
    }
  }
  void drop() {
    if (!state->handles.drop()) return;
    RL_ASSERT(!freed);
    (void)state->core.changed_locked(view[0]);   // a race, if what the others did is not seen
    freed = true;
    state.destroy();
  }
  bool withdraw(int i) { return state->core.withdraw(view[i], frame[i].get()); }
  void got(int i) {
    core_t& c = state->core;
    std::uint64_t const seen = view[i].seen;
    leave(i);
    if (!c.come_back(view[i])) {
      RL_ASSERT(seen == 3);   // both were set, and seen
      ended[i] = true;
      drop();
      return left();
    }
    RL_ASSERT(view[i].seen > seen && view[i].awaited_at == 0);
    read_it(i);
    if (stays_open && view[i].seen == 3) {   // woken by set(), as nobody closes before
      ended[i] = true;
      drop();
      return left();
    }
    --through[i];
    make_frame(i);
    wait(i);
  }
  void read_it(int i) {
    std::optional<number> v;
    std::uint64_t const seen = view[i].seen;
    view[i].seen = state->core.get(v);
    RL_ASSERT(view[i].seen >= seen);
    int& same = value_of[view[i].seen];
    RL_ASSERT(v->n != 0 && (same == 0 || same == v->n));
    same = v->n;
  }
  void gave_up(int i) {
    RL_ASSERT(view[i].awaited_at == 0);
    drop();
  }
  void nothing_left() {
    if (stays_open) drop_sender();
  }
  void drop_sender() {
    if (state->handles.drop_sender()) {
      ring all;
      state->core.close(all);
      wake(static_cast<ring&&>(all));
    }
    drop();
  }

  void wait(int i) {
    if (!begin(i)) return;
    core_t& c = state->core;
    struct into {
      core_t& c;
      core_t::view& v;
      void push_back(links& w) {
        c.enlist_locked(v, w);
        RL_ASSERT(v.awaited_at == v.seen);
      }
    } list{c, view[i]};
    if (take_or_wait(i, c.lock(), list, [&] { return c.changed_locked(view[i]); })) return went_through(i);
    suspend(i);
  }
  void send(int value) {
    std::optional<number> old;
    ring woken;
    state->core.set(number(value), old, woken);
    RL_ASSERT(old && old->n != value);
    wake(static_cast<ring&&>(woken));
    drop_sender();
  }
  void thread(unsigned t) {
    if (t < tasks) return wait(static_cast<int>(t));
    if (t < 4) return send(static_cast<int>(t) - 1);
    if (stop_comes) stop_first();
  }
  void after() {
    end_tasks();
    RL_ASSERT(freed && ended[1]);
  }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

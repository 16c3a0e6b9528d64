// SPDX-License-Identifier: Apache-2.0
// runs: random 300000, bound2
// A future that is awaited, two threads that set its promise, and a stop request, with the operation's own protocol around it. The waiter
// destroys the promise, the future and its frame as soon as it goes on, while the setters are still on their way out.
// Checked: INV-FUT-1 to 4: one outcome; the waiter goes on exactly once, with it; nobody touches promise, state or frame afterwards; the state is
// freed once; a value that came before the stop took the operation back is delivered (S4).
#include "relacy_sync.hpp"
#include "skua/detail/future_core.hpp"
#include "skua/detail/stop_core.hpp"

namespace {

using core = skua::detail::stop_core<relacy_sync>;
using future_core = skua::detail::future_core<relacy_sync>;

struct state_t : future_core {
  relacy_sync::var<int> outcome{0};   // 1, 2: set by that thread; 3: broken
};
struct frame_t : core::operation {
  relacy_sync::var<int> local{0};
};
// What the setters know. The last of them destroys it, or the waiter does.
struct promise_t {
  relacy_sync::var<state_t*> state{nullptr};
};

struct model : rl::test_suite<model, 4> {
  mortal<state_t> state;
  mortal<frame_t> frame;
  mortal<core::record> home;
  mortal<promise_t> promise;
  relacy_sync::atomic<int> setters_left{2};
  bool waiter_owns_promise = false, somebody_sets = false, first_fails = false;
  int delivered = 0, unwound = 0, freed = 0, set = 0;

  void before() {
    state.make();
    frame.make();
    home.make();
    promise.make().state = &state.get();
    state->give_future();
    setters_left.store(2, std::memory_order_relaxed);
    somebody_sets = !one_in(3);
    // A setter looks into the promise before it claims, so with two setters the waiter may only destroy it if the second never comes.
    waiter_owns_promise = somebody_sets && rl::rand(2) == 0;
    first_fails = one_in(3);
  }

  void free_state() {
    RL_ASSERT(++freed == 1);
    state->outcome = 0;   // a race with whoever still looks
    state.destroy();
  }
  void drop_promise(bool allowed_to_break) {
    state_t& s = *static_cast<state_t*>(promise->state);
    if (s.claim()) {
      RL_ASSERT(allowed_to_break);
      s.outcome = 3;
    }
    promise->state = nullptr;
    promise.destroy();
    future_core::dropped const d = s.drop_promise();
    if (d.what == future_core::drop::destroy) return free_state();
    if (d.waiter != 0) complete(d.waiter);
  }
  void drop_future() {
    if (state->drop_future() == future_core::drop::destroy) free_state();
  }

  void end_of_frame(bool promise_may_go) {
    frame->local = 0;
    frame->home = nullptr;
    frame.destroy();
    if (waiter_owns_promise && promise_may_go) drop_promise(false);
    drop_future();
  }
  void deliver() {
    RL_ASSERT(frame->local == 8);
    int const outcome = state->outcome;
    RL_ASSERT(outcome == (set != 0 ? set : 3));
    RL_ASSERT(++delivered + unwound == 1);
    end_of_frame(true);
  }
  void unwind() {
    RL_ASSERT(frame->local == 8);
    RL_ASSERT(delivered + ++unwound == 1);
    end_of_frame(false);   // here the promise is left to the setter: it may come later
  }
  void complete(future_core::word op) {
    if (core::complete(*reinterpret_cast<frame_t*>(op))) deliver();
  }

  void await() {
    frame->local = 8;
    frame->home = &home.get();
    if (home->stop_requested()) return unwind();
    if (state->wait(core::of(static_cast<core::operation&>(frame.get()))) == future_core::wait_result::ready) return deliver();
    core::operation& o = frame.get();
    switch (core::arm(o)) {
    case core::armed::suspended: return;
    case core::armed::completed: return deliver();
    case core::armed::stopped:
      if (state->withdraw()) return unwind();
      if (core::give_way_arming(o) == core::armed::completed) deliver();
    }
  }
  void try_set(int value, bool fails) {
    state_t& s = *static_cast<state_t*>(promise->state);
    if (!s.claim()) return;
    if (fails) {
      s.outcome = -1;   // half written
      return s.unclaim();
    }
    s.outcome = value;
    RL_ASSERT(set == 0);
    set = value;
    if (future_core::word const op = s.publish()) complete(op);
  }
  struct sink {
    model& m;
    void stopping(core::operation& o) {   // the requester's thread plays the worker as well
      switch (core::dispatch_stopping(o, [this] { return m.state->withdraw(); })) {
      case core::armed::completed: return m.deliver();
      case core::armed::stopped: return m.unwind();
      case core::armed::suspended: return;
      }
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record&) { RL_ASSERT(false); }
  };

  void thread(unsigned t) {
    if (t == 0) return await();
    if (t == 3) {
      sink s{*this};
      core::request(home.get(), s);
      return;
    }
    if (waiter_owns_promise) {
      if (t == 1) try_set(1, false);
      return;
    }
    if (somebody_sets) try_set(static_cast<int>(t), t == 1 && first_fails);
    if (setters_left.fetch_sub(1, std::memory_order_acq_rel) == 1) drop_promise(!somebody_sets || first_fails);
  }

  void after() {
    RL_ASSERT(delivered + unwound == 1);
    if (promise_left()) drop_promise(false);
    RL_ASSERT(freed == 1);
    home.destroy();
  }
  // The waiter was to destroy it and was unwound instead.
  bool promise_left() const { return waiter_owns_promise && unwound == 1; }
};

} // namespace

int main(int argc, char** argv) { return simulate<model>(argc, argv); }

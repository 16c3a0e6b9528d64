// SPDX-License-Identifier: Apache-2.0
// What the models of the primitives have in common: tasks that wait at one, on threads of their own, a stop of the first, and a rival of the last, which
// may be a select that waits for the rival as well. Whoever is the last to leave destroys the primitive, while whoever woke it may still be on its way out.
//
//     struct model : waiting_tasks<model, FRAME, TASKS, THREADS>      FRAME: what a task's frame has beside the waiter
//         withdraw(i)      the operation's: true if the waiter was the worker's again
//         got(i)           the task goes on with what it waited for
//         gave_up(i)       optional: it was unwound
//         nothing_left()   optional: everybody has left: checks, and destroys the primitive
//         granted(i)       optional, under the primitive's lock: it waited, and is about to be given something
//         took(i)          optional, under the primitive's lock: it had not to wait
//
// model_waiting is what a primitive's core is made of in here (detail::runtime_waiting). Checked for all: every task goes on once, or is unwound once; whom the
// rival has decided is given nothing (INV-WAIT-7); nobody is overtaken: who is given something has waited longest in its `line` (`fifo`).
#pragma once
#include "relacy_sync.hpp"
#include "skua/detail/spin_lock.hpp"
#include "skua/detail/stop_core.hpp"
#include "skua/detail/wait_queue.hpp"

struct model_waiter : skua::detail::basic_waiter<relacy_sync, skua::detail::stop_core<relacy_sync>::operation> {
  bool (*may_take)(model_waiter&) = nullptr;   // no virtual function: an operation lies where its waiter begins
};
struct model_waiting {
  using sync = relacy_sync;
  using operation = skua::detail::stop_core<relacy_sync>::operation;
  using links = skua::detail::basic_waiter<relacy_sync, operation>;
  using waiter = model_waiter;
  using list = skua::detail::basic_wait_list<relacy_sync, operation>;
  using ring = skua::detail::basic_waiter_ring<relacy_sync, operation>;
  using lock = skua::detail::spin_lock<relacy_sync>;
  static bool may_take(links& w) { return static_cast<waiter&>(w).may_take(static_cast<waiter&>(w)); }
};

template <class Model, class Frame, int Tasks, int Threads>
struct waiting_tasks : rl::test_suite<Model, Threads> {
  using core = skua::detail::stop_core<relacy_sync>;
  using links = model_waiting::links;
  using ring = model_waiting::ring;
  static constexpr int tasks = Tasks, last_task = Tasks - 1;
  enum : int { open, taken, lost };   // a select's claim

  struct frame_t final : model_waiter, Frame {
    relacy_sync::var<int> local{0};
    relacy_sync::atomic<int> claim{open};
    waiting_tasks* of = nullptr;
    int index = 0;
    frame_t() { this->may_take = take; }
    static bool take(model_waiter& w) {   // with the primitive's lock
      auto& f = static_cast<frame_t&>(w);
      f.of->served(f.index);
      int expected = open;
      bool const live = f.index != last_task || !f.of->last_selects ||
                        f.claim.compare_exchange_strong(expected, taken, std::memory_order_acq_rel, std::memory_order_relaxed);
      if (live) f.of->self().granted(f.index);
      return live;
    }
  };
  mortal<frame_t> frame[Tasks];
  mortal<core::record> home[Tasks];
  relacy_sync::atomic<int> inside{Tasks};
  skua::detail::spin_lock<relacy_sync> rival;
  relacy_sync::var<bool> rival_has_it{false};
  bool last_selects = false, fifo = true;
  int through[Tasks] = {}, unwound[Tasks] = {};   // unwound, or decided by the rival
  int queue[Tasks] = {}, next_place = 0;          // places in the order of arrival; 0: does not wait
  int line[Tasks] = {};                           // in which line

  void make_tasks(bool selects) {
    for (int i = 0; i < Tasks; ++i) {
      make_frame(i);
      home[i].make();
    }
    last_selects = selects;
    rival_has_it = false;
    inside.store(Tasks, std::memory_order_relaxed);
  }
  void make_frame(int i) {
    frame[i].make().of = this;
    frame[i]->index = i;
  }
  Model& self() { return static_cast<Model&>(*this); }
  int index_of(core::operation& o) {
    int i = 0;
    while (&o != static_cast<core::operation*>(&frame[i].get())) ++i;
    return i;
  }

  // ---- of a task. Under the primitive's lock: it waits.
  void waits(int i) { queue[i] = ++next_place; }
  void served(int i) {
    for (int j = 0; j < Tasks; ++j) RL_ASSERT(!fifo || queue[j] == 0 || line[j] != line[i] || queue[i] <= queue[j]);
    queue[i] = 0;
  }
  void granted(int) {}
  void took(int i) {
    for (int j = 0; j < Tasks; ++j) RL_ASSERT(!fifo || queue[j] == 0 || line[j] != line[i]);
  }
  // The operation's entry. False: it was stopped.
  bool begin(int i) {
    frame[i]->local = 8;
    frame[i]->home = &home[i].get();
    if (!home[i]->stop_requested()) return true;
    unwind(i);
    return false;
  }
  // Waits at the primitive, unless take() is true: both under `lock`.
  template <class Lock, class Take, class List>
  bool take_or_wait(int i, Lock& lock, List& list, Take take) {
    bool const selects = i == last_task && last_selects;
    if (selects) rival.lock();
    lock.lock();
    bool const mine = take();
    if (mine) {
      self().took(i);
    } else {
      waits(i);
      list.push_back(frame[i].get());
    }
    lock.unlock();
    if (selects) {
      if (!mine) rival_has_it = true;
      rival.unlock();
    }
    return mine;
  }
  void suspend(int i) {
    switch (core::arm(frame[i].get())) {
    case core::armed::suspended: return;
    case core::armed::completed: return go_on(i);
    case core::armed::stopped:
      if (self().withdraw(i)) return unwind(i);
      if (core::give_way_arming(frame[i].get()) == core::armed::completed) go_on(i);
    }
  }
  void go_on(int i) {
    if (i == last_task && last_selects) {
      if (frame[i]->claim.load(std::memory_order_acquire) == lost) {   // as take_back_losers()
        queue[i] = 0;
        (void)self().withdraw(i);
        return unwind(i);
      }
      rival.lock();
      rival_has_it = false;
      rival.unlock();
    }
    RL_ASSERT(frame[i]->local == 8);
    RL_ASSERT(++through[i] + unwound[i] == 1);
    self().got(i);
  }
  // It had not to wait.
  void went_through(int i) {
    RL_ASSERT(++through[i] + unwound[i] == 1);
    self().got(i);
  }
  void unwind(int i) {
    RL_ASSERT(frame[i]->local == 8);
    RL_ASSERT(through[i] + ++unwound[i] == 1);
    leave(i);
    self().gave_up(i);
    left();
  }
  void gave_up(int) {}
  void nothing_left() {}
  void leave(int i) {   // the frame
    frame[i]->local = 0;   // a race with whoever still looks
    frame[i]->home = nullptr;
    frame[i]->before = nullptr;
    frame[i]->behind = nullptr;
    frame[i]->claim.store(open, std::memory_order_relaxed);
    frame[i].destroy();
  }
  void left() {   // the primitive
    if (inside.fetch_sub(1, std::memory_order_acq_rel) == 1) self().nothing_left();
  }

  // ---- of others
  void wake(links& w) {
    int const i = index_of(w);
    if (core::complete(w)) go_on(i);
  }
  void wake(ring&& r) {
    while (links* const w = r.pop_front()) wake(*w);
  }
  void come_as_rival() {
    rival.lock();
    int expected = open;
    bool const won = rival_has_it && frame[last_task]->claim.compare_exchange_strong(expected, lost, std::memory_order_acq_rel, std::memory_order_relaxed);
    if (won) rival_has_it = false;
    rival.unlock();
    if (won) wake(frame[last_task].get());
  }
  struct sink {
    waiting_tasks& m;
    void stopping(core::operation& o) {   // the requester's thread plays the worker as well
      int const i = m.index_of(o);
      switch (core::dispatch_stopping(o, [&] { return m.self().withdraw(i); })) {
      case core::armed::completed: return m.go_on(i);
      case core::armed::stopped: return m.unwind(i);
      case core::armed::suspended: return;
      }
    }
    void ended(core::scope&) { RL_ASSERT(false); }
    void more(core::record&) { RL_ASSERT(false); }
  };
  void stop_first() {
    sink s{*this};
    core::request(home[0].get(), s);
  }

  void end_tasks() {
    for (int i = 0; i < Tasks; ++i) {
      RL_ASSERT(through[i] + unwound[i] == 1);   // nobody is left behind
      RL_ASSERT(unwound[i] == 0 || i == 0 || (i == last_task && last_selects));
    }
    RL_ASSERT(inside.load(std::memory_order_relaxed) == 0);
    for (auto& h : home) h.destroy();
  }
};

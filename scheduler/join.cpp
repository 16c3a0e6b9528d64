// SPDX-License-Identifier: Apache-2.0
// The cold half of joins and branches: failure, unwinding, dispatch; records.cpp has the records. detail/join.hpp and detail/stop_core.hpp have the protocols.
//
// Who may call: the worker that runs the branch in question; settle_scope() whoever INV-JOIN-2 (or the walker, by sink.ended) names.
// Unwinding through joins is iterative: the parent's unwinding is started by execute(), never from the end of a child (a million-deep tree
// unwinds on a small stack).
#include "skua/detail/join.hpp"
#include "scheduler/scheduler.hpp"
#include "skua/detail/errand.hpp"
#include "skua/detail/failure_report.hpp"
#include "skua/detail/group_state.hpp"
#include "skua/error.hpp"
#include <cstdio>
#include <cstdlib>
#include <new>

namespace skua::detail {

// ---------------------------------------------------------------------------------------------- requests from inside, destruction

namespace {

// S5: a destructor that throws while a stop unwinds ends the process, with the task's name and spawn site. What a local of the body throws
// comes to its promise's unhandled_exception().
void destroy_frame(void* frame) noexcept {
  tl.destroying = true;
  try {
    handle_of(frame).destroy();
  } catch (...) {
    terminate_in_unwinding();
  }
  tl.destroying = false;
}

// As request_by_party(), for a branch of `j` that has not ended yet: its siblings see it at their next suspension point.
std::uintptr_t request_by_branch(join_base& j, std::uintptr_t why) noexcept {
  stop_sink sink(*tl.owner);
  return request_by_party(j, sink, why);
}

std::uintptr_t original(std::uintptr_t up) noexcept { return (up & tag::mask) == tag::observed ? record_at(up)->up : up; }

} // namespace

std::uintptr_t request_by_party(join_base& j, stop_sink& sink, std::uintptr_t why) noexcept {
  bool const may_be_first = (j.head.load(std::memory_order_relaxed) & core::head_stop) == 0;   // otherwise the one shared counter is left alone
  if (may_be_first) raise_attention();   // before the bit, as in request_stop()
  std::uintptr_t const h = core::request(j, sink, why, stop_sink::requester_allowance);
  if ((h & core::head_stop) != 0 && may_be_first) lower_attention();   // somebody else was first; otherwise head_counted is set
  return h;
}

bool stop_requested_slow() { return tl.current != nullptr && word_of(*tl.current).stop_requested(); }

bool stopped_at_fork() {
  if (tl.words == nullptr) [[unlikely]] not_on_a_worker();
  return word_of(*tl.current).stop_requested();
}

void not_on_a_worker() {
  throw usage_error("skua: an operation of the runtime was awaited by a coroutine that was resumed outside its workers");
}

void task_awaited_twice() { throw usage_error("skua: this task, or what was made of tasks, was awaited or spawned before, or moved from"); }

std::coroutine_handle<> detour(promise_base& first) noexcept {
  if (!tl.queue.try_reserve(1)) return handle_of(first.frame());
  tl.queue.push_reserved(reinterpret_cast<item>(&first) | kind::token_branch);
  return std::noop_coroutine();
}

// ---------------------------------------------------------------------------------------------- branches that end without a value

void lose_slot(join_base& j, void* out, std::exception_ptr error, bool first) noexcept {
  auto* slot = ::new (out) lost_slot{std::move(error), 0};
  std::atomic_ref<std::uintptr_t> head(j.lost);
  std::uintptr_t seen = head.load(std::memory_order_relaxed);
  // The list is read when the join has ended: the branches' own ends order it.
  do slot->next = (seen & ~std::uintptr_t{1}) | (first ? 1 : 0);
  while (!head.compare_exchange_weak(seen, reinterpret_cast<std::uintptr_t>(slot), std::memory_order_relaxed));
}

namespace {
template <class F>
void for_each_lost(join_base& j, F f) {
  for (std::uintptr_t at = j.lost; at != 0;) {
    auto* slot = reinterpret_cast<lost_slot*>(at);
    at = slot->next & ~std::uintptr_t{1};
    f(*slot, (slot->next & 1) != 0);
  }
}
} // namespace

bool slot_has_value(join_base& j, void const* out) noexcept {
  for (std::uintptr_t at = j.lost; at != 0; at = reinterpret_cast<lost_slot*>(at)->next & ~std::uintptr_t{1})
    if (reinterpret_cast<void const*>(at) == out) return false;
  return true;
}

void fail_branch(promise_base& b) noexcept {
  if ((b.up & tag::mask) == tag::root) {
    header_at(b.up).outcome = task_header::failed;
    ::new (b.out) std::exception_ptr(std::current_exception());
    return;
  }
  join_base& j = join_at(original(b.up));
  std::exception_ptr error = std::current_exception();
  bool race = (b.up & tag::mask) == tag::observed && record_at(b.up)->notes.race();
  if (race) {   // in when_any a failure stops nobody
    record_at(b.up)->notes.end_lost();
    j.head.fetch_or(core::head_failed, std::memory_order_relaxed);
    return lose_slot(j, b.out, std::move(error), false);
  }
  bool const first = (request_by_branch(j, core::head_failed) & core::head_failed) == 0;
  lose_slot(j, b.out, std::move(error), first);
}

void rethrow_first_failure(join_base& j) {
  std::exception_ptr first;
  for_each_lost(j, [&](lost_slot& slot, bool is_first) {
    if (is_first)
      first = std::move(slot.error);
    else if (slot.error)
      report_failure(*tl.owner, failure_report{std::move(slot.error), current_task(), failure_kind::when_all});
    slot.~lost_slot();
  });
  free_records(j);
  SKUA_CHECK(first, "a join that failed has a first failure");
  std::rethrow_exception(std::move(first));
}

void discard_lost(join_base& j, failure_kind why) noexcept {
  for_each_lost(j, [why](lost_slot& slot, bool) {
    if (slot.error) report_failure(*tl.owner, failure_report{std::move(slot.error), current_task(), why});
    slot.~lost_slot();
  });
}

std::coroutine_handle<> unwind(void* frame) noexcept {
  for (;;) {
    promise_base& b = promise_at(frame);
    std::uintptr_t const up = b.up;
    if ((up & tag::mask) == tag::call) {
      destroy_frame(frame);
      frame = reinterpret_cast<void*>(up);
      continue;
    }
    void* const out = b.out;
    destroy_frame(frame);
    if ((up & tag::mask) == tag::root) {
      header_at(up).outcome = task_header::stopped;
    } else {
      join_base& j = join_at(original(up));
      bool const race = (up & tag::mask) == tag::observed && record_at(up)->notes.race();
      if (race)
        record_at(up)->notes.end_lost();
      else
        request_by_branch(j, 0);   // S8: it stops its siblings
      lose_slot(j, out, nullptr, false);
    }
    return finish(up);
  }
}

// ---------------------------------------------------------------------------------------------- ends of joins

std::coroutine_handle<> resume_settled(join_base& j, bool from_outside) noexcept {
  std::uintptr_t const h = j.head.load(std::memory_order_relaxed);
  if (h & core::head_counted) lower_attention();
  tl.current = j.parent_branch;
  verdict v;
  if (h & core::head_special) {
    auto& s = static_cast<special_join&>(j);
    v = s.decide != nullptr ? s.decide(s, from_outside)
                            : ((h & core::head_failed) || j.lost == 0) ? verdict::resume : verdict::unwind;
    if (v == verdict::unwind && s.discard != nullptr) s.discard(s);
  } else {
    v = (h & core::head_failed) || j.lost == 0 ? verdict::resume : verdict::unwind;
  }
  settle_batch();
  if (v == verdict::resume) return handle_of(j.parent);
  discard_lost(j);
  free_records(j);
  tl.unwinding = j.parent;   // execute() goes on with it
  return std::noop_coroutine();
}

namespace {

// Detaches the join from the word above it, if it is connected.
core::ended detach(join_base& j) noexcept { return core::detach(word_if_any(up_of(*j.parent_branch)), j); }

} // namespace

std::coroutine_handle<> resume_parent_slow(join_base& j) noexcept {
  if (j.head.load(std::memory_order_relaxed) & core::head_special) {
    auto& s = static_cast<special_join&>(j);
    if (s.arrived != nullptr && !s.arrived(s)) return next_or_loop(next_local());
  }
  if (!core::walk_is_over(j)) return next_or_loop(next_local());
  core::ended const e = detach(j);
  if (e == core::ended::walker_goes_on) return next_or_loop(next_local());
  return resume_settled(j, e == core::ended::go_on_stopped);
}

void settle_elsewhere(join_base& j, stop_sink& sink) noexcept {
  if (core::walk_is_over(j)) sink.arrived(j);
}

std::coroutine_handle<> surrender(join_base& j, item x) noexcept {
  if (j.count.surrender()) {
    if (x != 0) tl.queue.push_reserved(x);   // its place is still free: it was popped just now
    settle_batch();
    return resume_parent(j);
  }
  if (x == 0) return next_or_loop(next_local());
  if (tl.run_budget == 0) [[unlikely]] {   // the loop's turn, also on a long run of items that are no siblings (D11)
    tl.queue.push_reserved(x);
    return std::noop_coroutine();
  }
  --tl.run_budget;
  return next_or_loop(x);
}

namespace {

std::coroutine_handle<> finish_away(join_base& j) noexcept {
  if (j.count.end_away()) {
    settle_batch();
    return resume_parent(j);
  }
  return next_or_loop(next_local());
}

// A branch of when_any has ended: the first value stops the others.
void end_race(branch_record& r) noexcept {
  if (r.notes.ended_lost()) return;
  join_base& j = join_at(r.up);
  std::uintptr_t const h = j.head.fetch_or(core::head_won, std::memory_order_acq_rel);
  if (h & core::head_won) return;
  r.notes.win_race();   // marks the winner; read when the join has ended
  request_by_branch(j, 0);
}

std::coroutine_handle<> finish_root(std::uintptr_t up) noexcept;

} // namespace

std::coroutine_handle<> finish_other(std::uintptr_t up) noexcept {
  switch (up & tag::mask) {
  case tag::away: return finish_away(join_at(up));
  case tag::root: return finish_root(up);
  case tag::observed: {
    branch_record& r = *record_at(up);   // stays in the scope's list
    if (r.notes.race()) end_race(r);
    return finish(r.up);
  }
  }
  SKUA_CHECK(false, "a coroutine's `up` has a known tag");
  return std::noop_coroutine();
}

// ---------------------------------------------------------------------------------------------- tasks

namespace {

[[noreturn]] SKUA_COLD void ended_outside(task_header const& h) noexcept {
  std::fprintf(stderr,
               "skua: task %llu '%s' (spawned at %s:%u) ended on a thread that is no worker: something that it awaited, and that is not skua's, resumed it "
               "there. Await such things with skua::callback, or a skua::promise.\n",
               static_cast<unsigned long long>(h.id), h.name(), h.site().file_name(), h.site().line());
  std::abort();
}

std::coroutine_handle<> finish_root(std::uintptr_t up) noexcept {
  task_header& h = header_at(up);
  if (tl.words == nullptr) [[unlikely]] ended_outside(h);
  tl.current = nullptr;   // the root's frame is gone, but destructors of the callable and of the result may ask for the running task
  group_state* const group = h.kind->drop_call != nullptr ? h.kind->drop_call(&h) : nullptr;
  using state = task_state<real_sync>;
  if (attention()) [[unlikely]] note_end(h);
  state::word const was = h.state.finish([] { worker_counters::add(tl.counters.ended); }, [&h] { h.kind->destroy(&h); },
                                         [] {
                                           worker_counters::add(tl.counters.gone);
                                           // For the compiler alone: the count before the look (INV-QUIET-1).
                                           std::atomic_signal_fence(std::memory_order_seq_cst);
                                           if (attention()) [[unlikely]] tl.owner->look_if_quiet();
                                         });
  if (group != nullptr) [[unlikely]] group->leave();   // S13: behind the result
  if (was == state::running || was == state::detached) return next_or_loop(next_local());
  if (was & state::thread_waits) {
    wake_thread(*reinterpret_cast<thread_waiter*>(was & ~state::thread_waits));
    return next_or_loop(next_local());
  }
  auto& op = *reinterpret_cast<operation*>(was);
  if (!complete(op)) return next_or_loop(next_local());
  settle_batch();
  if (scheduler* const at = static_cast<join_operation&>(op).owner; at != tl.owner) {   // joined from another runtime
    schedule(*at, item_of(op, kind::woken));
    return next_or_loop(next_local());
  }
  tl.current = &branch_of(op);   // the joiner runs at once on this worker
  return handle_of(op.frame);
}

} // namespace

// ---------------------------------------------------------------------------------------------- dispatch

std::coroutine_handle<> not_suspended(operation& op, core::armed a) noexcept {
  if (a == core::armed::stopped) {
    if (op.kind->withdraw(op)) return unwind(op.frame);
    if (core::give_way_arming(op) == core::armed::suspended) return next_or_loop(next_local());
  }
  return handle_of(op.frame);
}

namespace {

std::coroutine_handle<> dispatch_stopping(operation& op) noexcept {
  core::armed const a = core::dispatch_stopping(op, [&op] { return op.kind->withdraw(op); });
  if (a == core::armed::suspended) return std::noop_coroutine();
  tl.current = &branch_of(op);
  return a == core::armed::completed ? handle_of(op.frame) : unwind(op.frame);
}

std::coroutine_handle<> continue_walk(branch_record& at) noexcept {
  stop_sink sink(*tl.owner);
  core::resume_walk(at, sink, 16 * stop_sink::requester_allowance);
  return std::noop_coroutine();
}

} // namespace

std::coroutine_handle<> dispatch(item x) noexcept {
  void* const p = reinterpret_cast<void*>(x & ~kind::mask);
  switch (x & kind::mask) {
  case kind::branch: {
    auto& b = *static_cast<promise_base*>(p);
    std::uintptr_t& up = (b.up & tag::mask) == tag::observed ? record_at(b.up)->up : b.up;   // a branch of when_any has a record
    // relaxed: a walk that is continued elsewhere may look through a record's word; the tag is nothing to it.
    std::atomic_ref<std::uintptr_t>(up).store(up | tag::away, std::memory_order_relaxed);
    tl.current = &b;
    return handle_of(b.frame());
  }
  case kind::token_branch: {
    auto& b = *static_cast<promise_base*>(p);
    tl.current = &b;
    return handle_of(b.frame());
  }
  case kind::woken: {
    auto& op = *static_cast<operation*>(p);
    tl.current = &branch_of(op);
    return handle_of(op.frame);
  }
  case kind::spawned: {
    auto& h = *static_cast<task_header*>(p);
    tl.current = h.promise();
    return handle_of(tl.current->frame());
  }
  case kind::ended_scope: {
    auto& j = *static_cast<join_base*>(p);
    bool const special = j.head.load(std::memory_order_relaxed) & core::head_special;
    return resume_settled(j, special && static_cast<special_join&>(j).from_outside);
  }
  case kind::stopping: return dispatch_stopping(*static_cast<operation*>(p));
  case kind::walk: return continue_walk(*static_cast<branch_record*>(p));
  case kind::errand: {
    auto& e = *static_cast<errand*>(p);
    tl.current = nullptr;   // it is nobody's
    e.run(e);
    return std::noop_coroutine();
  }
  }
  SKUA_CHECK(false, "an item has a known kind");
  return std::noop_coroutine();
}

void execute(item x) noexcept {
  dispatch(x).resume();
  while (void* frame = std::exchange(tl.unwinding, nullptr)) unwind(frame).resume();
}

// ---------------------------------------------------------------------------------------------- the sink of a stop request

void stop_sink::ended(core::scope& s) noexcept {
  auto& j = static_cast<join_base&>(s);
  if (j.head.load(std::memory_order_relaxed) & core::head_special) static_cast<special_join&>(j).from_outside = true;
  go_on(j);
}

void stop_sink::looked(core::scope& s) noexcept { go_on(static_cast<join_base&>(s)); }

void stop_sink::claimed(core::scope& s) noexcept {
  auto& j = static_cast<special_join&>(static_cast<join_base&>(s));
  if (j.decide == group_decides) group_claimed(j, *this);
}

void stop_sink::go_on(join_base& j) noexcept { add(reinterpret_cast<item>(&j) | kind::ended_scope); }

void stop_sink::do_errand(errand& e) noexcept { add(e.as_item()); }

void stop_sink::arrived(core::scope& s) noexcept {
  auto& j = static_cast<join_base&>(s);
  core::ended const e = detach(j);
  if (e == core::ended::walker_goes_on) return;
  if (j.head.load(std::memory_order_relaxed) & core::head_special) static_cast<special_join&>(j).from_outside = e == core::ended::go_on_stopped;
  go_on(j);
}

void stop_sink::walked(core::record& outermost) noexcept {
  join_base& j = join_at(std::atomic_ref<std::uintptr_t>(static_cast<branch_record&>(outermost).up).load(std::memory_order_relaxed));
  core::end_walk(j, word_if_any(up_of(*j.parent_branch)), *this);   // the word is held by the walk: it cannot go away
}

void stop_sink::more(core::record& at) noexcept {
  add(reinterpret_cast<item>(static_cast<branch_record*>(&at)) | kind::walk);
}

} // namespace skua::detail

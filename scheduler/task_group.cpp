// SPDX-License-Identifier: Apache-2.0
// The cold half of task groups: who starts, who is told of a stop, who goes on. detail/group_core.hpp has the protocol.
//
// Everything here runs on workers, but for group_claimed() and request_stop(), which leave the work to an errand elsewhere.
#include "skua/task_group.hpp"
#include "scheduler/scheduler.hpp"
#include "skua/detail/failure_report.hpp"
#include "skua/finally.hpp"
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace skua::detail {

struct group_state::failure_node {
  std::exception_ptr error;
  failure_node* next;
};

namespace {
constexpr unsigned told_at_once = 4;         // tasks told under the lock, and the branches of each that are visited there; guesses
constexpr unsigned visited_each = 4;
constexpr unsigned told_in_one_turn = 16 * told_at_once;   // then the worker's other work has its turn (S2, D11); a guess
} // namespace

group_state::~group_state() {
  while (others_ != nullptr) delete std::exchange(others_, others_->next);
}

void group_state::open(group_join& j, promise_base& body) {
  j.arrived = body_arrived;
  j.decide = group_decides;
  j.group = this;
  join_ = &j;
  owner_ = tl.owner;
  parties.open(limit_);
  make_word(body);
}

void group_state::refuse_caller() const {
  if (tl.owner == nullptr) not_in_runtime("spawn");
  throw usage_error(owner_ == nullptr ? "skua: the body of a task group must be a coroutine: this one spawned before the group was open"
                                      : "skua: a task of another runtime can neither spawn into a task group nor wait for its tasks");
}

// ---------------------------------------------------------------------------------------------- tasks come and go

void end_unstarted(task_header& h, stop_reason why) noexcept {
  handle_of(h.promise()->frame()).destroy();
  h.outcome = task_header::stopped;
  h.reason.store(why, std::memory_order_relaxed);   // published by end()
  if (h.kind->drop_call != nullptr) (void)h.kind->drop_call(&h);   // it has not joined
  [[maybe_unused]] auto const was = h.state.end();
  SKUA_DCHECK(was == task_state<real_sync>::running, "nobody has its handle yet");
}

void group_state::adopt(group_member& m, task_header& h) noexcept {
  m.group = this;
  m.task = &h;
  worker_counters::add(tl.counters.spawned);   // before it can end
  switch (parties.join(m)) {
  case group_parties::joined::start: return schedule_here(reinterpret_cast<item>(&h) | kind::spawned);
  case group_parties::joined::wait: return;
  case group_parties::joined::refused: break;
  }
  m.group = nullptr;
  end_unstarted(h, static_cast<stop_reason>(parties.stopping()));
  worker_counters::add(tl.counters.ended);
  worker_counters::add(tl.counters.gone);
}

// What leave() and after_stop() leave to the caller. Not of the group any more.
void group_state::fulfil(group_parties::duties const& d) noexcept {
  if (d.start != nullptr) schedule_here(reinterpret_cast<item>(static_cast<group_member*>(d.start)->task) | kind::spawned);
  for (group_parties::sleeper* s = d.wake; s != nullptr;) {
    auto& op = static_cast<group_operation&>(*s);
    s = s->behind;   // before the operation is completed: its frame may go then
    complete_and_schedule(*tl.owner, op);
  }
}

void group_state::forget(group_member& m, std::exception_ptr failure) noexcept {
  bool stopped = m.task->outcome == task_header::stopped;
  bool const failed = failure && !(stopped = is_echo(failure));
  if (failed && on_error_ != on_error::report) add_failure(std::move(failure), *m.task);   // its header is still there; its frame is not
  if (failed && on_error_ == on_error::stop_rest) stop(stop_reason::sibling, 0);           // as a party
  if (stopped && parties.stopping() == static_cast<unsigned char>(stop_reason::parent))
    cut_short_.store(true, std::memory_order_relaxed);
  parties.forget(m);   // from here on nobody else sees it
  if (failed && on_error_ == on_error::report) m.task = nullptr;
}

void group_state::leave() noexcept {
  group_parties::duties const d = parties.leave();
  if (!d.last) return fulfil(d);
  stop_sink sink(*tl.owner);
  settle_elsewhere(*join_, sink);   // INV-GROUP-1
}

// The errand lies in the injection queue until whoever came has spawned, or gone to do something else; a worker that is idle may be quicker: then
// the next one comes too early, and what he spawns waits for its turn.
void group_state::came() noexcept {
  if (!parties.came()) return;
  stop_sink sink(*owner_);
  sink.do_errand(pass_errand_);
}

void group_state::run_pass(errand& e) noexcept {
  group_state& g = *reinterpret_cast<group_state*>(reinterpret_cast<char*>(&e) - offsetof(group_state, pass_errand_));
  group_parties::duties const d = g.parties.pass();
  if (!d.last) return fulfil(d);
  stop_sink sink(*tl.owner);
  settle_elsewhere(*g.join_, sink);   // INV-GROUP-1
}

bool group_state::body_arrived(special_join& j) noexcept {
  group_state& g = *static_cast<group_join&>(j).group;
  tl.current = j.parent_branch;   // the body's frame has gone, and an exception's destructor may ask for the running task
  if (j.lost != 0) {   // failed or stopped: the tasks end with it
    stop_reason why = stop_reason::parent;
    std::exception_ptr e = std::exchange(first_lost(j)->error, nullptr);
    if (e && !g.is_echo(e)) {
      g.add_failure(std::move(e), *task_above(*j.parent_branch));
      why = stop_reason::sibling;
    }
    g.stop(why, 0);
  }
  return g.parties.arrive();
}

// ---------------------------------------------------------------------------------------------- stop

// A party, on a worker.
void group_state::stop(stop_reason why, std::uintptr_t bits) noexcept {
  if (parties.begin_stop(false, static_cast<unsigned char>(why)) == group_parties::stopped::nothing) return;
  {
    stop_sink sink(*tl.owner);
    request_by_party(*join_, sink, bits);
  }
  if (tell(why)) return;
  parties.add_errand();
  stop_sink sink(*tl.owner);
  sink.do_errand(errand_);   // nobody else uses it: begin_stop() was ours
}

// A party. False: there are more than one turn is worth.
bool group_state::tell(stop_reason why) noexcept {
  unsigned left = told_in_one_turn;
  for (bool more = true; more; left -= told_at_once) {
    if (left == 0) return false;
    stop_sink sink(*tl.owner);   // flushed behind the lock, unless very much is found
    more = parties.tell(told_at_once, [&](group_parties::member& m) noexcept {
      detail::request_stop(*static_cast<group_member&>(m).task, why, sink, visited_each);
    });
  }
  for (; left != 0; --left) {
    group_parties::duties const d = parties.after_stop();
    if (d.start == nullptr && d.wake == nullptr) return true;
    fulfil(d);
  }
  return false;
}

// Counted as an errand on a worker as well: who asks need not be a party, and what he stops may be all that keeps the group.
void group_state::request_stop() noexcept {
  if (parties.begin_stop(true, static_cast<unsigned char>(stop_reason::requested)) == group_parties::stopped::nothing) return;
  errand_bits_ = core::head_won;
  if (tl.owner == owner_) return run_errand(errand_);
  stop_sink sink(*owner_);
  sink.do_errand(errand_);
}

void group_claimed(special_join& j, stop_sink& sink) noexcept {
  group_state& g = *static_cast<group_join&>(j).group;
  if (g.parties.begin_stop(true, static_cast<unsigned char>(stop_reason::parent)) == group_parties::stopped::tell) sink.do_errand(g.errand_);
}

void group_state::run_errand(errand& e) noexcept {
  group_state& g = *reinterpret_cast<group_state*>(reinterpret_cast<char*>(&e) - offsetof(group_state, errand_));
  {
    stop_sink sink(*tl.owner);
    request_by_party(*g.join_, sink, g.errand_bits_);   // the body; if a walker was here, it has heard
  }
  if (!g.tell(static_cast<stop_reason>(g.parties.stopping()))) {
    stop_sink sink(*tl.owner);
    return sink.do_errand(e);   // still a party
  }
  if (!g.parties.arrive()) return;
  stop_sink sink(*tl.owner);
  settle_elsewhere(*g.join_, sink);   // INV-GROUP-1
}

// ---------------------------------------------------------------------------------------------- how it ends

verdict group_decides(special_join& j, bool from_outside) noexcept {
  group_state const& g = *static_cast<group_join&>(j).group;
  if (g.failed() || !from_outside) return verdict::resume;
  return j.lost != 0 || g.cut_short_.load(std::memory_order_relaxed) ? verdict::unwind : verdict::resume;   // as in a when_all (S8)
}

// In a group that is being stopped, who awaits one of its tasks may have task_stopped for it before the stop comes to himself: that is the stop, and no
// failure.
bool group_state::is_echo(std::exception_ptr const& e) noexcept {
  if (parties.stopping() == 0) return false;
  try {
    std::rethrow_exception(e);
  } catch (task_stopped const&) {
    return true;
  } catch (...) {
    return false;
  }
}

void group_state::add_failure(std::exception_ptr e, task_header const& of) noexcept {
  auto* const node = new (std::nothrow) failure_node{e, nullptr};   // failing needs no memory (S26): a further one that finds none is reported instead
  {
    std::lock_guard const g(failures_lock_);
    if (first_ == nullptr) {
      first_ = std::move(e);
      e = nullptr;
    } else if (first_ == e) {   // whoever awaited its task has rethrown it
      e = nullptr;
    } else if (node != nullptr) {
      node->next = others_;
      others_ = node;
      return;
    }
  }
  delete node;
  if (e) report_failure(*tl.owner, failure_report{std::move(e), &of, failure_kind::task_group});
}

namespace {

// A failure that whoever awaited its task has rethrown is there twice: the earlier one stays. An exception_ptr is one pointer, to what was thrown.
void drop_repeated(std::vector<std::exception_ptr>& all) {
  static_assert(sizeof(std::exception_ptr) == sizeof(std::uintptr_t));
  std::vector<std::pair<std::uintptr_t, std::size_t>> order(all.size());   // by what was thrown, then by time
  for (std::size_t i = 0; i != all.size(); ++i) {
    std::memcpy(&order[i].first, static_cast<void const*>(&all[i]), sizeof(std::uintptr_t));   // its bytes, to compare by
    order[i].second = i;
  }
  std::sort(order.begin(), order.end());
  for (std::size_t i = 1; i < order.size(); ++i)
    if (order[i].first == order[i - 1].first) all[order[i].second] = nullptr;
  std::erase(all, nullptr);
}

} // namespace

void group_state::throw_failures() {
  if (others_ == nullptr && on_error_ != on_error::collect) std::rethrow_exception(std::exchange(first_, nullptr));
  std::vector<std::exception_ptr> all;
  try {
    std::size_t n = 1;
    for (failure_node* f = others_; f != nullptr; f = f->next) ++n;
    all.resize(n);
    for (failure_node* f = others_; f != nullptr; f = f->next) all[--n] = f->error;
    all[0] = first_;
    drop_repeated(all);
  } catch (std::bad_alloc const&) {
    for (failure_node* f = others_; f != nullptr; f = f->next) report_failure(*tl.owner, failure_report{f->error, current_task(), failure_kind::task_group});
    std::rethrow_exception(std::exchange(first_, nullptr));
  }
  throw task_group_error(std::move(all));
}

void no_concurrency() { throw usage_error("skua: a task group with a max_concurrency of 0 would never run anything"); }

// ---------------------------------------------------------------------------------------------- finally

void throw_cleanup_failed(std::exception_ptr cleanup, std::exception_ptr awaited) {
  try {
    std::rethrow_exception(std::move(awaited));
  } catch (...) {
    throw cleanup_failed(std::move(cleanup));   // its std::nested_exception takes the one that is being handled
  }
}

} // namespace skua::detail

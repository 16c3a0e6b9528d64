// SPDX-License-Identifier: Apache-2.0
// Tasks from outside: stop requests, waiting threads, identity. detail/task_header.hpp has the words and their transitions.
#include "skua/detail/task_header.hpp"
#include "scheduler/failure.hpp"
#include "scheduler/registry.hpp"
#include "scheduler/scheduler.hpp"
#include "skua/detail/embedding.hpp"
#include "skua/detail/failure_report.hpp"
#include "skua/detail/join.hpp"
#include "skua/detail/spawn_block.hpp"
#include "skua/spawn.hpp"
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <linux/futex.h>
#include <new>
#include <sys/syscall.h>
#include <unistd.h>

namespace skua::detail {

// ---------------------------------------------------------------------------------------------- stop requests

void request_stop(task_header& h, stop_reason why) noexcept {
  if (h.state.ended() || h.stop_requested()) return;
  scheduler_lease const owner(h.owner_index.load(std::memory_order_relaxed));
  if (owner.get() == nullptr) return;   // the task ended just now, and its runtime with it
  stop_sink sink(*owner.get());
  request_stop(h, why, sink, stop_sink::requester_allowance);
}

void request_stop(task_header& h, stop_reason why, stop_sink& sink, unsigned allowance) noexcept {
  if (h.state.ended() || h.stop_requested()) return;
  stop_reason none = stop_reason::none;
  // release: pairs with the load in this_task::stop_reason(), which follows the stop bit.
  h.reason.compare_exchange_strong(none, why, std::memory_order_release, std::memory_order_relaxed);
  raise_attention();   // before the bit: whoever runs the task looks for the bit only when it sees this
  if (!core::request(h, sink, allowance)) return lower_attention();
  // The task's end gives it back if it saw it; otherwise the end of the block does. `ended` stays: nobody may give it back twice.
  auto seen = task_header::not_counted;
  if (!h.stop_count.compare_exchange_strong(seen, task_header::counted, std::memory_order_acq_rel)) lower_attention();
}

void stop_if_ending(task_header& h) noexcept {
  if (tl.owner->ending()) request_stop(h, stop_reason::shutdown);
}

void note_end(task_header& h) noexcept {
  if (h.stop_count.exchange(task_header::ended, std::memory_order_acq_rel) == task_header::counted) lower_attention();
}

void note_free(task_header& h) noexcept {
  if (h.stop_count.load(std::memory_order_acquire) == task_header::counted && h.stop_requested()) {
    h.stop_count.store(task_header::ended, std::memory_order_relaxed);
    lower_attention();
  }
}

// ---------------------------------------------------------------------------------------------- waiting threads

void wake_thread(thread_waiter& w) noexcept {
  if (w.counted != nullptr) w.counted->fetch_sub(1, std::memory_order_release);
  std::atomic<std::uint32_t>* const word = &w.signal;
  word->store(1, std::memory_order_release);   // pairs with wait_for_end(): the task's result. `w` may be gone from here on
  ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

bool begin_to_wait(task_header& h, thread_waiter& w) noexcept {
  using state = task_state<real_sync>;
  state::wait const answer = h.state.wait_for_end(reinterpret_cast<state::word>(&w) | state::thread_waits);
  SKUA_CHECK(answer != state::wait::refused, "the handle is ours");
  return answer == state::wait::registered;
}

void sleep_until_woken(thread_waiter& w) noexcept {
  while (w.signal.load(std::memory_order_acquire) == 0)
    ::syscall(SYS_futex, &w.signal, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
}

void wait_for_end(task_header& h) noexcept {
  thread_waiter w;
  if (begin_to_wait(h, w)) sleep_until_woken(w);
}

// ---------------------------------------------------------------------------------------------- identity

task_header* task_above(promise_base& branch) noexcept {
  promise_base* b = &branch;
  for (;;) {
    std::uintptr_t up = up_of(*b);
    if ((up & tag::mask) == tag::observed) up = reinterpret_cast<branch_record*>(up & ~tag::mask)->up;
    if ((up & tag::mask) == tag::root) return &header_at(up);
    b = join_at(up).parent_branch;
  }
}

task_header* current_task() noexcept { return tl.current != nullptr ? task_above(*tl.current) : nullptr; }

void refill_ids() noexcept {
  static constinit std::atomic<std::uint64_t> next{1};
  constexpr std::uint32_t batch = 1024;
  tl.next_id = next.fetch_add(batch, std::memory_order_relaxed);
  tl.id_left = batch;
}

task_label make_named(std::string_view name, std::source_location site) {
  void* const p = ::operator new(sizeof(task_context) + name.size() + 1);
  char* const text = static_cast<char*>(p) + sizeof(task_context);
  std::memcpy(text, name.data(), name.size());
  text[name.size()] = 0;
  auto* c = ::new (p) task_context;
  c->name = text;
  c->site = site;
  return task_label(*c);
}

task_label retain(task_label l) noexcept {
  if (l.is_named()) l.context().references.fetch_add(1, std::memory_order_relaxed);   // relaxed: the caller has one
  return l;
}

void release(task_label l) noexcept {
  if (!l.is_named()) return;
  task_context& c = l.context();
  if (c.references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;   // acq_rel: what others did with it happens before it is freed
  c.~task_context();
  ::operator delete(&c);
}

// ---------------------------------------------------------------------------------------------- failures nobody awaits

void report_untaken(task_header& h, std::exception_ptr& error) noexcept {
  failure_report const r{std::move(error), &h, failure_kind::task};
  std::uint16_t const number = h.owner_index.load(std::memory_order_relaxed);
  // Its own worker: the runtime may have retired already, the task was the last one; but it joins its workers before it dies.
  if (tl.owner != nullptr && tl.owner_index == number) return report_failure(*tl.owner, r);
  scheduler_lease const owner(number);
  if (owner.get() == nullptr) return deliver_failure({}, to_failure(r));   // a handle that outlived its runtime
  report_failure(*owner.get(), r);
}

void dropped_while_awaited(task_header const& h) noexcept {
  std::fprintf(stderr,
               "skua: the handle of task %llu '%s' (spawned at %s:%u) was dropped while another task awaits it. A handle must live until the await of it has "
               "ended: let the task that awaits it own it.\n",
               static_cast<unsigned long long>(h.id), h.name(), h.site().file_name(), h.site().line());
  std::abort();
}

void terminate_in_unwinding() noexcept {
  task_header const* const t = current_task();
  std::fprintf(stderr, "skua: a destructor threw while a stop unwound task %llu '%s' (spawned at %s:%u)\n",
               t ? static_cast<unsigned long long>(t->id) : 0ull, t ? t->name() : "?", t ? t->site().file_name() : "?",
               t ? t->site().line() : 0u);
  std::terminate();
}

void check_failed(char const* what, char const* file, int line) noexcept {
  std::fprintf(stderr, "skua: check failed: %s (%s:%d)\n", what, file, line);
  std::abort();
}

} // namespace skua::detail

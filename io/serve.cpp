// SPDX-License-Identifier: Apache-2.0
#include "skua/serve.hpp"
#include "io/descriptor.hpp"
#include "skua/detail/failure_report.hpp"
#include "skua/error.hpp"
#include "skua/shield.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/timeout.hpp"
#include "skua/when_any.hpp"
#include <exception>
#include <functional>
#include <new>

namespace skua::detail {

// ------------------------------------------------------------------------------------------------ connections

void connection_list::insert(link& ring, link& l) noexcept {
  l.next = &ring;
  l.previous = ring.previous;
  l.previous->next = ring.previous = &l;
}
void connection_list::remove(link& l) noexcept {
  l.previous->next = l.next;
  l.next->previous = l.previous;
}

void connection_list::enlist(entry& e, socket_handle const& connection) noexcept {
  if (connection.get() == nullptr) return;
  e.target = connection.get();
  e.generation = connection.generation();
  locked_scope const g(lock_);
  SKUA_DCHECK(!draining(), "a server accepts nothing while it drains");
  insert(open_, e);
  size_.store(size() + 1, std::memory_order_relaxed);
}

void connection_list::unlist(entry& e) noexcept {
  if (e.target == nullptr) return;
  locked_scope const g(lock_);
  remove(e);
  size_.store(size() - 1, std::memory_order_relaxed);
}

void connection_list::drain() noexcept {
  locked_scope const g(lock_);
  draining_.store(true, std::memory_order_relaxed);
}

// Outside the lock a descriptor may be anybody's by now: the generation says whether it still is what was meant.
bool connection_list::tell_some() noexcept {
  constexpr unsigned most = 32;   // a guess
  struct connection {
    descriptor* target;
    std::uint32_t generation;
  } batch[most];
  unsigned n = 0;
  {
    locked_scope const g(lock_);
    for (; n != most && open_.next != &open_; ++n) {
      entry& e = static_cast<entry&>(*open_.next);
      remove(e);
      insert(told_, e);
      batch[n] = {e.target, e.generation};
    }
  }
  for (unsigned i = 0; i != n; ++i) shut_for_reading(*batch[i].target, batch[i].generation);
  return n == most;
}

// ------------------------------------------------------------------------------------------------ the server

namespace {

// A task without a group, and behind no shield: what stops it, beside its handle, is the end of the runtime.
task<> hear_of_shutdown(event& shut_down) {
  struct telling {
    event& shut_down;
    ~telling() { shut_down.set(); }
  } const at_end{shut_down};
  event never;
  co_await never.wait();
}

} // namespace

// The body of the group is stopped by nobody but itself, in its last line, and lets no exception out behind its first one: so it always awaits the other task.
task<> keep_connections(server& s, serve_limits limits) {
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): the awaiter keeps the lambda, until its coroutine has ended
  co_await shield(with_task_group({.on_error = on_error::report, .max_concurrency = limits.max_connections}, [&](task_group& connections) -> task<> {
    event shut_down;
    auto listener = spawn(named("serve: listens for the end of the runtime"), hear_of_shutdown, std::ref(shut_down));
    s.connections = &connections;
    s.is_open.set();
    co_await s.has_closed.wait();
    s.list.drain();
    while (s.list.tell_some()) {
      try {
        co_await this_task::yield();
      } catch (std::bad_alloc const&) {   // the queue is full: fairness gives way
      }
    }
    try {
      co_await timeout(limits.grace, when_any(connections.join(), shut_down.wait()));
    } catch (timeout_error const&) {
    } catch (std::bad_alloc const&) {   // then there is no grace
    }
    listener.request_stop();
    try {
      co_await listener;
    } catch (task_stopped const&) {
    }
    connections.request_stop();
  }));
}

void refuse_to_serve_none() { throw usage_error("skua: serve: with max_connections of 0 nobody would ever be served"); }

void report_refused_connection() noexcept { report_failure(*tl.owner, failure_report{std::current_exception(), current_task(), failure_kind::task}); }

} // namespace skua::detail

namespace skua {

bool serving::draining() const noexcept { return list_.draining(); }
std::size_t serving::connections() const noexcept { return list_.size(); }

} // namespace skua

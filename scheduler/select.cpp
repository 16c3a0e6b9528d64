// SPDX-License-Identifier: Apache-2.0
// select: start, completion, stop. detail/select_core.hpp has the protocol and its invariants.
#include "skua/detail/select_operation.hpp"
#include "skua/error.hpp"
#include <algorithm>

namespace skua::detail {

constinit operation_kind const select_operation::select_kind{"select", select_operation::withdraw};

select_operation::select_operation(select_branch* const* b, source_lock* l, unsigned n) noexcept
    : operation(select_kind), leaf_frame(woken), branches(b), locks(l), count(n) {
  for (unsigned i = 0; i != n; ++i) b[i]->number = i;
}

bool claim_select(select_operation& s, unsigned branch) noexcept { return s.claims.claim(branch); }
bool claim_waiter(waiter_links& w) noexcept {
  auto& leaf = static_cast<select_leaf&>(*static_cast<leaf_frame*>(w.frame));
  return claim_select(*leaf.select, leaf.branch);
}
operation& operation_of(select_operation& s, scheduler*& owner) noexcept {
  owner = s.owner;
  return s;
}

namespace {

// Which branch is looked at first: each its turn, so that one that is always ready starves nobody. Steps by the golden section: whatever selects take turns on
// this worker, each of them meets all of its branches equally often. (Counting modulo `count`, two that alternate would see the same half for ever.)
unsigned next_turn(unsigned count) noexcept {
  static constinit thread_local std::uint32_t place [[gnu::tls_model("initial-exec")]] = 0;
  place += 0x9e3779b9u;
  return static_cast<unsigned>(std::uint64_t{place} * count >> 32);
}

} // namespace

// All locks at once, each once, in the order of their addresses. The number of locks.
unsigned select_operation::lock_channels() noexcept {
  unsigned n = 0;
  for (unsigned i = 0; i != count; ++i)
    if (select_branch& b = *branches[i]; b.waits_for(true)) locks[n++] = b.source->lock(b);
  std::sort(locks, locks + n, [](source_lock const& a, source_lock const& b) { return std::less<>{}(a.at, b.at); });
  n = static_cast<unsigned>(std::unique(locks, locks + n, [](source_lock const& a, source_lock const& b) { return a.at == b.at; }) - locks);
  for (unsigned i = 0; i != n; ++i) locks[i].change(locks[i].at, true);
  return n;
}
void select_operation::unlock_channels(unsigned n) noexcept {
  while (n != 0) --n, locks[n].change(locks[n].at, false);
}

// Of the channels, with their locks, or of the events, without: the first from `first` on that can be performed at once is.
bool select_operation::try_branches(bool channels, unsigned first, select_taken& taken) noexcept {
  unsigned i = first;
  for (unsigned tried = 0; tried != count; ++tried, i = i + 1 == count ? 0 : i + 1) {
    select_branch& b = *branches[i];
    if (b.waits_for(channels) && b.source->try_now(b, taken)) return claims.settle(i), performed = true;
  }
  return false;
}

std::coroutine_handle<> select_operation::start(std::coroutine_handle<> h) {
  if (std::none_of(branches, branches + count, [](select_branch const* b) { return b->enabled; }))
    throw usage_error("skua: a select without a branch would never end");
  if (claims.decided()) [[unlikely]] throw usage_error("skua: this select was awaited before");
  set_parent(h);
  if (!begin(*this, handle())) {
    if (stop_branch == none) return unwind(h.address());
    claims.settle(stop_branch);   // it is what has come
    return go_on_fairly(*this);
  }
  return run();
}

std::coroutine_handle<> select_operation::go_on_performed(select_taken& taken) noexcept {
  taken.wake_all();
  return go_on_fairly(*this);
}

std::coroutine_handle<> select_operation::run() noexcept {
  owner = tl.owner;
  select_taken taken;
  unsigned const first = next_turn(count);
  // An event may ask the kernel: not with a spin lock held that others wait for. So the one whose turn it is says which sort is looked at first.
  if (branches[first]->waits_for(true) && std::any_of(branches, branches + count, [](select_branch const* b) { return b->waits_for(false); })) {
    unsigned const held = lock_channels();
    bool const done = try_branches(true, first, taken);
    unlock_channels(held);
    if (done) return go_on_performed(taken);
  }
  if (try_branches(false, first, taken)) return go_on_performed(taken);
  unsigned const held = lock_channels();
  bool done = try_branches(true, first, taken);
  if (!done && default_branch != none) claims.settle(default_branch), done = performed = true;
  if (done) {
    unlock_channels(held);
    return go_on_performed(taken);
  }
  auto each = [this](bool channels, auto f) {
    for (unsigned i = 0; i != count; ++i)
      if (select_branch& b = *branches[i]; b.waits_for(channels) && !f(b)) return;
  };
  each(true, [this](select_branch& b) { return b.enlisted = true, b.source->enlist(b, *this), true; });
  unlock_channels(held);
  // From here on a channel may complete us; we are not armed, so this thread goes on with us all the same.
  each(false, [this](select_branch& b) {
    b.enlisted = true;
    if (!b.source->enlist(b, *this)) return true;
    b.enlisted = false;
    if (claims.claim(b.number)) {
      [[maybe_unused]] bool const schedule = complete(*this);
      SKUA_DCHECK(!schedule, "a select that is not armed is not scheduled");
    }
    return false;
  });
  return suspend(*this);
}

// Somebody has won, and nobody else knows of the select.
std::coroutine_handle<> select_operation::go_on_confirmed() noexcept {
  select_branch& winner = *branches[claims.winner()];
  if (performed || winner.source == nullptr || winner.source->confirm == nullptr || winner.source->confirm(winner)) return parent();
  for (unsigned i = 0; i != count; ++i) branches[i]->enlisted = false;
  claims.reopen();
  if (attention() && static_cast<branch_word*>(home)->stop_requested()) [[unlikely]] return stop_branch == none ? unwind(handle().address()) : parent();
  return run();
}

// Every enlisted branch but the winner's. The number of those that are late.
std::int32_t select_operation::take_back_losers() noexcept {
  std::int32_t late = 0;
  for (unsigned i = 0; i != count; ++i)
    if (select_branch& b = *branches[i]; b.enlisted && i != claims.winner() && !b.source->take_back(b)) ++late;
  return late;
}

std::coroutine_handle<> select_operation::woken(leaf_frame& f) noexcept {
  using duty = select_core<real_sync>::duty;
  auto& s = static_cast<select_operation&>(f);
  switch (s.claims.woken([&s] { return s.take_back_losers(); })) {
  case duty::resume: return s.go_on_confirmed();
  case duty::unwind: return s.stop_branch == none ? unwind(s.handle().address()) : s.parent();
  case duty::nothing: break;
  }
  return next_or_loop(next_local());   // INV-SELECT-3: the last one goes on with it
}

bool select_operation::withdraw(operation& o) noexcept {
  auto& s = static_cast<select_operation&>(o);
  return s.claims.withdraw(s.stop_branch != none, [&s] { return s.take_back_losers(); }, [&s] { return complete(s); });
}

// tl.current is the select's branch already: the event's operation has named it.
std::coroutine_handle<> select_event_woken(select_operation& s, unsigned number) noexcept {
  if (s.claims.event_came(number, [&s] { return complete(s); })) return s.handle();
  return next_or_loop(next_local());
}

} // namespace skua::detail

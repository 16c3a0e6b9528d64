// SPDX-License-Identifier: Apache-2.0
// The cold half of when_any; skua/when_any.hpp has the protocol.
#include "skua/when_any.hpp"
#include "skua/detail/join.hpp"
#include <algorithm>
#include <functional>
#include <utility>

namespace skua::detail {

void prepare_race(special_join& j, std::coroutine_handle<> parent, void* const* frames, void* const* outs, std::size_t n) {
  if (tl.words == nullptr) [[unlikely]] not_on_a_worker();
  tl.queue.reserve(static_cast<std::int64_t>(n));
  j.parent_branch = tl.current;
  j.head.store(core::head_special, std::memory_order_relaxed);
  j.lost = 0;
  j.decide = race_decides;
  j.count.start(static_cast<std::uint32_t>(n));
  for (std::size_t i = 0; i < n; ++i) {
    promise_base& p = promise_at(frames[i]);
    p.up = reinterpret_cast<std::uintptr_t>(static_cast<join_base*>(&j)) | tag::home;
    p.out = outs[i];
  }
  link_race_records(j, frames, n);
  j.parent = parent.address();   // last: null says that the frames are still the caller's
}

std::coroutine_handle<> launch_race(void* const* frames, std::size_t n) noexcept {
  void* const first = frames[0];
  tl.queue.push_reserved_each(n - 1, [&](std::size_t pushed) { return reinterpret_cast<item>(&promise_at(frames[n - 1 - pushed])) | kind::branch; });
  if (n > 1) notify_after_push();
  tl.current = &promise_at(first);
  return attention() && wanted_in_loop() ? detour(*tl.current) : handle_of(first);   // S21
}

verdict race_decides(special_join& j, bool from_outside) noexcept {
  if (j.head.load(std::memory_order_relaxed) & core::head_won) return verdict::resume;
  bool any_stopped = false;
  for (lost_slot* l = first_lost(j); l != nullptr; l = next_lost(*l)) any_stopped |= !l->error;
  if (from_outside && any_stopped) return verdict::unwind;
  return any_failed(j) ? verdict::resume : verdict::unwind;
}

std::vector<std::exception_ptr> take_failures(join_base& j, void* const* outs, std::size_t n) {
  std::vector<std::exception_ptr> failures;
  std::vector<void*> lost;   // slots, by address: the list has them in the order of time
  try {
    failures.reserve(n);
    lost.reserve(n);
  } catch (...) {
    discard_lost(j, failure_kind::when_any);
    free_records(j);
    throw;
  }
  for (lost_slot* l = first_lost(j); l != nullptr; l = next_lost(*l)) lost.push_back(l);
  std::sort(lost.begin(), lost.end(), std::less<>());
  for (std::size_t i = 0; i < n; ++i)
    if (std::binary_search(lost.begin(), lost.end(), outs[i], std::less<>()))
      if (lost_slot& l = *static_cast<lost_slot*>(outs[i]); l.error) failures.push_back(std::exchange(l.error, nullptr));
  discard_lost(j);
  return failures;
}

} // namespace skua::detail

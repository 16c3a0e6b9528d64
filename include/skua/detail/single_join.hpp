// SPDX-License-Identifier: Apache-2.0
// Joins of one branch: the base of timeout, shield and stopped_as_optional.
//
// The branch is started at once on this worker and never queued, so it is always "home", and its end costs no atomic operation by itself.
#pragma once
#include "../task.hpp"
#include "join.hpp"
#include <variant>

namespace skua::detail {

template <class T>
using result_of = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
SKUA_INLINE result_of<T> take_result(branch_slot<stored<T>>& s) {
  if constexpr (std::is_reference_v<T>)
    return static_cast<T>(*s.value.at);
  else
    return take_slot(s);
}

// `Base`: special_join, or what derives from it and is the same for all T.
template <class T, class Base = special_join>
class single_join : protected Base {
public:
  explicit single_join(task<T>&& t) {
    slot_.frame = t.release_checked();
    this->parent = nullptr;
  }
  single_join(single_join const&) = delete;
  ~single_join() {
    if (this->parent == nullptr) [[unlikely]] handle_of(slot_.frame).destroy();   // never awaited, or stopped before it began
  }
  bool await_ready() const noexcept { return false; }

protected:
  // Everything but the first transfer. `bits`: of the head, beside head_special.
  SKUA_INLINE void prepare(std::coroutine_handle<> h, std::uintptr_t bits) {
    if (this->parent != nullptr) [[unlikely]] task_awaited_twice();   // it was kept, and its branch is gone
    this->parent = h.address();
    this->parent_branch = tl.current;
    this->head.store(bits | core::head_special, std::memory_order_relaxed);   // published with the branch, when it suspends
    this->lost = 0;
    this->count.start(1);
  }
  SKUA_INLINE promise_base& place_branch() noexcept {
    promise_base& p = promise_at(slot_.frame);
    p.up = reinterpret_cast<std::uintptr_t>(static_cast<join_base*>(this)) | tag::home;
    p.out = &slot_;
    return p;
  }
  SKUA_INLINE std::coroutine_handle<> enter_branch() noexcept {
    promise_base& p = place_branch();
    tl.current = &p;
    return handle_of(p.frame());
  }
  bool lost_its_value() const noexcept { return this->lost != 0; }
  // After the branch failed or came to a value.
  SKUA_INLINE T take_or_rethrow() {
    if (any_failed(*this)) [[unlikely]] rethrow_first_failure(*this);
    free_records(*this);
    if constexpr (!std::is_void_v<T>) return take_result<T>(slot_);
  }

  branch_slot<stored<T>> slot_;
};

} // namespace skua::detail

// SPDX-License-Identifier: Apache-2.0
// The count of a barrier and those who wait at it. barrier.hpp explains; tests/model/barrier_model.cpp checks this code.
//
// INV-BARRIER-1  A phase ends under the lock, with the arrival that makes `left` zero: it takes all who wait, and the next phase expects everybody that was
//                not dropped. So whoever was let through and comes again is counted for the next phase.
// INV-BARRIER-2  While a phase lasts, `left` = expected - (those who wait). A stopped task that is still in the list takes its arrival back; one that was
//                taken has been let through.
#pragma once
#include "config.hpp"
#include "spin_lock.hpp"
#include <cstddef>

namespace skua::detail {

template <class Waiting>
class barrier_core {
public:
  using links = typename Waiting::links;
  using ring = typename Waiting::ring;
  enum class arrived : unsigned char { waits, last, nobody_is_expected };

  explicit barrier_core(std::size_t expected) noexcept : expected_(expected), left_(expected) {}
  barrier_core(barrier_core const&) = delete;
  bool unused() const noexcept { return waiting_.empty(); }

  // waits: `w` is in the list, and nothing may be touched any more. last: the caller goes on, and wakes `through`.
  [[nodiscard]] arrived arrive(links& w, ring& through) noexcept {
    locked_scope const g(lock_);
    if (left_ == 0) [[unlikely]] return arrived::nobody_is_expected;
    bool const last = left_ == 1;
    if (!last) waiting_.push_back(w);
    count(through);
    return last ? arrived::last : arrived::waits;
  }
  // False: more than are expected.
  [[nodiscard]] bool arrive_and_drop(ring& through) noexcept {
    locked_scope const g(lock_);
    if (expected_ == 0) [[unlikely]] return false;
    expected_ = expected_ - 1;
    count(through);
    return true;
  }
  [[nodiscard]] bool withdraw(links& w) noexcept {
    locked_scope const g(lock_);
    bool const mine = waiting_.withdraw(w);
    if (mine) left_ = left_ + 1;   // INV-BARRIER-2
    return mine;
  }

private:
  void count(ring& through) noexcept {
    left_ = left_ - 1;
    if (left_ != 0) return;
    left_ = static_cast<std::size_t>(expected_);
    through.append(waiting_.take_all());
  }
  typename Waiting::lock lock_;
  typename Waiting::sync::template var<std::size_t> expected_, left_;   // tasks of each phase; of this phase, that have not arrived
  typename Waiting::list waiting_;
};

} // namespace skua::detail

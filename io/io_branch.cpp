// SPDX-License-Identifier: Apache-2.0
#include "skua/detail/io_branch.hpp"
#include "io/descriptor.hpp"
#include <algorithm>
#include <cerrno>
#include <utility>

namespace skua::detail {

namespace {

direction direction_of(io_operation const& op) noexcept { return static_cast<direction>(op.io().direction); }

// As accept(): 10 ms, so a server without descriptors costs nothing worth mentioning; 160, so it recovers quickly.
constexpr std::uint64_t first_pause_ns = 10'000'000, last_pause_ns = 160'000'000;

} // namespace

bool io_wait::try_once() noexcept {
  error = 0;
  last = full;
  unfair = false;
  if (!claim()) return true;
  io_step const outcome = attempt();
  give_up();
  unfair = outcome == io_step::unfair;
  return outcome == io_step::done;
}

bool io_wait::enlist(scheduler& of) noexcept {
  error = 0;
  last = full;   // for take_back() and end_wait(): nothing is known
  owner = &of;
  waits_in = descriptors_of(of);
  if (!claim()) return true;
  // An event that came behind try_once() is in the word already, and no system call has looked since: wait() would take it for seen.
  if (!descriptor::worth_trying(seen, direction_of(*this))) {
    if (waits_in == nullptr)
      error = io_no_descriptors;
    else
      error = register_descriptor(*waits_in, *target, direction_of(*this));
    if (error == 0) {
      auto const w = target->wait(direction_of(*this), seen, *this);
      if (w == descriptor::waiting::published) return false;   // nothing of this is ours any more
      if (w == descriptor::waiting::closed) error = ECANCELED;
    }
  }
  give_up();
  return true;
}

bool io_wait::take_back() noexcept {
  if (!target->withdraw(direction_of(*this))) return false;
  give_up();
  return true;
}

void io_wait::end_wait() noexcept { give_up(); }

bool io_wait::try_again() noexcept {
  if (error != 0) return true;   // enlist() has failed
  bool const done = try_once();
  if (error == EBADF) error = ECANCELED;   // S19: it was closed while we waited
  return done;
}

// ---------------------------------------------------------------------------------------------- accept

// True: there is a result.
bool accept_branch::finished(bool tried) noexcept {
  if (tried && !is_short()) return true;
  if (tried) pause_ns_ = std::min(std::max(2 * pause_ns_, first_pause_ns), last_pause_ns);
  pausing_ = tried || unfair;   // unfair: others have their turn, and a stop is seen
  wait_ns_ = tried ? pause_ns_ : 0;
  error = 0;
  return false;
}

constinit select_source const accept_branch::how{
    nullptr,
    [](select_branch& b, select_taken&) noexcept {
      auto& self = static_cast<accept_branch&>(b);
      return !self.pausing_ && self.finished(self.try_once());
    },
    [](select_branch& b, select_operation& s) noexcept {
      auto& self = static_cast<accept_branch&>(b);
      if (self.pausing_) {
        self.pause_.arm(self.pause_, s, self.select_branch::number);
        arm_timer(self.pause_, clock_now_ns() + self.wait_ns_);
        return false;
      }
      self.arm(self, s, self.select_branch::number);
      return self.enlist(*s.owner);
    },
    [](select_branch& b) noexcept {
      auto& self = static_cast<accept_branch&>(b);
      return self.pausing_ ? disarm_timer(self.pause_) : self.take_back();
    },
    [](select_branch& b) noexcept {
      auto& self = static_cast<accept_branch&>(b);
      self.pausing_ = false;
      return self.finished(self.try_again());
    }};

std::coroutine_handle<> accept_branch::woken(leaf_frame& f) noexcept {
  auto& self = static_cast<accept_branch&>(static_cast<select_leaf&>(f));
  self.end_wait();
  return select_event_woken(*self.select, self.branch);
}

int accept_branch::take_number() {
  if (error != 0) throw_io_error(*this);
  return std::exchange(accepted, -1);
}

// ---------------------------------------------------------------------------------------------- readiness

constinit select_source const ready_branch::how{
    nullptr,
    [](select_branch& b, select_taken&) noexcept { return static_cast<ready_branch&>(b).look(); },
    [](select_branch& b, select_operation& s) noexcept {
      auto& self = static_cast<ready_branch&>(b);
      if (!self.duplicate()) return true;
      self.arm(self, s, self.select_branch::number);
      return self.enlist(*s.owner);
    },
    [](select_branch& b) noexcept { return static_cast<ready_branch&>(b).take_back(); },
    [](select_branch& b) noexcept { return static_cast<ready_branch&>(b).try_again(); }};

std::coroutine_handle<> ready_branch::woken(leaf_frame& f) noexcept {
  auto& self = static_cast<ready_branch&>(static_cast<select_leaf&>(f));
  self.end_wait();
  return select_event_woken(*self.select, self.branch);
}

void ready_branch::take() const {
  if (error != 0) throw_io_error(*this);
}

} // namespace skua::detail

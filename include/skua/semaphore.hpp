// SPDX-License-Identifier: Apache-2.0
// counting_semaphore: a number of permits; tasks take some and wait while there are too few.
#pragma once
#include "detail/semaphore_core.hpp"
#include "detail/waiter.hpp"
#include "error.hpp"
#include <coroutine>
#include <cstdint>
#include <utility>

namespace skua {

class counting_semaphore;

// Permits that were taken. Gives them back at the end of its scope. Movable, also to another task.
//
// Thread safety: one thread at a time. Lifetime: the semaphore must outlive it.
class [[nodiscard("the permits are given back at once if nobody keeps this")]] semaphore_permit {
public:
  semaphore_permit() noexcept = default;
  semaphore_permit(semaphore_permit&& o) noexcept : of_(std::exchange(o.of_, nullptr)), count_(std::exchange(o.count_, 0)) {}
  semaphore_permit& operator=(semaphore_permit&& o) noexcept {
    if (this != &o) {
      release();
      of_ = std::exchange(o.of_, nullptr);
      count_ = std::exchange(o.count_, 0);
    }
    return *this;
  }
  ~semaphore_permit() { release(); }

  explicit operator bool() const noexcept { return of_ != nullptr; }
  std::uint64_t count() const noexcept { return count_; }
  // Gives them back before the end of the scope. Nothing if there are none.
  inline void release() noexcept;
  // They are never given back by this object: whoever wants to calls counting_semaphore::release(). How many they were.
  std::uint64_t forget() noexcept {
    of_ = nullptr;
    return std::exchange(count_, 0);
  }

private:
  friend class counting_semaphore;
  semaphore_permit(counting_semaphore& s, std::uint64_t n) noexcept : of_(&s), count_(n) {}
  counting_semaphore* of_ = nullptr;
  std::uint64_t count_ = 0;
};

// Permits, in any number; acquire(n) takes n of them at once.
//
// Thread safety: acquire on workers; try_acquire, release and available from any thread.
// Stop: acquire is a suspension point; a stopped acquire has taken nothing, and those behind it, if there are enough for them now, go on. If it had been
// given its permits before, the task goes on with them, and its next suspension point sees the stop (S4).
// Errors: none (bad_alloc at a branch's first suspension), but for release().
// Lifetime: must outlive its permits. Who has got a permit may destroy it (once the permit is given back or forgotten), also while the releaser is still
// inside release(), if no other task is inside acquire(). Destroying it while tasks wait ends the process.
// Fairness: first come, first served: nobody overtakes a task that waits, however few permits it wants; so a large acquire is not starved by small ones. A
// wait allocates nothing.
//
//     skua::counting_semaphore connections(10);
//     auto const permit = co_await connections.acquire();
class counting_semaphore {
public:
  explicit counting_semaphore(std::uint64_t permits) noexcept : core_(permits) {}
  counting_semaphore(counting_semaphore const&) = delete;
  ~counting_semaphore() { SKUA_CHECK(core_.unused(), "a counting_semaphore was destroyed while tasks wait for it"); }

  class [[nodiscard("acquire does nothing until it is awaited")]] awaiter : public detail::sync_awaiter<awaiter> {
  public:
    semaphore_permit await_resume() noexcept { return {of_, wanted_}; }
    // For skua's own parts.
    struct parts_type {
      counting_semaphore& of;
      std::uint64_t wanted;
    };
    static constexpr bool gives_out = true;
    parts_type parts() const noexcept { return {of_, wanted_}; }
    explicit awaiter(parts_type p) noexcept : sync_awaiter(this_kind), of_(p.of), wanted_(p.wanted) {}

  private:
    friend class counting_semaphore;
    friend class detail::sync_awaiter<awaiter>;
    awaiter(counting_semaphore& s, std::uint64_t n) noexcept : awaiter(parts_type{s, n}) {}
    detail::spin_lock<>& lock() noexcept { return of_.core_.lock(); }
    detail::wait_list& list() noexcept { return of_.core_.list(); }
    bool take() noexcept { return of_.core_.take(wanted_); }
    static bool withdraw(detail::operation& op) noexcept {
      auto& self = from(op);
      detail::waiter_ring others;
      bool const mine = self.of_.core_.withdraw(self, others);
      detail::wake(std::move(others));
      return mine;
    }
    static constexpr detail::operation_kind this_kind{"semaphore", withdraw};
    counting_semaphore& of_;
    std::uint64_t wanted_;
  };
  // Takes `n` permits. 0: waits for those that came before, and takes nothing.
  awaiter acquire(std::uint64_t n = 1) noexcept { return awaiter(*this, n); }
  // An empty permit if there are too few, or others wait.
  semaphore_permit try_acquire(std::uint64_t n = 1) noexcept {
    if (core_.try_take(n)) return {*this, n};
    return {};
  }
  // Adds `n` permits: given back, or new. Errors: usage_error if they were more than 2^64 - 1 then; nothing has happened.
  void release(std::uint64_t n = 1) {
    if (!add(n)) [[unlikely]] throw usage_error("skua: a counting_semaphore was given more permits than it can count");
  }
  std::uint64_t available() const noexcept { return core_.available(); }

private:
  friend class semaphore_permit;
  bool add(std::uint64_t n) noexcept {
    detail::waiter_ring served;
    bool const added = core_.add(n, served);
    detail::wake(std::move(served));
    return added;
  }
  struct wanted {
    static std::uint64_t of(detail::waiter_links& w) noexcept { return awaiter::from(w).wanted_; }
  };
  mutable detail::semaphore_core<detail::runtime_waiting, wanted> core_;
};

inline void semaphore_permit::release() noexcept {
  if (counting_semaphore* const s = std::exchange(of_, nullptr)) (void)s->add(std::exchange(count_, 0));   // false: it has more than anybody will take
}

} // namespace skua

// SPDX-License-Identifier: Apache-2.0
// spawn_blocking: call a function that blocks, on a thread where that harms nobody.
#pragma once
#include "detail/blocking_job.hpp"
#include "detail/failure_report.hpp"
#include "detail/operation.hpp"
#include "detail/spawn_block.hpp"
#include "task.hpp"
#include <atomic>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace skua {

namespace detail {

struct blocking_operation : operation, blocking_job {
  scheduler* owner = nullptr;   // where the coroutine goes on
  blocking_operation(operation_kind const& k, function work) noexcept : operation(k), blocking_job(work, wake_up) {}

private:
  static void wake_up(blocking_job& job) noexcept {
    auto& self = static_cast<blocking_operation&>(job);
    complete_and_schedule(*self.owner, self);
  }
};

inline bool withdraw_blocking_operation(operation& op) noexcept { return withdraw_blocking(static_cast<blocking_operation&>(op)); }
inline constexpr operation_kind blocking_kind{"spawn_blocking", withdraw_blocking_operation};

// A callable and its arguments, to be called once.
template <class F, class... Args>
class deferred_call {
public:
  using result = std::remove_cv_t<std::invoke_result_t<F, Args...>>;
  static_assert(!is_task<result>, "skua: this function is a coroutine; await it, or spawn it: it would not run on a blocking thread");

  template <class G, class... A>
  explicit deferred_call(std::in_place_t, G&& f, A&&... args) : f_(std::forward<G>(f)), args_(std::forward<A>(args)...) {}
  result operator()() {
    return std::apply([this](Args&... args) -> result { return std::invoke(std::move(f_), std::move(args)...); }, args_);
  }

private:
  [[no_unique_address]] F f_;
  [[no_unique_address]] std::tuple<Args...> args_;
};

// Calls `call`, and keeps in `slot` what it returns or throws.
template <class T, class Call>
void call_into(call_slot<T>& slot, Call& call) noexcept {
  try {
    if constexpr (std::is_void_v<T>)
      call();
    else if constexpr (std::is_reference_v<T>) {
      T r = call();
      ::new (static_cast<void*>(&slot.value)) stored<T>{std::addressof(r)};
    } else
      ::new (static_cast<void*>(&slot.value)) T(call());
  } catch (...) {
    slot.fail();
  }
}

// Work that may outlive the coroutine that awaits it: everything it needs lies in the job.
//     settled   false -> true   the pool's thread, at the end of the work; the withdrawing worker. Both exchange: the first one has the operation
//                               (and the thread completes it, or the worker unwinds it), the second one frees the job (if it is the thread;
//                               a worker that comes second leaves it to the resumed coroutine).
//               release: the result, or that the coroutine has gone; acquire: the other's.
template <class T>
struct abandonable_job : blocking_job {
  using blocking_job::blocking_job;
  virtual ~abandonable_job() = default;
  std::atomic<bool> settled{false};
  operation* waiter = nullptr;
  scheduler* owner = nullptr;
  call_slot<T> slot;
};
template <class T, class Call>
struct abandonable_call final : abandonable_job<T> {
  explicit abandonable_call(Call&& c) : abandonable_job<T>(run_call, settle), call(std::move(c)) {}

private:
  static void run_call(blocking_job& job) noexcept {
    auto& self = static_cast<abandonable_call&>(job);
    call_into(self.slot, self.call);
  }
  static void settle(blocking_job& job) noexcept {
    auto& self = static_cast<abandonable_call&>(job);
    scheduler& s = *self.owner;
    operation& op = *self.waiter;
    if (!self.settled.exchange(true, std::memory_order_acq_rel)) return complete_and_schedule(s, op);   // the job is the coroutine's
    if (self.slot.failed) {
      report_failure(s, failure_report{std::move(self.slot.error), nullptr, failure_kind::blocking});
      std::destroy_at(std::addressof(self.slot.error));
    } else {
      self.slot.destroy_value();
    }
    delete &self;
  }
  Call call;
};

inline bool withdraw_abandoned(operation& op) noexcept;
inline constexpr operation_kind abandon_kind{"spawn_blocking", withdraw_abandoned};

struct abandon_operation : operation {
  blocking_job* job;
  std::atomic<bool>* settled;
  bool abandoned = false;   // the job is no longer ours
  abandon_operation(blocking_job* j, std::atomic<bool>* s) noexcept : operation(abandon_kind), job(j), settled(s) {}
};
inline bool withdraw_abandoned(operation& op) noexcept {
  auto& self = static_cast<abandon_operation&>(op);
  if (withdraw_blocking(*self.job)) return true;   // it has not begun
  self.job->abandoned.store(true, std::memory_order_relaxed);   // before: once it is settled the job is the thread's
  self.abandoned = !self.settled->exchange(true, std::memory_order_acq_rel);
  return self.abandoned;
}

} // namespace detail

// What spawn_blocking returns: the callable and its arguments, to be awaited once.
template <class Call>
class [[nodiscard("spawn_blocking does nothing until it is awaited")]] blocking_call {
public:
  using value_type = typename Call::result;

  class awaiter : detail::blocking_operation {
  public:
    explicit awaiter(Call& call) noexcept : blocking_operation(detail::blocking_kind, run_call), call_(call) {}
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      owner = detail::tl.owner;
      detail::submit_blocking(*owner, *this);   // throws before any effect
      return detail::suspend(*this);
    }
    value_type await_resume() { return slot_.take(); }

  private:
    static void run_call(detail::blocking_job& job) noexcept {
      auto& self = static_cast<awaiter&>(job);
      detail::call_into(self.slot_, self.call_);
    }
    Call& call_;
    detail::call_slot<value_type> slot_;
  };
  awaiter operator co_await() && noexcept { return awaiter(call_); }

  // For skua's own parts.
  explicit blocking_call(Call&& call) : call_(std::move(call)) {}
  Call&& take() && noexcept { return std::move(call_); }

private:
  Call call_;
};

// Calls f(args...) on a thread of the runtime's blocking pool, and gives what it returns or throws.
//
// For calls that block or compute for longer than about 100 us: a worker that is blocked runs no task. It begins when it is awaited; callable and
// arguments are decay-copied into the awaiting coroutine, and destroyed there. The pool grows up to options::max_blocking_threads; then the call
// waits for its turn, in order. Costs a thread switch each way (10 to 50 us), and no allocation.
//
// Thread safety: on workers only; f runs beside them. It may use what any thread may: promise::set_value, runtime::spawn, block_on.
// Stop: a suspension point. A call that has not begun is withdrawn and never happens. One that has begun cannot be stopped and is waited for: a
// timeout around it returns late, the call's result is delivered, and the next suspension point ends the task (S7). abandon() does not wait.
// Errors: what f throws; system_error if no thread can be created at all; bad_alloc (a branch's first suspension); then f was not called.
// Lifetime: references passed with std::ref must live until it has returned; the awaiting coroutine's own locals do.
//
//     auto rows = co_await skua::spawn_blocking(query, connection, text);
template <class F, class... Args>
auto spawn_blocking(F&& f, Args&&... args) {
  using call = detail::deferred_call<std::decay_t<F>, std::decay_t<Args>...>;
  return blocking_call<call>(call(std::in_place, std::forward<F>(f), std::forward<Args>(args)...));
}

// What abandon returns: work on the heap, to be awaited once.
template <class T>
class [[nodiscard("abandon does nothing until it is awaited")]] abandonable {
public:
  using value_type = T;

  class awaiter : detail::abandon_operation {
  public:
    explicit awaiter(std::unique_ptr<detail::abandonable_job<T>> j) noexcept
        : abandon_operation(j.get(), &j->settled), job_(j.release()) {}
    ~awaiter() {
      if (!abandoned) delete job_;
    }
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      job_->waiter = this;
      job_->owner = detail::tl.owner;
      detail::submit_blocking(*job_->owner, *job_);   // throws before any effect
      return detail::suspend(*this);
    }
    T await_resume() { return job_->slot.take(); }

  private:
    detail::abandonable_job<T>* job_;
  };
  awaiter operator co_await() && {
    if (job_ == nullptr) [[unlikely]] detail::task_awaited_twice();
    return awaiter(std::move(job_));
  }

  // For skua's own parts.
  explicit abandonable(std::unique_ptr<detail::abandonable_job<T>> j) noexcept : job_(std::move(j)) {}

private:
  std::unique_ptr<detail::abandonable_job<T>> job_;
};

// As spawn_blocking, but a stop does not wait for work that has begun: the coroutine is unwound at once, the work runs on by itself.
//
// Callable, arguments and result lie on the heap, so the work owns what it needs; it must hold no references into the coroutine that awaits it. When it
// ends after it was abandoned, its result is destroyed on the blocking thread, and its exception goes to the failure handler. The runtime waits
// for it when it shuts down (S7).
//
// Thread safety, Errors: as spawn_blocking. Stop: a suspension point, at once in every case.
//
//     auto host = co_await skua::timeout(2s, lookup(name));   // whose body is: co_return co_await skua::abandon(skua::spawn_blocking(resolve, name));
template <class Call>
auto abandon(blocking_call<Call> work) {
  using T = typename Call::result;
  return abandonable<T>(std::make_unique<detail::abandonable_call<T, Call>>(std::move(work).take()));
}

} // namespace skua

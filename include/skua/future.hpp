// SPDX-License-Identifier: Apache-2.0
// promise and future: a value that comes from anywhere, once.
//
// Both sides share one small block, the state, from the pool that coroutine frames come from (over-aligned ones do not): a word (detail/future_core.hpp has
// its protocol) and the outcome. The coroutine that awaits is
// resumed by the thread that sets the value, if that is a worker of its runtime, or else through the runtime's injection queue.
#pragma once
#include "detail/future_core.hpp"
#include "detail/operation.hpp"
#include "error.hpp"
#include "task.hpp"
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace skua {

template <class T = void>
class future;
template <class T = void>
class promise;

namespace detail {

template <class T>
struct future_branch;   // select.hpp

struct future_state_base {
  enum outcome_t : unsigned char { none, value, failed, broken };
  future_core<real_sync> core;
  outcome_t outcome = none;   // written by whoever has claimed, published by `ready`; then the future's
};

template <class T>
struct future_state : future_state_base {
  union {
    stored<T> result;
    std::exception_ptr error;
  };
  future_state() noexcept {}
  ~future_state() { discard(); }
  static void* operator new(std::size_t n) { return tl.pool.allocate(n); }
  static void operator delete(void* p, std::size_t n) noexcept { tl.pool.deallocate(p, n); }
  static void* operator new(std::size_t n, std::align_val_t a) { return ::operator new(n, a); }
  static void operator delete(void* p, std::align_val_t a) noexcept { ::operator delete(p, a); }
  void discard() noexcept {
    if (outcome == value) std::destroy_at(std::addressof(result));
    if (outcome == failed) std::destroy_at(std::addressof(error));
    outcome = none;
  }
  // By the future, once; the promise may live on.
  T take() {
    if (outcome == broken) throw broken_promise{};
    struct guard {
      future_state& s;
      ~guard() { s.discard(); }
    } const g{*this};
    if (outcome == failed) std::rethrow_exception(error);
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*result.at);
    else if constexpr (!std::is_void_v<T>)
      return std::move(result);
  }
};

struct future_operation : operation {
  scheduler* owner = nullptr;   // where the coroutine goes on
  future_state_base* state;
  future_operation(operation_kind const& k, future_state_base* s) noexcept : operation(k), state(s) {}
};
inline bool withdraw_future(operation& op) noexcept { return static_cast<future_operation&>(op).state->core.withdraw(); }
inline constexpr operation_kind future_kind{"future", withdraw_future};

// The publisher's last step. INV-FUT-3: the operation is all that it touches.
inline void complete_future_waiter(std::uintptr_t waiter) noexcept {
  if (waiter == 0) return;
  auto& op = static_cast<future_operation&>(*reinterpret_cast<operation*>(waiter));
  complete_and_schedule(*op.owner, op);
}

// May a promise<T> be set to (U...)?
template <class T, class... U>
concept outcome_of = (std::is_void_v<T> && sizeof...(U) == 0) || (sizeof...(U) == 1 && std::is_reference_v<T> && (std::is_convertible_v<U, T> && ...)) ||
                     (sizeof...(U) == 1 && !std::is_reference_v<T> && !std::is_void_v<T> && (std::constructible_from<stored<T>, U> && ...));

[[noreturn]] inline void future_misused(char const* what) { throw usage_error(what); }

} // namespace detail

// The receiving end: awaited once, it gives the value that was set, or throws the exception that was set. Movable, also between tasks.
//
// Thread safety: one thread at a time; ready() as well.
// Stop: awaiting it is a suspension point, and ends at once; nothing is lost: the future may be awaited again.
// Errors: what was set; broken_promise if the promise was destroyed without an outcome; usage_error if it is empty, was awaited before, or is being
// awaited. bad_alloc at a branch's first suspension.
// Lifetime: must outlive its await, but may be destroyed (and the promise with it) as soon as that goes on, also while the setter is
// still inside set_value(). May be dropped without being awaited: an outcome is destroyed then, an exception too (promise::abandoned()).
//
//     skua::promise<int> p;
//     auto f = p.get_future();
//     start_on_some_thread(std::move(p));      // .. p.set_value(42)
//     int const n = co_await f;
template <class T>
class [[nodiscard("a future gives its value when it is awaited")]] future {
public:
  using value_type = T;

  future() noexcept = default;
  future(future&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
  future& operator=(future&& o) noexcept {
    if (this != &o) {
      drop();
      state_ = std::exchange(o.state_, nullptr);
    }
    return *this;
  }
  ~future() { drop(); }

  // False: moved from, or awaited.
  explicit operator bool() const noexcept { return state_ != nullptr; }
  // Would an await go on at once?
  bool ready() const noexcept { return state_ != nullptr && state_->core.is_ready(); }

  class awaiter : detail::future_operation {
  public:
    explicit awaiter(future& f) noexcept : future_operation(detail::future_kind, f.state_), future_(f) {}
    bool await_ready() const {
      if (future_.state_ == nullptr) [[unlikely]] detail::future_misused("skua: this future is empty: it was awaited before, or moved from");
      return future_.ready() && !detail::attention() && detail::spend_budget();
    }
    std::coroutine_handle<> await_suspend(detail::own_coroutine h) {
      if (!detail::begin(*this, h)) [[unlikely]] return detail::unwind(h.address());
      owner = detail::tl.owner;
      using result = detail::future_core<detail::real_sync>::wait_result;
      switch (state->core.wait(reinterpret_cast<std::uintptr_t>(static_cast<operation*>(this)))) {
      case result::ready: return detail::go_on_fairly(*this);
      case result::occupied: detail::future_misused("skua: this future is being awaited by another coroutine");
      case result::waits: break;
      }
      return detail::suspend(*this);
    }
    T await_resume() {
      future const taken = std::move(future_);   // gives its reference up on every path
      if (!taken) [[unlikely]] detail::future_misused("skua: this future was moved while it was awaited");
      return taken.state_->take();
    }

  private:
    future& future_;
  };
  awaiter operator co_await() & noexcept { return awaiter(*this); }
  awaiter operator co_await() && noexcept { return awaiter(*this); }

private:
  friend class promise<T>;
  friend struct detail::future_branch<T>;
  explicit future(detail::future_state<T>* s) noexcept : state_(s) {}
  void drop() noexcept {
    using drop = detail::future_core<detail::real_sync>::drop;
    if (state_ != nullptr && state_->core.drop_future() == drop::destroy) delete state_;
    state_ = nullptr;
  }
  detail::future_state<T>* state_ = nullptr;
};

// The sending end: sets the outcome of its future, once, from any thread, be it the runtime's or not.
//
// set_value and set_exception throw usage_error if there is an outcome already; the try_ forms say false. Setting never blocks. A value whose
// constructor throws leaves the promise as it was.
//
// Thread safety: any thread; try_set_.. from several at once (one wins). Construction, move, get_future and destruction: one thread at a time.
// Stop: none: setting is no suspension point.
// Errors: usage_error, also if it was moved from; bad_alloc by the constructor; what T's constructor throws.
// Lifetime: destroying it without an outcome makes the future throw broken_promise. May outlive the future, and the runtime that awaits it.
template <class T>
class promise {
public:
  promise() : state_(new detail::future_state<T>) {}
  promise(promise&& o) noexcept : state_(std::exchange(o.state_, nullptr)), given_(o.given_) {}
  promise& operator=(promise&& o) noexcept {
    if (this != &o) {
      drop();
      state_ = std::exchange(o.state_, nullptr);
      given_ = o.given_;
    }
    return *this;
  }
  ~promise() { drop(); }

  // The one future of this promise.
  future<T> get_future() {
    detail::future_state<T>& s = state();
    if (given_) detail::future_misused("skua: this promise has given its future away before");
    given_ = true;
    s.core.give_future();
    return future<T>(&s);
  }

  // True: nobody will ever see the outcome, for the future was destroyed.
  bool abandoned() const noexcept { return given_ && state_ != nullptr && state_->core.future_is_gone(); }

  // `v` is converted to T. For promise<void> without an argument, for promise<T&> with an lvalue.
  template <class... U>
    requires detail::outcome_of<T, U...>
  void set_value(U&&... v) {
    if (!try_set_value(std::forward<U>(v)...)) already_set();
  }
  template <class... U>
    requires detail::outcome_of<T, U...>
  [[nodiscard]] bool try_set_value(U&&... v) {
    detail::future_state<T>& s = state();
    if (!s.core.claim()) return false;
    construct(s, std::forward<U>(v)...);
    s.outcome = detail::future_state_base::value;
    detail::complete_future_waiter(s.core.publish());   // INV-FUT-3: neither `s` nor `this` any more
    return true;
  }

  void set_exception(std::exception_ptr e) {
    if (!try_set_exception(std::move(e))) already_set();
  }
  [[nodiscard]] bool try_set_exception(std::exception_ptr e) {
    detail::future_state<T>& s = state();
    if (e == nullptr) detail::future_misused("skua: promise::set_exception needs an exception");
    if (!s.core.claim()) return false;
    std::construct_at(std::addressof(s.error), std::move(e));
    s.outcome = detail::future_state_base::failed;
    detail::complete_future_waiter(s.core.publish());   // INV-FUT-3
    return true;
  }

private:
  template <class... U>
  static void construct(detail::future_state<T>& s, U&&... v) {
    struct guard {
      detail::future_state<T>* s;
      ~guard() {
        if (s != nullptr) s->core.unclaim();
      }
    } g{&s};
    if constexpr (std::is_reference_v<T>)
      std::construct_at(std::addressof(s.result), detail::stored<T>{std::addressof(static_cast<T>(v))...});
    else
      ::new (static_cast<void*>(std::addressof(s.result))) detail::stored<T>(std::forward<U>(v)...);
    g.s = nullptr;
  }
  [[noreturn]] static void already_set() { detail::future_misused("skua: this promise was set before"); }
  detail::future_state<T>& state() const {
    if (state_ == nullptr) detail::future_misused("skua: this promise was moved from");
    return *state_;
  }
  void drop() noexcept {
    detail::future_state<T>* const s = std::exchange(state_, nullptr);
    if (s == nullptr) return;
    if (s->core.claim()) s->outcome = detail::future_state_base::broken;
    auto const dropped = s->core.drop_promise();
    if (dropped.what == detail::future_core<detail::real_sync>::drop::destroy) delete s;
    detail::complete_future_waiter(dropped.waiter);
  }

  detail::future_state<T>* state_ = nullptr;
  bool given_ = false;
};

} // namespace skua

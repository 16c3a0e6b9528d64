// SPDX-License-Identifier: Apache-2.0
// select: wait for several operations, perform exactly one of them.
//
//     co_await skua::select(
//         skua::on(orders.recv(), [&](std::optional<order> o) { .. }),
//         skua::on(results.send(r), [&](skua::send_result<result> s) { .. }),
//         skua::on(worker, [&](int exit_code) { .. }),                 // a join_handle<int>, which stays ours
//         skua::on(skua::sleep_for(1s), [&] { .. }));
//
// Unlike when_any, whose branches are tasks that run and are stopped, the branches of a select are single operations that commit only when they win
// (S9): a recv that loses has taken no message, a send that loses has sent none. detail/select_core.hpp has the protocol.
#pragma once
#include "channel.hpp"
#include "detail/select_operation.hpp"
#include "future.hpp"
#include "oneshot.hpp"
#include "spawn.hpp"
#include "time.hpp"
#include <array>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace skua {

namespace detail {

// ------------------------------------------------------------------------------------------------ branches, by what they wait for

template <class T, class Kind>
struct recv_branch : select_branch {
  using result_type = std::optional<T>;
  using state = typename Kind::state;
  struct spec {
    state* channel;
    using branch = recv_branch;
  };
  receiving<typename Kind::value> slot;
  channel_waiter waiting;

  explicit recv_branch(spec&& s) noexcept : select_branch(&how), waiting(receive_kind, s.channel, &slot) {}
  result_type take() {
    if (!slot.message) return std::nullopt;
    return result_type(std::move(in_cell<T>(Kind::cell(*slot.message))));
  }

private:
  static recv_branch& self(select_branch& b) noexcept { return static_cast<recv_branch&>(b); }
  static state& at(select_branch& b) noexcept { return static_cast<state&>(*self(b).waiting.channel); }
  static constexpr select_source how{
      [](select_branch& b) noexcept { return source_lock(at(b).lock_); },
      [](select_branch& b, select_taken& taken) noexcept { return at(b).receive_locked(self(b).slot.message, taken); },
      [](select_branch& b, select_operation& s) noexcept {
        self(b).waiting.select = &s;
        self(b).waiting.branch = b.number;
        at(b).receivers_.push_back(self(b).waiting);
        return false;
      },
      [](select_branch& b) noexcept {
        (void)at(b).withdraw(at(b).receivers_, self(b).waiting);   // false: dropped as a dead branch, INV-CHAN-3
        return true;
      }};
};

template <class T, class Kind>
struct send_branch : select_branch {
  using result_type = send_result<T>;
  using state = typename Kind::state;
  using value = typename Kind::value;
  struct spec {
    state* channel;
    value message;
    using branch = send_branch;
  };
  sending<value> slot;
  channel_waiter waiting;

  explicit send_branch(spec&& s) noexcept : select_branch(&how), slot(std::move(s.message)), waiting(send_kind, s.channel, &slot) {}
  result_type take() noexcept {
    if (slot.status == send_status::sent) return {};
    return result_type(slot.status, std::move(Kind::cell(slot.message)));
  }

private:
  static send_branch& self(select_branch& b) noexcept { return static_cast<send_branch&>(b); }
  static state& at(select_branch& b) noexcept { return static_cast<state&>(*self(b).waiting.channel); }
  static constexpr select_source how{
      [](select_branch& b) noexcept { return source_lock(at(b).lock_); },
      [](select_branch& b, select_taken& taken) noexcept {
        send_status const s = at(b).send_locked(self(b).slot.message, taken);
        if (s == send_status::full) return false;
        self(b).slot.status = s;
        return true;
      },
      [](select_branch& b, select_operation& s) noexcept {
        self(b).waiting.select = &s;
        self(b).waiting.branch = b.number;
        at(b).senders_.push_back(self(b).waiting);
        return false;
      },
      [](select_branch& b) noexcept {
        (void)at(b).withdraw(at(b).senders_, self(b).waiting);
        return true;
      }};
};

struct timer_branch : event_branch<timer_operation> {
  using result_type = void;
  struct spec {
    std::uint64_t deadline_ns;
    using branch = timer_branch;
  };
  explicit timer_branch(spec&& s) noexcept : event_branch(&how) { deadline_ns = s.deadline_ns; }
  void take() const noexcept {}

private:
  static timer_branch& self(select_branch& b) noexcept { return static_cast<timer_branch&>(b); }
  static bool try_now(select_branch& b, select_taken&) noexcept { return self(b).deadline_ns <= clock_now_ns(); }
  static bool enlist(select_branch& b, select_operation& s) noexcept {
    self(b).arm(s);
    arm_timer(self(b), self(b).deadline_ns);
    return false;
  }
  static bool take_back(select_branch& b) noexcept { return disarm_timer(self(b)); }
  static constexpr select_source how{nullptr, try_now, enlist, take_back};
};

template <class T>
struct join_branch : event_branch<join_operation> {
  using result_type = T;
  struct spec {
    result_block<T>* block;
    using branch = join_branch;
  };
  result_block<T>* block;
  bool refused = false;   // somebody else awaits the task

  explicit join_branch(spec&& s) noexcept : event_branch(&how, static_cast<task_header*>(s.block)), block(s.block) {}
  void check() const {
    if (block == nullptr) join_misused(join_misuse::empty);
    if (block->taken) join_misused(join_misuse::joined_before);
  }
  T take() {
    if (refused) join_misused(join_misuse::awaited_by_another);
    return typename join_handle<T>::awaiter(block).await_resume();
  }

private:
  static join_branch& self(select_branch& b) noexcept { return static_cast<join_branch&>(b); }
  static std::uintptr_t address(select_branch& b) noexcept { return reinterpret_cast<std::uintptr_t>(static_cast<operation*>(&self(b))); }
  static constexpr select_source how{nullptr,
                                     [](select_branch& b, select_taken&) noexcept { return self(b).block->state.ended(); },
                                     [](select_branch& b, select_operation& s) noexcept {
                                       using wait = task_state<real_sync>::wait;
                                       self(b).arm(s);
                                       self(b).owner = s.owner;
                                       wait const w = self(b).block->state.wait_for_end(address(b));
                                       self(b).refused = w == wait::refused;
                                       return w != wait::registered;
                                     },
                                     [](select_branch& b) noexcept { return self(b).block->state.withdraw(address(b)); }};
};

// Futures and oneshots.
template <class Branch>
inline constexpr select_source source_of_future{nullptr,
                                                [](select_branch& b, select_taken&) noexcept { return static_cast<Branch&>(b).state->core.is_ready(); },
                                                [](select_branch& b, select_operation& s) noexcept {
                                                  using result = future_core<real_sync>::wait_result;
                                                  auto& self = static_cast<Branch&>(b);
                                                  self.arm(s);
                                                  self.owner = s.owner;
                                                  result const r = self.state->core.wait(reinterpret_cast<std::uintptr_t>(static_cast<operation*>(&self)));
                                                  self.occupied = r == result::occupied;
                                                  return r != result::waits;
                                                },
                                                [](select_branch& b) noexcept { return static_cast<Branch&>(b).state->core.withdraw(); }};

template <class T>
struct future_branch : event_branch<future_operation> {
  using result_type = T;
  struct spec {
    future<T>* at;
    using branch = future_branch;
  };
  future<T>* at;
  bool occupied = false;

  explicit future_branch(spec&& s) noexcept : event_branch(&how, static_cast<future_state_base*>(s.at->state_)), at(s.at) {}
  void check() const {
    if (!*at) future_misused("skua: this future is empty: it was awaited before, or moved from");
  }
  T take() {
    if (occupied) future_misused("skua: this future is being awaited by another coroutine");
    future<T> const taken = std::move(*at);
    return taken.state_->take();
  }

private:
  static constexpr select_source how = source_of_future<future_branch>;
};

template <class T>
struct oneshot_branch : event_branch<future_operation> {
  using result_type = std::optional<T>;
  struct spec {
    oneshot_receiver<T>* at;
    using branch = oneshot_branch;
  };
  oneshot_receiver<T>* at;
  bool occupied = false;

  explicit oneshot_branch(spec&& s) noexcept : event_branch(&how, static_cast<future_state_base*>(s.at->state_)), at(s.at) {}
  void check() const {
    if (!*at) oneshot_misused("skua: this oneshot has given its message, or was moved from");
  }
  std::optional<T> take() {
    if (occupied) oneshot_misused("skua: this oneshot is being awaited by another coroutine");
    return at->take();
  }

private:
  static constexpr select_source how = source_of_future<oneshot_branch>;
};

// Locks, permits, signals, broadcast, watch: awaiters that say what they are made of (waiter.hpp).
template <class A>
concept selectable = !std::is_lvalue_reference_v<A> && requires(A& a) {
  { a.parts() } -> std::same_as<typename A::parts_type>;
};
template <class A>
struct selected_form {
  using type = A;
};
template <class A>
  requires requires { typename A::selected; }
struct selected_form<A> {
  using type = typename A::selected;
};
template <class A>
using selected = typename selected_form<A>::type;

// What nobody completes: a stop, the default.
template <bool IsStop>
struct bare_branch : select_branch {
  using result_type = void;
  struct spec {
    using branch = bare_branch;
  };
  static constexpr bool is_stop = IsStop, is_default = !IsStop;
  explicit bare_branch(spec&&) noexcept : select_branch(nullptr) {}
  void take() const noexcept {}
};
template <class Branch>
inline constexpr bool is_stop_branch = std::same_as<Branch, bare_branch<true>>;
template <class Branch>
inline constexpr bool is_default_branch = std::same_as<Branch, bare_branch<false>>;

// The handler may ignore the result.
template <class F, class R>
concept takes_result = (std::is_void_v<R> && std::invocable<F>) || std::invocable<F, R>;
template <class F, class R>
struct handled_by {
  using type = std::invoke_result_t<F>;
};
template <class F, class R>
  requires(!std::is_void_v<R> && std::invocable<F, R>)
struct handled_by<F, R> {
  using type = std::invoke_result_t<F, R>;
};

} // namespace detail

// A branch of a select: made by on().
template <class Spec, class F>
class [[nodiscard("on(..) is a branch of a select")]] select_arm {
public:
  using branch_type = typename Spec::branch;
  using result_type = typename detail::handled_by<F&, typename branch_type::result_type>::type;

  // As if the branch were not there, unless `condition`: a handle, future or oneshot of a disabled branch may be empty, or have given its result. (on()'s
  // arguments are evaluated all the same: x.recv() of a channel handle that was moved from, or the message of a send.)
  select_arm only_if(bool condition) && noexcept(std::is_nothrow_move_constructible_v<F>) {
    enabled = condition;
    return std::move(*this);
  }

  // For skua's own parts.
  select_arm(Spec&& s, F&& g) noexcept(std::is_nothrow_move_constructible_v<F>) : spec(std::move(s)), f(std::move(g)) {}
  Spec spec;
  F f;
  bool enabled = true;
};

// A stop of this task, as an event: select(on(stopping, f), ..) ends with f instead of being unwound, so that a loop can finish what it has begun. The next
// suspension point is unwound all the same (level-triggered), unless it is shielded.
struct stopping_t {};
inline constexpr stopping_t stopping{};

// on(operation, f): perform the operation, if it is the one that wins, and call f with its result; f may take no argument instead, and may return
// something, which the select returns. f runs in the task that awaits the select, after everything else has been taken back.
//
//     on(channel.recv(), f(std::optional<T>))        on(sleep_for(d), f())          on(future, f(T))        of a skua::future, given as an lvalue
//     on(channel.send(v), f(send_result<T>))         on(sleep_until(t), f())        on(stopping, f())
//     on(handle, f(T))        of a join_handle or a group's child_handle, given as an lvalue: it is joined if it wins, and otherwise as it was
//     on(answer.recv(), f(std::optional<T>))         of a oneshot
//     on(m.lock(), f(scoped_lock))                   of a mutex; a shared_mutex: f(scoped_exclusive_lock), and on(m.lock_shared(), f(scoped_shared_lock))
//     on(s.acquire(n), f(semaphore_permit))          on(e.wait(), f())         of an event, an auto_reset_event, a latch
//     on(rx.recv(), f(broadcast_message<T>))         on(tx.send(v), f(bool))   of a broadcast
//     on(rx.changed(), f(bool))                      of a watch
//     on(listener, f(tcp_stream)), or f(unix_stream), on(readable(fd), f()), on(writable(fd), f())     with <skua/select_io.hpp>
template <class T, class Kind, class F>
auto on(detail::recv_awaiter<T, Kind>&& op, F f) {
  return select_arm<typename detail::recv_branch<T, Kind>::spec, F>({&op.at()}, std::move(f));
}
template <class T, class Kind, class F>
auto on(detail::send_awaiter<T, Kind>&& op, F f) {
  return select_arm<typename detail::send_branch<T, Kind>::spec, F>({&op.at(), op.take()}, std::move(f));
}
template <class F>
auto on(detail::sleep_awaiter&& op, F f) {
  return select_arm<detail::timer_branch::spec, F>({op.deadline()}, std::move(f));
}
template <class H, class F, class T = typename H::value_type>   // a join_handle, or a child_handle
  requires std::same_as<typename H::awaiter, typename join_handle<T>::awaiter>
auto on(H& h, F f) {
  return select_arm<typename detail::join_branch<T>::spec, F>({h.block()}, std::move(f));
}
template <class T, class F>
auto on(future<T>& f, F g) {
  return select_arm<typename detail::future_branch<T>::spec, F>({&f}, std::move(g));
}
template <class A, class F, class T = typename std::remove_cvref_t<decltype(std::declval<A&>().at())>::value_type>
  requires std::same_as<A, typename oneshot_receiver<T>::awaiter>
auto on(A&& op, F f) {
  return select_arm<typename detail::oneshot_branch<T>::spec, F>({&op.at()}, std::move(f));
}
template <detail::selectable A, class F>
auto on(A&& op, F f) {
  return select_arm<typename detail::sync_branch<detail::selected<A>>::spec, F>({op.parts()}, std::move(f));
}
template <class T, class F>
select_arm<detail::bare_branch<true>::spec, void (*)()> on(task<T> const&, F) {
  static_assert(detail::never<T>, "on(task, f): a task is no branch of a select, which would have to begin it. Spawn it, and wait for its end: "
                                  "auto h = spawn(..); select(on(h, f), ..); or use when_any, timeout");
  return {{}, nullptr};
}
template <class T, class F>
select_arm<detail::bare_branch<true>::spec, void (*)()> on(join_handle<T>&&, F) {
  static_assert(detail::never<T>, "on(handle, f): the handle stays yours, as it was if another branch wins. Give it a name, and pass that: on(h, f)");
  return {{}, nullptr};
}
template <class F>
auto on(stopping_t, F f) {
  return select_arm<detail::bare_branch<true>::spec, F>({}, std::move(f));
}
// If no other branch can be performed at once: then the select does not wait.
template <class F>
auto otherwise(F f) {
  return select_arm<detail::bare_branch<false>::spec, F>({}, std::move(f));
}

namespace detail {

template <class R, class... Rs>
inline constexpr bool all_same = (std::same_as<R, Rs> && ...);
template <class R>
using select_value = std::conditional_t<std::is_void_v<R>, std::monostate, R>;
template <class R, class... Rs>
struct select_result {
  using type = std::conditional_t<all_same<R, Rs...>, R, std::variant<select_value<R>, select_value<Rs>...>>;
};

template <class X>
inline constexpr bool is_arm = false;
template <class Spec, class F>
inline constexpr bool is_arm<select_arm<Spec, F>> = true;

template <class... Arm>
class [[nodiscard("select does nothing until it is awaited")]] select_awaiter {
  static constexpr unsigned size = sizeof...(Arm);
  using result = typename select_result<typename Arm::result_type...>::type;
  static_assert(all_same<typename Arm::result_type...> || !(is_task<typename Arm::result_type> || ...),
                "skua: a handler of a select that is a coroutine is not run by it: let every handler return such a task, and await what the select gives");
  static_assert((is_stop_branch<typename Arm::branch_type> + ... + 0) <= 1, "one on(stopping, f) is enough");
  static_assert((is_default_branch<typename Arm::branch_type> + ... + 0) <= 1, "one otherwise(f) is enough");

public:
  explicit select_awaiter(Arm&&... arms)
      : branches_(std::move(arms.spec)...), handlers_(std::move(arms.f)...), op_(places_.data(), locks_.data(), number(branches_, places_)) {
    bool const enabled[] = {arms.enabled...};
    for (unsigned i = 0; i != size; ++i) places_[i]->enabled = enabled[i];
    unsigned i = 0;
    ((find_bare<typename Arm::branch_type>(i++, arms.enabled)), ...);
    std::apply([](auto&... b) { (check(b), ...); }, branches_);
  }
  select_awaiter(select_awaiter const&) = delete;
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(own_coroutine h) { return op_.start(h); }
  result await_resume() { return finish<0>(); }

private:
  using branches = std::tuple<typename Arm::branch_type...>;
  using places = std::array<select_branch*, size>;
  static unsigned number(branches& from, places& to) noexcept {
    std::apply([&to](auto&... b) { to = {static_cast<select_branch*>(&b)...}; }, from);
    return size;
  }
  // Only of those that are enabled: in a loop, what a disabled one waits for may have been taken long ago.
  template <class Branch>
  static void check(Branch const& b) {
    if constexpr (requires { b.check(); })
      if (b.enabled) b.check();
  }
  template <class Branch>
  void find_bare(unsigned i, bool enabled) noexcept {
    if (!enabled) return;
    if constexpr (is_stop_branch<Branch>) op_.stop_branch = i;
    if constexpr (is_default_branch<Branch>) op_.default_branch = i;
  }
  template <unsigned I>
  result finish() {
    if constexpr (I + 1 < size)
      if (op_.winner() != I) return finish<I + 1>();
    using branch = std::tuple_element_t<I, branches>;
    using taken = typename branch::result_type;
    auto& b = std::get<I>(branches_);
    auto& f = std::get<I>(handlers_);
    auto call = [&]() -> decltype(auto) {
      if constexpr (std::is_void_v<taken>) {
        b.take();
        return std::invoke(f);
      } else if constexpr (std::invocable<decltype(f), taken>) {
        return std::invoke(f, b.take());
      } else {
        (void)b.take();
        return std::invoke(f);
      }
    };
    using returned = decltype(call());
    if constexpr (std::same_as<returned, result>) {
      return call();
    } else if constexpr (std::is_void_v<returned>) {
      call();
      return result(std::in_place_index<I>);
    } else {
      return result(std::in_place_index<I>, call());
    }
  }

  places places_{};
  std::array<source_lock, size> locks_{};
  branches branches_;
  std::tuple<std::remove_reference_t<decltype(std::declval<Arm&>().f)>...> handlers_;
  select_operation op_;
};

} // namespace detail

// Waits until one of the operations can be performed, performs it, and no other; calls its handler.
//
// Returns what the handler returned; if the handlers' types differ, a std::variant of them, in order, with std::monostate for void. Handlers do not wait: if
// they are coroutines, all of them, the select gives the task of the one that won: co_await co_await select(..).
// Fairness: if several could be performed at once, which is looked at first rotates, so each wins equally often in the long run; there is no order of
// priority. While it waits it stands in each queue (of a channel, a lock ..) at the place where it came; a lock or permits that its turn brings decide it at
// once, and nobody overtakes. Allocates nothing (but for a box, as send()).
//
// Thread safety: on workers only. Two selects may meet each other on the same channels, in any order.
// Stop: a suspension point; nothing has been performed then, unless a branch had won before: that is delivered (S4). on(stopping, f) takes it as an event.
// Errors: what the joined task or the future threw; what the handler throws; usage_error if every branch is disabled, or what an enabled one waits for was
// taken before (a task, a future, a oneshot), or somebody else awaits it, or the select was awaited before; bad_alloc at a branch's first suspension.
// Lifetime: channel handles, join handles and futures, locks and what else is waited at must live until it has returned.
template <class... Arm>
  requires(sizeof...(Arm) > 0) && (detail::is_arm<Arm> && ...)
detail::select_awaiter<Arm...> select(Arm... arms) {
  return detail::select_awaiter<Arm...>(std::move(arms)...);
}
template <class... X>
  requires(!(detail::is_arm<std::remove_cvref_t<X>> && ...))
std::suspend_never select(X&&...) {
  static_assert(detail::never<X...>, "select(..) takes branches: select(on(channel.recv(), f), on(sleep_for(d), g))");
  return {};
}

} // namespace skua

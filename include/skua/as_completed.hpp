// SPDX-License-Identifier: Apache-2.0
// as_completed: results in the order in which they come.
//
// The tasks are tasks of a group; each puts its outcome into a queue, which the group's body empties. When there is nothing in it, the body waits at it as at
// an event (detail/wait_queue.hpp has the protocol).
#pragma once
#include "detail/any_awaitable.hpp"
#include "detail/waiter.hpp"
#include "outcome.hpp"
#include "shield.hpp"
#include "task_group.hpp"
#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <ranges>
#include <utility>
#include <vector>

namespace skua {

namespace detail {

struct completion_queue {
  struct node {
    node* next = nullptr;
  };
  // Any worker, once for each node.
  void put(node& n) noexcept {
    waiter_links* told;
    {
      locked_scope const g(lock);
      n.next = nullptr;
      (first == nullptr ? first : last->next) = &n;
      last = &n;
      told = waiting.take();
    }
    if (told != nullptr) wake(*told);
  }
  node* take() noexcept {
    locked_scope const g(lock);
    node* const n = first;
    if (n != nullptr) first = n->next;
    return n;
  }

  spin_lock<> lock;
  node *first = nullptr, *last = nullptr;
  wait_list waiting;   // the body, or nobody
};

class [[nodiscard]] next_completion : public sync_awaiter<next_completion> {
public:
  explicit next_completion(completion_queue& q) noexcept : sync_awaiter(this_kind), queue_(q) {}
  completion_queue::node& await_resume() const noexcept { return *queue_.take(); }

private:
  friend class sync_awaiter<next_completion>;
  spin_lock<>& lock() noexcept { return queue_.lock; }
  wait_list& list() noexcept { return queue_.waiting; }
  bool take() noexcept { return queue_.first != nullptr; }   // await_resume() does: nobody else takes
  static constexpr operation_kind this_kind{"completion", withdraw_this};
  completion_queue& queue_;
};

template <class T>
struct settled_task : completion_queue::node {
  std::optional<outcome<T>> result;
};
template <class T>
task<> complete_into(completion_queue& q, settled_task<T>& c, task<T> t) {
  try {
    c.result.emplace(co_await settle(std::move(t)));
  } catch (...) {
    c.result.emplace(std::current_exception());
  }
  if (c.result->stopped()) co_await end_stopped{};   // with the group, whose body ends as well: f hears of values and failures only
  q.put(c);
}

template <class F, class... A>
task<> call_and_await(F& f, A&&... a) {
  if constexpr (awaitable<std::invoke_result_t<F&, A...>>)
    co_await as_task(std::invoke(f, std::forward<A>(a)...));
  else
    std::invoke(f, std::forward<A>(a)...);
}

template <class T, class F>
task<> pass_as_completed(std::vector<task<T>> tasks, F f) {
  completion_queue queue;
  std::vector<settled_task<T>> results(tasks.size());
  auto body = [&](task_group& g) -> task<> {
    for (std::size_t i = 0; i < tasks.size(); ++i) g.spawn(complete_into<T>, std::ref(queue), std::ref(results[i]), std::move(tasks[i]));
    for (std::size_t n = results.size(); n != 0; --n) {
      auto& c = static_cast<settled_task<T>&>(co_await next_completion(queue));
      if constexpr (std::invocable<F&, std::size_t, outcome<T>>)
        co_await call_and_await(f, static_cast<std::size_t>(&c - results.data()), std::move(*c.result));
      else
        co_await call_and_await(f, std::move(*c.result));
      c.result.reset();
    }
  };
  co_await with_task_group(body);
}

} // namespace detail

// Runs the tasks concurrently and calls f with the outcome of each, in the order in which they end; one call at a time.
//
// f takes an outcome<T>, a value or a failure, or (index, outcome<T>) with the task's place in the range. It may be a coroutine (what it returns is awaited);
// the other tasks go on meanwhile. A task that fails disturbs nobody. When f throws, by outcome::value() say, the tasks that are left are stopped and awaited,
// and that is thrown.
//
// Thread safety: on workers only; f is called on any of them. Stop: a suspension point; the tasks are stopped and awaited. Errors: what f throws; bad_alloc.
// Costs a task for each, its own frame, a group and two vectors; a wait in it allocates nothing.
// Lifetime: the tasks' frames are gone when it returns, on every path. They may refer to the awaiting frame.
//
//     co_await skua::as_completed(std::move(fetches), [&](skua::outcome<page> p) { if (p) show(*p); });
template <class T, class F>
  requires std::invocable<F&, outcome<T>> || std::invocable<F&, std::size_t, outcome<T>>
task<> as_completed(std::vector<task<T>> tasks, F f) {
  return detail::pass_as_completed(std::move(tasks), std::move(f));
}
template <std::ranges::input_range R, class F>
  requires detail::range_of_awaitables<R>
task<> as_completed(R&& range, F f) {
  return as_completed(detail::as_tasks(static_cast<R&&>(range)), std::move(f));
}

} // namespace skua

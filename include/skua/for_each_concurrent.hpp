// SPDX-License-Identifier: Apache-2.0
// for_each_concurrent: a coroutine for every element of a range, a limited number at a time.
#pragma once
#include "detail/any_awaitable.hpp"
#include "error.hpp"
#include "this_task.hpp"
#include "when_all.hpp"
#include <algorithm>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace skua {

namespace detail {

// What the branches share. A branch takes the next element under the lock, which is held for a step of the iterator only.
template <class View>
class shared_range {
  using iterator = std::ranges::iterator_t<View>;

public:
  // Elements of a range that can be passed once only are kept by whoever takes them; those of others stay where they are.
  using element = std::conditional_t<std::ranges::forward_range<View>, std::ranges::range_reference_t<View>, std::ranges::range_value_t<View>>;
  using kept = std::conditional_t<std::is_lvalue_reference_v<element>, std::remove_reference_t<element>*, std::remove_cvref_t<element>>;

  explicit shared_range(View v) : view_(std::move(v)), at_(std::ranges::begin(view_)) {}
  std::optional<kept> next() {
    std::lock_guard const g(mutex_);
    if (at_ == std::ranges::end(view_)) return std::nullopt;
    std::optional<kept> x;
    if constexpr (std::is_lvalue_reference_v<element>)
      x.emplace(std::addressof(*at_));
    else
      x.emplace(*at_);
    ++at_;
    return x;
  }
  static element pass(kept& x) {
    if constexpr (std::is_lvalue_reference_v<element>)
      return *x;
    else
      return static_cast<element>(std::move(x));
  }

private:
  std::mutex mutex_;
  View view_;
  iterator at_;
};

template <class View, class F>
task<> for_elements(shared_range<View>& all, F& f) {
  for (;;) {
    co_await this_task::checkpoint();   // a stop, or a failure elsewhere: begin no more
    auto x = all.next();
    if (!x) co_return;
    co_await as_task(std::invoke(f, shared_range<View>::pass(*x)));
  }
}
template <class View, class F>
task<> for_each_limited(View view, std::size_t limit, F f) {
  if (limit == 0) throw usage_error("skua: for_each_concurrent with a limit of 0 would never end");
  std::size_t branches = limit;
  if constexpr (std::ranges::sized_range<View>) branches = std::min<std::size_t>(branches, std::ranges::size(view));
  shared_range<View> all(std::move(view));
  std::vector<task<>> workers;
  for (; branches != 0; --branches) workers.push_back(for_elements(all, f));
  co_await when_all(std::move(workers));
}

} // namespace detail

// Awaits f(x) for every element x of the range, at most `limit` of them at the same time.
//
// Elements are begun in order. On the first failure the others are stopped, all are awaited, and it is thrown; further ones go to the failure handler (S8). An
// lvalue range is used in place and must outlive the await; an rvalue is kept. f is called on any worker, by several at the same time; what it returns is
// awaited. The iterators are stepped under a lock. There are min(limit, size) branches: of a range whose size is not known give a limit that is not
// astronomical.
//
// Thread safety: on workers only. Stop: a suspension point before every element; f's coroutines are stopped, nothing more is begun.
// Errors: what f or its awaitable throws; usage_error for a limit of 0; bad_alloc.
// Costs its own frame and one for each branch, and vectors of as many elements; nothing for each element but what f makes.
//
//     co_await skua::for_each_concurrent(urls, 10, [&](std::string const& url) { return fetch(url, cache); });
template <std::ranges::input_range R, class F>
  requires std::ranges::viewable_range<R>
task<> for_each_concurrent(R&& range, std::size_t limit, F f) {
  return detail::for_each_limited(std::views::all(std::forward<R>(range)), limit, std::move(f));
}

} // namespace skua

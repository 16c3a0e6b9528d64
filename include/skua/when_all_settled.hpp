// SPDX-License-Identifier: Apache-2.0
// when_all_settled: run concurrently, await all, and say of each how it ended.
#pragma once
#include "detail/any_awaitable.hpp"
#include "outcome.hpp"
#include "shield.hpp"
#include "when_all.hpp"
#include <ranges>
#include <utility>
#include <vector>

namespace skua {

// As when_all(), but a branch that fails disturbs nobody: the results are a tuple (for a range, a vector) of outcome<T>.
//
// When a stop from outside, or a timeout around it, comes before all have ended, the rest is stopped, and the outcomes are delivered all the same: values that
// were there, and stopped() for the others. So `timeout(1s, when_all_settled(std::move(replicas)))` gives what came within a second. After a stop of the task
// the next suspension point ends it.
//
// Thread safety, lifetime: as when_all(). Stop: the fork is a suspension point; then as above. Errors: bad_alloc, before any branch has started; what moving
// a value throws, when all have ended. Costs a frame and a record for each branch more than when_all().
//
//     auto [user, ads] = co_await skua::when_all_settled(load_user(id), load_ads(id));
//     if (ads.failed()) ..
template <detail::awaitable... A>
  requires(!detail::temporary_operation<A> && ...)
auto when_all_settled(A&&... a) {
  static_assert(sizeof...(A) > 0, "when_all_settled() of nothing");
  return when_all(detail::settled(detail::as_task(static_cast<A&&>(a)))...);
}
template <detail::awaitable... A>
  requires(detail::temporary_operation<A> || ...)
auto when_all_settled(SKUA_LIFETIMEBOUND A&&... a) {
  return detail::at_once([&] { return when_all_settled(detail::as_task(static_cast<A&&>(a))...); });
}
template <class T>
auto when_all_settled(std::vector<task<T>>&& tasks) {
  std::vector<task<T>> own = std::move(tasks);
  std::vector<task<outcome<T>>> all;
  all.reserve(own.size());
  for (auto& t : own) all.push_back(detail::settled(std::move(t)));
  return when_all(std::move(all));
}
template <detail::lvalue_range_of_tasks R>
detail::when_all_range<outcome<typename std::ranges::range_value_t<R>::value_type>> when_all_settled(R&&) {
  static_assert(detail::never<R>, "when_all_settled(range) takes the tasks over: when_all_settled(std::move(range))");
  return when_all_settled(std::vector<std::ranges::range_value_t<R>>());
}
template <std::ranges::input_range R>
  requires detail::range_of_awaitables<R>
auto when_all_settled(R&& range) {
  return when_all_settled(detail::as_tasks(static_cast<R&&>(range)));
}

} // namespace skua

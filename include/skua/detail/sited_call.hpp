// SPDX-License-Identifier: Apache-2.0
// Calls with any number of arguments that know the line they were made at.
//
// A parameter pack in front of a defaulted parameter is never deduced, so there is one overload for each number of arguments, here and nowhere else: a callable
// (or `named`, then a callable) and up to twelve arguments. With more the line is not known.
// Rejected: a parameter that captures the line by an implicit conversion (the callable's type cannot be deduced through it); a class template
// `spawn` with a deduction guide (its objects are no join_handles).
#pragma once
#include "config.hpp"
#include <concepts>
#include <source_location>
#include <type_traits>
#include <utility>

// EACH(types, parameters, arguments) for a callable and 0 to 12 arguments, each of the three in parentheses, which SKUA_OPEN takes off. Everything below is
// made of it; the macros end with this header.
#define SKUA_OPEN(...) __VA_ARGS__
#define SKUA_SITE std::source_location site = std::source_location::current()
#define SKUA_EACH_NUMBER_OF_ARGUMENTS(EACH) \
  EACH((class F), (F && f), (std::forward<F>(f))) \
  EACH((class F, class A), (F && f, A && a), (std::forward<F>(f), std::forward<A>(a))) \
  EACH((class F, class A, class B), (F && f, A && a, B && b), (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b))) \
  EACH((class F, class A, class B, class C), (F && f, A && a, B && b, C && c), \
       (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c))) \
  EACH((class F, class A, class B, class C, class D), \
       (F && f, A && a, B && b, C && c, D && d), \
       (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d))) \
  EACH((class F, class A, class B, class C, class D, class E), \
       (F && f, A && a, B && b, C && c, D && d, E && e), \
       (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d), std::forward<E>(e))) \
  EACH((class F, class A, class B, class C, class D, class E, class G), \
       (F && f, A && a, B && b, C && c, D && d, E && e, G && g), \
       (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d), std::forward<E>(e), std::forward<G>(g))) \
  EACH((class F, class A, class B, class C, class D, class E, class G, class H), \
       (F && f, A && a, B && b, C && c, D && d, E && e, G && g, H && h), \
       (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d), std::forward<E>(e), std::forward<G>(g), \
        std::forward<H>(h))) \
  EACH((class F, class A, class B, class C, class D, class E, class G, class H, class I), \
       (F && f, A && a, B && b, C && c, D && d, E && e, G && g, H && h, I && i), \
       (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d), std::forward<E>(e), std::forward<G>(g), \
        std::forward<H>(h), std::forward<I>(i))) \
  EACH((class F, class A, class B, class C, class D, class E, class G, class H, class I, class J), \
       (F && f, A && a, B && b, C && c, D && d, E && e, G && g, H && h, I && i, J && j), \
       (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d), std::forward<E>(e), std::forward<G>(g), \
        std::forward<H>(h), std::forward<I>(i), std::forward<J>(j))) \
  EACH((class F, class A, class B, class C, class D, class E, class G, class H, class I, class J, class K), \
       (F && f, A && a, B && b, C && c, D && d, E && e, G && g, H && h, I && i, J && j, K && k), \
       (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d), std::forward<E>(e), std::forward<G>(g), \
        std::forward<H>(h), std::forward<I>(i), std::forward<J>(j), std::forward<K>(k))) \
  EACH((class F, class A, class B, class C, class D, class E, class G, class H, class I, class J, class K, class L), \
       (F && f, A && a, B && b, C && c, D && d, E && e, G && g, H && h, I && i, J && j, K && k, L && l), \
       (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d), std::forward<E>(e), std::forward<G>(g), \
        std::forward<H>(h), std::forward<I>(i), std::forward<J>(j), std::forward<K>(k), std::forward<L>(l))) \
  EACH((class F, class A, class B, class C, class D, class E, class G, class H, class I, class J, class K, class L, class M), \
       (F && f, A && a, B && b, C && c, D && d, E && e, G && g, H && h, I && i, J && j, K && k, L && l, M && m), \
       (std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d), std::forward<E>(e), std::forward<G>(g), \
        std::forward<H>(h), std::forward<I>(i), std::forward<J>(j), std::forward<K>(k), std::forward<L>(l), std::forward<M>(m)))

namespace skua::detail {

// A function object: f(a, b ..) calls Target::spawn_at(line, a, b ..).
template <class Target>
struct sited_call {
#define SKUA_CALL(TYPES, PARAMETERS, ARGUMENTS) \
  template <SKUA_OPEN TYPES> \
  SKUA_INLINE auto operator()(SKUA_OPEN PARAMETERS, SKUA_SITE) const { \
    return Target::spawn_at(site, SKUA_OPEN ARGUMENTS); \
  }
  SKUA_EACH_NUMBER_OF_ARGUMENTS(SKUA_CALL)
#undef SKUA_CALL
  template <class... X>
    requires(sizeof...(X) > 13)
  SKUA_INLINE auto operator()(X&&... x) const {   // the line is not recorded
    return Target::spawn_at(std::source_location(), std::forward<X>(x)...);
  }
};

// Bases that give Self a member each: f(a, b ..) calls self.f_at(line, a, b ..).
template <class Self>
class sited_spawn {
public:
#define SKUA_SPAWN(TYPES, PARAMETERS, ARGUMENTS) \
  template <SKUA_OPEN TYPES> \
  SKUA_INLINE auto spawn(SKUA_OPEN PARAMETERS, SKUA_SITE) { \
    return static_cast<Self&>(*this).spawn_at(site, SKUA_OPEN ARGUMENTS); \
  }
  SKUA_EACH_NUMBER_OF_ARGUMENTS(SKUA_SPAWN)
#undef SKUA_SPAWN
  template <class... X>
    requires(sizeof...(X) > 13)
  SKUA_INLINE auto spawn(X&&... x) {
    return static_cast<Self&>(*this).spawn_at(std::source_location(), std::forward<X>(x)...);
  }

private:
  friend Self;
  sited_spawn() noexcept = default;
};

template <class Self>
class sited_block_on {
public:
#define SKUA_BLOCK_ON(TYPES, PARAMETERS, ARGUMENTS) \
  template <SKUA_OPEN TYPES> \
  auto block_on(SKUA_OPEN PARAMETERS, SKUA_SITE) { \
    return static_cast<Self&>(*this).block_on_at(site, SKUA_OPEN ARGUMENTS); \
  }
  SKUA_EACH_NUMBER_OF_ARGUMENTS(SKUA_BLOCK_ON)
#undef SKUA_BLOCK_ON
  template <class... X>
    requires(sizeof...(X) > 13)
  auto block_on(X&&... x) {
    return static_cast<Self&>(*this).block_on_at(std::source_location(), std::forward<X>(x)...);
  }

private:
  friend Self;
  sited_block_on() noexcept = default;
};

template <class Self>
class sited_start {
public:
#define SKUA_START(TYPES, PARAMETERS, ARGUMENTS) \
  template <class Result = void, SKUA_OPEN TYPES> \
  auto start(SKUA_OPEN PARAMETERS, SKUA_SITE) { \
    return static_cast<Self&>(*this).template start_at<Result>(site, SKUA_OPEN ARGUMENTS); \
  }
  SKUA_EACH_NUMBER_OF_ARGUMENTS(SKUA_START)
#undef SKUA_START
  template <class Result = void, class... X>
    requires(sizeof...(X) > 13)
  auto start(X&&... x) {
    return static_cast<Self&>(*this).template start_at<Result>(std::source_location(), std::forward<X>(x)...);
  }

private:
  friend Self;
  sited_start() noexcept = default;
};

} // namespace skua::detail

#undef SKUA_EACH_NUMBER_OF_ARGUMENTS
#undef SKUA_SITE
#undef SKUA_OPEN

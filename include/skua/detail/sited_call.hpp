// SPDX-License-Identifier: Apache-2.0
// Calls with any number of arguments that know the line they were made at.
//
// A parameter pack in front of a defaulted parameter is never deduced, so there is one overload for each number of arguments, here and nowhere else: a callable
// (or `named`, then a callable) and up to six arguments. With more the line is not known.
// Rejected: a parameter that captures the line by an implicit conversion (the callable's type cannot be deduced through it); a class template
// `spawn` with a deduction guide (its objects are no join_handles).
#pragma once
#include "config.hpp"
#include <concepts>
#include <source_location>
#include <type_traits>
#include <utility>

namespace skua::detail {

// A function object: f(a, b ..) calls Target::spawn_at(line, a, b ..).
template <class Target>
struct sited_call {
  template <class F>
  SKUA_INLINE auto operator()(F&& f, std::source_location site = std::source_location::current()) const {
    return Target::spawn_at(site, std::forward<F>(f));
  }
  template <class F, class A>
  SKUA_INLINE auto operator()(F&& f, A&& a, std::source_location site = std::source_location::current()) const {
    return Target::spawn_at(site, std::forward<F>(f), std::forward<A>(a));
  }
  template <class F, class A, class B>
  SKUA_INLINE auto operator()(F&& f, A&& a, B&& b, std::source_location site = std::source_location::current()) const {
    return Target::spawn_at(site, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b));
  }
  template <class F, class A, class B, class C>
  SKUA_INLINE auto operator()(F&& f, A&& a, B&& b, C&& c, std::source_location site = std::source_location::current()) const {
    return Target::spawn_at(site, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c));
  }
  template <class F, class A, class B, class C, class D>
  SKUA_INLINE auto operator()(F&& f, A&& a, B&& b, C&& c, D&& d, std::source_location site = std::source_location::current()) const {
    return Target::spawn_at(site, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d));
  }
  template <class F, class A, class B, class C, class D, class E>
  SKUA_INLINE auto operator()(F&& f, A&& a, B&& b, C&& c, D&& d, E&& e, std::source_location site = std::source_location::current()) const {
    return Target::spawn_at(site, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d), std::forward<E>(e));
  }
  template <class F, class A, class B, class C, class D, class E, class G>
  SKUA_INLINE auto operator()(F&& f, A&& a, B&& b, C&& c, D&& d, E&& e, G&& g, std::source_location site = std::source_location::current()) const {
    return Target::spawn_at(site, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c),
                            std::forward<D>(d), std::forward<E>(e), std::forward<G>(g));
  }
  template <class F, class A, class B, class C, class D, class E, class G, class H, class... Rest>   // the line is not recorded
    requires(!std::same_as<std::remove_cvref_t<H>, std::source_location>)
  SKUA_INLINE auto operator()(F&& f, A&& a, B&& b, C&& c, D&& d, E&& e, G&& g, H&& h, Rest&&... rest) const {
    return Target::spawn_at(std::source_location(), std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c),
                            std::forward<D>(d), std::forward<E>(e), std::forward<G>(g), std::forward<H>(h), std::forward<Rest>(rest)...);
  }
};

// A base that gives Self the member spawn(a, b ..), which calls self.spawn_at(line, a, b ..).
template <class Self>
class sited_spawn {
public:
  template <class F>
  SKUA_INLINE auto spawn(F&& f, std::source_location site = std::source_location::current()) {
    return self().spawn_at(site, std::forward<F>(f));
  }
  template <class F, class A>
  SKUA_INLINE auto spawn(F&& f, A&& a, std::source_location site = std::source_location::current()) {
    return self().spawn_at(site, std::forward<F>(f), std::forward<A>(a));
  }
  template <class F, class A, class B>
  SKUA_INLINE auto spawn(F&& f, A&& a, B&& b, std::source_location site = std::source_location::current()) {
    return self().spawn_at(site, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b));
  }
  template <class F, class A, class B, class C>
  SKUA_INLINE auto spawn(F&& f, A&& a, B&& b, C&& c, std::source_location site = std::source_location::current()) {
    return self().spawn_at(site, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c));
  }
  template <class F, class A, class B, class C, class D>
  SKUA_INLINE auto spawn(F&& f, A&& a, B&& b, C&& c, D&& d, std::source_location site = std::source_location::current()) {
    return self().spawn_at(site, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d));
  }
  template <class F, class A, class B, class C, class D, class E>
  SKUA_INLINE auto spawn(F&& f, A&& a, B&& b, C&& c, D&& d, E&& e, std::source_location site = std::source_location::current()) {
    return self().spawn_at(site, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c), std::forward<D>(d), std::forward<E>(e));
  }
  template <class F, class A, class B, class C, class D, class E, class G>
  SKUA_INLINE auto spawn(F&& f, A&& a, B&& b, C&& c, D&& d, E&& e, G&& g, std::source_location site = std::source_location::current()) {
    return self().spawn_at(site, std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c),
                           std::forward<D>(d), std::forward<E>(e), std::forward<G>(g));
  }
  template <class F, class A, class B, class C, class D, class E, class G, class H, class... Rest>   // the line is not recorded
    requires(!std::same_as<std::remove_cvref_t<H>, std::source_location>)
  SKUA_INLINE auto spawn(F&& f, A&& a, B&& b, C&& c, D&& d, E&& e, G&& g, H&& h, Rest&&... rest) {
    return self().spawn_at(std::source_location(), std::forward<F>(f), std::forward<A>(a), std::forward<B>(b), std::forward<C>(c),
                           std::forward<D>(d), std::forward<E>(e), std::forward<G>(g), std::forward<H>(h), std::forward<Rest>(rest)...);
  }

private:
  friend Self;
  sited_spawn() noexcept = default;
  Self& self() noexcept { return static_cast<Self&>(*this); }
};

} // namespace skua::detail

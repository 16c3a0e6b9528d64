// SPDX-License-Identifier: Apache-2.0
// How the parameters of a callable take their arguments: does anything refer to these, or to what was made of them, once it has been called?
#pragma once
#include <functional>
#include <type_traits>

namespace skua::detail {

// A parameter of type P that is given an rvalue of type A: an object of its own, a scalar, or a reference to what a reference_wrapper stands for.
template <class P, class A>
inline constexpr bool takes_over = (std::is_object_v<P> && std::is_same_v<std::remove_cv_t<P>, A>) || (std::is_scalar_v<P> && std::is_scalar_v<A>);
template <class P, class T>
inline constexpr bool takes_over<P&, std::reference_wrapper<T>> = std::is_convertible_v<T*, P*>;

// A parameter that is a reference to an object that is made of the argument for the call, and dies with it: std::string const& given "text".
#if __has_builtin(__reference_converts_from_temporary)   // C++23 has it by another name
template <class P, class A>
inline constexpr bool binds_temporary = __reference_converts_from_temporary(P, A&&);
#else
template <class P, class A>
inline constexpr bool binds_temporary = false;
#endif

template <class... P>
struct parameter_list {
  template <class... A>
  static constexpr bool take_over() {
    if constexpr (sizeof...(P) == sizeof...(A))
      return (takes_over<P, A> && ...);
    else
      return false;
  }
  template <class... A>
  static constexpr bool bind_temporaries() {
    if constexpr (sizeof...(P) == sizeof...(A))
      return (binds_temporary<P, A> || ...);
    else
      return false;
  }
};

struct unknown_parameters {
  template <class...>
  static constexpr bool take_over() { return false; }
  template <class...>
  static constexpr bool bind_temporaries() { return false; }
};

// Of plain functions, of member functions, and of objects with one call operator: lambdas that are not generic.
template <class Function>
struct parameters_of_function : unknown_parameters {};
template <class R, class... P>
struct parameters_of_function<R (*)(P...)> : parameter_list<P...> {};
template <class R, class... P>
struct parameters_of_function<R (*)(P...) noexcept> : parameter_list<P...> {};
template <class R, class C, class... P>
struct parameters_of_function<R (C::*)(P...)> : parameter_list<P...> {};
template <class R, class C, class... P>
struct parameters_of_function<R (C::*)(P...) const> : parameter_list<P...> {};
template <class R, class C, class... P>
struct parameters_of_function<R (C::*)(P...) noexcept> : parameter_list<P...> {};
template <class R, class C, class... P>
struct parameters_of_function<R (C::*)(P...) const noexcept> : parameter_list<P...> {};
template <class R, class C, class... P>
struct parameters_of_function<R (C::*)(P...)&> : parameter_list<P...> {};
template <class R, class C, class... P>
struct parameters_of_function<R (C::*)(P...) const&> : parameter_list<P...> {};
template <class R, class C, class... P>
struct parameters_of_function<R (C::*)(P...) & noexcept> : parameter_list<P...> {};
template <class R, class C, class... P>
struct parameters_of_function<R (C::*)(P...) const & noexcept> : parameter_list<P...> {};

// The first argument of a member function is its object, which is kept, and the others with it.
template <class MemberFunction>
struct parameters_of_member : unknown_parameters {
  template <class Object, class... A>
  static constexpr bool bind_temporaries() { return parameters_of_function<MemberFunction>::template bind_temporaries<A...>(); }
};

template <class F>
struct parameters_of : unknown_parameters {};
template <class F>
  requires std::is_pointer_v<F>
struct parameters_of<F> : parameters_of_function<F> {};
template <class F>
  requires std::is_member_function_pointer_v<F>
struct parameters_of<F> : parameters_of_member<F> {};
template <class F>
  requires requires { &F::operator(); }
struct parameters_of<F> : parameters_of_function<decltype(&F::operator())> {};
// Hands its arguments on to somebody else, whose parameters are not known.
template <class S>
struct parameters_of<std::function<S>> : unknown_parameters {};
#if defined(__cpp_lib_move_only_function)
template <class S>
struct parameters_of<std::move_only_function<S>> : unknown_parameters {};
#endif
#if defined(__cpp_lib_copyable_function)
template <class S>
struct parameters_of<std::copyable_function<S>> : unknown_parameters {};
#endif

} // namespace skua::detail

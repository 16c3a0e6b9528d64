// SPDX-License-Identifier: Apache-2.0
// outcome<T>: how something ended: with a value, with a failure, or stopped.
#pragma once
#include "error.hpp"
#include "task.hpp"
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>
#include <variant>

namespace skua {

// What settle() and when_all_settled() give. void counts as std::monostate, a reference as std::reference_wrapper.
//
// Thread safety: as T. Errors: value() rethrows a failure, and throws task_stopped if there is none.
//
//     auto o = co_await skua::settle(fetch(url));
//     if (o.has_value()) use(*o);
template <class T = void>
class [[nodiscard("it says how it ended")]] outcome {
public:
  using value_type = T;
  using stored = std::conditional_t<std::is_void_v<T>, std::monostate,
                                    std::conditional_t<std::is_reference_v<T>, std::reference_wrapper<std::remove_reference_t<T>>, T>>;

  outcome() noexcept = default;   // stopped
  template <class... A>
  explicit outcome(std::in_place_t, A&&... a) : state_(std::in_place_index<1>, std::forward<A>(a)...) {}
  explicit outcome(std::exception_ptr failure) noexcept : state_(std::in_place_index<2>, std::move(failure)) {}

  bool has_value() const noexcept { return state_.index() == 1; }
  bool failed() const noexcept { return state_.index() == 2; }
  bool stopped() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  // Null unless it failed.
  std::exception_ptr error() const noexcept { return failed() ? std::get<2>(state_) : nullptr; }

  stored& value() & { return check(), std::get<1>(state_); }
  stored const& value() const& { return check(), std::get<1>(state_); }
  stored value() && { return check(), std::move(std::get<1>(state_)); }

  // There must be a value: it is not checked in release builds.
  stored& operator*() & noexcept { return *std::get_if<1>(&state_); }
  stored const& operator*() const& noexcept { return *std::get_if<1>(&state_); }
  stored&& operator*() && noexcept { return std::move(*std::get_if<1>(&state_)); }
  stored* operator->() noexcept { return std::get_if<1>(&state_); }
  stored const* operator->() const noexcept { return std::get_if<1>(&state_); }

private:
  void check() const {
    if (failed()) std::rethrow_exception(std::get<2>(state_));
    if (stopped()) throw task_stopped{};
  }
  std::variant<std::monostate, stored, std::exception_ptr> state_;
};

} // namespace skua

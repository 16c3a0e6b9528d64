// SPDX-License-Identifier: Apache-2.0
// lazy<T>: a value that is made by the first task that needs it.
#pragma once
#include "detail/spawn_block.hpp"
#include "once.hpp"
#include "task.hpp"
#include <concepts>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace skua {

// A value that a coroutine (or a function) makes when it is needed for the first time. Who needs it meanwhile waits. If making it throws, or its task is
// stopped, the next one tries.
//
// Thread safety: get on workers; peek from any thread. The value itself is yours to guard.
// Stop, errors, fairness: as once. Lifetime: must outlive its uses and the references that get() has returned.
//
//     skua::lazy<pool> connections([]() -> skua::task<pool> { co_return co_await pool::connect(host); });
//     pool& p = co_await connections.get();
template <class T, class Make = std::function<task<T>()>>
  requires std::is_object_v<T>
class lazy {
public:
  explicit lazy(Make make) : make_(std::move(make)) {}
  lazy(lazy const&) = delete;
  ~lazy() {
    SKUA_CHECK(!state_.is_running(), "a lazy value was destroyed while it is being made");
    if (state_.is_done()) std::destroy_at(std::addressof(value_));
  }

  // The value; makes it if nobody has. A coroutine: costs its frame.
  task<T&> get() {
    bool const makes = co_await detail::once_entry(state_);
    if (makes) {
      detail::once_runner runner(state_);
      if constexpr (detail::is_task<std::invoke_result_t<Make&>>) {
        T made = co_await std::invoke(make_);
        ::new (static_cast<void*>(std::addressof(value_))) T(std::move(made));
      } else {
        ::new (static_cast<void*>(std::addressof(value_))) T(std::invoke(make_));
      }
      runner.finish();
    }
    co_return value_;
  }
  // The value if it has been made, else null: one load, no coroutine.
  T* peek() noexcept { return state_.is_done() ? std::addressof(value_) : nullptr; }

private:
  detail::once_state state_;
  Make make_;
  union {
    T value_;
  };
};

} // namespace skua

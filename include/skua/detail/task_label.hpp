// SPDX-License-Identifier: Apache-2.0
// Where a task was spawned, and its name if it has one, in one word.
#pragma once
#include "compiler.hpp"
#include <atomic>
#include <bit>
#include <cstdint>
#include <source_location>
#include <string_view>
#include <type_traits>

namespace skua::detail {

// What only tasks with a name have. Shared by reference count.
struct task_context {
  char const* name = "";   // behind the context, in its block
  std::source_location site;
  std::atomic<std::uint32_t> references{1};
};

// A task without a name keeps the place itself, which is a pointer to a constant; a task with one a pointer to its context, with bit 0 set. Copies share
// the one reference to it that make_named() has given, until somebody retains another.
class task_label {
public:
  task_label() noexcept : task_label(std::source_location()) {}
  task_label(std::source_location site) noexcept : word_(std::bit_cast<std::uintptr_t>(site)) {}
  explicit task_label(task_context& c) noexcept : word_(reinterpret_cast<std::uintptr_t>(&c) | named) {}

  std::source_location site() const noexcept { return is_named() ? context().site : std::bit_cast<std::source_location>(word_); }
  char const* name() const noexcept { return is_named() ? context().name : ""; }
  bool is_named() const noexcept { return (word_ & named) != 0; }
  task_context& context() const noexcept { return *reinterpret_cast<task_context*>(word_ & ~named); }   // only if it is named

private:
  static constexpr std::uintptr_t named = 1;
  static_assert(sizeof(std::source_location) == sizeof(std::uintptr_t) && std::is_trivially_copyable_v<std::source_location>,
                "skua: a standard library whose source_location is more than a pointer");
  std::uintptr_t word_;
};

// One reference. Throws bad_alloc.
task_label make_named(std::string_view name, std::source_location site);
task_label retain(task_label l) noexcept;   // one more; the caller has one
void release(task_label l) noexcept;

} // namespace skua::detail

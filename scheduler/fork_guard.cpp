// SPDX-License-Identifier: Apache-2.0
#include "skua/detail/fork_guard.hpp"
#include "skua/error.hpp"
#include <atomic>
#include <pthread.h>

namespace skua::detail {

namespace {

std::atomic<bool> forked{false};

void in_child() noexcept { forked.store(true, std::memory_order_relaxed); }

// The handler is registered when the first runtime is made, so a child of a process without one may make its own.
void watch_forks() {
  static int const registered = pthread_atfork(nullptr, nullptr, in_child);
  (void)registered;
}

} // namespace

bool is_forked() noexcept { return forked.load(std::memory_order_relaxed); }   // relaxed: written before anything else runs in the child

void check_not_forked() {
  watch_forks();
  if (is_forked())
    throw usage_error("skua: the runtime cannot be used in a child after fork(); call exec, or make the runtime after the fork");
}

} // namespace skua::detail

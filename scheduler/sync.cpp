// SPDX-License-Identifier: Apache-2.0
// The kernel's half of detail/sync.hpp: membarrier(2) and sched_yield(2).
#include "skua/detail/sync.hpp"
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace skua::detail {

bool register_heavy_barrier() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void real_sync::heavy_barrier() noexcept {
  // The kernel runs a barrier on every other processor that runs a thread of this process, and on this one.
  [[maybe_unused]] long const r = ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  SKUA_DCHECK(r == 0, "heavy_barrier() without register_heavy_barrier()");
}

void real_sync::backoff::pause() noexcept {
  std::uint64_t const now = cpu_ticks() | 1;
  if (since_ticks_ == 0) since_ticks_ = now;
  if (now - since_ticks_ < backoff_ticks)
    cpu_pause();
  else
    ::sched_yield();
}

} // namespace skua::detail

// SPDX-License-Identifier: Apache-2.0
// A lock for sections of a few dozen instructions that never block, allocate or run user code.
//
// One RMW to lock, one store to unlock. It is not fair and does not sleep: whoever waits spins for a moment, then yields the processor, so
// that the holder can go on even if both share a core. BasicLockable and Lockable: std::lock_guard and std::unique_lock work on it.
//
// word_   0 free, 1 held.  0 -> 1: anybody, exchange acquire.  1 -> 0: the holder, store release.
// INV-LOCK-1  The exchange that returns 0 reads the store of the last unlock() (or an exchange behind it), so the holder has acquired
//             everything that earlier holders wrote.
//
// Thread safety: all members from any thread; unlock() by the holder only.
#pragma once
#include "sync.hpp"
#include <atomic>

namespace skua::detail {

template <class Sync = real_sync>
class spin_lock {
public:
  constexpr spin_lock() noexcept = default;
  spin_lock(spin_lock const&) = delete;
  spin_lock& operator=(spin_lock const&) = delete;

  SKUA_INLINE void lock() noexcept {
    if (word_.exchange(1, std::memory_order_acquire) != 0) [[unlikely]]   // acquire: pairs with the release in unlock()
      lock_slow();
  }

  [[nodiscard]] SKUA_INLINE bool try_lock() noexcept {
    return word_.load(std::memory_order_relaxed) == 0 &&                 // relaxed: a hint; does not take the line from the holder
           word_.exchange(1, std::memory_order_acquire) == 0;            // acquire: pairs with the release in unlock()
  }

  SKUA_INLINE void unlock() noexcept { word_.store(0, std::memory_order_release); }   // release: pairs with lock(), try_lock()

private:
  SKUA_COLD void lock_slow() noexcept {
    typename Sync::backoff wait;
    do wait.pause();
    while (!try_lock());
  }

  typename Sync::template atomic<std::uint32_t> word_{0};
};

static_assert(sizeof(spin_lock<>) == 4);

// Scope of a lock, without <mutex>.
template <class Lock>
class locked_scope {
public:
  SKUA_INLINE explicit locked_scope(Lock& l) noexcept : lock_(l) { lock_.lock(); }
  SKUA_INLINE ~locked_scope() { lock_.unlock(); }
  locked_scope(locked_scope const&) = delete;

private:
  Lock& lock_;
};

} // namespace skua::detail

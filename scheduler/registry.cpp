// SPDX-License-Identifier: Apache-2.0
#include "scheduler/registry.hpp"
#include "skua/error.hpp"
#include <array>
#include <atomic>
#include <mutex>
#include <thread>

namespace skua::detail {

namespace {

struct place {
  std::atomic<scheduler*> scheduler_at{nullptr};
  std::atomic<std::uint32_t> leases{0};
};
constinit std::array<place, most_schedulers> places{};

std::mutex numbering;   // the next two
std::array<bool, most_schedulers> taken{};
std::uint16_t last = 0;

} // namespace

scheduler_number::scheduler_number() : value_(0) {
  std::lock_guard g(numbering);
  for (unsigned i = 1; i < most_schedulers; ++i) {
    auto const n = static_cast<std::uint16_t>((last + i) % most_schedulers);
    if (n == 0 || taken[n]) continue;
    taken[n] = true;
    last = value_ = n;
    return;
  }
  throw usage_error("skua: too many runtimes are alive");
}

scheduler_number::~scheduler_number() {
  std::lock_guard g(numbering);
  taken[value_] = false;
}

void scheduler_number::announce(scheduler& s) noexcept { places[value_].scheduler_at.store(&s, std::memory_order_seq_cst); }

void scheduler_number::retire() noexcept {
  places[value_].scheduler_at.store(nullptr, std::memory_order_seq_cst);   // INV-LEASE-1
  while (places[value_].leases.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
}

scheduler_lease::scheduler_lease(std::uint16_t number) noexcept : number_(number) {
  places[number_].leases.fetch_add(1, std::memory_order_seq_cst);   // INV-LEASE-1
  scheduler_ = places[number_].scheduler_at.load(std::memory_order_seq_cst);
}

// release: what was done with the scheduler, to retire().
scheduler_lease::~scheduler_lease() { places[number_].leases.fetch_sub(1, std::memory_order_seq_cst); }

} // namespace skua::detail

// SPDX-License-Identifier: Apache-2.0
// Files through the blocking pool: the engine that always works.
#pragma once
#include "scheduler/blocking_pool.hpp"
#include "scheduler/file_engine.hpp"
#include <atomic>
#include <cstddef>

namespace skua::detail {

class file_threads final : public file_engine {
public:
  explicit file_threads(blocking_pool& pool) noexcept : pool_(pool) {}
  ~file_threads() override;
  char const* name() const noexcept override { return "threads"; }
  void submit(file_request& r) override;
  [[nodiscard]] bool withdraw(file_request& r) noexcept override;
  std::size_t in_flight() const noexcept override { return in_flight_.load(std::memory_order_relaxed); }

  // The blocking_job functions of every request.
  static void run(blocking_job& job) noexcept;
  static void finish(blocking_job& job) noexcept;

private:
  void ended(file_request& r) noexcept;

  blocking_pool& pool_;
  std::atomic<std::size_t> in_flight_{0};
};

} // namespace skua::detail

// SPDX-License-Identifier: Apache-2.0
// An open descriptor and who uses it: the file object, and every operation that is under way.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

namespace skua::detail {

class file_handle {
public:
  file_handle(int descriptor, std::string name) : fd(descriptor), path(std::move(name)) {}
  file_handle(file_handle const&) = delete;

  int fd;   // -1: not open yet, closed or released; written by the only owner
  std::string const path;
  std::atomic<bool> cache_readable{true};   // false: the kernel cannot read this file without blocking; a hint

  void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  // The last one closes. release: what this owner did; acquire: what the others did.
  void drop_reference() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }
  bool only_owner() const noexcept { return references_.load(std::memory_order_acquire) == 1; }   // pairs with drop_reference()

private:
  ~file_handle() = default;
  void destroy() noexcept;
  std::atomic<std::uint32_t> references_{1};
};

class handle_ref {
public:
  explicit handle_ref(file_handle* h) noexcept : h_(h) { h_->add_reference(); }
  handle_ref(handle_ref const& o) noexcept : handle_ref(o.h_) {}
  handle_ref& operator=(handle_ref const&) = delete;
  ~handle_ref() { h_->drop_reference(); }
  file_handle& operator*() const noexcept { return *h_; }
  file_handle* operator->() const noexcept { return h_; }

private:
  file_handle* h_;
};

} // namespace skua::detail

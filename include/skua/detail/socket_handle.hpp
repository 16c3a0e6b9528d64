// SPDX-License-Identifier: Apache-2.0
// The owner of a descriptor: what the public socket classes consist of. One pointer.
#pragma once
#include <utility>

namespace skua::detail {

struct descriptor;
// Implemented in io/descriptor.cpp; io/descriptor.hpp says more.
descriptor& open_descriptor(int number);
void close_descriptor(descriptor& d) noexcept;
int number_of(descriptor const& d) noexcept;
// Throws usage_error while somebody uses it.
int release_number(descriptor& d);

class socket_handle {
public:
  socket_handle() noexcept = default;
  explicit socket_handle(int number) : descriptor_(&open_descriptor(number)) {}   // closes it if it throws
  socket_handle(socket_handle&& o) noexcept : descriptor_(std::exchange(o.descriptor_, nullptr)) {}
  socket_handle& operator=(socket_handle&& o) noexcept {
    if (this != &o) {
      close();
      descriptor_ = std::exchange(o.descriptor_, nullptr);
    }
    return *this;
  }
  ~socket_handle() { close(); }

  explicit operator bool() const noexcept { return descriptor_ != nullptr; }
  descriptor* get() const noexcept { return descriptor_; }
  int number() const noexcept { return descriptor_ != nullptr ? number_of(*descriptor_) : -1; }
  void close() noexcept {
    if (descriptor* const d = std::exchange(descriptor_, nullptr)) close_descriptor(*d);
  }
  int release() {
    if (descriptor_ == nullptr) return -1;
    int const n = release_number(*descriptor_);
    descriptor_ = nullptr;
    return n;
  }

private:
  descriptor* descriptor_ = nullptr;
};

} // namespace skua::detail

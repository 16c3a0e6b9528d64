// SPDX-License-Identifier: Apache-2.0
// The owner of a descriptor: what the public socket classes consist of.
#pragma once
#include <atomic>
#include <cstdint>

namespace skua::detail {

struct descriptor;
// What a read of fewer bytes than were asked for says. Of TCP: the kernel has no more, and another call would only say so. Of other
// sockets nothing: a read of a Unix-domain stream ends in front of descriptors that were passed, or at another sender's bytes.
enum class short_transfer : bool { means_nothing, means_blocked };

// Implemented in io/descriptor.cpp; io/descriptor.hpp says more.
descriptor& open_descriptor(int number, short_transfer = short_transfer::means_nothing);
descriptor& adopt_descriptor(int number, short_transfer = short_transfer::means_nothing);
void close_descriptor(descriptor& d) noexcept;
int number_of(descriptor const& d) noexcept;
std::uint32_t generation_of(descriptor const& d) noexcept;
// Throws usage_error while somebody uses it.
int release_number(descriptor& d);

// The address is atomic, and the generation stays as it is, so that a task may close what another one is about to use: that one is refused then. Moving is
// for one thread at a time.
class socket_handle {
public:
  socket_handle() noexcept = default;
  explicit socket_handle(int number, short_transfer s = short_transfer::means_nothing)
      : socket_handle(open_descriptor(number, s)) {}   // closes it if it throws
  static socket_handle adopt(int number, short_transfer s = short_transfer::means_nothing) { return socket_handle(adopt_descriptor(number, s)); }   // does not
  socket_handle(socket_handle&& o) noexcept : descriptor_(o.take()), generation_(o.generation_) {}
  socket_handle& operator=(socket_handle&& o) noexcept {
    if (this != &o) {
      close();
      generation_ = o.generation_;
      descriptor_.store(o.take(), std::memory_order_relaxed);
    }
    return *this;
  }
  ~socket_handle() { close(); }

  explicit operator bool() const noexcept { return get() != nullptr; }
  descriptor* get() const noexcept { return descriptor_.load(std::memory_order_relaxed); }   // what it says is checked by claiming
  std::uint32_t generation() const noexcept { return generation_; }
  int number() const noexcept { return get() != nullptr ? number_of(*get()) : -1; }
  void close() noexcept {
    if (get() == nullptr) return;
    if (descriptor* const d = take()) close_descriptor(*d);
  }
  int release() {
    if (get() == nullptr) return -1;
    int const n = release_number(*get());
    take();
    return n;
  }

private:
  explicit socket_handle(descriptor& d) noexcept : descriptor_(&d), generation_(generation_of(d)) {}
  descriptor* take() noexcept { return descriptor_.exchange(nullptr, std::memory_order_relaxed); }

  std::atomic<descriptor*> descriptor_{nullptr};
  std::uint32_t generation_ = 0;
};

} // namespace skua::detail

// SPDX-License-Identifier: Apache-2.0
// endpoint: an IP address and a port.
#pragma once
#include "detail/compiler.hpp"
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace skua {

// An IPv4 or IPv6 address with a port. A plain value of 28 bytes; laid out as the kernel wants it.
//
// Thread safety: as an int. Errors: the constructor throws std::invalid_argument for text that is no address; names are for resolve().
//
//     skua::endpoint const here = skua::endpoint::loopback(8080);
//     skua::endpoint const there("2001:db8::1", 443);
class endpoint {
public:
  // No address: is_v4() and is_v6() are false.
  endpoint() noexcept = default;
  // "192.0.2.1", "::1", "fe80::1%eth0".
  endpoint(std::string_view address, std::uint16_t port);

  // "192.0.2.1:80", "[::1]:80". Empty if it is not of that form.
  static std::optional<endpoint> parse(std::string_view text) noexcept;

  // This machine, over IPv4 and over IPv6. Port 0: the kernel chooses one when a listener is bound.
  static endpoint loopback(std::uint16_t port) noexcept;
  static endpoint loopback_v6(std::uint16_t port) noexcept;
  // Every interface: for listening. any_v6 takes IPv4 connections as well, unless listen_options say otherwise.
  static endpoint any(std::uint16_t port) noexcept;
  static endpoint any_v6(std::uint16_t port) noexcept;

  bool is_v4() const noexcept;
  bool is_v6() const noexcept;
  std::uint16_t port() const noexcept;
  endpoint with_port(std::uint16_t port) const noexcept;

  // As the constructor takes it.
  std::string address() const;
  // As parse() takes it. "(none)" without an address.
  std::string to_string() const;

  friend bool operator==(endpoint const&, endpoint const&) noexcept = default;
  friend std::strong_ordering operator<=>(endpoint const&, endpoint const&) noexcept = default;

  // For C calls: a sockaddr_in or sockaddr_in6. native_size() is what the kernel wants to hear, 0 without an address.
  void const* native() const noexcept { return bytes_.data(); }
  std::size_t native_size() const noexcept;
  // From a sockaddr of `size` bytes; empty if it is neither IPv4 nor IPv6.
  static std::optional<endpoint> from_native(void const* sockaddr, std::size_t size) noexcept;

private:
  // What is not used is 0, so that equal endpoints have equal bytes.
  alignas(4) std::array<std::byte, 28> bytes_{};
};

} // namespace skua

template <>
struct std::hash<skua::endpoint> {
  std::size_t operator()(skua::endpoint const& e) const noexcept {
    return std::hash<std::string_view>{}({static_cast<char const*>(e.native()), sizeof(skua::endpoint)});
  }
};

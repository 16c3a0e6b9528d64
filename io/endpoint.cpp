// SPDX-License-Identifier: Apache-2.0
#include "skua/endpoint.hpp"
#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <net/if.h>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/socket.h>

namespace skua {

namespace {

template <class Sockaddr>
Sockaddr as(endpoint const& e) noexcept {
  Sockaddr a;
  std::memcpy(&a, e.native(), sizeof a);
  return a;
}
sa_family_t family(endpoint const& e) noexcept { return as<sa_family_t>(e); }   // the first member of both

template <class Sockaddr>
endpoint from(Sockaddr const& a) noexcept {
  return *endpoint::from_native(&a, sizeof a);
}

endpoint v4(in_addr address, std::uint16_t port) noexcept {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr = address;
  return from(a);
}
endpoint v6(in6_addr const& address, std::uint16_t port, std::uint32_t scope = 0) noexcept {
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6;
  a.sin6_port = htons(port);
  a.sin6_addr = address;
  a.sin6_scope_id = scope;
  return from(a);
}

template <class Number>
bool whole_number(std::string_view text, Number& n) noexcept {
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  return error == std::errc{} && end == text.data() + text.size();
}

// "eth0" or "2".
bool scope_of(std::string_view text, std::uint32_t& scope) noexcept {
  if (text.empty()) return false;
  if (whole_number(text, scope)) return true;
  char name[IF_NAMESIZE];
  if (text.size() >= sizeof name) return false;
  std::memcpy(name, text.data(), text.size());
  name[text.size()] = 0;
  return (scope = ::if_nametoindex(name)) != 0;
}

std::optional<endpoint> parse_address(std::string_view text, std::uint16_t port) noexcept {
  std::uint32_t scope = 0;
  auto const percent = text.find('%');
  if (percent != text.npos && !scope_of(text.substr(percent + 1), scope)) return {};
  std::string_view const address = text.substr(0, percent);
  char buffer[INET6_ADDRSTRLEN];
  if (address.size() >= sizeof buffer || address.find('\0') != address.npos) return {};
  std::memcpy(buffer, address.data(), address.size());
  buffer[address.size()] = 0;
  in_addr a4;
  in6_addr a6;
  if (percent == text.npos && ::inet_pton(AF_INET, buffer, &a4) == 1) return v4(a4, port);
  if (::inet_pton(AF_INET6, buffer, &a6) == 1) return v6(a6, port, scope);
  return {};
}

} // namespace

endpoint::endpoint(std::string_view address, std::uint16_t port) {
  auto const e = parse_address(address, port);
  if (!e) throw std::invalid_argument("skua: \"" + std::string(address) + "\" is no IP address; names are for skua::resolve");
  *this = *e;
}

std::optional<endpoint> endpoint::parse(std::string_view text) noexcept {
  auto const colon = text.rfind(':');
  std::uint16_t port;
  if (colon == text.npos || !whole_number(text.substr(colon + 1), port)) return {};
  std::string_view address = text.substr(0, colon);
  bool const brackets = address.size() > 2 && address.front() == '[' && address.back() == ']';
  if (brackets) address = address.substr(1, address.size() - 2);
  auto const e = parse_address(address, port);
  return e && e->is_v6() == brackets ? e : std::nullopt;
}

endpoint endpoint::loopback(std::uint16_t port) noexcept { return v4({htonl(INADDR_LOOPBACK)}, port); }
endpoint endpoint::loopback_v6(std::uint16_t port) noexcept { return v6(in6addr_loopback, port); }
endpoint endpoint::any(std::uint16_t port) noexcept { return v4({htonl(INADDR_ANY)}, port); }
endpoint endpoint::any_v6(std::uint16_t port) noexcept { return v6(in6addr_any, port); }

bool endpoint::is_v4() const noexcept { return family(*this) == AF_INET; }
bool endpoint::is_v6() const noexcept { return family(*this) == AF_INET6; }

std::uint16_t endpoint::port() const noexcept {
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  return ntohs(as<sockaddr_in>(*this).sin_port);
}

endpoint endpoint::with_port(std::uint16_t port) const noexcept {
  endpoint e = *this;
  std::uint16_t const n = htons(port);
  std::memcpy(e.bytes_.data() + offsetof(sockaddr_in, sin_port), &n, sizeof n);
  return e;
}

std::string endpoint::address() const {
  char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
  if (is_v4()) {
    auto const a = as<sockaddr_in>(*this);
    return ::inet_ntop(AF_INET, &a.sin_addr, text, sizeof text);
  }
  if (!is_v6()) return "(none)";
  auto const a = as<sockaddr_in6>(*this);
  std::string s = ::inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof text);
  if (a.sin6_scope_id == 0) return s;
  char const* const name = ::if_indextoname(a.sin6_scope_id, text);
  return s + '%' + (name != nullptr ? name : std::to_string(a.sin6_scope_id));
}

std::string endpoint::to_string() const {
  if (!is_v4() && !is_v6()) return "(none)";
  return (is_v6() ? '[' + address() + ']' : address()) + ':' + std::to_string(port());
}

std::size_t endpoint::native_size() const noexcept { return is_v4() ? sizeof(sockaddr_in) : is_v6() ? sizeof(sockaddr_in6) : 0; }

std::optional<endpoint> endpoint::from_native(void const* sockaddr, std::size_t size) noexcept {
  static_assert(sizeof bytes_ == sizeof(sockaddr_in6) && sizeof(sockaddr_in) <= sizeof bytes_);
  sa_family_t f = AF_UNSPEC;
  if (size >= sizeof f) std::memcpy(&f, sockaddr, sizeof f);
  endpoint e;
  if (f == AF_INET && size >= sizeof(sockaddr_in)) {
    sockaddr_in a;
    std::memcpy(&a, sockaddr, sizeof a);
    std::memset(a.sin_zero, 0, sizeof a.sin_zero);
    std::memcpy(e.bytes_.data(), &a, sizeof a);
    return e;
  }
  if (f == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    sockaddr_in6 a;
    std::memcpy(&a, sockaddr, sizeof a);
    a.sin6_flowinfo = 0;
    std::memcpy(e.bytes_.data(), &a, sizeof a);
    return e;
  }
  return {};
}

} // namespace skua

// SPDX-License-Identifier: Apache-2.0
#include "skua/resolve.hpp"
#include "skua/blocking.hpp"
#include "skua/this_task.hpp"
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>

namespace skua {

namespace {

class category final : public std::error_category {
public:
  char const* name() const noexcept override { return "skua.resolver"; }
  std::string message(int value) const override { return ::gai_strerror(value); }
};

struct answer {
  int error = 0;          // EAI_..
  int system_error = 0;   // if that is EAI_SYSTEM
  std::vector<endpoint> endpoints;
};

answer look_up(std::string const& host, std::string const& service, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;   // once each, not once a protocol
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  answer a;
  a.error = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &list);
  if (a.error == EAI_SYSTEM) a.system_error = errno;
  if (a.error != 0) return a;
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> const owner(list, ::freeaddrinfo);
  for (addrinfo const* i = list; i != nullptr; i = i->ai_next) {
    auto const e = endpoint::from_native(i->ai_addr, i->ai_addrlen);
    if (e && std::find(a.endpoints.begin(), a.endpoints.end(), *e) == a.endpoints.end()) a.endpoints.push_back(*e);
  }
  if (a.endpoints.empty()) a.error = EAI_NODATA;
  return a;
}

// getaddrinfo would take the text before a null character, and 70000 for port 4464.
int what_is_wrong(std::string const& host, std::string const& service) noexcept {
  if (host.find('\0') != host.npos) return EAI_NONAME;
  std::uint16_t port;
  char const* const end = service.data() + service.size();
  auto const [at, error] = std::from_chars(service.data(), end, port);
  bool const is_port = service.empty() || (error == std::errc() && at == end);
  bool const may_be_name = std::any_of(service.begin(), service.end(), [](unsigned char c) { return std::isalpha(c); });
  return is_port || (may_be_name && service.find('\0') == service.npos) ? 0 : EAI_SERVICE;
}

} // namespace

std::error_category const& resolver_category() noexcept {
  static category const one;
  return one;
}

task<std::vector<endpoint>> resolve(std::string host, std::string service) {
  std::string const what = "skua: resolve " + host + ':' + service;
  co_await this_task::checkpoint();   // S1: an address as text completes at once
  if (int const wrong = what_is_wrong(host, service); wrong != 0) throw std::system_error(wrong, resolver_category(), what);
  answer a = look_up(host, service, AI_NUMERICHOST | AI_NUMERICSERV);   // blocks on nothing
  // AI_ADDRCONFIG is left out: where only the loopback interface is up it hides ::1 and 127.0.0.1 from each other.
  if (a.error != 0)
    a = co_await abandon(spawn_blocking([](std::string h, std::string s) { return look_up(h, s, 0); }, std::move(host), std::move(service)));
  if (a.error == EAI_SYSTEM) throw std::system_error(a.system_error, std::system_category(), what);
  if (a.error != 0) throw std::system_error(a.error, resolver_category(), what);
  co_return std::move(a.endpoints);
}

} // namespace skua

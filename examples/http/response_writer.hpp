// SPDX-License-Identifier: Apache-2.0
// Responses, written one behind the other into a buffer that is sent as a whole.
#pragma once
#include "request_parser.hpp"
#include <charconv>
#include <cstdio>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>

namespace http {

struct response {
  unsigned status = 200;
  std::string body{};   // plain text; 15 bytes and fewer are not allocated
};

inline std::string_view status_line(unsigned status) noexcept {
  switch (status) {
  case 200: return "HTTP/1.1 200 OK\r\n";
  case 400: return "HTTP/1.1 400 Bad Request\r\n";
  case 404: return "HTTP/1.1 404 Not Found\r\n";
  case 405: return "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n";
  case 408: return "HTTP/1.1 408 Request Timeout\r\n";
  case 413: return "HTTP/1.1 413 Content Too Large\r\n";
  case 414: return "HTTP/1.1 414 URI Too Long\r\n";
  case 417: return "HTTP/1.1 417 Expectation Failed\r\n";
  case 431: return "HTTP/1.1 431 Request Header Fields Too Large\r\n";
  case 501: return "HTTP/1.1 501 Not Implemented\r\n";
  case 505: return "HTTP/1.1 505 HTTP Version Not Supported\r\n";
  default: return "HTTP/1.1 500 Internal Server Error\r\n";
  }
}

// "Date: Tue, 24 Nov 2026 15:37:42 GMT\r\n", formatted once a second on each thread. Use it at once: never across a co_await, after which this may be
// another thread.
[[gnu::noinline]] inline std::string_view date_line() noexcept {
  static constexpr char const days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr char const months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  static thread_local std::time_t formatted = 0;
  static thread_local char line[64];
  static thread_local std::size_t size = 0;
  std::time_t const now = std::time(nullptr);
  if (now != formatted) {
    std::tm t{};
    gmtime_r(&now, &t);
    int const n = std::snprintf(line, sizeof line, "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n", days[t.tm_wday], t.tm_mday, months[t.tm_mon],
                                t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    size = static_cast<std::size_t>(n);
    formatted = now;
  }
  return {line, size};
}

class response_writer {
public:
  // Send it before it grows further.
  bool full() const noexcept { return text_.size() >= 4096; }
  bool empty() const noexcept { return text_.empty(); }
  std::string_view text() const noexcept { return text_; }
  void clear() noexcept { text_.clear(); }

  // `to`: the request that is answered.
  void add(response const& r, request const& to, bool keep_alive) {
    add_head(r, keep_alive ? (to.http_1_0 ? "Connection: keep-alive\r\n" : "") : "Connection: close\r\n");
    if (to.method != HTTP_HEAD) text_ += r.body;
  }
  // To a request that could not be read: the last response of its connection.
  void add_refusal(response const& r) {
    add_head(r, "Connection: close\r\n");
    text_ += r.body;
  }
  void add_continue() { text_ += "HTTP/1.1 100 Continue\r\n\r\n"; }

private:
  void add_head(response const& r, std::string_view connection) {
    char length[24];
    char* const end = std::to_chars(length, length + sizeof length, r.body.size()).ptr;
    text_ += status_line(r.status);
    text_ += "Content-Type: text/plain\r\nContent-Length: ";
    text_.append(length, end);
    text_ += "\r\n";
    text_ += date_line();
    text_ += connection;
    text_ += "\r\n";
  }
  std::string text_;
};

} // namespace http

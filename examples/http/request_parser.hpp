// SPDX-License-Identifier: Apache-2.0
// HTTP/1.x requests out of a stream of bytes, however it is cut, pipelined or not.
//
// The parser is libhttp-parser's. What is added: it stops after each request, it keeps only what the server needs (bounded, nothing is allocated),
// and it says with which status a request is to be refused.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <http_parser.h>
#include <string_view>
#include <utility>

namespace http {

inline constexpr std::uint32_t max_header_bytes = 8192;   // request line and header fields together; more: 431
inline constexpr std::size_t max_target_bytes = 1024;     // more: 414
inline constexpr std::uint64_t max_body_bytes = 64 * 1024;   // a body is read and thrown away; more: 413

struct request {
  http_method method = HTTP_GET;
  std::string_view target;   // "/path?query", valid until the next parse()
  bool keep_alive = false;
  bool http_1_0 = false;
  std::string_view path() const noexcept { return target.substr(0, target.find('?')); }
};

enum class progress {
  need_more,   // all input is consumed, and no request is complete
  complete,    // request() is there; the rest of the input is left
  refused      // status() says why; nothing that follows can be trusted
};

class request_parser {
public:
  request_parser() noexcept {
    http_parser_set_max_header_size(max_header_bytes);
    http_parser_init(&parser_, HTTP_REQUEST);
    parser_.data = this;
  }
  request_parser(request_parser const&) = delete;
  request_parser& operator=(request_parser const&) = delete;

  // Removes from `input` what it has consumed.
  progress parse(std::string_view& input) noexcept {
    if (complete_) begin_next();
    std::size_t const used = http_parser_execute(&parser_, &callbacks(), input.data(), input.size());
    input.remove_prefix(used);
    if (complete_) return progress::complete;
    if (HTTP_PARSER_ERRNO(&parser_) == HPE_OK) return progress::need_more;
    if (status_ == 0) status_ = status_of(HTTP_PARSER_ERRNO(&parser_));
    return progress::refused;
  }

  http::request const& request() const noexcept { return request_; }
  // 400, 413 ..: valid after `refused`.
  unsigned status() const noexcept { return status_; }
  // A request has begun and is not complete: the client is to hurry.
  bool in_request() const noexcept { return begun_ && !complete_; }
  // The client waits for "100 Continue" before it sends its body. True once.
  bool take_continue() noexcept { return std::exchange(wants_continue_, false); }

private:
  static request_parser& self(http_parser* p) noexcept { return *static_cast<request_parser*>(p->data); }

  void begin_next() noexcept {
    http_parser_pause(&parser_, 0);
    complete_ = begun_ = wants_continue_ = false;
  }
  int refuse(unsigned status) noexcept {
    status_ = status;
    return -1;
  }
  static unsigned status_of(http_errno e) noexcept {
    switch (e) {
    case HPE_HEADER_OVERFLOW: return 431;
    case HPE_INVALID_TRANSFER_ENCODING: return 501;
    default: return 400;
    }
  }

  static int on_begin(http_parser* p) noexcept {
    request_parser& r = self(p);
    r.begun_ = true;
    r.status_ = 0;
    r.target_size_ = r.name_size_ = r.value_size_ = r.hosts_ = 0;
    r.body_bytes_ = 0;
    r.in_value_ = r.expects_ = false;
    return 0;
  }
  static int on_target(http_parser* p, char const* text, std::size_t size) noexcept {
    request_parser& r = self(p);
    if (size > max_target_bytes - r.target_size_) return r.refuse(414);
    std::memcpy(r.target_.data() + r.target_size_, text, size);
    r.target_size_ += size;
    return 0;
  }

  // Names and values may come in pieces. Host and Expect are all that matters here; the library sees to the fields that frame the message.
  static int on_name(http_parser* p, char const* text, std::size_t size) noexcept {
    request_parser& r = self(p);
    if (r.in_value_) r.end_of_field();
    r.keep(r.name_, r.name_size_, text, size);
    return 0;
  }
  static int on_value(http_parser* p, char const* text, std::size_t size) noexcept {
    request_parser& r = self(p);
    r.in_value_ = true;
    r.keep(r.value_, r.value_size_, text, size);
    return 0;
  }
  template <std::size_t N>
  static void keep(std::array<char, N>& to, std::size_t& kept, char const* text, std::size_t size) noexcept {
    if (kept + size <= N) std::memcpy(to.data() + kept, text, size);
    kept += size;   // larger than N: none of those we look for
  }
  template <std::size_t N>
  static bool equals(std::array<char, N> const& kept, std::size_t size, std::string_view lower_case) noexcept {
    if (size != lower_case.size()) return false;
    for (std::size_t i = 0; i < size; ++i)
      if ((kept[i] | 0x20) != lower_case[i]) return false;
    return true;
  }
  void end_of_field() noexcept {
    if (equals(name_, name_size_, "host")) ++hosts_;
    if (equals(name_, name_size_, "expect")) expects_ = true, wants_continue_ = equals(value_, value_size_, "100-continue");
    name_size_ = value_size_ = 0;
    in_value_ = false;
  }

  static int on_headers_complete(http_parser* p) noexcept {
    request_parser& r = self(p);
    if (r.in_value_) r.end_of_field();
    bool const has_length = (p->flags & F_CONTENTLENGTH) != 0 && p->content_length != 0;
    bool const has_body = has_length || (p->flags & F_CHUNKED) != 0;
    if (p->http_major != 1) return r.refuse(505);
    if (r.hosts_ != 1 && (r.hosts_ > 1 || p->http_minor >= 1)) return r.refuse(400);
    if (has_length && p->content_length > max_body_bytes) return r.refuse(413);
    if (r.expects_ && !r.wants_continue_) return r.refuse(417);
    r.wants_continue_ = r.wants_continue_ && has_body && p->http_minor >= 1;
    return 0;
  }
  static int on_body(http_parser* p, char const*, std::size_t size) noexcept {
    request_parser& r = self(p);
    r.body_bytes_ += size;
    return r.body_bytes_ > max_body_bytes ? r.refuse(413) : 0;
  }
  static int on_complete(http_parser* p) noexcept {
    request_parser& r = self(p);
    r.request_.method = static_cast<http_method>(p->method);
    r.request_.target = {r.target_.data(), r.target_size_};
    r.request_.keep_alive = http_should_keep_alive(p) != 0;
    r.request_.http_1_0 = p->http_minor == 0;
    r.complete_ = true;
    http_parser_pause(p, 1);   // the next request waits until this one is answered
    return 0;
  }
  static http_parser_settings const& callbacks() noexcept {
    static http_parser_settings const all = [] {
      http_parser_settings s;
      http_parser_settings_init(&s);
      s.on_message_begin = on_begin;
      s.on_url = on_target;
      s.on_header_field = on_name;
      s.on_header_value = on_value;
      s.on_headers_complete = on_headers_complete;
      s.on_body = on_body;
      s.on_message_complete = on_complete;
      return s;
    }();
    return all;
  }

  http_parser parser_;
  http::request request_;
  std::size_t target_size_ = 0, name_size_ = 0, value_size_ = 0;
  std::uint64_t body_bytes_ = 0;
  unsigned status_ = 0, hosts_ = 0;
  bool begun_ = false, complete_ = false, in_value_ = false, expects_ = false, wants_continue_ = false;
  std::array<char, 8> name_;
  std::array<char, 16> value_;
  std::array<char, max_target_bytes> target_;
};

} // namespace http

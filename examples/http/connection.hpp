// SPDX-License-Identifier: Apache-2.0
// One HTTP/1.1 connection: reads requests, calls the handler for each, and sends the answers, until either side has had enough.
//
// Pipelined requests that arrive together are answered with one write. Everything is bounded: the input buffer, the header (parser), the output that
// is kept back, and every wait: for the next request (idle), for the rest of one (header), for the client to take an answer (idle).
#pragma once
#include "request_parser.hpp"
#include "response_writer.hpp"
#include <array>
#include <chrono>
#include <cstddef>
#include <skua/serve.hpp>
#include <skua/tcp.hpp>
#include <skua/timeout.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace http {

struct limits {
  std::chrono::nanoseconds idle = std::chrono::seconds(60);     // between two requests; or no progress in writing
  std::chrono::nanoseconds header = std::chrono::seconds(10);   // from a request's first byte to its last
};

// Handler: skua::task<response>(request const&); the request is valid until the task ends.
template <class Handler>
class connection {
public:
  connection(skua::tcp_stream& stream, limits const& l, Handler const& handler, skua::serving const& server)
      : stream_(stream), limits_(l), handler_(handler), server_(server) {}
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;

  // Ends when the connection does. Throws std::system_error if the client breaks it, timeout_error if it takes no answers.
  skua::task<> run() {
    for (;;) {
      progress const p = parser_.parse(input_);
      if (p == progress::complete) {
        if (!co_await answer()) break;
      } else if (p == progress::refused) {
        co_await refuse(parser_.status());
        co_return;
      } else if (!co_await receive_more()) {
        co_return;
      }
    }
    co_await flush();
  }

private:
  using clock = skua::clock;

  // False: that was the last one.
  skua::task<bool> answer() {
    request const& r = parser_.request();
    bool keep = r.keep_alive;
    response const to_send = co_await handler_(r);
    if (server_.draining() && input_.empty()) keep = false;
    output_.add(to_send, r, keep);
    if (output_.full()) co_await flush();
    // While draining, what the client has sent already is answered all the same: its reading ends by itself.
    co_return keep || (r.keep_alive && server_.draining());
  }

  // Sends what is ready and waits for more, all under one time limit. False: the client has closed, or was too slow.
  skua::task<bool> receive_more() {
    if (parser_.take_continue()) output_.add_continue();
    clock::time_point const now = clock::now();
    bool const in_request = parser_.in_request();
    if (!in_request)
      request_deadline_ = clock::time_point::max();
    else if (request_deadline_ == clock::time_point::max())
      request_deadline_ = now + limits_.header;
    bool timed_out = false;
    std::size_t received = 0;
    try {
      received = co_await skua::timeout_at(in_request ? request_deadline_ : now + limits_.idle, send_and_receive());
    } catch (skua::timeout_error const&) {
      timed_out = true;
    }
    if (timed_out && in_request && output_.empty()) co_await refuse(408);   // not empty: it takes no answers
    input_ = std::string_view(buffer_.data(), received);
    co_return received != 0;
  }
  skua::task<std::size_t> send_and_receive() {
    if (!output_.empty()) {
      co_await stream_.write_all(output_.text());
      output_.clear();
    }
    co_return co_await stream_.read_some(std::as_writable_bytes(std::span(buffer_)));
  }

  skua::task<> flush() {
    co_await skua::timeout(limits_.idle, send());
    output_.clear();
  }
  skua::task<> send() { co_await stream_.write_all(output_.text()); }

  // Says why, and closes. What the client may still be sending is read and thrown away for a while: closing with unread data would reset the connection,
  // and the client might never see the answer.
  skua::task<> refuse(unsigned status) {
    output_.add_refusal({status, std::string(status_line(status).substr(9, 3)) + "\n"});
    co_await flush();
    stream_.shutdown_write();
    try {
      co_await skua::timeout(std::chrono::seconds(1), receive_and_discard());
    } catch (skua::timeout_error const&) {
    }
  }
  skua::task<> receive_and_discard() {
    for (std::size_t total = 0; total < 4'000'000;) {
      std::size_t const n = co_await stream_.read_some(std::as_writable_bytes(std::span(buffer_)));
      if (n == 0) co_return;
      total += n;
    }
  }

  skua::tcp_stream& stream_;
  limits const& limits_;
  Handler const& handler_;
  skua::serving const& server_;
  request_parser parser_;
  response_writer output_;
  std::string_view input_;   // what of buffer_ is not parsed yet
  clock::time_point request_deadline_ = clock::time_point::max();
  std::array<char, 4096> buffer_;
};

} // namespace http

// SPDX-License-Identifier: Apache-2.0
// What a tls_stream consists of: OpenSSL between two buffers in memory, and the tasks that carry bytes between those and the socket.
//
//     received   from the socket, and not yet in `in`. Belongs to whoever holds `receiving`
//     in         from the socket, for OpenSSL
//     out        from OpenSSL, for the socket
//     unsent     taken from `out`, and not yet, or not wholly, sent. Belongs to whoever holds `sending`
//
// INV-TLS-1  OpenSSL's objects are touched under `lock`, which is held while it computes, never across a suspension.
// INV-TLS-2  What the socket gave is in `received` or in `in` before anything else is awaited, and what was sent is off `unsent` likewise; both by
//            operations that have moved nothing if they were stopped. So a stop loses nothing, whatever it comes to, nor does memory that runs out.
// INV-TLS-3  When nobody holds `sending`, `out` and `unsent` are empty, but for what a stop has left, or a reader; the next one sends it first. A reader,
//            who may have something to send as well (an answer to a new key), sends what goes at once: it waits neither for a writer, who may wait until the
//            peer reads, and looks again after it has let go of `sending`; nor for the peer to read. Unless that one wants more and more answers, and takes
//            none.
// INV-TLS-4  Nobody waits for the socket who has not seen what it gave before: whoever holds `receiving` goes back to OpenSSL if `heard` has changed since.
//            A writer waits there as well, if OpenSSL has got a part of a message that it must hear to its end first (of a session ticket, say).
#pragma once
#include "io/tls/tls_error.hpp"
#include "io/tls/tls_settings.hpp"
#include "skua/mutex.hpp"
#include "skua/task.hpp"
#include "skua/tcp.hpp"
#include "skua/unix_socket.hpp"
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <openssl/ssl.h>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace skua::detail {

struct tls_state {
  std::variant<tcp_stream, unix_stream> owned;
  stream_socket& socket;
  std::shared_ptr<tls_settings> settings;
  std::atomic<bool> reading{false}, writing{false};   // a task is at it (S18)

  std::mutex lock;   // of what follows
  SSL* ssl = nullptr;
  BIO *in = nullptr, *out = nullptr;
  std::error_code failure;   // OpenSSL's last one, which it tells only once

  mutex sending;   // of what follows
  std::vector<std::byte> unsent;
  std::size_t sent = 0;             // of those
  std::error_code broken;           // the connection takes nothing any more
  bool half_closed = false;
  std::atomic<bool> left{false};    // there is something in `unsent`: a hint to others, relaxed

  mutex receiving;   // of what follows
  std::atomic<std::uint64_t> heard{0};   // how often something has come into `in`. Written under `lock` as well, so read there it says what OpenSSL has seen
  std::size_t received_size = 0;
  std::array<std::byte, 16'384> received;

  template <class Stream>
  tls_state(std::shared_ptr<tls_settings> s, Stream&& over)
      : owned(std::move(over)), socket(std::get<std::remove_cvref_t<Stream>>(owned)), settings(std::move(s)) {
    begin();
  }
  tls_state(tls_state const&) = delete;
  ~tls_state() { SSL_free(ssl); }

private:
  void begin();
};

enum class step { done, wants_input, ended, failed };
struct step_result {
  step how;
  std::size_t bytes = 0;
  std::uint64_t heard = 0;   // as it was then
  std::error_code error{};   // of `failed`: there is one
};
// Of what OpenSSL has just returned.
step_result conclude_locked(tls_state& s, int r, std::size_t bytes) noexcept;

// f(ssl, bytes): one of OpenSSL's functions; above 0: it has done what it should.
template <class F>
step_result run(tls_state& s, F f) {
  std::lock_guard const guard(s.lock);
  forget_tls_errors();
  std::size_t bytes = 0;
  int const r = f(s.ssl, bytes);
  return conclude_locked(s, r, bytes);
}

// Sends all that there is; waits for its turn, and for room. Errors: transfer_error.
task<> flush(tls_state& s);
// By the holder of `sending`.
task<> send_all(tls_state& s);
// Sends what goes at once, unless somebody else is at it, who will. Errors: transfer_error.
task<> offer(tls_state& s);
// The same for a reader, whom it does not concern that nothing can be sent any more: what the peer has said before is there to be read.
task<> answer(tls_state& s);
// Nobody is there to take it (broken_pipe, connection_reset): what is there to be read may say why.
bool is_gone(std::error_code error) noexcept;

// Waits until OpenSSL, which has asked for input at `heard`, can be given more. False: the peer has closed, or we have shut it.
task<bool> feed(tls_state& s, std::uint64_t heard);

} // namespace skua::detail

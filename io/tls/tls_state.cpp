// SPDX-License-Identifier: Apache-2.0
#include "io/tls/tls_state.hpp"
#include "io/descriptor.hpp"
#include "io/socket.hpp"
#include "skua/detail/transfer.hpp"
#include "skua/io_error.hpp"
#include <cerrno>
#include <new>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <span>
#include <sys/socket.h>

namespace skua::detail {

void tls_state::begin() {
  forget_tls_errors();
  ssl = SSL_new(settings->context.get());
  in = BIO_new(BIO_s_mem());
  out = BIO_new(BIO_s_mem());
  if (ssl == nullptr || in == nullptr || out == nullptr) {
    SSL_free(ssl);
    BIO_free(in);
    BIO_free(out);
    fail_tls("skua: tls_stream");
  }
  SSL_set_bio(ssl, in, out);   // it owns them
}

void tls_state_end::operator()(tls_state* s) const noexcept { delete s; }

step_result conclude_locked(tls_state& s, int r, std::size_t bytes) noexcept {
  std::uint64_t const heard = s.heard.load(std::memory_order_relaxed);
  if (r > 0) return {step::done, bytes, heard};
  switch (SSL_get_error(s.ssl, r)) {
  case SSL_ERROR_WANT_READ: return {step::wants_input, 0, heard};
  case SSL_ERROR_ZERO_RETURN: return {step::ended};
  default: break;
  }
  if (std::error_code const e = take_tls_error())
    s.failure = e;
  else if (!s.failure)
    s.failure = std::make_error_code(std::errc::protocol_error);
  return {step::failed, 0, heard, s.failure};
}

// ------------------------------------------------------------------------------------------------ sending

namespace {

// Writes what the kernel has room for, which may be nothing.
io_step write_now(io_operation& o) noexcept {
  auto& op = static_cast<transfer_operation&>(o);
  ssize_t const n = retry([&] { return ::send(op.number(), op.data, op.size, MSG_DONTWAIT | MSG_NOSIGNAL); });
  op.last = io_operation::full;
  if (n >= 0)
    op.transferred = static_cast<std::size_t>(n);
  else if (errno == EAGAIN || errno == EWOULDBLOCK)
    op.last = io_operation::drained;
  else
    op.error = errno;
  return io_step::done;
}
// Tried also if the kernel was known to have no room, as an operation that moves nothing is.
constinit io_kind const write_now_kind("write_some", 1, write_now, [](io_operation const&) noexcept { return true; });

constexpr std::size_t most_answers = 65'536;   // bytes that wait for a peer who takes nothing, while it is read from. A guess

std::size_t pending(tls_state& s) {
  std::lock_guard const guard(s.lock);
  return BIO_ctrl_pending(s.out);
}
bool has_output(tls_state& s) { return s.left.load(std::memory_order_relaxed) || pending(s) != 0; }

// By the holder of `sending`, which has sent what it took before. False: there is nothing.
bool take_output(tls_state& s) {
  s.left.store(false, std::memory_order_relaxed);
  s.sent = 0;
  s.unsent.clear();
  std::lock_guard const guard(s.lock);
  std::size_t const n = BIO_ctrl_pending(s.out);
  if (n == 0) return false;
  if (s.half_closed) return (void)BIO_reset(s.out), false;   // answers, which nobody gets any more
  s.unsent.resize(n);
  std::size_t taken = 0;
  BIO_read_ex(s.out, s.unsent.data(), n, &taken);
  s.unsent.resize(taken);
  s.left.store(true, std::memory_order_relaxed);
  return true;
}

// Once the connection is broken what was not sent stays, so that every writer is told; and what is added is nothing any more.
[[noreturn]] void fail_broken(tls_state& s) {
  {
    std::lock_guard const guard(s.lock);
    (void)BIO_reset(s.out);
  }
  throw transfer_error(s.broken, "skua: tls", 0);
}

// By the holder of `sending`. False: there is no room for more, and `wait` is false.
task<bool> send(tls_state& s, bool wait) {
  do {
    while (s.sent < s.unsent.size()) {
      if (s.broken) fail_broken(s);
      auto const rest = std::span(s.unsent).subspan(s.sent);
      std::size_t n = 0;
      try {
        if (wait)
          n = co_await s.socket.write_some(rest);
        else
          n = co_await transfer<std::size_t>(write_now_kind, s.socket.handle().get(), s.socket.handle().generation(), rest.data(), rest.size());
      } catch (transfer_error const& e) {
        if (is_gone(e.code())) s.broken = e.code();
        throw;
      }
      if (n == 0) co_return false;
      s.sent += n;
    }
  } while (take_output(s));
  co_return true;
}

} // namespace

bool is_gone(std::error_code error) noexcept { return error == std::errc::broken_pipe || error == std::errc::connection_reset; }

task<> send_all(tls_state& s) { (void)co_await send(s, true); }

task<> offer(tls_state& s) {
  while (has_output(s)) {
    auto const turn = s.sending.try_lock();
    if (!turn || !co_await send(s, false)) co_return;
  }
}

task<> flush(tls_state& s) {
  {
    auto const turn = co_await s.sending.lock();
    (void)co_await send(s, true);
  }
  co_await offer(s);   // INV-TLS-3
}

task<> answer(tls_state& s) {
  try {
    if (pending(s) < most_answers)
      co_await offer(s);
    else
      co_await flush(s);
  } catch (transfer_error const& e) {
    if (!is_gone(e.code())) throw;
  }
}

// ------------------------------------------------------------------------------------------------ receiving

task<bool> feed(tls_state& s, std::uint64_t heard) {
  auto const turn = co_await s.receiving.lock();
  if (s.heard.load(std::memory_order_relaxed) != heard) co_return true;   // INV-TLS-4
  if (s.received_size == 0) s.received_size = co_await s.socket.read_some(s.received);
  if (s.received_size == 0) co_return false;
  std::lock_guard const guard(s.lock);
  std::size_t taken = 0;
  if (BIO_write_ex(s.in, s.received.data(), s.received_size, &taken) != 1 || taken != s.received_size) throw std::bad_alloc{};   // it has taken nothing
  s.received_size = 0;
  s.heard.fetch_add(1, std::memory_order_relaxed);
  co_return true;
}

} // namespace skua::detail

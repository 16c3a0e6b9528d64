// SPDX-License-Identifier: Apache-2.0
#include "io/signal_watch.hpp"
#include "skua/detail/config.hpp"
#include "skua/error.hpp"
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace skua::detail {

namespace {

constexpr int most_signals = 65;   // 1 to 64

struct watcher {
  std::atomic<int> fd{-1};
  struct sigaction before = {};   // written by whoever has set `fd`, before the handler is there; read by the handler in a child
};
constinit std::array<watcher, most_signals> watchers{};
constinit std::atomic<int> handlers{0};    // that are inside
constinit std::atomic<pid_t> process{0};   // ours; relaxed: the same for every watch
static_assert(std::atomic<int>::is_always_lock_free, "a handler may use it");

void on_signal(int signal);

// Not if it is ours, put back by somebody who found it while we were there: it would be raised for ever.
void raise_for_former_handling(int signal) {
  struct sigaction now = {};
  if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler != on_signal) ::raise(signal);   // comes when this handler, which blocks all, has returned
}

void on_signal(int signal) {
  int const kept = errno;
  handlers.fetch_add(1, std::memory_order_seq_cst);   // before the load: see the file comment
  watcher const& w = watchers[static_cast<std::size_t>(signal)];
  if (int const fd = w.fd.load(std::memory_order_seq_cst); fd >= 0 && ::getpid() != process.load(std::memory_order_relaxed)) {
    ::sigaction(signal, &w.before, nullptr);
    ::raise(signal);
  } else if (fd >= 0) {
    auto const number = static_cast<unsigned char>(signal);
    // A full pipe: there are thousands of signals that nobody has looked at yet.
    [[maybe_unused]] ssize_t const n = ::write(fd, &number, 1);
  } else {
    raise_for_former_handling(signal);
  }
  handlers.fetch_sub(1, std::memory_order_release);   // pairs with the load in release()
  errno = kept;
}

} // namespace

signal_watch::signal_watch(std::vector<int> const& signals) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw std::system_error(errno, std::system_category(), "skua: pipe2");
  read_end_ = ends[0];
  write_end_ = ends[1];
  pthread_sigmask(SIG_BLOCK, nullptr, &mask_before_);
  process.store(::getpid(), std::memory_order_relaxed);
  try {
    signals_.reserve(signals.size());
    for (int const s : signals) watch(s);
  } catch (...) {
    end();
    throw;
  }
}

signal_watch::~signal_watch() { end(); }

void signal_watch::end() noexcept {
  release();
  ::close(read_end_);
  ::close(write_end_);
}

void signal_watch::watch(int signal) {
  if (std::any_of(signals_.begin(), signals_.end(), [&](watched const& w) { return w.signal == signal; })) return;   // given twice
  if (signal < 1 || signal >= most_signals)
    throw std::system_error(EINVAL, std::system_category(), "skua: there is no signal " + std::to_string(signal));
  watcher& w = watchers[static_cast<std::size_t>(signal)];
  int nobody = -1;
  if (!w.fd.compare_exchange_strong(nobody, write_end_, std::memory_order_seq_cst))
    throw usage_error("skua: signal " + std::to_string(signal) + " is being watched by another run_until_signal");
  (void)::sigaction(signal, nullptr, &w.before);
  struct sigaction handling = {}, before;
  handling.sa_handler = on_signal;
  handling.sa_flags = SA_RESTART;
  sigfillset(&handling.sa_mask);
  if (::sigaction(signal, &handling, &before) != 0) {
    int const error = errno;
    w.fd.store(-1, std::memory_order_seq_cst);
    throw std::system_error(error, std::system_category(), "skua: cannot handle signal " + std::to_string(signal));
  }
  signals_.push_back({signal, before});   // has room
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
}

void signal_watch::release() noexcept {
  if (std::exchange(released_, true)) return;
  for (watched const& s : signals_) {
    ::sigaction(s.signal, &s.before, nullptr);
    watchers[static_cast<std::size_t>(s.signal)].fd.store(-1, std::memory_order_seq_cst);
  }
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  while (handlers.load(std::memory_order_seq_cst) != 0) ::sched_yield();   // acquire: they have written
}

// What lies in the pipe: the number of a signal, `told`; or -1: nothing.
int signal_watch::next_byte() noexcept {
  unsigned char number;
  return ::read(read_end_, &number, 1) == 1 ? number : -1;
}

int signal_watch::wait(std::chrono::steady_clock::time_point deadline) noexcept {
  for (;;) {
    int s;
    while ((s = next_byte()) == told) {}   // told_ says it; the byte only ends the poll, and may come after told_ was taken
    if (s > 0) return s;
    if (told_.exchange(false, std::memory_order_acquire)) return told;   // pairs with tell(), which writes its byte afterwards
    auto const now = std::chrono::steady_clock::now();
    if (now >= deadline) return timed_out;
    using ms = std::chrono::milliseconds;
    ms const left = std::min(std::chrono::ceil<ms>(deadline - now), ms(std::chrono::hours(1)));
    pollfd p{read_end_, POLLIN, 0};
    ::poll(&p, 1, static_cast<int>(left.count()));
  }
}

void signal_watch::tell() noexcept {
  if (told_.exchange(true, std::memory_order_release)) return;   // wait() has not taken the last one yet
  unsigned char const nothing = told;
  [[maybe_unused]] ssize_t const n = ::write(write_end_, &nothing, 1);
}

} // namespace skua::detail

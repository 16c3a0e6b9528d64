// SPDX-License-Identifier: Apache-2.0
// A token bucket: `burst` tokens at once, and `rate` a second from then on, shared by any number of tasks.
//
// It holds no thread and no timer of its own, and costs nothing while nobody wants anything: how full it is follows from the time. Whoever is in front sleeps
// until its tokens are there; the others stand behind it at a semaphore of one permit, which serves in the order of arrival. So nobody overtakes, and a task
// that wants many tokens is not starved by those that want one.
//
// A task that is stopped, or whose timeout fires, while it waits has taken nothing: tokens leave the bucket when the sleep is over, in the same breath. Its
// permit goes with its frame, and the next one moves up.
//
//     example::token_bucket limit(100, 20);                              // 100/s, 20 at once
//     co_await limit.take();                                             // waits for its turn
//     co_await skua::timeout(50ms, limit.take());                        // .. so long at most
//     if (!limit.try_take()) co_return busy();                           // .. or not at all
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <skua/semaphore.hpp>
#include <skua/task.hpp>
#include <skua/time.hpp>
#include <skua/timeout.hpp>
#include <stdexcept>

namespace example {

class token_bucket {
public:
  // On a worker: the bucket is full from now on. Errors: std::invalid_argument unless rate > 0 and burst >= 1.
  token_bucket(double rate, double burst) : rate_(rate), burst_(burst), at_(skua::clock::now()), tokens_(burst) {
    if (!(rate > 0) || !(burst >= 1)) throw std::invalid_argument("a token bucket needs a rate above 0 and room for a token");
  }
  token_bucket(token_bucket const&) = delete;

  // Takes `n` tokens, when it has its turn and they are there. Errors: std::invalid_argument for more than the bucket holds.
  skua::task<> take(double n = 1) {
    if (n > burst_) throw std::invalid_argument("more tokens than the bucket holds");
    auto const turn = co_await turn_.acquire();
    refill();
    if (tokens_ < n) {
      co_await skua::sleep_until(at_ + std::chrono::ceil<skua::clock::duration>(seconds((n - tokens_) / rate_)));
      refill();
    }
    tokens_ -= n;   // from here to the caller there is no suspension point
  }

  // False: too few are there now, or others wait.
  bool try_take(double n = 1) {
    auto const turn = turn_.try_acquire();
    if (!turn) return false;
    refill();
    if (tokens_ < n) return false;
    tokens_ -= n;
    return true;
  }

private:
  using seconds = std::chrono::duration<double>;

  // By whoever has the turn.
  void refill() {
    auto const now = skua::clock::now();
    tokens_ = std::min(burst_, tokens_ + seconds(now - at_).count() * rate_);
    at_ = now;
  }

  double const rate_, burst_;
  skua::counting_semaphore turn_{1};
  skua::clock::time_point at_;   // when there were `tokens_`
  double tokens_;                // may be short by a rounding error after a sleep: that is paid back by the next one
};

} // namespace example

// SPDX-License-Identifier: Apache-2.0
// A rate limiter: many clients share one token bucket (support/token_bucket.hpp), which is fair, and loses no token to those that give up or are stopped.
//
//     patient clients     each makes its requests one after the other, and waits as long as it takes
//     impatient clients   make one request each, give up after --patience, and are counted
//     a client            that is stopped while it waits
//     a reporter          ticks at a fixed rate, and says how far they are
//
// At the end the program checks what it promises, and fails if it is not so: the rate was kept, and every token that left the bucket was somebody's.
//
// usage: rate_limiter [--clients N] [--requests N] [--rate N] [--burst N] [--impatient N] [--patience MS] [--backend virtual]
#include "support/command_line.hpp"
#include "support/token_bucket.hpp"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <skua/interval.hpp>
#include <skua/runtime.hpp>
#include <skua/task_group.hpp>
#include <skua/shield.hpp>
#include <stdexcept>
#include <string>
#include <vector>

using milliseconds = std::chrono::duration<double, std::milli>;

struct settings {
  int clients = 8, requests = 10, impatient = 8;
  double rate = 200, burst = 10, patience_ms = 5;
};

// Who got how much. The lock is held for a few instructions, never across a suspension.
class ledger {
public:
  explicit ledger(int clients) : got_(static_cast<std::size_t>(clients)) {}
  void granted(int client) {
    std::lock_guard const lock(mutex_);
    ++total_;
    int const mine = ++got_[static_cast<std::size_t>(client)];
    lead_ = std::max(lead_, mine - *std::min_element(got_.begin(), got_.end()));
  }
  void granted_to_other() {
    std::lock_guard const lock(mutex_);
    ++total_;
  }
  int total() {
    std::lock_guard const lock(mutex_);
    return total_;
  }
  int lead() const { return lead_; }   // when nobody works any more

private:
  std::mutex mutex_;
  std::vector<int> got_;
  int total_ = 0, lead_ = 0;
};

static skua::task<> patient(example::token_bucket& bucket, ledger& book, int client, int requests) {
  for (int i = 0; i < requests; ++i) {
    co_await bucket.take();
    book.granted(client);
  }
}

static skua::task<> impatient(example::token_bucket& bucket, ledger& book, milliseconds patience, std::atomic<int>& gave_up) {
  try {
    co_await skua::timeout(patience, bucket.take());
    book.granted_to_other();
  } catch (skua::timeout_error const&) {
    ++gave_up;   // and has taken nothing
  }
}

static skua::task<> report(ledger& book) {
  skua::interval every(milliseconds(100), skua::missed_tick::skip);
  for (;;) {
    co_await every.tick();
    std::fprintf(stderr, "%d granted\n", book.total());
  }
}

static void promise(bool kept, char const* what) {
  if (!kept) throw std::runtime_error(std::string("it is not so: ") + what);
  std::printf("%s\n", what);
}

static skua::task<> run(settings const& s) {
  example::token_bucket bucket(s.rate, s.burst);
  ledger book(s.clients);
  std::atomic<int> gave_up = 0;
  double taken = 0;   // by the one that is stopped, if the stop comes too late
  auto const start = skua::clock::now();
  // with_task_group keeps the callable until all have ended. NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines)
  co_await skua::with_task_group([&](skua::task_group& group) -> skua::task<> {
    auto reporter = group.spawn(report, std::ref(book));
    std::vector<skua::child_handle<>> waiting;
    for (int i = 0; i < s.clients; ++i) waiting.push_back(group.spawn(patient, std::ref(bucket), std::ref(book), i, s.requests));
    for (int i = 0; i < s.impatient; ++i)
      waiting.push_back(group.spawn(impatient, std::ref(bucket), std::ref(book), milliseconds(s.patience_ms), std::ref(gave_up)));
    co_await skua::sleep_for(milliseconds(1));   // now the bucket is empty
    auto greedy = group.spawn(&example::token_bucket::take, std::ref(bucket), s.burst);   // wants all of it at once: a long wait, and those behind it wait, too
    co_await skua::sleep_for(milliseconds(1));
    greedy.request_stop();
    if ((co_await skua::settle(greedy)).has_value()) taken = s.burst;
    for (auto& w : waiting) co_await w;
    reporter.request_stop();
  });
  auto const took = std::chrono::duration<double>(skua::clock::now() - start);
  int const served = s.impatient - gave_up;
  std::printf("%d granted: %d to each of %d clients, %d to the impatient, of whom %d gave up\n", book.total(), s.requests, s.clients, served, gave_up.load());
  std::printf("in %.1f ms, at %g/s after a burst of %g; one client was ahead of another by %d at most\n", took.count() * 1000, s.rate, s.burst, book.lead());
  promise(book.total() == s.clients * s.requests + served, "every token was somebody's");
  promise(took.count() * s.rate + s.burst + 1e-6 >= book.total() + taken, "the rate was kept");
}

int main(int argc, char** argv) {
  settings s;
  skua::options o;
  example::command_line line("rate_limiter", "Many clients share a token bucket.");
  line.number("--clients", s.clients, 1, 10'000, "that wait as long as it takes");
  line.number("--requests", s.requests, 0, 10'000, "of each of them");
  line.number("--rate", s.rate, 1, 1e6, "tokens a second");
  line.number("--burst", s.burst, 1, 1e6, "tokens at once");
  line.number("--impatient", s.impatient, 0, 10'000, "clients that give up");
  line.number("--patience", s.patience_ms, 0, 60'000, "milliseconds that they wait");
  line.text("--backend", o.backend, "virtual: time jumps to where something happens", {"auto", "epoll", "virtual"});
  line.parse(argc, argv);
  return line.run([&] { skua::run(o, run(s)); });
}

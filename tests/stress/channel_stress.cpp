// SPDX-License-Identifier: Apache-2.0
// Channels and selects under random stops: producers and consumers over a few channels (bounded, rendezvous, unbounded) that send, try, select, and give up
// after a while; each of them is stopped at a random one of its suspension points, or not; channels are closed in the middle. Then, for every message:
//     send said "sent"        it was received by one task, or is still in its channel
//     it came back            nobody received it
//     its sender was stopped  it was destroyed, once, and nobody received it (S4, S9)
// No task, frame or message is left, and no stop request is counted as under way.
//
// usage: channel_stress [--seconds S] [--seed N] [--workers N] [--backend NAME] [--rounds N]
#include "skua/channel.hpp"
#include "skua/detail/frame_pool.hpp"
#include "skua/runtime.hpp"
#include "skua/select.hpp"
#include "skua/time.hpp"
#include "skua/timeout.hpp"
#include "tests/support/stress_rounds.hpp"
#include <array>
#include <cstdio>
#include <memory>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace skua_test;
using skua::on;
using skua::select;
using skua::task;

// ---------------------------------------------------------------------------------------------- messages

constexpr std::size_t most_messages = 4096;
struct fate {
  std::atomic<int> received{0}, returned{0}, sent{0}, destroyed{0};   // destroyed: without having been received or returned
};
struct ledger {
  std::array<fate, most_messages> of;
  std::atomic<std::size_t> made{0};
};

class message {
public:
  explicit message(ledger& l) : ledger_(&l), number_(l.made.fetch_add(1)) { STRESS_CHECK(number_ < most_messages); }
  message(message&& o) noexcept : ledger_(std::exchange(o.ledger_, nullptr)), number_(o.number_) {}
  message& operator=(message&&) = delete;
  ~message() {
    if (ledger_ != nullptr) ++mine().destroyed;
  }
  std::size_t number() const { return number_; }
  void received() && {
    ++mine().received;
    ledger_ = nullptr;
  }
  void returned() && {
    ++mine().returned;
    ledger_ = nullptr;
  }

private:
  fate& mine() const { return ledger_->of[number_]; }
  ledger* ledger_;
  std::size_t number_;
};

// ---------------------------------------------------------------------------------------------- one round

std::atomic<std::uint64_t> total_messages{0}, total_stopped{0}, total_selects{0}, total_returned{0};

struct round_t {
  ledger book;
  std::vector<skua::channel<message>> bounded;
  skua::unbounded_channel<message> unbounded;
  std::array<std::atomic<int>, 16> countdown{};   // of each task: it is stopped at this suspension point
  std::array<skua::join_handle<>, 16> tasks;
};

// A suspension point of task `who` is near.
void point(round_t& r, std::size_t who) {
  if (r.countdown[who].fetch_sub(1) == 1) r.tasks[who].request_stop();
}

void note(round_t& r, std::size_t number, skua::send_result<message> result) {
  if (result) {
    ++r.book.of[number].sent;
  } else {
    std::move(result).value().returned();
    ++total_returned;
  }
}
task<> send_one(round_t& r, skua::channel<message> ch) {
  message m(r.book);
  std::size_t const number = m.number();
  note(r, number, co_await ch.send(std::move(m)));
}
task<> receive_one(skua::channel<message> ch, bool& ended) {
  auto m = co_await ch.recv();
  ended = !m;
  if (m) std::move(*m).received();
}
std::chrono::microseconds a_while(rng& g) { return std::chrono::microseconds(g.below(30)); }

task<> produce(round_t& r, std::size_t who, std::uint64_t seed) {
  rng g{seed};
  for (unsigned n = 20 + g.below(100); n != 0; --n) {
    auto& a = r.bounded[g.below(static_cast<unsigned>(r.bounded.size()))];
    auto& b = r.bounded[g.below(static_cast<unsigned>(r.bounded.size()))];
    point(r, who);
    switch (g.below(8)) {
    case 0:
    case 1: {
      message m(r.book);
      std::size_t const number = m.number();
      note(r, number, co_await a.send(std::move(m)));
      break;
    }
    case 2: {
      message m(r.book);
      std::size_t const number = m.number();
      note(r, number, a.try_send(std::move(m)));
      break;
    }
    case 3: {
      message m(r.book);
      std::size_t const number = m.number();
      note(r, number, r.unbounded.send(std::move(m)));
      break;
    }
    case 4:
      try {
        co_await skua::timeout(a_while(g), send_one(r, a));
      } catch (skua::timeout_error const&) {
      }
      break;
    case 5:
    case 6: {
      message m(r.book), o(r.book);
      std::size_t const mine = m.number(), other = o.number();
      ++total_selects;
      co_await select(on(a.send(std::move(m)), [&](skua::send_result<message> s) { note(r, mine, std::move(s)); }),
                      on(b.send(std::move(o)), [&](skua::send_result<message> s) { note(r, other, std::move(s)); }), on(skua::sleep_for(a_while(g)), [] {}));
      break;
    }
    case 7: co_await skua::this_task::yield(); break;
    }
  }
}

task<> consume(round_t& r, std::size_t who, std::uint64_t seed) {
  rng g{seed};
  auto take = [](std::optional<message> m) {
    if (!m) return true;
    std::move(*m).received();
    return false;
  };
  for (bool ended = false; !ended;) {
    auto& a = r.bounded[g.below(static_cast<unsigned>(r.bounded.size()))];
    auto& b = r.bounded[g.below(static_cast<unsigned>(r.bounded.size()))];
    point(r, who);
    switch (g.below(8)) {
    case 0:
    case 1: ended = take(co_await a.recv()); break;
    case 2:
      if (auto m = a.try_recv()) std::move(*m).received();
      co_await skua::this_task::yield();
      break;
    case 3:
      if (auto m = r.unbounded.try_recv()) std::move(*m).received();
      break;
    case 4:
      try {
        co_await skua::timeout(a_while(g), receive_one(a, ended));
      } catch (skua::timeout_error const&) {
      }
      break;
    case 5:
    case 6:
      ++total_selects;
      ended = co_await select(on(a.recv(), take), on(r.unbounded.recv(), take), on(b.recv(), take), on(skua::sleep_for(a_while(g)), [] { return false; }));
      break;
    case 7: {   // passes a message on, or takes one, whichever comes first
      if (r.book.made > most_messages / 2) break;
      message m(r.book);
      std::size_t const number = m.number();
      ended = co_await select(on(a.send(std::move(m)), [&](skua::send_result<message> s) { return note(r, number, std::move(s)), false; }), on(b.recv(), take),
                              on(skua::stopping, [] { return true; }));
      break;
    }
    }
  }
}

task<> one_round(skua::runtime& rt, std::uint64_t seed) {
  rng g{seed};
  auto all = std::make_shared<round_t>();
  round_t& r = *all;
  for (unsigned n = 1 + g.below(3); n != 0; --n) {
    constexpr std::size_t capacities[] = {0, 1, 2, 16};
    r.bounded.emplace_back(capacities[g.below(4)]);
  }
  std::size_t const producers = 1 + g.below(6), consumers = 1 + g.below(6), tasks = producers + consumers;
  bool const stops = g.one_in(2);
  for (std::size_t i = 0; i != tasks; ++i) r.countdown[i] = stops ? 1 + static_cast<int>(g.below(150)) : 1 << 30;
  // The handles are written before the tasks may look at them: they start behind a channel.
  skua::channel<char> start(0);
  for (std::size_t i = 0; i != tasks; ++i)
    r.tasks[i] = skua::spawn([](round_t& all_, skua::channel<char> at, std::size_t who, bool sends, std::uint64_t s) -> task<> {
      (void)co_await at.recv();
      co_await (sends ? produce(all_, who, s) : consume(all_, who, s));
    }, std::ref(r), start, i, i < producers, g.next());
  start.close();
  // Closed when the producers have ended, or before.
  if (g.one_in(3)) co_await skua::sleep_for(a_while(g));
  else
    for (std::size_t i = 0; i != producers; ++i) {
      while (!r.tasks[i].done()) {
        // A consumer may be gone, and then somebody has to make room.
        for (auto& ch : r.bounded)
          if (auto m = ch.try_recv()) std::move(*m).received();
        co_await skua::this_task::yield();
      }
    }
  for (auto& ch : r.bounded) ch.close();
  r.unbounded.close();
  for (std::size_t i = 0; i != tasks; ++i) {
    try {
      co_await r.tasks[i];
    } catch (skua::task_stopped const&) {
      ++total_stopped;
    }
    r.tasks[i] = {};
  }
  for (auto& ch : r.bounded)
    while (auto m = ch.try_recv()) std::move(*m).received();
  while (auto m = r.unbounded.try_recv()) std::move(*m).received();
  for (std::size_t i = 0, n = r.book.made; i != n; ++i) {
    fate const& f = r.book.of[i];
    STRESS_CHECK(f.received + f.returned + f.destroyed == 1);
    STRESS_CHECK(f.sent == f.received);
  }
  total_messages += r.book.made;
  (void)rt;
}

} // namespace

int main(int argc, char** argv) {
  stress_options const o(argc, argv);
  rng seeds{o.seed};
  std::uint64_t rounds = 0;
  {
    skua::runtime rt({.workers = o.workers, .backend = o.backend});
    for (; o.go_on(rounds); ++rounds) {
      seed_of_round = seeds.state;
      rt.block_on(one_round(rt, seeds.next()));
    }
  }
  check_nothing_is_left();
  std::printf("ok: %llu rounds: %llu messages, %llu of them returned, %llu selects, %llu tasks stopped\n", static_cast<unsigned long long>(rounds),
              static_cast<unsigned long long>(total_messages.load()), static_cast<unsigned long long>(total_returned.load()),
              static_cast<unsigned long long>(total_selects.load()), static_cast<unsigned long long>(total_stopped.load()));
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// A fan-out with a deadline and partial results: a query goes to all shards at once, and what has come after the limit is the answer.
//
// The shards that are too slow are stopped and awaited: nothing of the query is left running when the answer is printed. A shard that fails costs its own part
// only. Each shard has clean-up that awaits: its connection is given back, whatever happens.
#include "support/command_line.hpp"
#include <skua/finally.hpp>
#include <skua/runtime.hpp>
#include <skua/time.hpp>
#include <skua/timeout.hpp>
#include <skua/when_all_settled.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

using milliseconds = std::chrono::duration<double, std::milli>;

struct hits {
  int shard;
  int count;
};

static skua::task<> give_back_connection() { co_await skua::sleep_for(milliseconds(1)); }

static skua::task<hits> ask(int shard) {
  co_await skua::sleep_for(milliseconds(10 * (shard + 1)));   // the shard thinks
  if (shard == 2) throw std::runtime_error("shard 2 is down");
  co_return hits{shard, 100 + shard};
}

static skua::task<> query(int shards, milliseconds limit) {
  std::vector<skua::task<hits>> all;
  for (int i = 0; i < shards; ++i) all.push_back(skua::finally(ask(i), give_back_connection));
  // The timer stops what is not there yet; the outcomes are delivered all the same.
  auto const answers = co_await skua::timeout(limit, skua::when_all_settled(std::move(all)));
  int total = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].has_value()) {
      std::printf("shard %zu: %d hits\n", i, answers[i]->count);
      total += answers[i]->count;
    } else if (answers[i].stopped()) {
      std::printf("shard %zu: too slow\n", i);
    } else {
      try {
        std::rethrow_exception(answers[i].error());
      } catch (std::exception const& e) {
        std::printf("shard %zu: %s\n", i, e.what());
      }
    }
  }
  std::printf("%d hits\n", total);
}

int main(int argc, char** argv) {
  double shards = 8, limit_ms = 55;
  example::command_line line("fan_out", "Asks all shards at once, and answers with what came in time.");
  line.number("--shards", shards, 1, 1000, "how many shards; each takes 10 ms longer than the one before");
  line.number("--limit", limit_ms, 0, 60'000, "milliseconds");
  line.parse(argc, argv);
  return line.run([&] { skua::run(query(static_cast<int>(shards), milliseconds(limit_ms))); });
}

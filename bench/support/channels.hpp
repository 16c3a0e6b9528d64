// SPDX-License-Identifier: Apache-2.0
// The workloads of channels that several benchmark programs share; as the peers' programs write them (bench/compare).
#pragma once
#include "tasks.hpp"
#include <cstddef>
#include <cstdint>
#include <skua/channel.hpp>
#include <skua/oneshot.hpp>
#include <skua/spawn.hpp>
#include <utility>
#include <vector>

namespace bench {

// Two tasks and two channels of 1: one operation is there and back.
inline skua::task<> ping_pong(std::size_t n) {
  auto [there_tx, there_rx] = skua::channel<std::uint64_t>(1).split();
  auto [back_tx, back_rx] = skua::channel<std::uint64_t>(1).split();
  auto b = skua::spawn([](skua::receiver<std::uint64_t> from, skua::sender<std::uint64_t> to) -> skua::task<> {
    while (auto v = co_await from.recv()) require(static_cast<bool>(co_await to.send(*v + 1)));
  }, std::move(there_rx), std::move(back_tx));
  auto a = skua::spawn([](skua::sender<std::uint64_t> to, skua::receiver<std::uint64_t> from, std::size_t times) -> skua::task<> {
    for (std::uint64_t i = 0; i < times; ++i) {
      require(static_cast<bool>(co_await to.send(i)));
      require(co_await from.recv() == i + 1);
    }
  }, std::move(there_tx), std::move(back_rx), n);
  co_await a;
  co_await b;
}

// A request carries the oneshot that its reply goes to.
struct request {
  std::uint64_t question;
  skua::oneshot_sender<std::uint64_t> reply;
};
inline skua::task<> requests(std::size_t n) {
  auto [tx, rx] = skua::channel<request>(1).split();
  auto server = skua::spawn([](skua::receiver<request> from) -> skua::task<> {
    while (auto r = co_await from.recv()) require(static_cast<bool>(r->reply.send(r->question + 1)));
  }, std::move(rx));
  auto client = skua::spawn([](skua::sender<request> to, std::size_t times) -> skua::task<> {
    for (std::uint64_t i = 0; i < times; ++i) {
      auto [reply, answer] = skua::oneshot<std::uint64_t>();
      require(static_cast<bool>(co_await to.send({i, std::move(reply)})));
      require(co_await answer.recv() == i + 1);
    }
  }, std::move(tx), n);
  co_await client;
  co_await server;
}

// 8 producers, one consumer, capacity 1024.
inline skua::task<> many_to_one(std::size_t total) {
  constexpr std::size_t producers = 8;
  std::size_t const each = total / producers;
  auto [tx, rx] = skua::channel<std::uint64_t>(1024).split();
  std::vector<skua::join_handle<>> all;
  for (std::size_t p = 0; p < producers; ++p)
    all.push_back(skua::spawn([](skua::sender<std::uint64_t> to, std::size_t times) -> skua::task<> {
      for (std::uint64_t i = 0; i < times; ++i) require(static_cast<bool>(co_await to.send(i)));
    }, tx, each));
  tx = {};
  std::size_t n = 0;
  std::uint64_t sum = 0;
  while (auto v = co_await rx.recv()) {
    ++n;
    sum += *v;
  }
  require(n == each * producers && sum == producers * (each * (each - 1) / 2));
  for (auto& h : all) co_await h;
}

} // namespace bench

// SPDX-License-Identifier: Apache-2.0
// Tasks at the ends of a channel.
#pragma once
#include "skua/channel.hpp"
#include "skua/task.hpp"
#include <gtest/gtest.h>
#include <stdexcept>
#include <utility>

namespace skua_test {

template <class T>
skua::task<> put(skua::channel<T> ch, T v) {
  EXPECT_TRUE(co_await ch.send(std::move(v)));
}
template <class T>
skua::task<T> get(skua::channel<T> ch) {
  auto m = co_await ch.recv();
  if (!m) throw std::runtime_error("ended");
  co_return std::move(*m);
}

} // namespace skua_test

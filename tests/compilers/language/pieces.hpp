// SPDX-License-Identifier: Apache-2.0
// Small coroutines and types that the probes of several files use.
#pragma once
#include "probe.hpp"
#include <array>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

namespace probe {

struct options {
  tracked host;
  int port = 2;
  tracked user = 3;
};          // an aggregate with members that need destruction
inline task<int> sum(int a, int b) { co_return co_await later(a) + b; }
inline task<int> value_of(tracked t) {
  co_await later();
  co_return t.value();
}
inline task<int> value_of_ref(tracked const& t) {
  co_await later();
  co_return t.value();
}
inline task<tracked> make(int v) {
  co_await later();
  co_return tracked(v);
}
inline task<int> throws() {
  co_await later();
  throw 7;
}
struct two {
  tracked a, b;
  two(int x, int y) : a(x), b(y) {}
};
inline task<two> make_two() {
  co_await later();
  co_return two(1, 2);
}
inline task<std::tuple<tracked, int>> make_tuple(int i) {
  co_await later();
  co_return std::tuple<tracked, int>(i, i);
}
inline task<std::vector<std::pair<int, tracked>>> entries() {
  co_await later();
  std::vector<std::pair<int, tracked>> v;
  v.emplace_back(1, 1), v.emplace_back(2, 2);
  co_return v;
}
struct constructed {
  tracked t;
  int n;
  constructed(tracked a, int b) : t(std::move(a)), n(b) {}
};
inline task<std::string> text(char const* s) {
  co_await later();
  co_return std::string(s) + "................";
}
inline task<int> take(options o) {
  co_await later();
  co_return o.host.value() + o.port + o.user.value();
}
inline task<int> take_const(options const& o) {
  co_await later();
  co_return o.host.value() + o.port + o.user.value();
}
inline task<int> take_rvalue(options&& o) {
  co_await later();
  co_return o.host.value() + o.port + o.user.value();
}
inline task<int> take_default(int a, options o = {}) {
  co_await later();
  co_return a + o.host.value() + o.port + o.user.value();
}

template <class Coroutine> int caught(Coroutine c) {
  try {
    c();
  } catch (int i) { return i; }
  return 0;
}

} // namespace probe

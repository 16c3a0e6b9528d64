// SPDX-License-Identifier: Apache-2.0
// What a compiler must refuse, with an error and without an internal one; and the warning that a forgotten co_await earns. Each block is compiled by itself.
//@@ configs: refused
#include "probe.hpp"
using namespace probe;

//@ await_in_a_handler must co_await inside catch
PROBE(await_in_a_handler) {
  try {
    throw 1;
  } catch (int) { co_await later(); }
}

//@ await_in_static_initialiser note static int x = co_await y
PROBE(await_in_static_initialiser) {
  static int x = co_await later(1);
  CHECK(x);
}

//@ await_unevaluated must sizeof(co_await x)
PROBE(await_unevaluated) {
  CHECK(sizeof(co_await later(1)) == 4);
  co_return;
}

//@ throwing_final_suspend must final_suspend that is not noexcept
class bad_final {
public:
  struct promise_type : task<void>::promise_type {
    bad_final get_return_object() { return {}; }
    std::suspend_never final_suspend() { return {}; }
  };
};
static bad_final bad() { co_return; }
PROBE_CALL(throwing_final_suspend) { bad(); }

//@ await_an_lvalue_task must co_await t without std::move
PROBE(await_an_lvalue_task) {
  auto t = [](int i) -> task<int> { co_return i; }(1);
  co_await t;
}

//@ forgotten_await must a [[nodiscard]] task dropped, with -Werror
#pragma GCC diagnostic error "-Wunused-result"
#pragma GCC diagnostic error "-Wunused-value"   // where newer clangs file it
static task<void> forgotten() { co_return; }
PROBE(forgotten_await) {
  forgotten();
  co_return;
}

//@ return_in_a_coroutine must return instead of co_return
PROBE(return_in_a_coroutine) {
  co_await later();
  return later();
}

// SPDX-License-Identifier: Apache-2.0
// Stop everywhere: a body is run again and again, each time stopped at the next one of its points, by its own worker or by a foreign thread, until it runs to
// its end.
//
// Of an operation (stop_operations): a body that waits by it is stopped before it waits, while it waits, when it has been given what it waits for and has not
// run yet, and behind that. Others wait for the same, and give. Each time: nothing that was given is lost or given twice, no lock is owned by nobody, nobody
// waits for ever, nothing is left.
#pragma once
#include "skua/runtime.hpp"
#include "skua/spawn.hpp"
#include "skua/this_task.hpp"
#include "skua/timeout.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>

namespace skua_test {

template <class T>
struct stop_course {
  std::atomic<int> left;   // points until the stop
  bool by_thread;
  std::atomic<skua::join_handle<T> const*> target{nullptr};

  // Anybody, also those who work for the body while it waits.
  void point() {
    if (left.fetch_sub(1) != 1) return;
    if (by_thread)
      std::thread([this] { target.load()->request_stop(); }).join();
    else
      target.load()->request_stop();
  }
  // The body begins with this: from here on there is somebody to be stopped.
  skua::task<> begin() {
    while (target.load() == nullptr) co_await skua::this_task::yield();
  }
};

using course = stop_course<void>;
using number = std::atomic<int>;   // body and others run on two workers

// One operation: body() is what is stopped; others() run beside it, are not stopped, and end whatever becomes of it; check() looks at what is left.
struct scene {
  course* at = nullptr;
  bool body_ended = false;   // it was not stopped
  std::atomic<bool> body_gone{false};
  void point() { at->point(); }
  static skua::task<> turns() { co_await yield_times(3); }
};

template <class Scene>
bool stop_once(skua::runtime& rt, course& c) {
  auto const s = std::make_unique<Scene>();
  s->at = &c;
  auto program = [&]() -> skua::task<> {
    auto h = skua::spawn([](Scene& x) -> skua::task<> {
      co_await x.at->begin();
      co_await x.body();
    },
                         std::ref(*s));
    c.target = &h;
    auto others = skua::spawn([](Scene& x) -> skua::task<> { co_await x.others(); }, std::ref(*s));
    try {
      co_await h;
      s->body_ended = true;
    } catch (skua::task_stopped const&) {
    }
    s->body_gone = true;
    co_await skua::timeout(std::chrono::hours(24), others);   // who waits for ever is a lost wake-up
  };
  rt.block_on(program);
  s->check();
  return !s->body_ended;
}

// How often the body was stopped.
template <class Scene>
int stop_everywhere(skua::options const& o) {
  skua::runtime rt{o};
  int stops = 0;
  for (bool by_thread : {false, true})
    for (int at = 1;; ++at) {
      course c{.left = at, .by_thread = by_thread};
      bool const stopped = stop_once<Scene>(rt, c);
      if (testing::Test::HasFailure() || at == 500) {
        ADD_FAILURE() << "stopped at point " << at << (by_thread ? " by a thread" : " by a worker");
        return 0;
      }
      if (c.left > 0) break;   // there are no more points
      stops += stopped;
    }
  return stops;
}

template <class Scene>
class stop_operations : public leak_check {
protected:
  int run(skua::options const& o) { return stop_everywhere<Scene>(o); }
};

} // namespace skua_test

// SPDX-License-Identifier: Apache-2.0
// outside_work: tells a runtime that a thread outside is busy on its behalf.
#pragma once
#include <memory>
#include <utility>

namespace skua {

class runtime;

namespace detail {
struct outside_count;   // scheduler/outside_count.hpp
}

// While one lives, virtual time does not jump, and a runtime in which nothing can run is not taken for stuck (docs/virtual-time.md): for threads that will set
// a promise, or wake a task in another way. spawn_blocking, files and name resolution need none: the runtime knows of them. Without effect where time is real.
//
// Thread safety: any thread; one object by one thread at a time. Errors: usage_error if it is made, without a runtime, on a thread that is no worker.
// Stop: none. Lifetime: may outlive its runtime. Make it before the thread starts, and let it end after the wake-up:
//
//     std::thread([p = std::move(promise), w = skua::outside_work()]() mutable { p.set_value(measure()); }).detach();
class [[nodiscard("outside work is under way while this object lives")]] outside_work {
public:
  outside_work();                        // for the runtime of this task
  explicit outside_work(runtime& rt);
  outside_work(outside_work&& o) noexcept = default;   // leaves an empty one
  outside_work& operator=(outside_work&& o) noexcept;
  ~outside_work();

private:
  std::shared_ptr<detail::outside_count> count_;
};

} // namespace skua

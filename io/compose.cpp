// SPDX-License-Identifier: Apache-2.0
// The composition root: the one place that knows the scheduler's side and every back end.
#include "io/descriptor.hpp"
#include "io/epoll_driver.hpp"
#include "scheduler/runtime_core.hpp"
#include "scheduler/virtual_driver.hpp"
#include <stdexcept>
#include <string>

namespace skua::detail {

std::unique_ptr<driver> make_driver(options const& o) {
  if (o.backend == "epoll" || o.backend == "auto")
    return std::make_unique<epoll_driver>(epoll_driver::settings{
        .bound_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(o.io_bound).count()), .name = o.name});
  if (o.backend == "virtual") return std::make_unique<virtual_driver>(0, o.stuck_after);
  throw std::invalid_argument("skua: options.backend is \"" + o.backend + "\"; it can be \"auto\", \"epoll\" or \"virtual\"");
}

namespace {

// A worker has one runtime for as long as it lives, so this thread's answer stays right.
struct known_driver {
  scheduler* of = nullptr;
  epoll_driver* driver = nullptr;
};
constinit thread_local known_driver known [[gnu::tls_model("initial-exec")]];

} // namespace

epoll_driver* descriptors_of(scheduler& s) noexcept {
  if (known.of != &s) [[unlikely]] known = {&s, dynamic_cast<epoll_driver*>(&core_of(s).used_driver())};
  return known.driver;
}

} // namespace skua::detail

// SPDX-License-Identifier: Apache-2.0
// The seam between a runtime and whatever reads and writes its files: io_uring, or the blocking pool (D9). Chosen once, at start.
#pragma once
#include "skua/options.hpp"
#include <cstddef>
#include <memory>

namespace skua::detail {

class scheduler;
class driver;
class blocking_pool;
struct file_request;   // io/file_request.hpp

class file_engine {
public:
  virtual ~file_engine() = default;   // nothing is in flight
  virtual char const* name() const noexcept = 0;

  // On a worker. From here on the request may complete at any time, on any thread. Errors: system_error; then it was not taken.
  virtual void submit(file_request& r) = 0;
  // On a worker, for a stop. True: the request has not begun and never will. False: it completes, perhaps earlier with ECANCELED (S7).
  [[nodiscard]] virtual bool withdraw(file_request& r) noexcept = 0;
  // On a worker: a request that was submitted here has completed, and what awaits it goes on.
  virtual void resumed() noexcept {}
  // Requests that have been submitted and not completed. Virtual time must not jump while there are any.
  virtual std::size_t in_flight() const noexcept = 0;
};

// The one that the options ask for, "auto": io_uring if it works here and with this driver (io/file_engines.cpp). Before the driver is started; the
// engine outlives driver::stop(). Errors: invalid_argument; system_error if io_uring was asked for and does not work.
std::unique_ptr<file_engine> make_file_engine(options const& o, blocking_pool& pool, driver& d);

// The engine of a runtime. Implemented where the runtime is put together.
file_engine& files_of(scheduler& s) noexcept;

} // namespace skua::detail

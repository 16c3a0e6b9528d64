// SPDX-License-Identifier: Apache-2.0
// What skua throws. Failures of the operating system are std::system_error with the real error code (D13); these are the rest.
#pragma once
#include "stop_reason.hpp"
#include <exception>
#include <stdexcept>
#include <utility>
#include <vector>

namespace skua {

// Thrown by awaiting a join_handle whose task was stopped (S11). Not thrown into a task that is being stopped itself: a stop is no
// exception, nothing can swallow it (docs/stop.md).
class task_stopped : public std::exception {
public:
  explicit task_stopped(stop_reason why = stop_reason::none) noexcept : reason_(why) {}
  char const* what() const noexcept override;
  // Why; none where that is not known.
  stop_reason reason() const noexcept { return reason_; }

private:
  stop_reason reason_;
};

// Thrown by timeout() and timeout_at() when their timer, and nothing else, ended the awaited operation (S10).
class timeout_error : public std::exception {
public:
  char const* what() const noexcept override { return "skua: timed out"; }
};

// Thrown by finally() when its clean-up did not end within its limit (S14).
class cleanup_timeout : public timeout_error {
public:
  char const* what() const noexcept override { return "skua: the clean-up of finally() did not end within its limit"; }
};

// Thrown by finally() when the clean-up failed, and what it belongs to had failed before (S14). The failure before is nested:
// std::rethrow_if_nested gives it.
class cleanup_failed : public std::exception, public std::nested_exception {
public:
  explicit cleanup_failed(std::exception_ptr cleanup) noexcept : cleanup_(std::move(cleanup)) {}   // inside the handler of the failure before
  char const* what() const noexcept override { return "skua: the clean-up of finally() failed, after what it belongs to had failed"; }
  // What the clean-up threw.
  std::exception_ptr const& cleanup_error() const noexcept { return cleanup_; }

private:
  std::exception_ptr cleanup_;
};

// A mistake in the program: a task awaited twice, a join from outside the runtime, a blocking call inside it, a runtime used after fork.
class usage_error : public std::logic_error {
public:
  using std::logic_error::logic_error;
};

// Thrown by block_on() and run() under virtual time, when the program cannot go on: no task can run, no timer is set, nothing is under way outside. The text
// lists what each task waited for; all were stopped (docs/virtual-time.md).
class stuck_error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

// Thrown by awaiting a future whose promise was destroyed without a value.
class broken_promise : public std::exception {
public:
  char const* what() const noexcept override { return "skua: the promise was destroyed without a value"; }
};

// Thrown by with_task_group() when several of its tasks failed, or one with on_error::collect (S13): all failures, in time order; the body's as well.
class task_group_error : public std::exception {
public:
  explicit task_group_error(std::vector<std::exception_ptr> failures) : failures_(std::move(failures)) {}
  char const* what() const noexcept override { return "skua: tasks of a group failed"; }
  std::vector<std::exception_ptr> const& failures() const noexcept { return failures_; }

private:
  std::vector<std::exception_ptr> failures_;
};

// Thrown by when_any when no branch came to a value (S9): all failures, in the order of the arguments.
class all_failed : public std::exception {
public:
  explicit all_failed(std::vector<std::exception_ptr> failures) : failures_(std::move(failures)) {}
  char const* what() const noexcept override { return "skua: every branch of when_any failed"; }
  std::vector<std::exception_ptr> const& failures() const noexcept { return failures_; }

private:
  std::vector<std::exception_ptr> failures_;
};

} // namespace skua

// SPDX-License-Identifier: Apache-2.0
// What skua throws. Failures of the operating system are std::system_error with the real error code (D13); these are the rest.
#pragma once
#include <exception>
#include <stdexcept>
#include <vector>

namespace skua {

// Thrown by awaiting a join_handle whose task was stopped (S11). Not thrown into a task that is being stopped itself: a stop is no
// exception, nothing can swallow it (docs/stop.md).
class task_stopped : public std::exception {
public:
  char const* what() const noexcept override { return "skua: the awaited task was stopped"; }
};

// Thrown by timeout() and timeout_at() when their timer, and nothing else, ended the awaited operation (S10).
class timeout_error : public std::exception {
public:
  char const* what() const noexcept override { return "skua: timed out"; }
};

// A mistake in the program: a task awaited twice, a join from outside the runtime, a blocking call inside it, a runtime used after fork.
class usage_error : public std::logic_error {
public:
  using std::logic_error::logic_error;
};

// Thrown by awaiting a future whose promise was destroyed without a value.
class broken_promise : public std::exception {
public:
  char const* what() const noexcept override { return "skua: the promise was destroyed without a value"; }
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

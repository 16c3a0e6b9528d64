// SPDX-License-Identifier: Apache-2.0
#include "scheduler/failure.hpp"
#include "skua/detail/task_header.hpp"
#include <cstdio>
#include <exception>

namespace skua {

char const* to_string(failure_kind k) noexcept {
  switch (k) {
  case failure_kind::task: break;
  case failure_kind::blocking: return "abandoned blocking work failed";
  case failure_kind::stopped: return "a branch failed, but the task around it was stopped";
  case failure_kind::when_all: return "a later failure of a when_all, behind the one that was rethrown";
  case failure_kind::when_any: return "a failure of a when_any's loser, another branch came to a value";
  case failure_kind::task_group: return "a later failure of a task group, behind the one that was rethrown";
  }
  return "failed and nobody awaited it";
}

namespace detail {

namespace {

void append(std::string& text, std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& e) {
    text += e.what();
    try {
      std::rethrow_if_nested(e);
    } catch (...) {
      text += ": caused by: ";
      append(text, std::current_exception());
    }
  } catch (...) {
    text += "an exception that is no std::exception";
  }
}

void print(failure const& f) noexcept {
  std::string const text = describe(f.error);
  char const* const file = f.spawned_at.file_name();
  // One call, so that lines of several threads do not mix.
  if (f.task_id == 0)
    std::fprintf(stderr, "skua: %s: %s\n", to_string(f.kind), text.c_str());
  else
    std::fprintf(stderr, "skua: task %llu%s%.*s%s (spawned at %s:%u)%s %s: %s\n", static_cast<unsigned long long>(f.task_id),
                 f.task_name.empty() ? "" : " '", static_cast<int>(f.task_name.size()), f.task_name.data(), f.task_name.empty() ? "" : "'",
                 file != nullptr && *file != 0 ? file : "?", f.spawned_at.line(), f.kind == failure_kind::task ? "" : ":", to_string(f.kind),
                 text.c_str());
}

} // namespace

std::string describe(std::exception_ptr const& error) noexcept {
  try {
    std::string text;
    if (error == nullptr) return "no exception";
    append(text, error);
    return text;
  } catch (...) {
    return {"out of memory"};   // fits into the string itself
  }
}

failure to_failure(failure_report const& r) noexcept {
  if (r.task == nullptr) return failure{r.error, {}, {}, 0, r.kind};
  return failure{r.error, r.task->name(), r.task->site(), r.task->id, r.kind};
}

void deliver_failure(options const& o, failure const& f) noexcept {
  if (!o.on_unhandled_failure) {
    print(f);
  } else {
    try {
      o.on_unhandled_failure(f);
    } catch (...) {
      print(f);
      std::fprintf(stderr, "skua: and the failure handler threw: %s\n", describe(std::current_exception()).c_str());
    }
  }
  if (o.terminate_on_unhandled_failure && !is_secondary(f.kind)) std::terminate();
}

} // namespace detail

} // namespace skua

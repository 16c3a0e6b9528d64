// SPDX-License-Identifier: Apache-2.0
#include "skua/options.hpp"
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string_view>

namespace skua {

namespace {

using namespace std::chrono_literals;

[[noreturn]] void refuse(std::string_view what, std::string_view value, std::string_view permitted) {
  throw std::invalid_argument("skua: " + std::string(what) + " = " + std::string(value) + " is not permitted: " + std::string(permitted));
}

std::string in_quotes(std::string_view text) { return '"' + std::string(text) + '"'; }

void check_one_of(std::string_view what, std::string_view value, std::initializer_list<std::string_view> permitted) {
  std::string all = "one of";
  for (std::string_view p : permitted) {
    if (p == value) return;
    all += ' ' + in_quotes(p);
  }
  refuse(what, in_quotes(value), all);
}

template <class Duration>
void check_between(std::string_view what, Duration value, Duration low, Duration high, std::string_view unit, std::string_view permitted) {
  if (value < low || value > high) refuse(what, std::to_string(value.count()) + ' ' + std::string(unit), permitted);
}

constexpr std::string_view workers_permitted = "0 (as many as this process may use cores) or 1 to 1024";
static_assert(options::max_workers == 1024, "the text above says so");

void check_backend(std::string_view what, std::string_view value) { check_one_of(what, value, {"auto", "epoll", "virtual"}); }
void check_files(std::string_view what, std::string_view value) { check_one_of(what, value, {"auto", "io_uring", "threads"}); }

// Null: not set, or empty.
char const* variable(char const* name) noexcept {
  char const* const value = std::getenv(name);
  return value != nullptr && *value != 0 ? value : nullptr;
}

} // namespace

void validate(options const& o) {
  if (o.workers > options::max_workers) refuse("options.workers", std::to_string(o.workers), workers_permitted);
  check_backend("options.backend", o.backend);
  check_files("options.files", o.files);
  check_between<std::chrono::microseconds>("options.io_bound", o.io_bound, 50us, 1s, "us", "50 us to 1 s");
  if (o.max_blocking_threads < 1 || o.max_blocking_threads > 4096)
    refuse("options.max_blocking_threads", std::to_string(o.max_blocking_threads), "1 to 4096");
  check_between<std::chrono::milliseconds>("options.blocking_keep_alive", o.blocking_keep_alive, 0ms, 1h, "ms", "0 to 1 h");
  check_between<std::chrono::milliseconds>("options.shutdown_grace", o.shutdown_grace, 0ms, 1h, "ms", "0 to 1 h");
  check_between<std::chrono::milliseconds>("options.stuck_after", o.stuck_after, 0ms, 1h, "ms", "0 to 1 h");
  if (o.name.empty() || o.name.size() > 8) refuse("options.name", in_quotes(o.name), "1 to 8 characters");
}

options with_environment(options o) {
  if (char const* const text = variable("SKUA_WORKERS")) {
    unsigned workers = 0;
    char const* const end = text + std::strlen(text);
    auto const [at, error] = std::from_chars(text, end, workers);
    if (error != std::errc() || at != end || workers > options::max_workers) refuse("SKUA_WORKERS", in_quotes(text), workers_permitted);
    o.workers = workers;
  }
  if (char const* const text = variable("SKUA_BACKEND")) {
    check_backend("SKUA_BACKEND", text);
    o.backend = text;
  }
  if (char const* const text = variable("SKUA_FILES")) {
    check_files("SKUA_FILES", text);
    o.files = text;
  }
  return o;
}

} // namespace skua

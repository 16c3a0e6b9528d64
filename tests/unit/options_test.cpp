// SPDX-License-Identifier: Apache-2.0
// Options: defaults are valid, every bad value is refused by name, the environment overrides.
#include "skua/options.hpp"
#include <cstdlib>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>

namespace {

using namespace std::chrono_literals;
using skua::options;

std::string refusal_of(options const& o) {
  try {
    skua::validate(o);
  } catch (std::invalid_argument const& e) {
    return e.what();
  }
  return "";
}
bool mentions(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

// Sets a variable for as long as it lives.
class variable {
public:
  variable(char const* name, char const* value) : name_(name) {
    if (char const* const before = std::getenv(name)) before_ = before, was_set_ = true;
    setenv(name, value, 1);
  }
  ~variable() { was_set_ ? setenv(name_, before_.c_str(), 1) : unsetenv(name_); }
  variable(variable const&) = delete;

private:
  char const* name_;
  std::string before_;
  bool was_set_ = false;
};

std::string refusal_with(char const* name, char const* value) {
  variable const v(name, value);
  try {
    (void)skua::with_environment({});
  } catch (std::invalid_argument const& e) {
    return e.what();
  }
  return "";
}

TEST(Options, defaults_are_valid) { EXPECT_NO_THROW(skua::validate({})); }

TEST(Options, limits_themselves_are_valid) {
  EXPECT_EQ(refusal_of({.workers = options::max_workers}), "");
  EXPECT_EQ(refusal_of({.io_bound = 50us}), "");
  EXPECT_EQ(refusal_of({.io_bound = 1s}), "");
  EXPECT_EQ(refusal_of({.max_blocking_threads = 1}), "");
  EXPECT_EQ(refusal_of({.blocking_keep_alive = 0ms}), "");
  EXPECT_EQ(refusal_of({.name = "12345678"}), "");
}

TEST(Options, a_bad_value_is_refused_with_its_name_and_the_permitted_ones) {
  std::string const text = refusal_of({.workers = 5000});
  EXPECT_TRUE(mentions(text, "options.workers = 5000")) << text;
  EXPECT_TRUE(mentions(text, "1 to 1024")) << text;
  EXPECT_TRUE(mentions(refusal_of({.backend = "kqueue"}), "options.backend = \"kqueue\""));
  EXPECT_TRUE(mentions(refusal_of({.backend = "kqueue"}), "\"epoll\""));
  EXPECT_TRUE(mentions(refusal_of({.files = ""}), "options.files"));
  EXPECT_TRUE(mentions(refusal_of({.io_bound = 10us}), "options.io_bound = 10 us"));
  EXPECT_TRUE(mentions(refusal_of({.max_blocking_threads = 0}), "options.max_blocking_threads = 0"));
  EXPECT_TRUE(mentions(refusal_of({.blocking_keep_alive = -1ms}), "options.blocking_keep_alive = -1 ms"));
  EXPECT_TRUE(mentions(refusal_of({.shutdown_grace = 2h}), "options.shutdown_grace"));
  EXPECT_TRUE(mentions(refusal_of({.name = "much too long"}), "options.name = \"much too long\""));
  EXPECT_TRUE(mentions(refusal_of({.name = ""}), "options.name"));
}

TEST(OptionsFromTheEnvironment, override_the_program) {
  variable const w("SKUA_WORKERS", "3"), b("SKUA_BACKEND", "virtual"), f("SKUA_FILES", "threads");
  options const o = skua::with_environment({.workers = 7, .backend = "epoll", .files = "io_uring"});
  EXPECT_EQ(o.workers, 3u);
  EXPECT_EQ(o.backend, "virtual");
  EXPECT_EQ(o.files, "threads");
}

TEST(OptionsFromTheEnvironment, leave_the_rest_alone) {
  variable const w("SKUA_WORKERS", ""), b("SKUA_BACKEND", ""), f("SKUA_FILES", "");
  options const o = skua::with_environment({.workers = 7, .files = "threads", .name = "x"});
  EXPECT_EQ(o.workers, 7u);
  EXPECT_EQ(o.backend, "auto");
  EXPECT_EQ(o.files, "threads");
  EXPECT_EQ(o.name, "x");
}

TEST(OptionsFromTheEnvironment, are_refused_with_the_variable_and_the_permitted_values) {
  for (char const* bad : {"-1", "two", "2x", "1025", "99999999999999999999", " 2"}) {
    std::string const text = refusal_with("SKUA_WORKERS", bad);
    EXPECT_TRUE(mentions(text, "SKUA_WORKERS = \"" + std::string(bad) + '"')) << text;
    EXPECT_TRUE(mentions(text, "1 to 1024")) << text;
  }
  EXPECT_TRUE(mentions(refusal_with("SKUA_BACKEND", "Epoll"), "SKUA_BACKEND = \"Epoll\""));
  EXPECT_TRUE(mentions(refusal_with("SKUA_FILES", "uring"), "\"io_uring\""));
}

} // namespace

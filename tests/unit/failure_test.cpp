// SPDX-License-Identifier: Apache-2.0
// S23: a failure nobody awaits is never silent.
#include "scheduler/failure.hpp"
#include <gtest/gtest.h>
#include <stdexcept>

namespace {

using skua::detail::deliver_failure;

skua::failure failure_of(std::exception_ptr e) {
  return {e, "acceptor", std::source_location::current(), 42};
}

std::exception_ptr nested_error() {
  try {
    try {
      throw std::runtime_error("disk is gone");
    } catch (...) {
      std::throw_with_nested(std::logic_error("cannot save"));
    }
  } catch (...) {
    return std::current_exception();
  }
}

TEST(FailureHandler, prints_name_spawn_site_and_message_by_default) {
  testing::internal::CaptureStderr();
  deliver_failure({}, failure_of(std::make_exception_ptr(std::runtime_error("no such host"))));
  std::string const text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("task 42 'acceptor'"), std::string::npos) << text;
  EXPECT_NE(text.find("failure_test.cpp:"), std::string::npos) << text;
  EXPECT_NE(text.find("no such host\n"), std::string::npos) << text;
}

TEST(FailureHandler, prints_nested_exceptions_and_those_of_any_type) {
  EXPECT_EQ(skua::detail::describe(nested_error()), "cannot save: caused by: disk is gone");
  EXPECT_EQ(skua::detail::describe(std::make_exception_ptr(7)), "an exception that is no std::exception");
}

TEST(FailureHandler, is_told_everything_that_is_known) {
  skua::failure told;
  skua::options const o{.on_unhandled_failure = [&](skua::failure const& f) { told = f; }};
  testing::internal::CaptureStderr();
  deliver_failure(o, failure_of(std::make_exception_ptr(std::runtime_error("x"))));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_THROW(std::rethrow_exception(told.error), std::runtime_error);
  EXPECT_EQ(told.task_name, "acceptor");
  EXPECT_EQ(told.task_id, 42u);
}

TEST(FailureHandler, that_throws_itself_is_reported_and_goes_no_further) {
  skua::options const o{.on_unhandled_failure = [](skua::failure const&) { throw std::runtime_error("log is full"); }};
  testing::internal::CaptureStderr();
  deliver_failure(o, failure_of(std::make_exception_ptr(std::runtime_error("first"))));
  std::string const text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("first"), std::string::npos) << text;
  EXPECT_NE(text.find("log is full"), std::string::npos) << text;
}

TEST(FailureHandlerDeathTest, terminates_when_the_option_says_so) {
  skua::options const o{.terminate_on_unhandled_failure = true};
  EXPECT_DEATH(deliver_failure(o, failure_of(std::make_exception_ptr(std::runtime_error("the end")))), "the end");
}

} // namespace

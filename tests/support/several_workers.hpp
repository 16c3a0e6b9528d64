// SPDX-License-Identifier: Apache-2.0
// Fixtures whose tests run on one worker, on two, and on more, in virtual time.
//
//     class Deadline : public skua_test::several_workers {};
//     INSTANTIATE_TEST_SUITE_P(, Deadline, testing::Values(1u, 2u), skua_test::by_workers);
//     TEST_P(Deadline, is_inherited) { rt.block_on(..); }
#pragma once
#include "skua/runtime.hpp"
#include "tests/support/leak_check.hpp"
#include "tests/support/values.hpp"
#include <algorithm>
#include <exception>
#include <mutex>
#include <string>
#include <vector>

namespace skua_test {

class several_workers : public leak_check, public testing::WithParamInterface<unsigned> {
protected:
  skua::runtime rt{skua::options{.workers = GetParam(), .backend = "virtual"}};
};

// Keeps what the failure handler is told.
class reporting_workers : public leak_check, public testing::WithParamInterface<unsigned> {
protected:
  // The messages, sorted.
  std::vector<std::string> reported() {
    std::lock_guard g(lock_);
    std::ranges::sort(failures_);
    return failures_;
  }

private:
  std::mutex lock_;
  std::vector<std::string> failures_;

protected:
  skua::runtime rt{skua::options{.workers = GetParam(), .backend = "virtual", .on_unhandled_failure = [this](skua::failure const& f) {
                                   std::lock_guard g(lock_);
                                   failures_.push_back(message_of([&] { std::rethrow_exception(f.error); }));
                                 }}};
};

inline constexpr auto by_workers = [](testing::TestParamInfo<unsigned> const& i) {
  return i.param == 1 ? std::string("one_worker") : std::to_string(i.param) + "_workers";
};

} // namespace skua_test

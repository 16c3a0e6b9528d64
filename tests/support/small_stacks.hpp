// SPDX-License-Identifier: Apache-2.0
// Threads that are started while a small_stacks lives have stacks of 256 KiB.
#pragma once
#include <pthread.h>

namespace skua_test {

class small_stacks {
public:
  small_stacks() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_setattr_default_np(&small);
    pthread_attr_destroy(&small);
  }
  ~small_stacks() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }
  small_stacks(small_stacks const&) = delete;

private:
  pthread_attr_t before_;
};

} // namespace skua_test

// SPDX-License-Identifier: Apache-2.0
// idle_model.cpp with three workers that idle: two sleepers beside the holder of the poller role.
// runs: random 200000
#define IDLERS 3
#include "idle_model.cpp"

# SPDX-License-Identifier: Apache-2.0
# Toolchain file: clang 19 builds for 64-bit ARM on another Debian machine, against that machine's own packages for arm64 (dpkg --add-architecture arm64), and
# runs what it has built under qemu-user. scripts/cross makes a root that has all of it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER clang++-19)
set(CMAKE_CXX_COMPILER_TARGET aarch64-linux-gnu)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)

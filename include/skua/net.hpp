// SPDX-License-Identifier: Apache-2.0
// Everything for the network.
#pragma once
#include "buffered_reader.hpp"
#include "endpoint.hpp"
#include "io_error.hpp"
#include "readiness.hpp"
#include "resolve.hpp"
#include "result.hpp"
#include "serve.hpp"
#include "tcp.hpp"
#include "udp.hpp"
#include "unix_socket.hpp"

// SPDX-License-Identifier: Apache-2.0
// Closed-loop TCP echo load: one thread, one epoll, CONNECTIONS connections with one 64-byte message outstanding on each, for SECONDS after half a
// second of warming up. Prints requests/s, latency percentiles, and the CPU time that process SERVER_PID and all others used meanwhile.
// usage: echo_load PORT CONNECTIONS SECONDS SERVER_PID
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { message_size = 64, most_connections = 60000, most_events = 256, connections_an_address = 20000 };

struct connection {
  int fd, got;
  uint64_t sent_ns;
};
static struct connection *connections;
static char message[message_size], input[4096];

static void fail(char const *what) {
  fprintf(stderr, "echo_load: %s: %s\n", what, strerror(errno));
  exit(1);
}
static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// User and system CPU seconds of a process.
static double process_cpu_s(int pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *f = fopen(path, "r");
  if (!f) fail(path);
  size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = 0;
  char *after_name = strrchr(text, ')');
  unsigned long user = 0, system = 0;
  if (!after_name || sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) return 0;
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}
// CPU seconds that all processes used.
static double machine_cpu_s(void) {
  unsigned long v[8] = {0};
  FILE *f = fopen("/proc/stat", "r");
  if (!f) return 0;
  int n = fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7);
  fclose(f);
  return n == 8 ? (double)(v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / (double)sysconf(_SC_CLK_TCK) : 0;
}
static double own_cpu_s(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

// Log-linear histogram of nanoseconds: 64 buckets per power of two.
static uint64_t histogram[64 * 64];
static void record(uint64_t ns) {
  int e = ns < 64 ? 0 : 63 - __builtin_clzll(ns) - 5;
  histogram[e * 64 + (e ? (int)((ns >> e) & 63) : (int)ns)]++;
}
static double quantile_us(double q, uint64_t total) {
  uint64_t want = total ? (uint64_t)(q * (double)(total - 1)) : 0, seen = 0;
  for (int i = 0; i < 64 * 64; i++) {
    seen += histogram[i];
    if (seen > want) return (double)((uint64_t)(i % 64) << (i / 64)) / 1e3;
  }
  return 0;
}

static void send_message(struct connection *c) {
  c->sent_ns = now_ns();
  c->got = 0;
  if (send(c->fd, message, message_size, MSG_NOSIGNAL) != message_size) fail("send");
}
// A client's port numbers are used up by about 28,000 connections to one address: spread them over 127.0.0.1, 127.0.0.2, ...
static int connect_from(int index, int port) {
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index / connections_an_address))};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (fd < 0) fail("socket");
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0) fail("bind");
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    int help = argc == 2 && strcmp(argv[1], "--help") == 0;
    fputs("usage: echo_load PORT CONNECTIONS SECONDS SERVER_PID\n", help ? stdout : stderr);
    return help ? 0 : 2;
  }
  int port = atoi(argv[1]), count = atoi(argv[2]), server = atoi(argv[4]);
  double seconds = atof(argv[3]);
  if (port < 1 || port > 65535 || count < 1 || count > most_connections || !(seconds > 0) || server < 1) {
    fprintf(stderr, "echo_load: PORT 1 to 65535, CONNECTIONS 1 to %d, SECONDS above 0, SERVER_PID\n", most_connections);
    return 2;
  }
  connections = calloc((size_t)count, sizeof *connections);
  memset(message, 'x', message_size);
  int epoll = epoll_create1(0);
  for (int i = 0; i < count; i++) {
    connections[i].fd = connect_from(i, port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
    epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
  }
  for (int i = 0; i < count; i++) send_message(&connections[i]);
  uint64_t start = now_ns(), end = 0, total = 0;
  double server0 = 0, own0 = 0, machine0 = 0;
  struct epoll_event events[most_events];
  for (;;) {
    int n = epoll_wait(epoll, events, most_events, 1000);
    uint64_t now = now_ns();
    if (end == 0 && now >= start + 500000000u) {
      start = now;
      end = now + (uint64_t)(seconds * 1e9);
      server0 = process_cpu_s(server);
      own0 = own_cpu_s();
      machine0 = machine_cpu_s();
      total = 0;
      memset(histogram, 0, sizeof histogram);
    }
    if (end != 0 && now >= end) break;
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    if (n == 0) {
      fputs("echo_load: no answer for a second\n", stderr);
      return 1;
    }
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      ssize_t got = recv(c->fd, input, sizeof input, 0);
      if (got == 0) errno = ECONNRESET;
      if (got <= 0) fail("recv");
      c->got += (int)got;
      if (c->got < message_size) continue;
      record(now_ns() - c->sent_ns);
      total++;
      send_message(c);
    }
  }
  double elapsed = (double)(now_ns() - start) / 1e9, cpu = process_cpu_s(server) - server0;
  double own = own_cpu_s() - own0, machine = machine_cpu_s() - machine0;
  printf("conns=%d req_per_s=%.0f p50_us=%.1f p99_us=%.1f p999_us=%.1f ", count, (double)total / elapsed,
         quantile_us(.5, total), quantile_us(.99, total), quantile_us(.999, total));
  printf("server_cpu_us_per_req=%.2f server_cpu_util=%.2f load_cpu_util=%.2f others=%.2f\n", cpu * 1e6 / (double)(total ? total : 1),
         cpu / elapsed, own / elapsed, (machine - cpu - own) / elapsed);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// The floor: a TCP echo server with no runtime at all. THREADS threads, each with its own epoll; the main thread accepts and deals the
// connections out in turn. usage: epoll_echo PORT THREADS      (port 0: any free one; it is printed)
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void *serve(void *arg) {
  int epoll = (int)(intptr_t)arg;
  struct epoll_event events[256];
  char buffer[4096];
  for (;;) {
    int n = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got <= 0 || send(fd, buffer, (size_t)got, MSG_NOSIGNAL) != got) close(fd);
    }
  }
  return NULL;
}

static int number(char const *text, int lowest, int highest) {
  char *end;
  long value = strtol(text, &end, 10);
  if (*text == 0 || *end != 0 || value < lowest || value > highest) {
    fprintf(stderr, "epoll_echo: \"%s\" must be a number from %d to %d\n", text, lowest, highest);
    exit(2);
  }
  return (int)value;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    int help = argc == 2 && strcmp(argv[1], "--help") == 0;
    fputs("usage: epoll_echo PORT THREADS      (port 0: any free one)\n", help ? stdout : stderr);
    return help ? 0 : 2;
  }
  int port = number(argv[1], 0, 65535), threads = number(argv[2], 1, 64), epolls[64], on = 1;
  for (int i = 0; i < threads; i++) {
    pthread_t thread;
    epolls[i] = epoll_create1(EPOLL_CLOEXEC);
    pthread_create(&thread, NULL, serve, (void *)(intptr_t)epolls[i]);
  }
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 4096) != 0 || getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
    perror("epoll_echo: listen");
    return 1;
  }
  printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (int turn = 0;; turn++) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      perror("epoll_echo: accept");
      return 1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epolls[turn % threads], EPOLL_CTL_ADD, fd, &event);
  }
}

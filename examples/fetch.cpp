// SPDX-License-Identifier: Apache-2.0
// The tutorials' fetches for real: three pages over sockets and three files, all at the same time, and two waits that are too long.
//
// The pages come from a small server in this very program; it takes 2, 5 and 7 s (scaled) for them, and 15 s for the slow one.
#include "support/command_line.hpp"
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <skua/buffered_reader.hpp>
#include <skua/file.hpp>
#include <skua/runtime.hpp>
#include <skua/spawn.hpp>
#include <skua/tcp.hpp>
#include <skua/time.hpp>
#include <skua/timeout.hpp>
#include <skua/when_all.hpp>
#include <string>
#include <unistd.h>

using seconds = std::chrono::duration<double>;

// ---------------------------------------------------------------- the server

static seconds delay_of(std::string const& page) {
  return seconds(page == "news" ? 2 : page == "mail" ? 5 : page == "maps" ? 7 : 15);
}

static skua::task<> answer(skua::tcp_stream stream, double scale) {
  skua::buffered_reader reader(stream);
  auto const request = co_await reader.read_until("\r\n\r\n");   // "GET /news HTTP/1.0\r\n\r\n"
  std::string const page(request.substr(5, request.find(' ', 5) - 5));
  co_await skua::sleep_for(scale * delay_of(page));
  std::string const text = "HTTP/1.0 200 OK\r\n\r\n<h1>" + page + "</h1>";
  co_await stream.write_all(text);
}

static skua::task<> serve(skua::tcp_listener& listener, double scale) {
  for (;;) skua::spawn_detached(answer, co_await listener.accept(), scale);
}

// ---------------------------------------------------------------- the fetches

static skua::task<std::string> fetch_page(std::uint16_t port, std::string page) {
  skua::tcp_stream stream = co_await skua::tcp_stream::connect("localhost", port);
  std::string const request = "GET /" + page + " HTTP/1.0\r\n\r\n";
  co_await stream.write_all(request);
  skua::buffered_reader reader(stream);
  auto const response = co_await reader.read_to_end();
  co_return std::string(response.substr(response.find("\r\n\r\n") + 4));
}

static skua::task<> fetch_pages(std::uint16_t port) {
  auto [news, mail, maps] = co_await skua::when_all(fetch_page(port, "news"), fetch_page(port, "mail"), fetch_page(port, "maps"));
  std::printf("page news: %s\npage mail: %s\npage maps: %s\n", news.c_str(), mail.c_str(), maps.c_str());
}

static skua::task<> fetch_files() {
  std::string directory = (std::filesystem::temp_directory_path() / "skua-fetch-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) throw std::system_error(errno, std::generic_category(), directory);
  struct remover {
    std::string const& directory;
    ~remover() { std::filesystem::remove_all(directory); }
  } const at_end{directory};
  co_await skua::when_all(skua::write_file(directory + "/one", "first file"), skua::write_file(directory + "/two", "second file"),
                          skua::write_file(directory + "/three", "third file"));
  auto [one, two, three] = co_await skua::when_all(skua::read_text_file(directory + "/one"), skua::read_text_file(directory + "/two"),
                                                   skua::read_text_file(directory + "/three"));
  std::printf("file one: %s\nfile two: %s\nfile three: %s\n", one.c_str(), two.c_str(), three.c_str());
}

static skua::task<std::string> query(seconds how_long) {
  co_await skua::sleep_for(how_long);
  co_return "42 rows";
}

static skua::task<> fetch_all(double scale) {
  skua::tcp_listener listener = skua::tcp_listener::bind(skua::endpoint::loopback(0));
  std::uint16_t const port = listener.local_endpoint().port();
  auto server = skua::spawn(serve, std::ref(listener), scale);

  co_await fetch_pages(port);
  co_await fetch_files();
  try {
    std::string const rows = co_await skua::timeout(scale * seconds(1), query(scale * seconds(15)));
    std::printf("query: %s\n", rows.c_str());
  } catch (skua::timeout_error const&) {
    std::puts("query: timed out");
  }
  try {
    std::string const page = co_await skua::timeout(scale * seconds(1), fetch_page(port, "slow"));
    std::printf("slow page: %s\n", page.c_str());
  } catch (skua::timeout_error const&) {
    std::puts("slow page: timed out");
  }
  server.request_stop();
  try {
    co_await server;   // it refers to `listener`
  } catch (skua::task_stopped const&) {
  }
}

int main(int argc, char** argv) {
  double scale = 0.1;
  example::command_line line("fetch", "Fetches three pages and three files at the same time, and gives up on what is too slow.");
  line.number("--scale", scale, 0, 1000, "multiplies the delays of 2, 5 and 7 s and the time-outs");
  line.parse(argc, argv);
  return line.run([&] { skua::run(fetch_all(scale)); });
}

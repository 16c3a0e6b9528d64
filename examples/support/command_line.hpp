// SPDX-License-Identifier: Apache-2.0
// The command line of the example and benchmark programs: `--name value` or `--name=value`, each value checked; `--help`.
//
//     unsigned port = 0;
//     example::command_line line("echo_server", "Sends back what it receives.");
//     line.number("--port", port, 0u, 65535u, "port to listen on; 0: any free one");
//     line.parse(argc, argv);               // prints the help and exits with 0, or says what is wrong and exits with 2
//     return line.run([&] { serve(port); });
#pragma once
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace example {

class command_line {
public:
  command_line(std::string program, std::string about) : program_(std::move(program)), about_(std::move(about)) {}

  // A number from `lowest` to `highest`. The variable's value is the default.
  template <class Number>
  void number(std::string name, Number& variable, std::type_identity_t<Number> lowest, std::type_identity_t<Number> highest,
              std::string meaning) {
    auto set = [&variable, lowest, highest](std::string_view text) -> std::string {
      if (read(text, variable, lowest, highest)) return {};
      return "must be a number from " + text_of(lowest) + " to " + text_of(highest);
    };
    options_.push_back({std::move(name), "N", std::move(meaning), text_of(variable), set});
  }

  // Any text; with `choices`, one of them.
  void text(std::string name, std::string& variable, std::string meaning, std::vector<std::string> choices = {}) {
    auto set = [&variable, choices](std::string_view text) -> std::string {
      std::string known;
      bool found = choices.empty();
      for (std::string const& c : choices) {
        found = found || c == text;
        known += (known.empty() ? "" : ", ") + c;
      }
      if (!found) return "must be one of: " + known;
      variable = text;
      return {};
    };
    options_.push_back({std::move(name), "TEXT", std::move(meaning), variable, set});
  }

  // True if it is given; takes no value.
  void flag(std::string name, bool& variable, std::string meaning) {
    auto set = [&variable](std::string_view) -> std::string {
      variable = true;
      return {};
    };
    options_.push_back({std::move(name), "", std::move(meaning), "", set});
  }

  // One argument without a name, of which there may be several.
  void positional(std::string name, std::string& variable, std::string meaning, bool required = true) {
    auto set = [&variable](std::string_view text) -> std::string {
      variable = text;
      return {};
    };
    positionals_.push_back({std::move(name), required ? "required" : "", std::move(meaning), variable, set});
  }

  void parse(int argc, char** argv) const {
    std::size_t place = 0;
    for (int i = 1; i < argc; ++i) {
      std::string_view const argument = argv[i];
      if (argument == "--help" || argument == "-h") {
        help();
        std::exit(0);
      }
      if (!argument.starts_with("--")) {
        if (place == positionals_.size()) fail("unexpected argument \"" + std::string(argument) + "\"");
        apply(positionals_[place++], argument);
        continue;
      }
      std::string_view const name = argument.substr(0, argument.find('='));
      option const* const known = find(name);
      if (known == nullptr) fail("unknown option \"" + std::string(name) + "\"");
      if (known->value_name.empty()) {
        if (name.size() != argument.size()) fail(known->name + " takes no value");
        apply(*known, {});
      } else if (name.size() != argument.size()) {
        apply(*known, argument.substr(name.size() + 1));
      } else if (++i < argc) {
        apply(*known, argv[i]);
      } else {
        fail(known->name + " needs a value");
      }
    }
    for (; place < positionals_.size(); ++place)
      if (!positionals_[place].value_name.empty()) fail(positionals_[place].name + " is missing");
  }

  // False, and the variable as it was, if the text is no number in the range.
  template <class Number>
  static bool read(std::string_view text, Number& variable, std::type_identity_t<Number> lowest, std::type_identity_t<Number> highest) {
    Number value{};
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= lowest && value <= highest)) return false;
    variable = value;
    return true;
  }

  // Calls the program's body and gives main()'s exit code: the body's if it returns an int, or 0; 2 for a bad option of the runtime (also from the
  // environment), 1 for any other failure. Says what is wrong.
  template <class Body>
  int run(Body body) const {
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<Body>>)
        return body(), 0;
      else
        return body();
    } catch (std::invalid_argument const& e) {
      fail(e.what());
    } catch (std::exception const& e) {
      std::fprintf(stderr, "%s: %s\n", program_.c_str(), e.what());
      return 1;
    }
  }

  // Says what is wrong and leaves with 2.
  [[noreturn]] void fail(std::string const& what) const {
    std::fprintf(stderr, "%s: %s; try --help\n", program_.c_str(), what.c_str());
    std::exit(2);
  }

private:
  struct option {
    std::string name, value_name, meaning, otherwise;
    std::function<std::string(std::string_view)> set;   // returns what is wrong
  };

  template <class Number>
  static std::string text_of(Number n) {
    char text[32];
    if constexpr (std::is_floating_point_v<Number>)
      std::snprintf(text, sizeof text, "%g", static_cast<double>(n));
    else
      std::snprintf(text, sizeof text, "%lld", static_cast<long long>(n));
    return text;
  }
  option const* find(std::string_view name) const {
    for (option const& o : options_)
      if (o.name == name) return &o;
    return nullptr;
  }
  void apply(option const& o, std::string_view value) const {
    std::string const wrong = o.set(value);
    if (!wrong.empty()) fail(o.name + " " + wrong + ", not \"" + std::string(value) + "\"");
  }
  void help() const {
    std::printf("usage: %s%s", program_.c_str(), options_.empty() ? " [--help]" : " [options]");
    for (option const& o : positionals_) std::printf(o.value_name.empty() ? " [%s]" : " %s", o.name.c_str());
    std::printf("\n%s\n\n", about_.c_str());
    for (option const& o : positionals_) std::printf("  %-18s %s\n", o.name.c_str(), o.meaning.c_str());
    for (option const& o : options_) {
      std::string const left = o.name + (o.value_name.empty() ? "" : " " + o.value_name);
      std::string const right = o.otherwise.empty() ? o.meaning : o.meaning + " (default: " + o.otherwise + ")";
      std::printf("  %-18s %s\n", left.c_str(), right.c_str());
    }
    std::printf("  %-18s %s\n", "--help", "prints this text");
  }

  std::string program_, about_;
  std::vector<option> options_, positionals_;
};

} // namespace example

// SPDX-License-Identifier: Apache-2.0
// Results in Google Benchmark's JSON format, for the programs that are not written with that library.
#pragma once
#include "measure.hpp"
#include <cstdio>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

namespace bench {

class json_file {
public:
  explicit json_file(std::string program) : program_(std::move(program)) {}

  void add(std::string const& name, double real, double cpu, char const* unit, std::vector<std::pair<std::string, double>> const& more = {}) {
    std::string row = "    {\"name\": \"" + name + "\", \"run_name\": \"" + name + "\", \"run_type\": \"iteration\", \"iterations\": 1, \"real_time\": " +
                      number(real) + ", \"cpu_time\": " + number(cpu) + ", \"time_unit\": \"" + unit + '"';
    for (auto const& [key, value] : more) row += ", \"" + key + "\": " + number(value);
    rows_.push_back(row + "}");
  }

  // False if the file cannot be written.
  bool write(std::string const& path) const {
    std::FILE* const f = std::fopen(path.c_str(), "w");
    if (f == nullptr) return false;
    char date[64];
    std::time_t const now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    std::strftime(date, sizeof date, "%FT%T%z", &local);
    std::fprintf(f, "{\n  \"context\": {\"date\": \"%s\", \"executable\": \"%s\", \"processor\": \"%s\"},\n  \"benchmarks\": [\n", date, program_.c_str(),
                 processor().c_str());
    for (std::size_t i = 0; i < rows_.size(); ++i) std::fprintf(f, "%s%s\n", rows_[i].c_str(), i + 1 < rows_.size() ? "," : "");
    std::fprintf(f, "  ]\n}\n");
    return std::fclose(f) == 0;
  }

private:
  static std::string number(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", x);
    return text;
  }
  std::string program_;
  std::vector<std::string> rows_;
};

} // namespace bench

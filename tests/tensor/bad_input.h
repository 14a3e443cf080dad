// What tests of readers share: files of any bytes, messages of errors, and random damage.
#pragma once

#include <cstdio>
#include <fstream>
#include <functional>
#include <random>
#include <string>

#include <doctest/doctest.h>

#include "tests/refusal.h"

using tweedie::testing::refusal;
using tweedie::testing::says;

/// The error's message has one line, names the file and says `part`.
inline void check_refused(const std::string& path, const std::string& part,
                          const std::function<void()>& run) {
  const std::string message = refusal(run);
  CAPTURE(message);
  CHECK(says(message, path));
  CHECK(says(message, part));
  CHECK_FALSE(says(message, "\n"));
}

inline void put(const std::string& path, const std::string& bytes) {
  std::remove(path.c_str());  // a file cut to nothing and written again waits for the disk (ext4)
  std::ofstream(path, std::ios::binary) << bytes;
}
inline std::string get(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Damages `bytes` `count` times over (1 to 4 bytes set at random, sometimes cut short), writes
/// each to `path` and lets `read` try it: it may succeed or throw Error, anything else fails the
/// test. Returns how often it threw.
inline int damage(const std::string& bytes, const std::string& path, int count,
                  const std::function<void()>& read) {
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < count; ++i) {
    std::string damaged = bytes;
    for (unsigned j = 0; j <= random() % 4; ++j)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    if (random() % 4 == 0) damaged.resize(random() % damaged.size());
    put(path, damaged);
    refused += !refusal(read).empty();
  }
  return refused;
}

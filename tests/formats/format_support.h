// What the tests of the readers share: small files made in memory, and the rule that every file that can be opened can
// also be read to its end or gives an Error.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "formats/name_rules.h"
#include "formats/tensor_file.h"

namespace coss::test {

std::string read_text(const std::string& path);
void write_text(const std::string& path, const std::string& text);

using ZipEntries = std::vector<std::pair<std::string, std::string>>;
ZipEntries read_zip(const std::string& path);
// Writes a zip archive with the given entries; deflated when asked.
void write_zip(const std::string& path, const ZipEntries& entries, bool deflated = false);
// A checkpoint in the zip container whose data.pkl is `pickle`, with storage "0" of 16 bytes.
void write_pickle_zip(const std::string& path, const std::string& pickle);

// The message of the Error that `action` throws; fails the test when there is none.
template <class Action>
std::string error_of(Action action);

// Opens and reads every tensor. True when that went well, false when it ended in an Error; anything else escapes.
bool reads_or_refuses(const std::string& path);

void expect_contains(const std::string& text, const std::string& part);

// Little-endian bytes.
std::string little(uint64_t value, int bytes);

using Named = std::vector<std::pair<std::string, std::vector<int64_t>>>;
// A file that claims to hold these tensors; detection sees names and shapes only.
TensorFile hollow_file(const Named& tensors);
// "name<TAB>dtype<TAB>64x3x7x7" per line.
Named read_manifest(const std::string& path);
// All of it but the counters of batches.
std::vector<WantedTensor> wanted_from(const Named& manifest);

}  // namespace coss::test

#include <gtest/gtest.h>

#include "engine/check.h"

template <class Action>
std::string coss::test::error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

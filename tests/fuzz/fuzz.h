// What the fuzz targets share. Each target is a function `fuzz_one` that gives bytes to one reader; the reader must
// accept them or throw an Error that names the file, and nothing else may happen.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace coss::test {

// Defined by each target.
void fuzz_one(const std::vector<uint8_t>& bytes);

// The bytes as a file that a reader can open, in memory, until the next call.
const std::string& as_file(const std::vector<uint8_t>& bytes);
// Runs `read`; an Error must name `file`, any other exception ends the program.
void reads_or_refuses(const std::string& file, const std::function<void()>& read);
// Opens the file by the reader of one container and reads every tensor of at most a megabyte.
void read_tensors(const std::string& path);

}  // namespace coss::test

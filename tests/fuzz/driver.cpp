// The main program without libFuzzer: `fuzz_zip RUNS SEED…` gives each seed file to the target, then RUNS damaged ones.
// The damage depends only on the number of the run.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "tests/fuzz/fuzz.h"

namespace coss::test {
namespace {

using Bytes = std::vector<uint8_t>;

std::vector<Bytes> read_seeds(int count, char** paths) {
  std::vector<Bytes> seeds;
  for (int i = 0; i < count; ++i) {
    std::ifstream stream(paths[i], std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    if (seeds.back().empty()) {
      std::fprintf(stderr, "%s is no seed\n", paths[i]);
      std::exit(2);
    }
  }
  return seeds;
}

// One to eight changes: a bit, a byte, a critical number, a cut, a repetition, a piece of another seed.
Bytes damaged(const std::vector<Bytes>& seeds, uint64_t number) {
  std::mt19937_64 random(number);
  const auto below = [&](size_t limit) { return size_t(random() % limit); };
  Bytes bytes = seeds[below(seeds.size())];
  for (size_t changes = 1 + below(8); changes > 0 && !bytes.empty(); --changes) {
    const size_t at = below(bytes.size()), length = 1 + below(std::min<size_t>(bytes.size() - at, 64));
    constexpr uint64_t kAwkward[] = {0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, ~0ull >> 1, ~0ull};
    switch (below(6)) {
      case 0:
        bytes[at] ^= uint8_t(1u << below(8));
        break;
      case 1:
        bytes[at] = uint8_t(random());
        break;
      case 2: {
        uint64_t value = kAwkward[below(std::size(kAwkward))];
        for (size_t i = at; i < std::min(at + (size_t(1) << below(4)), bytes.size()); ++i, value >>= 8)
          bytes[i] = uint8_t(value);
        break;
      }
      case 3:
        bytes.erase(bytes.begin() + std::ptrdiff_t(at), bytes.begin() + std::ptrdiff_t(at + length));
        break;
      case 4: {
        const Bytes piece(bytes.begin() + std::ptrdiff_t(at), bytes.begin() + std::ptrdiff_t(at + length));
        bytes.insert(bytes.begin() + std::ptrdiff_t(below(bytes.size())), piece.begin(), piece.end());
        break;
      }
      case 5: {
        const Bytes& other = seeds[below(seeds.size())];
        const size_t from = below(other.size()), count = std::min({length, other.size() - from, bytes.size() - at});
        std::copy_n(other.begin() + std::ptrdiff_t(from), count, bytes.begin() + std::ptrdiff_t(at));
        break;
      }
    }
  }
  return bytes;
}

}  // namespace
}  // namespace coss::test

int main(int count, char** arguments) {
  using namespace coss::test;
  if (count < 3) {
    std::fprintf(stderr, "usage: %s RUNS SEED...\n", arguments[0]);
    return 2;
  }
  const uint64_t runs = std::strtoull(arguments[1], nullptr, 10);
  const std::vector<std::vector<uint8_t>> seeds = read_seeds(count - 2, arguments + 2);
  for (const std::vector<uint8_t>& seed : seeds) fuzz_one(seed);
  for (uint64_t number = 0; number < runs; ++number) fuzz_one(damaged(seeds, number));
  std::printf("%zu seeds and %llu damaged ones: accepted or refused in words\n", seeds.size(),
              static_cast<unsigned long long>(runs));
}

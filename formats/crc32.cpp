// Uses folding by carry-less multiplication where the processor has it (V. Gopal et al., "Fast CRC computation for
// generic polynomials using PCLMULQDQ", Intel 2009), else a table.
#include "formats/crc32.h"

#include <array>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace coss {
namespace {

constexpr uint32_t kPolynomial = 0xedb88320;  // bits reversed

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? kPolynomial : 0);
    table[byte] = value;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = make_table();

// `state` is the inverted checksum.
uint32_t by_table(const uint8_t* data, size_t bytes, uint32_t state) {
  for (size_t i = 0; i < bytes; ++i) state = kTable[(state ^ data[i]) & 0xff] ^ (state >> 8);
  return state;
}

#if defined(__x86_64__)

constexpr size_t kBlock = 64;  // four lanes of 16 bytes

bool folds() {
  static const bool has = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
  return has;
}

// The lane `x`, moved forward by the distance whose two powers of x modulo the polynomial are `powers`, added to
// `next`.
__attribute__((target("pclmul,sse4.1"))) inline __m128i folded(__m128i x, __m128i powers, __m128i next) {
  const __m128i low = _mm_clmulepi64_si128(x, powers, 0x00), high = _mm_clmulepi64_si128(x, powers, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

inline __m128i lane(const uint8_t* data, size_t at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + at);
}

// Takes all whole blocks: four lanes are folded to 16 bytes with the same checksum, and the table finishes those.
__attribute__((target("pclmul,sse4.1"))) uint32_t by_folding(const uint8_t* data, size_t blocks, uint32_t state) {
  const __m128i over_four = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
  const __m128i over_one = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
  __m128i x[4];
  for (size_t i = 0; i < 4; ++i) x[i] = lane(data, i);
  x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128(int(state)));
  for (size_t block = 1; block < blocks; ++block)
    for (size_t i = 0; i < 4; ++i) x[i] = folded(x[i], over_four, lane(data, 4 * block + i));
  for (size_t i = 1; i < 4; ++i) x[i] = folded(x[i - 1], over_one, x[i]);
  uint8_t rest[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rest), x[3]);
  return by_table(rest, sizeof(rest), 0);
}

// The same with lanes of four times the width: 256 bytes per round.
constexpr size_t kWideBlock = 256;

bool folds_wide() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq");
  return has;
}

__attribute__((target("avx512f,vpclmulqdq"))) inline __m512i folded_wide(__m512i x, __m512i powers, __m512i next) {
  constexpr int kXorOfThree = 0x96;
  const __m512i low = _mm512_clmulepi64_epi128(x, powers, 0x00), high = _mm512_clmulepi64_epi128(x, powers, 0x11);
  return _mm512_ternarylogic_epi64(low, high, next, kXorOfThree);
}

// Folds all whole blocks to 64 bytes with the same checksum.
__attribute__((target("avx512f,vpclmulqdq"))) void fold_wide(const uint8_t* data, size_t blocks, uint32_t state,
                                                             uint8_t (&rest)[kBlock]) {
  const __m512i over_four = _mm512_set4_epi64(0x1322d1430, 0x11542778a, 0x1322d1430, 0x11542778a);
  const __m512i over_one = _mm512_set4_epi64(0x1c6e41596, 0x154442bd4, 0x1c6e41596, 0x154442bd4);
  __m512i x[4];
  for (size_t i = 0; i < 4; ++i) x[i] = _mm512_loadu_si512(data + i * kBlock);
  x[0] = _mm512_xor_si512(x[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128(int(state))));
  for (size_t block = 1; block < blocks; ++block)
    for (size_t i = 0; i < 4; ++i)
      x[i] = folded_wide(x[i], over_four, _mm512_loadu_si512(data + block * kWideBlock + i * kBlock));
  for (size_t i = 1; i < 4; ++i) x[i] = folded_wide(x[i - 1], over_one, x[i]);
  _mm512_storeu_si512(rest, x[3]);
}

#endif

}  // namespace

uint32_t crc32_of(const uint8_t* data, size_t bytes, uint32_t crc) {
  uint32_t state = ~crc;
#if defined(__x86_64__)
  if (bytes >= kWideBlock && folds_wide()) {
    uint8_t rest[kBlock];
    fold_wide(data, bytes / kWideBlock, state, rest);
    state = by_folding(rest, 1, 0);
    data += bytes / kWideBlock * kWideBlock;
    bytes %= kWideBlock;
  }
  if (bytes >= kBlock && folds()) {
    const size_t whole = bytes / kBlock * kBlock;
    state = by_folding(data, bytes / kBlock, state);
    data += whole;
    bytes -= whole;
  }
#endif
  return ~by_table(data, bytes, state);
}

}  // namespace coss

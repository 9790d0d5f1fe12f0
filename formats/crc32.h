// The checksum of zip entries, at the speed of memory: a library's, byte by byte from a table, takes longer than the
// reading itself.
#pragma once
#include <cstddef>
#include <cstdint>

namespace coss {

// CRC-32 (ISO 3309, as in zip and PNG) of what `crc` stands for followed by these bytes; 0 stands for nothing.
uint32_t crc32_of(const uint8_t* data, size_t bytes, uint32_t crc = 0);

}  // namespace coss

// The checksum of zip entries, computed at the speed of memory. A library's checksum, byte by byte from a table, would
// take longer than reading the file.
#pragma once
#include <cstddef>
#include <cstdint>

namespace coss {

// CRC-32 (ISO 3309, as in zip and PNG) of these bytes appended to those whose checksum is `crc`; 0 is the checksum of
// no bytes.
uint32_t crc32_of(const uint8_t* data, size_t bytes, uint32_t crc = 0);

}  // namespace coss

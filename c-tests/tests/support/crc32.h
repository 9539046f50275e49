/* CRC-32 as zlib computes it. */
#ifndef NXF_TEST_CRC32_H
#define NXF_TEST_CRC32_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

uint32_t crc32_of(const uint8_t *bytes, size_t len);

#ifdef __cplusplus
}
#endif

#endif

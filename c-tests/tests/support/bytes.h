/* Numbers as bytes. The file headers of a log are big-endian; its entries, and all that is sent, little-endian. */
#ifndef NXF_TEST_BYTES_H
#define NXF_TEST_BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline void put_le(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static inline void put_be(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
}

static inline uint64_t get_le(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

#endif

#include "support/crc32.h"

#include <pthread.h>

static uint32_t table[256];
static pthread_once_t table_made = PTHREAD_ONCE_INIT;

static void make_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0);
        table[byte] = crc;
    }
}

uint32_t crc32_of(const uint8_t *bytes, size_t len)
{
    uint32_t crc = 0xFFFFFFFFu;
    pthread_once(&table_made, make_table);
    for (size_t at = 0; at < len; at++)
        crc = (crc >> 8) ^ table[(crc ^ bytes[at]) & 0xFF];
    return crc ^ 0xFFFFFFFFu;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The key of the marks of freed objects; see the header.
 *
 * SYNCHRONIZATION: written once, while there is one thread.
 */
#include "meta/freed.h"

/* Bits 62 and 63 differ, and the low byte is odd and within 0x81 .. 0xbf. */
#define KEY_SET (1ull << 62 | 0x81)
#define KEY_CLEAR (1ull << 63 | 0x40)

uint64_t mal_freed_key = KEY_SET;

void mal_freed_init(uint64_t random) {
    mal_freed_key = (random | KEY_SET) & ~KEY_CLEAR;
}

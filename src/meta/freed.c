/* SPDX-License-Identifier: Apache-2.0
 *
 * The key of the marks of freed objects; see the header. Written once, while there is one thread.
 */
#include "meta/freed.h"

#define KEY_SET (1ull << 62 | 1)
#define KEY_CLEAR (1ull << 63)

uint64_t mal_freed_key = KEY_SET;

void mal_freed_init(uint64_t random) {
    mal_freed_key = (random | KEY_SET) & ~KEY_CLEAR;
}

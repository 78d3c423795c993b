/* SPDX-License-Identifier: Apache-2.0
 *
 * Sampled objects that are alive: from address to bucket.
 */
#ifndef MAL_SAMPLE_LIVE_H
#define MAL_SAMPLE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

/* The bucket number of objects that Mallard's own threads allocated. */
#define MAL_LIVE_OWN ((1u << 20) - 2)
/* No bucket: the address is not there. */
#define MAL_LIVE_NONE UINT32_MAX

/* Begins to fetch what the next call with this address will touch. */
void mal_live_prefetch(uintptr_t address);

/* `address` is a multiple of 16 below 2^48 and not there yet; `bucket` at most MAL_LIVE_OWN. False
 * when memory is short: the sample must then be dropped. Any thread that owns the object. */
bool mal_live_insert(uintptr_t address, uint32_t bucket);

/* Removes the address and returns its bucket, or MAL_LIVE_NONE. Any thread that owns the object. */
uint32_t mal_live_remove(uintptr_t address);

/* Calls for every live sample. Beside insertions and removals it sees each sample that was there
 * all the time, and perhaps others. */
void mal_live_each(void (*visit)(uintptr_t address, uint32_t bucket));

/* Forgets them all. Nobody inserts or removes meanwhile. */
void mal_live_clear(void);

void mal_live_before_fork(void);
void mal_live_after_fork(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sampled objects that are alive: from address to bucket.
 */
#ifndef MAL_SAMPLE_LIVE_H
#define MAL_SAMPLE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

/* What is known of one live sample. */
struct mal_live {
    uintptr_t address;
    uint32_t bucket; /* index in the box, or MAL_LIVE_OWN */
    uint32_t reserved;
    uint64_t size_bytes; /* size-class bytes */
};

/* The bucket number of objects that Mallard's own threads allocated. */
#define MAL_LIVE_OWN (UINT32_MAX - 1)

/* False when memory is short: the sample must then be dropped. Any thread. */
bool mal_live_insert(const struct mal_live *live);

/* Removes the address and calls `ended` with what was known, before anyone else can look at this
 * part of the table; false when the address is not there. Any thread. */
bool mal_live_remove(uintptr_t address, void (*ended)(const struct mal_live *live));

/* Calls for every live sample, or forgets them all. Between mal_live_lock_all and unlock. */
void mal_live_each(void (*visit)(const struct mal_live *live));
void mal_live_clear(void);

uint64_t mal_live_count(void);

/* Samples ever inserted. Counted here, where the line is the caller's anyway: one counter for all
 * threads would be a line that every sample has to fetch from another CPU. */
uint64_t mal_live_samples(void);

/* Holds the whole table still: for fork, and while a forked child takes stock. */
void mal_live_lock_all(void);
void mal_live_unlock_all(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Recent buckets.
 *
 * A page of words, each of which says by itself what it is true of. A cache line of them is a set;
 * path and hash say which.
 *
 * SYNCHRONIZATION: any word is overwritten at any time (release), and is true for as long as the
 * box exists, since a bucket's key is constant. Who reads it (acquire) sees its bucket.
 *
 * Must never be asked about another box's buckets.
 */
#include "sample/recent.h"

#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"

#include <string.h>

#define SETS 64u
#define WAYS 8u
#define LABEL_BITS 32u
#define BUCKET_BITS 20u

/* path:12 | label:32, of path and hash | bucket + 1:20; 0 is free */
static MAL_LINE_ALIGNED uint64_t recent[SETS][WAYS];

_Static_assert(sizeof recent[0] == MAL_CACHE_LINE_BYTES, "a set is a cache line");
_Static_assert(MAL_BOX_BUCKETS_MAX < 1u << BUCKET_BITS, "a word holds a bucket");
_Static_assert(MAL_PATH_BITS + LABEL_BITS + BUCKET_BITS == 64, "and all of a path");

static uint64_t mix(uint32_t path, uint64_t hash) {
    return mal_mix(hash ^ (uint64_t)path << 32);
}

static uint64_t *set_of(uint64_t mixed) {
    return recent[(mixed >> 32) % SETS];
}

/* A word without its bucket. */
static uint64_t label_of(uint32_t path, uint64_t mixed) {
    return (uint64_t)path << LABEL_BITS | (uint32_t)mixed;
}

/* The set's word with the label, else 0; without a branch, as in live.c. */
static uint64_t labelled(const uint64_t *set, uint64_t label) {
    uint64_t found = 0;
    for (unsigned i = 0; i < WAYS; i++) {
        uint64_t word = mal_load_acquire(&set[i]);
        found = word >> BUCKET_BITS == label ? word : found;
    }
    return found;
}

uint32_t mal_recent_find(uint32_t path, uint64_t hash) {
    uint64_t mixed = mix(path, hash);
    uint64_t word = labelled(set_of(mixed), label_of(path, mixed));
    return word == 0 ? MAL_RECENT_NONE : (uint32_t)(word & ((1u << BUCKET_BITS) - 1)) - 1;
}

/* The place of the label, else a free one, else the one that the label names. */
static unsigned place_for(const uint64_t *set, uint64_t label) {
    unsigned place = label % WAYS;
    for (unsigned i = 0; i < WAYS; i++)
        place = mal_load_relaxed(&set[i]) == 0 ? i : place;
    for (unsigned i = 0; i < WAYS; i++)
        place = mal_load_relaxed(&set[i]) >> BUCKET_BITS == label ? i : place;
    return place;
}

void mal_recent_note(uint32_t path, uint64_t hash, uint32_t bucket) {
    uint64_t mixed = mix(path, hash);
    uint64_t label = label_of(path, mixed);
    uint64_t *set = set_of(mixed);
    mal_store_release(&set[place_for(set, label)], label << BUCKET_BITS | (bucket + 1));
}

void mal_recent_forget(void) {
    memset(recent, 0, sizeof recent);
}

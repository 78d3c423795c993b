/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of live samples.
 *
 * A hash table of words. One word is one sample, address and bucket number; 0 is an empty place. A
 * cache line is a set: seven places, and one word that says whether somebody found the set full
 * and went on to the next one, up to WINDOW_SETS of them. So a sample costs one line when it is
 * entered and one when it is looked for, and a program with few live samples has them all in one
 * page of memory: it comes here once in thousands of allocations, when neither the line nor the
 * page's translation is at hand any more.
 *
 * A table never moves an entry. When a window is full, a table twice as large is put before it;
 * what is new goes there, and what is old is looked for in one table after the other. Tables that
 * were outgrown stay: together they are as large as the newest.
 *
 *     for every entry in set s of a table: `passed` of every set from its home up to s, not s
 *     itself, is set
 *
 * SYNCHRONIZATION. An entry belongs to whoever owns the object. Hence
 *  1. an entry goes from 0 to its word by compare-and-swap, since others want the same place; from
 *     its word to 0 by a relaxed store, since nobody else may touch it.
 *  2. A lookup finds its entry: who owns the object now was given it after it was entered, so the
 *     word, the marks that were left on the way to it, and the number of tables of that moment are
 *     visible. It does not find an earlier entry of the same address: that one was removed before
 *     the object was given out again.
 *  3. `passed` is set before the entry behind it is made, and is never cleared but with all.
 *  4. A table is complete before `table_count` includes it (release); its place and its size are
 *     constant from then on. `growth_lock` (rank LIVE) lets one thread make it.
 */
#include "sample/live.h"

#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"
#include "base/check.h"
#include "meta/memory.h"
#include "os/lock.h"

#include <stddef.h>

#define BUCKET_BITS 20u
#define PLACES 7u
#define WINDOW_SETS 4u
#define FIRST_SETS 64u
#define TABLES_MAX 24u

struct set {
    uint64_t entry[PLACES]; /* address / 16 << BUCKET_BITS | bucket + 1 */
    uint64_t passed;        /* 1 once an entry was put behind it; relaxed */
};
_Static_assert(sizeof(struct set) == MAL_CACHE_LINE_BYTES, "a set is a cache line");

struct table {
    struct set *set;
    uint64_t sets; /* power of two */
};

static MAL_LINE_ALIGNED struct set first[FIRST_SETS];
static struct table tables[TABLES_MAX] = {{first, FIRST_SETS}}; /* rule 4 */
static uint32_t table_count = 1;                                /* rule 4 */
static struct mal_lock growth_lock = MAL_LOCK_INIT(MAL_RANK_LIVE);

static uint64_t granule_of(uintptr_t address) {
    return address >> 4;
}

static struct set *set_of(const struct table *table, uint64_t granule, unsigned step) {
    return &table->set[(mal_mix(granule) + step) & (table->sets - 1)];
}

static const struct table *newest_table(void) {
    return &tables[mal_load_acquire(&table_count) - 1];
}

void mal_live_prefetch(uintptr_t address) {
    __builtin_prefetch(set_of(newest_table(), granule_of(address), 0), 1);
}

/* Whatever word it is, without a branch: no processor foretells where in a set it stands, and what
 * comes after a wrong guess waits for the line. */
static unsigned place_of(const struct set *set, uint64_t word, unsigned shift) {
    uint64_t place = PLACES;
    for (unsigned i = PLACES; i-- > 0;) {
        uint64_t differs = (mal_load_relaxed(&set->entry[i]) ^ word) >> shift;
        place = differs ? place : i;
    }
    return (unsigned)place;
}

static bool put_into_set(struct set *set, uint64_t entry) {
    for (unsigned place; (place = place_of(set, 0, 0)) < PLACES;) {
        uint64_t empty = 0;
        if (mal_cas_release(&set->entry[place], &empty, entry))
            return true;
    }
    return false;
}

static bool put_into_table(const struct table *table, uint64_t entry) {
    for (unsigned step = 0; step < WINDOW_SETS; step++) {
        struct set *set = set_of(table, entry >> BUCKET_BITS, step);
        if (put_into_set(set, entry))
            return true;
        mal_store_relaxed(&set->passed, 1);
    }
    return false;
}

static bool add_table_locked(uint64_t sets) {
    struct set *set =
        table_count < TABLES_MAX ? mal_meta_map(sets * sizeof *set, MAL_META_BUCKET) : NULL;
    if (!set)
        return false;
    tables[table_count] = (struct table){set, sets};
    mal_store_release(&table_count, table_count + 1);
    return true;
}

/* True when there is a newer table than `full`. */
static MAL_SLOW bool grow(const struct table *full) {
    mal_lock(&growth_lock);
    bool grown = newest_table() != full || add_table_locked(2 * full->sets);
    mal_unlock(&growth_lock);
    return grown;
}

/* Where there is no memory for more, older tables may have room. */
static MAL_SLOW bool put_into_older(uint64_t entry) {
    for (const struct table *table = newest_table(); table-- != tables;)
        if (put_into_table(table, entry))
            return true;
    return false;
}

bool mal_live_insert(uintptr_t address, uint32_t bucket) {
    uint64_t entry = granule_of(address) << BUCKET_BITS | (bucket + 1);
    MAL_ASSERT(bucket <= MAL_LIVE_OWN && entry >> BUCKET_BITS << 4 == address);
    const struct table *table = newest_table();
    while (!put_into_table(table, entry)) {
        if (!grow(table))
            return put_into_older(entry);
        table = newest_table();
    }
    return true;
}

static uint64_t *find_in_set(struct set *set, uint64_t granule) {
    unsigned place = place_of(set, granule << BUCKET_BITS, BUCKET_BITS);
    return place < PLACES ? &set->entry[place] : NULL;
}

static uint64_t *find_in_table(const struct table *table, uint64_t granule) {
    for (unsigned step = 0; step < WINDOW_SETS; step++) {
        struct set *set = set_of(table, granule, step);
        uint64_t *entry = find_in_set(set, granule);
        if (entry || !mal_load_relaxed(&set->passed))
            return entry;
    }
    return NULL;
}

static uint64_t *find(uint64_t granule) {
    for (const struct table *table = newest_table();; table--) {
        uint64_t *entry = find_in_table(table, granule);
        if (entry || table == tables)
            return entry;
    }
}

static uint32_t bucket_of(uint64_t entry) {
    return (uint32_t)(entry & ((1u << BUCKET_BITS) - 1)) - 1;
}

uint32_t mal_live_remove(uintptr_t address) {
    uint64_t *entry = find(granule_of(address));
    if (!entry)
        return MAL_LIVE_NONE;
    uint32_t bucket = bucket_of(mal_load_relaxed(entry));
    mal_store_relaxed(entry, 0);
    return bucket;
}

static void each_in_set(const struct set *set, void (*visit)(uintptr_t, uint32_t)) {
    for (unsigned i = 0; i < PLACES; i++) {
        uint64_t entry = mal_load_acquire(&set->entry[i]);
        if (entry != 0)
            visit((uintptr_t)(entry >> BUCKET_BITS << 4), bucket_of(entry));
    }
}

void mal_live_each(void (*visit)(uintptr_t address, uint32_t bucket)) {
    for (const struct table *table = newest_table();; table--) {
        for (uint64_t i = 0; i < table->sets; i++)
            each_in_set(&table->set[i], visit);
        if (table == tables)
            return;
    }
}

static void clear_set(struct set *set) {
    for (unsigned i = 0; i < PLACES; i++)
        mal_store_relaxed(&set->entry[i], 0);
    mal_store_relaxed(&set->passed, 0);
}

void mal_live_clear(void) {
    for (const struct table *table = newest_table();; table--) {
        for (uint64_t i = 0; i < table->sets; i++)
            clear_set(&table->set[i]);
        if (table == tables)
            return;
    }
}

void mal_live_before_fork(void) {
    mal_lock(&growth_lock);
}

void mal_live_after_fork(void) {
    mal_unlock(&growth_lock);
}

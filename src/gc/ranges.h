/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets of address ranges that the program registers: explicit roots, stacks of coroutines.
 *
 *     sorted by low, then high; equal entries are kept as often as they were added
 */
#ifndef MAL_GC_RANGES_H
#define MAL_GC_RANGES_H

#include "meta/memory.h"
#include "os/lock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mal_gc_range {
    uintptr_t low, high; /* high excluded */
};

struct mal_gc_ranges {
    struct mal_lock lock;   /* rank GC_ROOTS */
    struct mal_table table; /* of struct mal_gc_range */
    size_t count;           /* lock */
    uint32_t visit_lock;    /* 0 free, 1 held, 2 held and somebody may sleep; atomic */
};
#define MAL_GC_RANGES_INIT                                                                         \
    { .lock = MAL_LOCK_INIT(MAL_RANK_GC_ROOTS) }
#define MAL_GC_RANGES_MAX (1u << 22)

/* 0, -EINVAL for an empty or wrapping range, -ENOMEM. */
int mal_gc_ranges_add(struct mal_gc_ranges *ranges, uintptr_t low, size_t bytes);
/* Takes one such entry off; with bytes 0, the first one that begins there. When it returns, no
 * visit looks at the range any more. 0 or -ENOENT. */
int mal_gc_ranges_remove(struct mal_gc_ranges *ranges, uintptr_t low, size_t bytes);
/* The entry that holds the address with the largest low. */
bool mal_gc_ranges_find(struct mal_gc_ranges *ranges, uintptr_t address,
                        struct mal_gc_range *ret_range);

enum mal_gc_visit_when { MAL_GC_WHILE_STOPPED, MAL_GC_WHILE_RUNNING };
/* In ascending order. An entry added meanwhile may be missed. No lock held; the visitor may take
 * any. */
void mal_gc_ranges_each(struct mal_gc_ranges *ranges, enum mal_gc_visit_when when,
                        void (*visit)(struct mal_gc_range range, void *context), void *context);

#endif

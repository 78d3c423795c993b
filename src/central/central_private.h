/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the central tier share: a class's lists and their lock.
 *
 * A span is on exactly one list, or on none: when all its objects are out, or while its pages are
 * being released (MAL_SPAN_BUSY). Lists are doubly linked, newest first.
 *
 *     PARTIAL    some objects free, some out, all memory there
 *     HOLED      the same, but some free pages were given back to the OS
 *     EMPTY      no object out
 *
 * Objects are taken from the first list that has a span.
 */
#ifndef MAL_CENTRAL_PRIVATE_H
#define MAL_CENTRAL_PRIVATE_H

#include "central/central.h"
#include "os/lock.h"
#include "pageheap/span.h"

enum mal_span_list { MAL_LIST_PARTIAL, MAL_LIST_HOLED, MAL_LIST_EMPTY, MAL_SPAN_LISTS };

/* On which occasion a class was looked at. */
enum mal_trim { MAL_TRIM_TICK, MAL_TRIM_GROWTH, MAL_TRIMS };

struct central {
    MAL_LINE_ALIGNED struct mal_lock lock;
    uint32_t transfer_used;
    uint32_t transfer_capacity; /* 0 until the first object comes back */
    void **transfer;
    struct mal_span *list[MAL_SPAN_LISTS];
    uint32_t empty_spans;              /* on list EMPTY */
    uint64_t taken_at_trim[MAL_TRIMS]; /* stats.taken when the class was last looked at by trim */
    struct mal_central_stats stats;
};

/* The class's lists, locked. */
struct central *mal_central_lock_class(uint32_t class);

/* Puts a span on the list it belongs to by its counts, or takes it off. Lock held. */
void mal_central_list(struct central *central, struct mal_span *span);
void mal_central_unlist(struct central *central, struct mal_span *span);

/* holes.c; lock held. The current tick; a new span of untouched pages is one hole; bytes of a
 * span's holes, and a change of their sum; objects were taken from a span with holes. */
uint8_t mal_central_now(void);
void mal_central_note_fresh(struct central *central, struct mal_span *span);
uint64_t mal_central_hole_bytes(const struct mal_span *span);
void mal_central_count_holes(struct central *central, int64_t change_bytes);
void mal_central_fill_holes(struct central *central, struct mal_span *span, void **objects,
                            size_t count);

/* Objects leave a span whose free objects' state bytes say that nothing starts there. */
void mal_central_say_start(void **objects, size_t count);

#endif

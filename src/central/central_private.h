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
    int32_t empty_change;              /* of them, since it was locked; else 0 */
    uint64_t taken_at_trim[MAL_TRIMS]; /* stats.taken when the class was last looked at by trim */
    struct mal_central_stats stats;
};

/* The class's lists, locked; what was counted goes out with the lock. */
struct central *mal_central_lock_class(uint32_t class);
void mal_central_unlock_class(struct central *central);

/* Puts a span on the list it belongs to by its counts, or takes it off. Lock held. */
void mal_central_list(struct central *central, struct mal_span *span);
void mal_central_unlist(struct central *central, struct mal_span *span);

/* Puts objects of the class into the bits of their spans. Lock held. */
void mal_central_put_into_spans(struct central *central, uint32_t class, void **objects,
                                size_t count);

/* Gives the class's spans without an object out to the page heap. Lock held. */
void mal_central_release_empty_locked(struct central *central);

static inline bool mal_central_lies_in(const struct mal_span *span, const void *object) {
    return (uint64_t)((const char *)object - span->base) < mal_span_bytes(span);
}

/* bits.c; lock held. Takes up to `count` of the lowest free objects out of the span's bits; puts
 * the first of the objects, which lies in the span, and those behind it that do into them. Both
 * return how many. */
size_t mal_central_take_bits(struct mal_span *span, void **ret_objects, size_t count);
size_t mal_central_put_bits(struct central *central, struct mal_span *span, void *const *objects,
                            size_t count);

/* transfer.c; lock held. Takes up to `count` objects off the top; keeps the first of the objects,
 * as many as there is room for. Both return how many. */
size_t mal_transfer_take(struct central *central, void **ret_objects, size_t count);
size_t mal_transfer_keep(struct central *central, uint32_t class, void *const *objects,
                         size_t count);

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

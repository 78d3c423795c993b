/* SPDX-License-Identifier: Apache-2.0
 *
 * Central lists.
 *
 * Per class: a transfer cache (central/transfer.c), and the lists of spans that have free objects
 * (bits of which ones: central/bits.c). Spans whose objects are all handed out are on no list.
 *
 * Path up: the top of the transfer cache; then spans with some objects out, lowest free object
 * first; then spans with none out; then a new span from the page heap. Path down: onto the transfer
 * cache; what does not fit goes into the bits of its span. A span whose objects are all back stays
 * for the next taker, within bounds per class and for all classes; else it goes to the page heap.
 * What a class keeps and does not use goes all the way down (central/room.c): empty spans save
 * work, not memory.
 *
 *     taken - given = objects on slabs, on shelves (cache/shelf.c) or in the program's hands
 *     sum of object_count over spans = (taken - given) + span_free + transfer_objects
 *
 * SYNCHRONIZATION: one lock per class (rank CENTRAL); the page heap's lock is taken inside it. A
 * span on a list, or with objects out, belongs to its class's lock. `empty_bytes` is a relaxed
 * atomic that all classes write, so a class brings it up to date when it is unlocked, if at all.
 *
 * Must never read or write an object's own memory, which the OS may have: whether one is free, its
 * span's bits say, and where its memory goes (central/holes.c), its state byte.
 */
#include "central/central.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "central/central_private.h"
#include "meta/pagemap.h"
#include "pageheap/limit.h"
#include "pageheap/pageheap.h"

/* Spans without an object out: what a class may keep always, what all may keep together. */
#define EMPTY_CLASS_BYTES (256u << 10)
#define EMPTY_ALL_BYTES (16u << 20)
#define EMPTY_OBJECT_BYTES (64u << 10) /* the span of a larger object is not kept */

static struct central centrals[MAL_CLASS_COUNT] = {
    [0 ... MAL_CLASS_COUNT - 1] = {.lock = MAL_LOCK_INIT(MAL_RANK_CENTRAL)},
};

/* The sum over classes of (empty_spans - empty_change) * span bytes. */
static uint64_t empty_bytes;

struct central *mal_central_lock_class(uint32_t class) {
    struct central *central = &centrals[class];
    mal_lock(&central->lock);
    return central;
}

static uint64_t span_bytes(uint32_t class) {
    return (uint64_t)mal_class[class].span_pages << MAL_PAGE_SHIFT;
}

/* What empty_bytes does not count yet, modulo 2^64. */
static uint64_t empty_bytes_to_add(const struct central *central) {
    return (uint64_t)central->empty_change * span_bytes((uint32_t)(central - centrals));
}

void mal_central_unlock_class(struct central *central) {
    if (central->empty_change != 0)
        mal_add_relaxed(&empty_bytes, empty_bytes_to_add(central));
    central->empty_change = 0;
    mal_unlock(&central->lock);
}

static enum mal_span_list list_of(const struct mal_span *span) {
    if (span->free_count == span->object_count)
        return MAL_LIST_EMPTY;
    return span->flags & MAL_SPAN_HOLED ? MAL_LIST_HOLED : MAL_LIST_PARTIAL;
}

static void count_empty(struct central *central, int change) {
    central->empty_spans += (uint32_t)change;
    central->empty_change += change;
}

void mal_central_list(struct central *central, struct mal_span *span) {
    struct mal_span **list = &central->list[list_of(span)];
    span->list = (uint8_t)list_of(span);
    span->previous = NULL;
    span->next = *list;
    if (span->next)
        span->next->previous = span;
    *list = span;
    if (span->list == MAL_LIST_EMPTY)
        count_empty(central, 1);
}

void mal_central_unlist(struct central *central, struct mal_span *span) {
    if (span->previous)
        span->previous->next = span->next;
    else
        central->list[span->list] = span->next;
    if (span->next)
        span->next->previous = span->previous;
    if (span->list == MAL_LIST_EMPTY)
        count_empty(central, -1);
}

/* The lowest free objects of a span. */
static size_t span_take(struct central *central, struct mal_span *span, void **ret_objects,
                        size_t count) {
    count = mal_central_take_bits(span, ret_objects, count);
    span->touched_tick = mal_central_now();
    if (span->flags & MAL_SPAN_HOLED)
        mal_central_fill_holes(central, span, ret_objects, count);
    if (span->flags & MAL_SPAN_UNMARKED)
        mal_central_say_start(ret_objects, count);
    return count;
}

uint64_t mal_central_empty_bytes(void) {
    return mal_load_relaxed(&empty_bytes);
}

static struct mal_span *first_listed(const struct central *central) {
    for (unsigned list = 0; list < MAL_SPAN_LISTS; list++)
        if (central->list[list])
            return central->list[list];
    return NULL;
}

/* A new span, listed; NULL when there is no memory, or for MAL_GROWTH_REFUSED no room. */
static struct mal_span *add_span(struct central *central, uint32_t class, enum mal_growth growth) {
    struct mal_span *span = mal_pageheap_new_class_span(class, growth);
    if (!span)
        return NULL;
    central->stats.spans++;
    central->stats.span_free += span->free_count;
    if (span->flags & MAL_SPAN_ZEROED)
        mal_central_note_fresh(central, span);
    mal_central_list(central, span);
    return span;
}

/* A listed span with a free object: one that is there, else a new one. */
static struct mal_span *listed_or_new(struct central *central, uint32_t class,
                                      enum mal_growth growth) {
    struct mal_span *span = first_listed(central);
    return span ? span : add_span(central, class, growth);
}

/* The same, in the heap as it is; else others make room, in steps, before it grows. The lock is
 * dropped for each, and somebody may have listed a span meanwhile. */
static struct mal_span *span_with_room(struct central *central, uint32_t class) {
    struct mal_span *span = listed_or_new(central, class, MAL_GROWTH_REFUSED);
    for (unsigned step = 0; !span && step < MAL_CENTRAL_ROOM_STEPS; step++) {
        mal_central_unlock_class(central);
        enum mal_growth growth = mal_central_make_room(step, span_bytes(class));
        mal_central_lock_class(class);
        span = listed_or_new(central, class, growth);
    }
    return span;
}

/* Lists a span anew when its counts put it elsewhere than where it is. */
static void relist(struct central *central, struct mal_span *span) {
    if (span->free_count > 0 && span->list == list_of(span))
        return;
    mal_central_unlist(central, span);
    if (span->free_count > 0)
        mal_central_list(central, span);
}

static size_t take_from_spans(struct central *central, uint32_t class, void **ret_objects,
                              size_t count) {
    size_t got = 0;
    while (got < count) {
        struct mal_span *span = span_with_room(central, class);
        if (!span)
            break;
        size_t step = span_take(central, span, ret_objects + got, count - got);
        relist(central, span);
        central->stats.span_free -= step;
        got += step;
    }
    return got;
}

size_t mal_central_take(uint32_t class, void **ret_objects, size_t count) {
    struct central *central = mal_central_lock_class(class);
    size_t got = mal_transfer_take(central, ret_objects, count);
    /* A CPU that finds some objects here does not also wait for the page heap. */
    if (got == 0)
        got = take_from_spans(central, class, ret_objects, count);
    central->stats.taken += got;
    mal_central_unlock_class(central);
    mal_scavenger_swap();
    return got;
}

/* The first one is kept, or a class that swings by one object would make and unmake its span each
 * time. Near a memory limit the others are not. A span of one object of more than 64 KiB takes
 * longer to touch than to make, and kept by its class its pages are in the way of larger objects.
 */
static bool may_keep_empty(const struct central *central, uint32_t class) {
    uint64_t kept = central->empty_spans * span_bytes(class);
    if (mal_class[class].size_bytes > EMPTY_OBJECT_BYTES)
        return false;
    return central->empty_spans == 1 || kept <= mal_limit_share_now(EMPTY_CLASS_BYTES) ||
           mal_central_empty_bytes() + empty_bytes_to_add(central) <=
               mal_limit_share_now(EMPTY_ALL_BYTES);
}

static void release_empty(struct central *central, struct mal_span *span) {
    mal_central_unlist(central, span);
    central->stats.span_free -= span->object_count;
    central->stats.spans--;
    mal_central_count_holes(central, -(int64_t)mal_central_hole_bytes(span));
    mal_pageheap_free_span(span);
}

/* Objects came back: the span goes on the list where it belongs now, or away. */
static void settle(struct central *central, uint32_t class, struct mal_span *span, bool was_full) {
    if (span->flags & MAL_SPAN_BUSY)
        return;
    if (was_full)
        mal_central_list(central, span);
    else
        relist(central, span);
    if (span->list == MAL_LIST_EMPTY && !may_keep_empty(central, class))
        release_empty(central, span);
}

/* Puts the first of the objects, and those behind it that lie in the same span, into its bits.
 * Returns how many. What is freed together was mostly taken together. */
static size_t put_run(struct central *central, uint32_t class, void **objects, size_t count) {
    struct mal_span *span = mal_pagemap_span_at(objects[0]);
    MAL_CHECK(span && span->class == class, "a cached object's span is gone");
    bool was_full = span->free_count == 0;
    size_t done = mal_central_put_bits(central, span, objects, count);
    span->touched_tick = mal_central_now();
    central->stats.span_free += done;
    settle(central, class, span, was_full);
    return done;
}

void mal_central_put_into_spans(struct central *central, uint32_t class, void **objects,
                                size_t count) {
    for (size_t done = 0; done < count;)
        done += put_run(central, class, objects + done, count - done);
}

/* Objects that were freed in another order than they were taken each bring a span's descriptor with
 * them, and the marks of the one would wait for the descriptor of the next. */
static void fetch_spans(void *const *objects, size_t count) {
    const struct mal_span *first = mal_pagemap_span_at(objects[0]);
    if (mal_central_lies_in(first, objects[count / 2]) &&
        mal_central_lies_in(first, objects[count - 1]))
        return;
    for (size_t i = 0; i < count; i++) {
        const char *span = (const char *)mal_pagemap_span_at(objects[i]);
        __builtin_prefetch(span, 1);
        __builtin_prefetch(span + offsetof(struct mal_span, free_bits[1]), 1);
    }
}

void mal_central_give(uint32_t class, void **objects, size_t count) {
    fetch_spans(objects, count);
    struct central *central = mal_central_lock_class(class);
    central->stats.given += count;
    size_t kept = mal_transfer_keep(central, class, objects, count);
    mal_central_put_into_spans(central, class, objects + kept, count - kept);
    mal_central_unlock_class(central);
}

void mal_central_release_empty_locked(struct central *central) {
    while (central->list[MAL_LIST_EMPTY])
        release_empty(central, central->list[MAL_LIST_EMPTY]);
}

void mal_central_release_empty(void) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        struct central *central = mal_central_lock_class(class);
        mal_central_release_empty_locked(central);
        mal_central_unlock_class(central);
    }
}

struct mal_central_stats mal_central_stats(uint32_t class) {
    struct central *central = mal_central_lock_class(class);
    struct mal_central_stats stats = central->stats;
    stats.transfer_objects = central->transfer_used;
    mal_central_unlock_class(central);
    return stats;
}

/* Holes may reach behind the last object of a span. */
uint64_t mal_central_reclaimable_bytes(void) {
    uint64_t bytes = 0;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        struct mal_central_stats stats = mal_central_stats(class);
        bytes +=
            mal_not_negative(stats.span_free * mal_class[class].size_bytes - stats.holes_bytes);
    }
    return bytes;
}

/* fork holds every class at once, in class order; nobody else ever holds two. */
void mal_central_before_fork(void) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        mal_central_lock_class(class);
        mal_lock_note_released(&centrals[class].lock);
    }
}

void mal_central_after_fork(void) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        mal_unlock(&centrals[class].lock);
}

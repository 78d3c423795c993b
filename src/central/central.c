/* SPDX-License-Identifier: Apache-2.0
 *
 * Central lists.
 *
 * Per class: a transfer cache, an array of free objects in last-in-first-out order, so that a
 * batch freed on one CPU goes to the next CPU that wants one without touching spans; and the list
 * of spans that have free objects. Spans whose objects are all handed out are on no list.
 *
 * Path up: the top of the transfer cache; then spans from the list, lowest free object first; then
 * a new span from the page heap. Path down: onto the transfer cache; what does not fit goes into
 * the bits of its span. A span whose objects are all back stays for the next taker while the class
 * has few of them; else it goes to the page heap. What a class has not touched for a whole tick of
 * the background thread goes all the way down.
 *
 *     taken - given = objects in CPU caches or in the program's hands
 *     sum of object_count over spans = (taken - given) + span_free + transfer_objects
 *
 * SYNCHRONIZATION: one lock per class (rank CENTRAL); the page heap's lock is taken inside it. A
 * span on a list, or with objects out, belongs to its class's lock.
 *
 * Must never read or write an object.
 */
#include "central/central.h"

#include "base/bits.h"
#include "base/check.h"
#include "meta/pagemap.h"
#include "os/lock.h"
#include "pageheap/pageheap.h"

#define TRANSFER_BATCHES 16u
#define TRANSFER_OBJECTS_MIN 256u /* unless so many would be more than TRANSFER_BYTES_MAX */
#define TRANSFER_LARGE_OBJECTS_MIN 4u
#define TRANSFER_BYTES_MAX (1u << 20)
#define EMPTY_BYTES_MAX (128u << 10) /* of spans without an object out that a class may keep */

struct central {
    MAL_LINE_ALIGNED struct mal_lock lock;
    uint32_t transfer_used;
    uint32_t transfer_capacity; /* 0 until the first object comes back */
    void **transfer;
    struct mal_span *partial; /* spans with free objects, doubly linked, newest first */
    uint32_t empty_spans;     /* of those, the ones with no object out */
    uint64_t taken_at_trim;   /* stats.taken when the class was last looked at by trim */
    struct mal_central_stats stats;
};

static struct central centrals[MAL_CLASS_COUNT] = {
    [0 ... MAL_CLASS_COUNT - 1] = {.lock = MAL_LOCK_INIT(MAL_RANK_CENTRAL)},
};

static struct central *lock_class(uint32_t class) {
    struct central *central = &centrals[class];
    mal_lock(&central->lock);
    return central;
}

static void list_push(struct central *central, struct mal_span *span) {
    span->previous = NULL;
    span->next = central->partial;
    if (span->next)
        span->next->previous = span;
    central->partial = span;
}

static void list_remove(struct central *central, struct mal_span *span) {
    if (span->previous)
        span->previous->next = span->next;
    else
        central->partial = span->next;
    if (span->next)
        span->next->previous = span->previous;
}

/* The lowest free object of a span that has one. */
static void *span_take_one(struct mal_span *span, uint32_t size_bytes) {
    unsigned word = span->first_word;
    while (span->free_bits[word] == 0)
        word++;
    span->first_word = (uint16_t)word;
    unsigned bit = (unsigned)__builtin_ctzll(span->free_bits[word]);
    span->free_bits[word] &= span->free_bits[word] - 1;
    span->free_count--;
    return span->base + (size_t)(word * 64 + bit) * size_bytes;
}

static size_t span_take(struct mal_span *span, uint32_t size_bytes, void **ret_objects,
                        size_t count) {
    count = mal_min(count, span->free_count);
    for (size_t i = 0; i < count; i++)
        ret_objects[i] = span_take_one(span, size_bytes);
    return count;
}

static struct mal_span *span_with_room(struct central *central, uint32_t class) {
    if (central->partial)
        return central->partial;
    struct mal_span *span = mal_pageheap_new_class_span(class);
    if (span) {
        central->stats.spans++;
        central->empty_spans++;
        central->stats.span_free += span->free_count;
        list_push(central, span);
    }
    return span;
}

static size_t take_from_spans(struct central *central, uint32_t class, void **ret_objects,
                              size_t count) {
    size_t got = 0;
    while (got < count) {
        struct mal_span *span = span_with_room(central, class);
        if (!span)
            break;
        central->empty_spans -= span->free_count == span->object_count;
        size_t step = span_take(span, mal_class[class].size_bytes, ret_objects + got, count - got);
        if (span->free_count == 0)
            list_remove(central, span);
        central->stats.span_free -= step;
        got += step;
    }
    return got;
}

static size_t take_from_transfer(struct central *central, void **ret_objects, size_t count) {
    count = mal_min(count, central->transfer_used);
    for (size_t i = 0; i < count; i++)
        ret_objects[i] = central->transfer[--central->transfer_used];
    return count;
}

size_t mal_central_take(uint32_t class, void **ret_objects, size_t count) {
    struct central *central = lock_class(class);
    size_t got = take_from_transfer(central, ret_objects, count);
    /* A CPU that finds some objects here does not also wait for the page heap. */
    if (got == 0)
        got = take_from_spans(central, class, ret_objects, count);
    central->stats.taken += got;
    mal_unlock(&central->lock);
    return got;
}

static void span_put_one(struct mal_span *span, uint32_t class, void *object) {
    uint64_t offset = (uint64_t)((char *)object - span->base);
    unsigned index = (unsigned)((offset * mal_class[class].divide_magic) >> 32);
    uint64_t bit = 1ull << (index % 64);
    MAL_CHECK((uint64_t)index * mal_class[class].size_bytes == offset,
              "a cached pointer is not the start of an object");
    MAL_CHECK(!(span->free_bits[index / 64] & bit), "a cached object was already free");
    span->free_bits[index / 64] |= bit;
    span->free_count++;
    if (index / 64 < span->first_word)
        span->first_word = (uint16_t)(index / 64);
}

static uint32_t empty_spans_max(uint32_t class) {
    return EMPTY_BYTES_MAX >> MAL_PAGE_SHIFT > mal_class[class].span_pages
               ? (EMPTY_BYTES_MAX >> MAL_PAGE_SHIFT) / mal_class[class].span_pages
               : 0;
}

static void release_empty(struct central *central, struct mal_span *span) {
    list_remove(central, span);
    central->empty_spans--;
    central->stats.span_free -= span->object_count;
    central->stats.spans--;
    mal_pageheap_free_span(span);
}

static void put_into_span(struct central *central, uint32_t class, void *object) {
    struct mal_span *span = mal_pagemap_span_at(object);
    MAL_CHECK(span && span->class == class, "a cached object's span is gone");
    if (span->free_count == 0)
        list_push(central, span);
    span_put_one(span, class, object);
    central->stats.span_free++;
    if (span->free_count == span->object_count) {
        central->empty_spans++;
        if (central->empty_spans > empty_spans_max(class))
            release_empty(central, span);
    }
}

/* Makes the transfer cache's array on first need; without memory there is simply none. */
static void ensure_transfer(struct central *central, uint32_t class) {
    const struct mal_class_info *info = &mal_class[class];
    if (central->transfer_capacity > 0)
        return;
    size_t capacity = mal_max((size_t)info->batch * TRANSFER_BATCHES, TRANSFER_OBJECTS_MIN);
    capacity = mal_min(capacity,
                       mal_max(TRANSFER_BYTES_MAX / info->size_bytes, TRANSFER_LARGE_OBJECTS_MIN));
    central->transfer = mal_meta_alloc(capacity * sizeof(void *), MAL_META_CACHE);
    if (central->transfer)
        central->transfer_capacity = (uint32_t)capacity;
}

void mal_central_give(uint32_t class, void **objects, size_t count) {
    struct central *central = lock_class(class);
    ensure_transfer(central, class);
    central->stats.given += count;
    size_t room = central->transfer_capacity - central->transfer_used;
    size_t kept = mal_min(room, count);
    for (size_t i = 0; i < kept; i++)
        central->transfer[central->transfer_used++] = objects[i];
    for (size_t i = kept; i < count; i++)
        put_into_span(central, class, objects[i]);
    mal_unlock(&central->lock);
}

static void flush_locked(struct central *central, uint32_t class) {
    while (central->transfer_used > 0)
        put_into_span(central, class, central->transfer[--central->transfer_used]);
    for (struct mal_span *span = central->partial, *next; span; span = next) {
        next = span->next;
        if (span->free_count == span->object_count)
            release_empty(central, span);
    }
}

void mal_central_flush(uint32_t class) {
    struct central *central = lock_class(class);
    flush_locked(central, class);
    mal_unlock(&central->lock);
}

void mal_central_trim_idle(uint32_t class) {
    struct central *central = lock_class(class);
    if (central->taken_at_trim == central->stats.taken)
        flush_locked(central, class);
    central->taken_at_trim = central->stats.taken;
    mal_unlock(&central->lock);
}

struct mal_central_stats mal_central_stats(uint32_t class) {
    struct central *central = lock_class(class);
    struct mal_central_stats stats = central->stats;
    stats.transfer_objects = central->transfer_used;
    mal_unlock(&central->lock);
    return stats;
}

/* fork holds every class at once, in class order; nobody else ever holds two. */
void mal_central_before_fork(void) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        lock_class(class);
        mal_lock_note_released(&centrals[class].lock);
    }
}

void mal_central_after_fork(void) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        mal_unlock(&centrals[class].lock);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Central lists.
 *
 * Per class: a transfer cache, an array of free objects in last-in-first-out order, so that a
 * batch freed on one CPU goes to the next CPU that wants one without touching spans; and the lists
 * of spans that have free objects. Spans whose objects are all handed out are on no list.
 *
 * Path up: the top of the transfer cache; then spans with some objects out, lowest free object
 * first; then spans with none out; then a new span from the page heap. Path down: onto the transfer
 * cache; what does not fit goes into the bits of its span. A span whose objects are all back stays
 * for the next taker, within bounds per class and for all classes; else it goes to the page heap.
 * Before the heap grows, all of them go there: they save work, not memory. What a class has not
 * touched for a whole tick of the background thread goes all the way down.
 *
 *     taken - given = objects in CPU caches or in the program's hands
 *     sum of object_count over spans = (taken - given) + span_free + transfer_objects
 *
 * SYNCHRONIZATION: one lock per class (rank CENTRAL); the page heap's lock is taken inside it. A
 * span on a list, or with objects out, belongs to its class's lock. `empty_bytes` is a relaxed
 * atomic.
 *
 * Must never read or write an object.
 */
#include "central/central.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "meta/pagemap.h"
#include "os/lock.h"
#include "pageheap/pageheap.h"

#define TRANSFER_BATCHES 16u
#define TRANSFER_OBJECTS_MIN 256u /* unless so many would be more than TRANSFER_BYTES_MAX */
#define TRANSFER_LARGE_OBJECTS_MIN 4u
#define TRANSFER_BYTES_MAX (1u << 20)
/* Bytes of spans without an object out: what a class may keep always, what all may keep together,
 * and from when on they are worth giving up before the heap grows. */
#define EMPTY_CLASS_BYTES (256u << 10)
#define EMPTY_ALL_BYTES (32u << 20)
#define EMPTY_WORTH_BYTES (1u << 20)

struct central {
    MAL_LINE_ALIGNED struct mal_lock lock;
    uint32_t transfer_used;
    uint32_t transfer_capacity; /* 0 until the first object comes back */
    void **transfer;
    struct mal_span *partial; /* spans with some objects free and some out, newest first */
    struct mal_span *empty;   /* spans with no object out; taken from when `partial` has none */
    uint32_t empty_spans;     /* on that list */
    uint64_t taken_at_trim;   /* stats.taken when the class was last looked at by trim */
    struct mal_central_stats stats;
};

static struct central centrals[MAL_CLASS_COUNT] = {
    [0 ... MAL_CLASS_COUNT - 1] = {.lock = MAL_LOCK_INIT(MAL_RANK_CENTRAL)},
};

static uint64_t empty_bytes; /* sum over classes */

static struct central *lock_class(uint32_t class) {
    struct central *central = &centrals[class];
    mal_lock(&central->lock);
    return central;
}

static void list_push(struct mal_span **list, struct mal_span *span) {
    span->previous = NULL;
    span->next = *list;
    if (span->next)
        span->next->previous = span;
    *list = span;
}

static void list_remove(struct mal_span **list, struct mal_span *span) {
    if (span->previous)
        span->previous->next = span->next;
    else
        *list = span->next;
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

static uint64_t span_bytes(uint32_t class) {
    return (uint64_t)mal_class[class].span_pages << MAL_PAGE_SHIFT;
}

static void add_empty(struct central *central, uint32_t class, struct mal_span *span) {
    list_push(&central->empty, span);
    central->empty_spans++;
    mal_add_relaxed(&empty_bytes, span_bytes(class));
}

static void remove_empty(struct central *central, uint32_t class, struct mal_span *span) {
    list_remove(&central->empty, span);
    central->empty_spans--;
    mal_sub_relaxed(&empty_bytes, span_bytes(class));
}

uint64_t mal_central_empty_bytes(void) {
    return mal_load_relaxed(&empty_bytes);
}

/* A span that fits into the heap as it is; else one for which the heap grows, but before it does
 * the empty spans of all classes go back to it. Drops and takes the lock for that. */
static struct mal_span *make_span(struct central *central, uint32_t class) {
    struct mal_span *span = mal_pageheap_new_class_span(class, MAL_GROWTH_REFUSED);
    if (span)
        return span;
    if (mal_central_empty_bytes() >= EMPTY_WORTH_BYTES) {
        mal_unlock(&central->lock);
        mal_central_release_empty();
        lock_class(class);
    }
    return mal_pageheap_new_class_span(class, MAL_GROWTH_ALLOWED);
}

/* A span with a free object, on the partial list. */
static struct mal_span *span_with_room(struct central *central, uint32_t class) {
    if (central->partial)
        return central->partial;
    struct mal_span *span = central->empty;
    if (span) {
        remove_empty(central, class, span);
    } else {
        span = make_span(central, class);
        if (!span)
            return central->partial;
        central->stats.spans++;
        central->stats.span_free += span->free_count;
    }
    list_push(&central->partial, span);
    return span;
}

static size_t take_from_spans(struct central *central, uint32_t class, void **ret_objects,
                              size_t count) {
    size_t got = 0;
    while (got < count) {
        struct mal_span *span = span_with_room(central, class);
        if (!span)
            break;
        size_t step = span_take(span, mal_class[class].size_bytes, ret_objects + got, count - got);
        if (span->free_count == 0)
            list_remove(&central->partial, span);
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

/* The first one is kept whatever its size: a class that swings by one object must not make and
 * unmake its span each time. */
static bool may_keep_empty(const struct central *central, uint32_t class) {
    uint64_t kept = central->empty_spans * span_bytes(class);
    return central->empty_spans == 1 || kept <= EMPTY_CLASS_BYTES ||
           mal_central_empty_bytes() <= EMPTY_ALL_BYTES;
}

static void release_empty(struct central *central, uint32_t class, struct mal_span *span) {
    remove_empty(central, class, span);
    central->stats.span_free -= span->object_count;
    central->stats.spans--;
    mal_pageheap_free_span(span);
}

static void put_into_span(struct central *central, uint32_t class, void *object) {
    struct mal_span *span = mal_pagemap_span_at(object);
    MAL_CHECK(span && span->class == class, "a cached object's span is gone");
    if (span->free_count == 0)
        list_push(&central->partial, span);
    span_put_one(span, class, object);
    central->stats.span_free++;
    if (span->free_count == span->object_count) {
        list_remove(&central->partial, span);
        add_empty(central, class, span);
        if (!may_keep_empty(central, class))
            release_empty(central, class, span);
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

static void release_all_empty(struct central *central, uint32_t class) {
    while (central->empty)
        release_empty(central, class, central->empty);
}

void mal_central_release_empty(void) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        struct central *central = lock_class(class);
        release_all_empty(central, class);
        mal_unlock(&central->lock);
    }
}

static void flush_locked(struct central *central, uint32_t class) {
    while (central->transfer_used > 0)
        put_into_span(central, class, central->transfer[--central->transfer_used]);
    release_all_empty(central, class);
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

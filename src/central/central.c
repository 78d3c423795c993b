/* SPDX-License-Identifier: Apache-2.0
 *
 * Central lists.
 *
 * Per class: a transfer cache (central/transfer.c), and the lists of spans that have free objects.
 * Spans whose objects are all handed out are on no list.
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

/* Bytes of spans without an object out: what a class may keep always, what all may keep together.
 */
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

/* The objects of a word whose bits are all set from one on to its end, lowest first: as after a
 * batch from a span that was whole. No bit needs to be searched for. */
static size_t take_stretch(char *first, size_t size_bytes, uint64_t *bits, void **ret_objects,
                           size_t count) {
    unsigned from = (unsigned)__builtin_ctzll(*bits);
    char *object = first + from * size_bytes;
    count = mal_min(count, 64 - from);
    for (size_t i = 0; i < count; i++, object += size_bytes)
        ret_objects[i] = object;
    *bits = from + count < 64 ? *bits << count : 0;
    return count;
}

static bool is_set_to_its_end(uint64_t bits) {
    return bits != 0 && (bits | (bits - 1)) == ~0ull;
}

/* Free objects of one word of bits, lowest first. */
static size_t take_from_word(struct mal_span *span, unsigned word, void **ret_objects,
                             size_t count) {
    size_t size_bytes = mal_class[span->class].size_bytes;
    char *first = span->base + word * 64 * size_bytes;
    uint64_t bits = span->free_bits[word];
    size_t got = 0;
    if (is_set_to_its_end(bits))
        return take_stretch(first, size_bytes, &span->free_bits[word], ret_objects, count);
    for (; bits != 0 && got < count; bits &= bits - 1)
        ret_objects[got++] = first + (unsigned)__builtin_ctzll(bits) * size_bytes;
    span->free_bits[word] = bits;
    return got;
}

/* The lowest free objects of a span. */
static size_t span_take(struct central *central, struct mal_span *span, void **ret_objects,
                        size_t count) {
    unsigned word = span->first_word;
    size_t got = 0;
    count = mal_min(count, span->free_count);
    while ((got += take_from_word(span, word, ret_objects + got, count - got)) < count)
        word++;
    span->first_word = (uint16_t)word;
    mal_store_relaxed(&span->free_count, (uint16_t)(span->free_count - count));
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

static bool lies_in(const struct mal_span *span, const void *object) {
    return (uint64_t)((const char *)object - span->base) < (uint64_t)span->pages << MAL_PAGE_SHIFT;
}

static unsigned index_of(const struct mal_span *span, uint32_t class, const void *object) {
    uint64_t offset = (uint64_t)((const char *)object - span->base);
    unsigned index = (unsigned)((offset * mal_class[class].divide_magic) >> 32);
    MAL_CHECK((uint64_t)index * mal_class[class].size_bytes == offset,
              "a cached pointer is not the start of an object");
    return index;
}

/* What free itself did not notice, because the object was written into between its two frees. A
 * handler of SIGABRT may allocate: the lock is given up first, and the counts err on the safe side.
 */
static MAL_SLOW _Noreturn void die_of_second_free(const struct mal_span *span, unsigned word,
                                                  uint64_t bits) {
    uint32_t size_bytes = mal_class[span->class].size_bytes;
    unsigned index = word * 64 + (unsigned)__builtin_ctzll(bits);
    mal_central_unlock_class(&centrals[span->class]);
    mal_die("free(%p): double free of an object of size class %u, written into in between",
            (void *)(span->base + (size_t)index * size_bytes), size_bytes);
}

static void set_word(struct mal_span *span, unsigned word, uint64_t bits) {
    uint64_t before = span->free_bits[word];
    if (MAL_UNLIKELY(before & bits))
        die_of_second_free(span, word, before & bits);
    span->free_bits[word] = before | bits;
}

/* Bits of one word of a span's free_bits that are about to be set. */
struct gathered {
    unsigned word;
    uint64_t bits;
};

static void set_gathered(struct mal_span *span, const struct gathered *gathered) {
    set_word(span, gathered->word, gathered->bits);
    if (gathered->word < span->first_word)
        span->first_word = (uint16_t)gathered->word;
}

/* What was freed together lies together, more often than not in the same word: that one is written
 * once, since a bit set in memory would have to wait for the bit before it. */
static void gather(struct mal_span *span, struct gathered *gathered, unsigned index) {
    if (index / 64 != gathered->word || gathered->bits >> index % 64 & 1) {
        set_gathered(span, gathered);
        *gathered = (struct gathered){.word = index / 64};
    }
    gathered->bits |= 1ull << index % 64;
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
    struct gathered gathered = {.word = index_of(span, class, objects[0]) / 64};
    size_t done = 0;
    for (; done < count && lies_in(span, objects[done]); done++)
        gather(span, &gathered, index_of(span, class, objects[done]));
    set_gathered(span, &gathered);
    mal_store_relaxed(&span->free_count, (uint16_t)(span->free_count + done));
    span->touched_tick = mal_central_now();
    central->stats.span_free += done;
    settle(central, class, span, was_full);
    return done;
}

static void put_into_spans(struct central *central, uint32_t class, void **objects, size_t count) {
    for (size_t done = 0; done < count;)
        done += put_run(central, class, objects + done, count - done);
}

/* Objects that were freed in another order than they were taken each bring a span's descriptor with
 * them, and the marks of the one would wait for the descriptor of the next. */
static void fetch_spans(void *const *objects, size_t count) {
    const struct mal_span *first = mal_pagemap_span_at(objects[0]);
    if (lies_in(first, objects[count / 2]) && lies_in(first, objects[count - 1]))
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
    put_into_spans(central, class, objects + kept, count - kept);
    mal_central_unlock_class(central);
}

static void release_all_empty(struct central *central) {
    while (central->list[MAL_LIST_EMPTY])
        release_empty(central, central->list[MAL_LIST_EMPTY]);
}

void mal_central_release_empty(void) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        struct central *central = mal_central_lock_class(class);
        release_all_empty(central);
        mal_central_unlock_class(central);
    }
}

/* The cache is empty before its first object is in a span: after a second free a handler may come
 * in between. */
static void flush_locked(struct central *central, uint32_t class) {
    uint32_t count = central->transfer_used;
    central->transfer_used = 0;
    put_into_spans(central, class, central->transfer, count);
    release_all_empty(central);
}

void mal_central_flush(uint32_t class) {
    struct central *central = mal_central_lock_class(class);
    flush_locked(central, class);
    mal_central_unlock_class(central);
}

static void trim(uint32_t class, enum mal_trim trim) {
    struct central *central = mal_central_lock_class(class);
    if (central->taken_at_trim[trim] == central->stats.taken)
        flush_locked(central, class);
    central->taken_at_trim[trim] = central->stats.taken;
    mal_central_unlock_class(central);
}

void mal_central_trim_idle(uint32_t class) {
    trim(class, MAL_TRIM_TICK);
}

void mal_central_trim_for_growth(uint32_t class) {
    trim(class, MAL_TRIM_GROWTH);
}

/* Holes may reach behind the last object of a span. */
static uint64_t not_negative(uint64_t difference) {
    return (int64_t)difference < 0 ? 0 : difference;
}

struct mal_central_stats mal_central_stats(uint32_t class) {
    struct central *central = mal_central_lock_class(class);
    struct mal_central_stats stats = central->stats;
    stats.transfer_objects = central->transfer_used;
    mal_central_unlock_class(central);
    return stats;
}

uint64_t mal_central_reclaimable_bytes(void) {
    uint64_t bytes = 0;
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++) {
        struct mal_central_stats stats = mal_central_stats(class);
        bytes += not_negative(stats.span_free * mal_class[class].size_bytes - stats.holes_bytes);
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Large objects.
 *
 * Path up: a span from the page heap as it is; else others make room before it grows; then the
 * object is counted, charged and, if it is due, sampled. Path down: its span goes back to the page
 * heap. One that is resized where it lies counts as freed and allocated anew.
 *
 * Its `sampled` mark lies in its span, because it has no state byte.
 *
 * SYNCHRONIZATION: the span belongs to whoever owns the object. No lock is held here.
 *
 * Must never touch the object's memory.
 */
#include "front/large.h"

#include "base/no_memory.h"
#include "cache/percpu_cache.h"
#include "central/central.h"
#include "front/pointer.h"
#include "front/record.h"
#include "front/stats.h"
#include "meta/pagemap.h"
#include "os/countdown.h"
#include "pageheap/pageheap.h"
#include "pageheap/scavenger.h"

/* A large object has come to be, or has changed its size: counts and charges it as it is now. */
static void count_and_charge(struct mal_span *span) {
    uint64_t rate = 0;
    enum mal_due due = MAL_DUE_NOTHING;
    uint64_t size = mal_span_bytes(span);
    mal_stats_count_large(size);
    if (mal_countdown_charge(&mal_thread.countdown, size))
        due = mal_thread_due(size, &rate);
    span->sampled = mal_record_alloc(span->base, size, due, rate);
}

/* Before the heap grows for a large object, spans that hold nothing make room; then what lies free
 * in others. A request that can never be served costs nobody his memory. */
static struct mal_span *new_span(size_t bytes, size_t alignment) {
    if (!mal_pageheap_could_hold(bytes, alignment))
        return NULL;
    struct mal_span *span = mal_pageheap_new_large_span(bytes, alignment, MAL_GROWTH_REFUSED);
    for (unsigned step = 0; !span && step < MAL_CENTRAL_ROOM_STEPS; step++)
        span = mal_pageheap_new_large_span(bytes, alignment, mal_central_make_room(step, bytes));
    return span;
}

void *mal_large_alloc(size_t bytes, size_t alignment) {
    struct mal_span *span = new_span(bytes, alignment);
    if (!span)
        return mal_no_memory();
    mal_scavenger_swap();
    mal_cache_keep_limit();
    count_and_charge(span);
    return span->base;
}

bool mal_large_is_zeroed(const void *object) {
    return mal_pagemap_span_at(object)->flags & MAL_SPAN_ZEROED;
}

void mal_large_free(struct mal_span *span) {
    uint64_t size = mal_span_bytes(span);
    if (span->sampled)
        mal_record_free(span->base, size);
    mal_stats_uncount_large(size);
    mal_pageheap_free_span(span);
    mal_scavenger_swap();
}

/* Counts as freed and allocated anew: a sampled object's size is part of its bucket, and what grows
 * in place would otherwise never be sampled. */
bool mal_resize_in_place(void *pointer, size_t bytes) {
    struct mal_pointer_facts facts = mal_pointer_facts(pointer);
    if (facts.kind != MAL_POINTER_LARGE || bytes <= MAL_MEDIUM_MAX_BYTES)
        return false;
    uint64_t before = mal_span_bytes(facts.span);
    if (!mal_pageheap_resize_large(facts.span, bytes))
        return false;
    mal_cache_keep_limit();
    if (mal_span_bytes(facts.span) != before) {
        if (facts.span->sampled)
            mal_record_free(pointer, before);
        count_and_charge(facts.span);
        mal_stats_uncount_large(before);
        mal_scavenger_swap();
    }
    return true;
}

enum mal_move mal_move_pages(void *to, void *from) {
    struct mal_pointer_facts source = mal_pointer_facts(from);
    struct mal_pointer_facts target = mal_pointer_facts(to);
    if (source.kind != MAL_POINTER_LARGE || target.kind != MAL_POINTER_LARGE)
        return MAL_MOVE_REFUSED;
    return mal_move_large(source.span, target.span);
}

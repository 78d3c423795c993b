/* SPDX-License-Identifier: Apache-2.0
 *
 * Sweeping: what was allocated and is not marked is free.
 *
 * A span is swept when a thread needs room in its class (gc/refill.c), when somebody frees an
 * object in it by hand, in the background, and at the latest before the next mark. Path down: first
 * the specials of its objects, which may mark some of them again; then, window by window, alloc
 * bits become the mark bits and these 0; a span that is empty then goes back to the page heap.
 *
 *     freed = allocated before - marked - revived
 *
 * SYNCHRONIZATION: a span that is being swept is on no list, so its sweeper owns it; a structural
 * section keeps fork away. Specials are called with no lock held.
 *
 * Must never run while phase == MARK.
 */
#include "base/bits.h"
#include "base/check.h"
#include "gc/heap.h"
#include "gc/spans.h"
#include "gc/specials.h"
#include "meta/pagemap.h"
#include "os/critical.h"

#include <string.h>

#define POISON 0xdb

bool mal_gc_heap_is_marked(uintptr_t object) {
    uint64_t offset = mal_gc_offset(object);
    return mal_load_relaxed(&mal_gc_line_at(offset)->mark) & mal_gc_bit_at(offset);
}

/* It lives on for its finalizer, which may free it: so it counts as live, which the end of the mark
 * knew nothing of. */
static void revive(uintptr_t object) {
    uint64_t offset = mal_gc_offset(object);
    const struct mal_span *span = mal_pagemap_span_at((void *)object);
    mal_or_relaxed(&mal_gc_line_at(offset)->mark, mal_gc_bit_at(offset));
    mal_add_relaxed(&mal_gc_totals.live_bytes, span->gc.object_bytes);
    if (!mal_gc_span_is_noscan(span))
        mal_add_relaxed(&mal_gc_totals.scan_bytes, span->gc.object_bytes);
}

static void sweep_specials(const struct mal_span *span) {
    uintptr_t low = (uintptr_t)span->base;
    uintptr_t high = low + mal_span_bytes(span);
    if (!mal_gc_specials_on_pages(low, high))
        return;
    struct mal_gc_sweep_view view = {low, high, mal_gc_heap_is_marked, revive};
    mal_gc_specials_sweep(&view);
}

uint32_t mal_gc_heap_poisons;

static void poison(const struct mal_span *span, uint64_t window, uint64_t dead) {
    for (; dead; dead &= dead - 1)
        memset((char *)mal_gc_tables.base + window +
                   ((uint64_t)__builtin_ctzll(dead) << MAL_GRANULE_SHIFT),
               POISON, span->gc.object_bytes);
}

/* Returns how many objects died. */
static uint32_t sweep_window(struct mal_span *span, uint64_t offset) {
    struct mal_gc_line *line = mal_gc_line_at(offset);
    uint64_t alloc = mal_load_relaxed(&line->alloc);
    uint64_t mark = mal_load_relaxed(&line->mark);
    if ((alloc | mark) == 0)
        return 0;
    MAL_ASSERT((mark & ~alloc) == 0);
    uint64_t dead = alloc & ~mark;
    if (dead) {
        mal_gc_sample_died(span, offset, dead);
        if (mal_gc_heap_poisons)
            poison(span, offset, dead);
        mal_store_relaxed(&line->alloc, alloc & mark);
    }
    mal_store_relaxed(&line->mark, 0ull);
    return mal_popcount(dead);
}

static uint32_t sweep_windows(struct mal_span *span) {
    uint64_t offset = mal_gc_span_offset(span);
    uint64_t windows = (uint64_t)span->pages * MAL_GC_WINDOWS_PER_PAGE;
    uint32_t freed = 0;
    if (span->gc.span_class >> 1 == MAL_GC_CLASS_LARGE)
        windows = 1;
    for (uint64_t i = 0; i < windows; i++)
        freed += sweep_window(span, offset + i * MAL_GC_WINDOW_BYTES);
    return freed;
}

static void count_freed(const struct mal_span *span, uint64_t freed) {
    struct mal_gc_central *central = &mal_gc_central[span->gc.span_class];
    if (freed == 0)
        return;
    mal_lock(&central->lock);
    central->frees += freed;
    central->free_bytes += freed * span->gc.object_bytes;
    mal_unlock(&central->lock);
}

void mal_gc_sweep_span(struct mal_span *span) {
    MAL_ASSERT(mal_gc_phase == MAL_GC_OFF && span->list == MAL_GC_NONE);
    sweep_specials(span);
    uint32_t freed = sweep_windows(span);
    mal_store_relaxed(&span->gc.free_count, span->object_count - mal_gc_span_count(span));
    count_freed(span, freed);
}

/* Last of all, when the span is where it belongs: the collector's own threads are not stopped with
 * the world, and it stops the world for marking when nothing is unswept any more. */
void mal_gc_sweep_note_done(size_t pages) {
    __atomic_fetch_sub(&mal_gc_totals.unswept_pages, pages, __ATOMIC_RELEASE);
}

/* One span of the class; its pages, 0 when none is left unswept. */
static size_t sweep_one(struct mal_gc_central *central) {
    size_t pages = 0;
    mal_critical_enter();
    mal_gc_gate_enter();
    mal_lock(&central->lock);
    struct mal_span *span = mal_gc_list_pop_unswept(central);
    mal_unlock(&central->lock);
    if (span) {
        pages = span->pages;
        mal_gc_sweep_span(span);
        mal_gc_span_put_back(span);
        mal_gc_sweep_note_done(pages);
    }
    mal_gc_gate_leave();
    mal_critical_leave();
    return pages;
}

size_t mal_gc_heap_sweep(size_t pages) {
    size_t swept = 0;
    if (mal_load_relaxed(&mal_gc_totals.unswept_pages) == 0)
        return 0;
    for (unsigned i = 0; i < MAL_GC_SPAN_CLASSES && swept < pages; i++)
        for (size_t step; swept < pages && (step = sweep_one(&mal_gc_central[i])) > 0;)
            swept += step;
    return swept;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Freeing by hand.
 *
 * The alloc bit is cleared, so the slot is found by the next thread that opens its window. Only
 * while phase == OFF, and in a span that is swept (an unswept one is swept first): a marker may
 * hold the object, and a sweep would give the slot back its bit. At any other time the hint is
 * dropped and the object dies by itself. Blocks of 16 bytes without pointers may be shared by
 * several tiny objects, so they are left alone too. A span that becomes empty goes back to the page
 * heap.
 *
 *     invariant: in MARK no object is freed, no span changes its shape
 *
 * SYNCHRONIZATION: the class's lock. A span that a thread has cached is on no list; its owner
 * counts anew when it gives it back.
 *
 * Must never believe a pointer: what is no object of the heap is not touched.
 */
#include "base/bits.h"
#include "base/check.h"
#include "gc/alloc.h"
#include "gc/specials.h"
#include "meta/pagemap.h"
#include "os/critical.h"

/* The start of an object that may be freed now: its offset and span. */
static struct mal_span *freeable(const void *object, uint64_t *ret_offset) {
    uint32_t page;
    if (mal_gc_phase != MAL_GC_OFF || !mal_gc_resolve((uintptr_t)object, ret_offset, &page) ||
        mal_gc_tables.base + *ret_offset != (uintptr_t)object)
        return NULL;
    if (mal_gc_page_span_class(page) == (1u << 1 | MAL_GC_PAGE_NOSCAN))
        return NULL;
    return mal_pagemap_span_at((void *)object);
}

/* Takes the span off the unswept lists, if it is there, and sweeps it. */
static void sweep_first(struct mal_span *span) {
    struct mal_gc_central *central = &mal_gc_central[span->gc.span_class];
    mal_lock(&central->lock);
    bool unswept = mal_gc_span_is_unswept(span);
    if (unswept)
        mal_gc_list_remove(central, span);
    mal_unlock(&central->lock);
    if (!unswept)
        return;
    size_t pages = span->pages;
    mal_gc_sweep_span(span);
    mal_gc_span_put_back(span);
    mal_gc_sweep_note_done(pages);
}

static void relist(struct mal_gc_central *central, struct mal_span *span) {
    mal_gc_list_remove(central, span);
    mal_store_relaxed(&span->gc.free_count, span->gc.free_count + 1);
    if (span->gc.free_count < span->object_count)
        mal_gc_list_put(central, span, MAL_GC_PARTIAL);
}

static void count(const struct mal_span *span) {
    mal_sub_relaxed(&mal_gc_totals.live_bytes, span->gc.object_bytes);
    if (!mal_gc_span_is_noscan(span))
        mal_sub_relaxed(&mal_gc_totals.scan_bytes, span->gc.object_bytes);
}

/* Clears the bit; true when the span is empty now and the caller's. */
static bool clear(struct mal_span *span, uint64_t offset) {
    struct mal_gc_central *central = &mal_gc_central[span->gc.span_class];
    uint64_t bit = mal_gc_bit_at(offset);
    bool empty = false;
    mal_lock(&central->lock);
    /* A span on no list is cached, or somebody is sweeping it just now. */
    bool mine = span->list != MAL_GC_NONE || mal_load_relaxed(&span->gc.charged_count) > 0;
    if (mine && mal_and_relaxed(&mal_gc_line_at(offset)->alloc, ~bit) & bit) {
        central->frees++;
        central->free_bytes += span->gc.object_bytes;
        count(span);
        if (span->list != MAL_GC_NONE) {
            relist(central, span);
            empty = span->list == MAL_GC_NONE;
        }
    }
    mal_unlock(&central->lock);
    return empty;
}

static void free_now(struct mal_span *span, uint64_t offset) {
    uint64_t window = mal_round_down(offset, MAL_GC_WINDOW_BYTES);
    uintptr_t object = mal_gc_tables.base + offset;
    if (mal_gc_specials_on_pages(object, object + span->gc.object_bytes))
        mal_gc_specials_forget(object);
    mal_gc_sample_died(span, window, mal_gc_bit_at(offset));
    if (clear(span, offset))
        mal_gc_span_free(span);
}

MAL_PUBLIC void mallard_gc_free(void *object) {
    uint64_t offset;
    mal_critical_enter();
    mal_gc_gate_enter();
    struct mal_span *span = object ? freeable(object, &offset) : NULL;
    if (span) {
        sweep_first(span);
        /* Sweeping may have shown that it was dead already, and its span empty. */
        span = freeable(object, &offset);
    }
    if (span)
        free_now(span, offset);
    mal_gc_gate_leave();
    mal_critical_leave();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Chunks of arenas in the heap's tables.
 *
 * A chunk is entered like a large object without pointers, so a word that leads into it sets its
 * mark and nothing else happens. It is on no list and not among the pages that a sweep has to do.
 *
 * A chunk counts like a large object: it is live, it is paid for by the thread that took it, it may
 * be sampled, and the mark of a live one (which the walk over the arenas sets, if no pointer did)
 * makes it count as marked. One that was given up counts for nothing, though words may still lead
 * into it and mark it:
 *
 *     live_bytes    contains the bytes of a chunk  <=>  it was made and not given up
 *     marked_bytes  contains them when the mark has ended  <=>  the same, then
 *
 * SYNCHRONIZATION: the span is its caller's. Mark bits are set by workers with an atomic OR, and by
 * whoever makes a chunk while phase == MARK, which is constant in its critical section.
 */
#include "gc/chunks.h"

#include "base/atomic.h"
#include "base/check.h"
#include "gc/alloc.h"
#include "os/critical.h"

#define SPAN_CLASS (MAL_GC_CLASS_LARGE << 1 | MAL_GC_PAGE_NOSCAN)

static struct mal_gc_line *line_of(const struct mal_span *span) {
    return mal_gc_line_at(mal_gc_span_offset(span));
}

static uint64_t bit_of(const struct mal_span *span) {
    return mal_gc_bit_at(mal_gc_span_offset(span));
}

static struct mal_gc_central *central(void) {
    return &mal_gc_central[SPAN_CLASS];
}

static void count_new(struct mal_span *span) {
    uint64_t bytes = span->gc.object_bytes;
    mal_add_relaxed(&mal_gc_totals.live_bytes, bytes);
    if (mal_gc_begin_black(line_of(span), bit_of(span)))
        mal_add_relaxed(&mal_gc_totals.marked_bytes, bytes);
    mal_lock(&central()->lock);
    central()->mallocs++;
    central()->malloc_bytes += bytes;
    mal_unlock(&central()->lock);
}

struct mal_span *mal_gc_chunk_new(size_t bytes) {
    struct mal_span *span = mal_gc_span_new(SPAN_CLASS, bytes);
    if (!span)
        return NULL;
    mal_sub_relaxed(&mal_gc_totals.inuse_pages, span->pages);
    count_new(span);
    mal_gc_allocate_slots(line_of(span), bit_of(span));
    return span;
}

bool mal_gc_chunk_take_mark(struct mal_span *span) {
    return mal_and_relaxed(&line_of(span)->mark, ~bit_of(span)) & bit_of(span);
}

void mal_gc_chunk_free(struct mal_span *span) {
    MAL_CHECK(mal_gc_phase == MAL_GC_OFF, "a chunk was freed while marking");
    struct mal_gc_line *line = line_of(span);
    mal_and_relaxed(&line->mark, ~bit_of(span));
    mal_and_relaxed(&line->alloc, ~bit_of(span));
    mal_add_relaxed(&mal_gc_totals.inuse_pages, span->pages);
    mal_gc_span_free(span);
}

void mal_gc_chunk_charge(struct mal_span *span) {
    struct mal_gc_thread *thread = mal_gc_thread_register();
    uint64_t rate, bytes = span->gc.object_bytes;
    if (thread && mal_gc_sample_due(&thread->cache, bytes, &rate))
        mal_gc_sample_record((uintptr_t)span->base, bytes, rate);
    if (thread && mal_gc_hooks.charge)
        mal_gc_hooks.charge(bytes);
}

void mal_gc_chunk_end(struct mal_span *span) {
    mal_gc_sample_died(span, mal_gc_span_offset(span), 1);
    mal_sub_relaxed(&mal_gc_totals.live_bytes, span->gc.object_bytes);
    mal_lock(&central()->lock);
    central()->frees++;
    central()->free_bytes += span->gc.object_bytes;
    mal_unlock(&central()->lock);
}

void mal_gc_chunk_discount(struct mal_span *span) {
    if (!(mal_load_relaxed(&line_of(span)->mark) & bit_of(span)))
        return;
    mal_sub_relaxed(&mal_gc_totals.live_bytes, span->gc.object_bytes);
    mal_sub_relaxed(&mal_gc_totals.last_marked_bytes, span->gc.object_bytes);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Chunks of arenas in the heap's tables.
 *
 * A chunk is entered like a large object without pointers, so a word that leads into it sets its
 * mark and nothing else happens. It is on no list and not among the pages that a sweep has to do.
 *
 * SYNCHRONIZATION: the span is its caller's. Mark bits are set by workers with an atomic OR.
 */
#include "gc/chunks.h"

#include "base/atomic.h"
#include "gc/spans.h"

#define SPAN_CLASS (MAL_GC_CLASS_LARGE << 1 | MAL_GC_PAGE_NOSCAN)

static struct mal_gc_line *line_of(const struct mal_span *span) {
    return mal_gc_line_at(mal_gc_span_offset(span));
}

static uint64_t bit_of(const struct mal_span *span) {
    return mal_gc_bit_at(mal_gc_span_offset(span));
}

struct mal_span *mal_gc_chunk_new(size_t bytes) {
    struct mal_span *span = mal_gc_span_new(SPAN_CLASS, bytes);
    if (!span)
        return NULL;
    mal_sub_relaxed(&mal_gc_totals.inuse_pages, span->pages);
    mal_or_relaxed(&line_of(span)->alloc, bit_of(span));
    return span;
}

bool mal_gc_chunk_take_mark(struct mal_span *span) {
    return mal_and_relaxed(&line_of(span)->mark, ~bit_of(span)) & bit_of(span);
}

void mal_gc_chunk_free(struct mal_span *span) {
    struct mal_gc_line *line = line_of(span);
    mal_and_relaxed(&line->mark, ~bit_of(span));
    mal_and_relaxed(&line->alloc, ~bit_of(span));
    mal_add_relaxed(&mal_gc_totals.inuse_pages, span->pages);
    mal_gc_span_free(span);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans of the collected heap and the lists they are on.
 *
 * One set of lists per span class; class LARGE has one too.
 *
 *     PARTIAL   at least one free slot        FULL   none
 *     NONE      cached by a thread, being swept, or just made: whoever took it owns it
 *
 * PARTIAL and FULL are there twice, for even and odd turns. Those of this turn hold swept spans;
 * those of the other one hold spans whose marks are still to be turned into alloc bits, and are
 * empty before a mark begins. So the end of a mark makes all spans unswept by one increment.

 */
#ifndef MAL_GC_SPANS_H
#define MAL_GC_SPANS_H

#include "gc/heap.h"
#include "os/lock.h"
#include "pageheap/span.h"

#include <stdbool.h>
#include <stdint.h>

enum mal_gc_list { MAL_GC_NONE, MAL_GC_PARTIAL, MAL_GC_FULL = 3, MAL_GC_LISTS = 5 };

struct mal_gc_central {
    struct mal_lock lock; /* rank GC_SPANS; guards everything here and what listed spans hold */
    struct mal_span *list[MAL_GC_LISTS]; /* by enum mal_gc_list + parity of the turn */
    uint64_t mallocs, frees;             /* objects; exact but for what threads have cached */
    uint64_t malloc_bytes, free_bytes;
} MAL_LINE_ALIGNED;

extern MAL_HIDDEN struct mal_gc_central mal_gc_central[MAL_GC_SPAN_CLASSES];

/* Grows when a mark ends; the world is stopped then. */
extern MAL_HIDDEN uint32_t mal_gc_turn;

/* Relaxed atomics; what mal_gc_heap_counters reports. */
struct mal_gc_totals {
    uint64_t live_bytes, scan_bytes;
    uint64_t marked_bytes, marked_scan_bytes; /* by the running or last mark; workers add late */
    uint64_t last_marked_bytes;
    uint64_t inuse_pages, unswept_pages;
};
extern MAL_HIDDEN struct mal_gc_totals mal_gc_totals;

/* Structural sections: whoever takes spans off lists does it, and puts them back, inside one. In a
 * critical section, no lock held. Shut only by fork, which waits until all have been left. */
void mal_gc_gate_enter(void);
void mal_gc_gate_leave(void);
void mal_gc_gate_shut(void);
void mal_gc_gate_open(void);
void mal_gc_gate_forget(void); /* in a child: nobody else is inside */

static inline uint64_t mal_gc_span_offset(const struct mal_span *span) {
    return mal_gc_offset((uintptr_t)span->base);
}
static inline bool mal_gc_span_is_noscan(const struct mal_span *span) {
    return span->gc.span_class & MAL_GC_PAGE_NOSCAN;
}

/* A span, entered in the tables, on no list. `bytes` is the object's for class LARGE, else 0. NULL
 * when memory is short. No lock held. */
struct mal_span *mal_gc_span_new(unsigned span_class, uint64_t bytes);
/* On no list; no object in it is allocated. Never while phase == MARK. No lock held. */
void mal_gc_span_free(struct mal_span *span);

/* Objects whose alloc bits are set. */
uint32_t mal_gc_span_count(const struct mal_span *span);

/* Under the central's lock. */
void mal_gc_list_put(struct mal_gc_central *central, struct mal_span *span, enum mal_gc_list list);
void mal_gc_list_remove(struct mal_gc_central *central, struct mal_span *span);
/* A swept span with room, or one that is still to be swept; NULL when there is none. */
struct mal_span *mal_gc_list_pop_partial(struct mal_gc_central *central);
struct mal_span *mal_gc_list_pop_unswept(struct mal_gc_central *central);
bool mal_gc_span_is_unswept(const struct mal_span *span);

/* Takes a span that its owner is done with back to the lists, or gives it to the page heap when it
 * is empty and phase == OFF. In a structural section, no lock held. */
void mal_gc_span_put_back(struct mal_span *span);

/* Sweeps a span that was taken off UNSWEPT; still on no list afterwards, free_count is right. In a
 * structural section, no lock held. */
void mal_gc_sweep_span(struct mal_span *span);

/* Such a span is where it belongs now: on a list, in a cache, or given back. */
void mal_gc_sweep_note_done(size_t pages);

/* Records that the object, just allocated and of `bytes`, was sampled. Outside critical sections.
 */
void mal_gc_sample_record(uintptr_t object, uint64_t bytes, uint64_t rate);
/* Objects of the span in the window at `offset` are gone; those the profiler knows it is told of.
 */
void mal_gc_sample_died(struct mal_span *span, uint64_t offset, uint64_t objects);

#endif

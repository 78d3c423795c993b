/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of allocation from the collected heap: requests, windows, pointer bits.
 */
#ifndef MAL_GC_ALLOC_H
#define MAL_GC_ALLOC_H

#include "gc/heap.h"
#include "gc/spans.h"
#include "gc/thread.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the pointers of a new object are known. */
enum mal_gc_layout {
    MAL_GC_LAYOUT_NOSCAN,
    MAL_GC_LAYOUT_CONSERVATIVE, /* every word */
    MAL_GC_LAYOUT_TYPE,         /* the type's, repeated to the end */
    MAL_GC_LAYOUT_FLEX,         /* the type's head, then elements to the end */
};

struct mal_gc_request {
    size_t bytes;
    enum mal_gc_layout layout;
    const struct mallard_gc_type *type; /* TYPE and FLEX */
};

/* Any request; NULL and ENOMEM. Outside critical sections. */
void *mal_gc_alloc_slow(const struct mal_gc_request *request);

/* Of a type, or without pointers if the type has none; the same. */
MAL_SLOW void *mal_gc_alloc_typed(size_t bytes, const struct mallard_gc_type *type,
                                  enum mal_gc_layout layout);

/* Objects without pointers below so many bytes share a block of as many. */
#define MAL_GC_TINY_BYTES 16u
/* 1 .. MAL_GC_TINY_BYTES - 1 bytes; the same. */
void *mal_gc_alloc_tiny(struct mal_gc_thread *thread, size_t bytes);

/* An object that owns its span. `zero` what is not; outside critical sections. NULL: no memory. */
uintptr_t mal_gc_alloc_large(struct mal_gc_thread *thread, const struct mal_gc_request *request);

/* By whoever caches the span: clears the pointer bits of [offset, offset + bytes); gives each of
 * the `slots` of a window, of at most MAL_GC_MASK_BYTES, those of the mask; writes those of a slot
 * of `slot_bytes` that were clear. */
void mal_gc_layout_clear(uint64_t offset, uint64_t bytes);
void mal_gc_layout_fill(uint64_t window_offset, uint64_t slots, uint64_t slot_bytes, uint64_t mask);
void mal_gc_layout_write(uint64_t offset, uint64_t slot_bytes,
                         const struct mal_gc_request *request);
/* Clears those of a span without allocations and marks, in a time that hardly grows with it. */
void mal_gc_layout_clear_span(uint64_t offset, uint64_t bytes);

/* The next window of the bin's span that has a free slot; false when there is none. The owner, in a
 * critical section. */
bool mal_gc_bin_advance(struct mal_gc_cache *cache, struct mal_gc_bin *bin);
/* Gives the bin a span with a free slot. Returns the bytes to be charged, 0 when memory is short.
 * In a critical section. */
uint64_t mal_gc_bin_refill(struct mal_gc_bin *bin, unsigned span_class);

/* Splits `free`, slots of `bytes`, where the next sample falls: returns those before it. */
uint64_t mal_gc_sample_split(struct mal_gc_cache *cache, uint64_t free, uint64_t bytes);
/* Charges one object; whether it is to be sampled, and at what rate. */
bool mal_gc_sample_due(struct mal_gc_cache *cache, uint64_t bytes, uint64_t *ret_rate);

extern struct mal_gc_heap_hooks mal_gc_hooks;

/* Slots that are about to be allocated begin black while phase == MARK: marked first, so that a
 * word of old that leads there finds nothing to mark. Returns those of them whose marks are new and
 * to be counted: where memory is weakly ordered a marker may all the same have been first, and then
 * counts them. In a critical section. */
static inline uint64_t mal_gc_begin_black(struct mal_gc_line *line, uint64_t slots) {
    return mal_gc_phase == MAL_GC_MARK ? slots & ~mal_or_relaxed(&line->mark, slots) : 0;
}

/* Last of all: a marker may look at the slots, and at their span, from here on. Others only clear,
 * and other bits. */
static inline void mal_gc_allocate_slots(struct mal_gc_line *line, uint64_t slots) {
    __atomic_fetch_or(&line->alloc, slots, __ATOMIC_RELEASE);
}

/* Where an object that must have a pointer as its next neighbour ends: one past the end of an
 * object may be all that is left of it. */
static inline size_t mal_gc_with_end(size_t bytes) {
    return bytes + 1;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The page heap: spans in, spans out, under one lock.
 */
#ifndef MAL_PAGEHEAP_PAGEHEAP_H
#define MAL_PAGEHEAP_PAGEHEAP_H

#include "base/attr.h"
#include "pageheap/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In pages. inuse + free + released = mapped. */
struct mal_pageheap_stats {
    uint64_t mapped_pages;
    uint64_t inuse_pages;    /* in spans, or being released at this moment */
    uint64_t free_pages;     /* idle and resident, or at least never given back since touched */
    uint64_t released_pages; /* idle, and the OS has the memory */
    uint64_t spans;
    uint64_t span_bytes;  /* descriptors and states in use */
    uint64_t large_bytes; /* in spans of one large object */
    uint64_t gc_pages;    /* of inuse_pages: in spans of the collected heap */
    uint64_t lost_pages;  /* not mapped any more, nor ever used again; see pageheap/move.c */
};

/* 0 or -ENOMEM. Once, after mal_pagemap_init. */
int mal_pageheap_init(void);

/* Whether a new span may make the heap larger, or must fit between those that are there. */
enum mal_growth { MAL_GROWTH_REFUSED, MAL_GROWTH_ALLOWED };

/* A span for objects of a class; all free bits set. NULL when memory is short. */
struct mal_span *mal_pageheap_new_class_span(uint32_t class, enum mal_growth growth);

/* Gives a class span state bytes of its own, so that one may say that its object is sampled, or a
 * free one that nothing starts there; they stay. The caller owns an object in the span or holds its
 * class's lock: it cannot end meanwhile. False when memory is short. */
bool mal_pageheap_own_states(struct mal_span *span);

/* Whether a heap that holds nothing else could hold an object of `bytes`, aligned to `alignment` (a
 * power of two, at least a page): where not, no room that others make helps. Any thread, no lock.
 */
bool mal_pageheap_could_hold(size_t bytes, size_t alignment);

/* A span of one object of at least `bytes`, aligned to `alignment` (a power of two, at least a
 * page). NULL when memory is short or the sizes overflow. */
struct mal_span *mal_pageheap_new_large_span(size_t bytes, size_t alignment,
                                             enum mal_growth growth);

/* A span for the collected heap, whose pages have no states: nothing of it can be freed as memory
 * from malloc. NULL when memory is short. */
struct mal_span *mal_pageheap_new_gc_span(size_t pages, enum mal_growth growth);

void mal_pageheap_free_span(struct mal_span *span);

/* Resizes a large span in place. False, and nothing changed, where the pages behind are taken. */
bool mal_pageheap_resize_large(struct mal_span *span, size_t bytes);

struct mal_pageheap_stats mal_pageheap_stats(void);

/* Free pages that are to go back to the OS now, in place of what was taken from it; 0 none. Relaxed
 * atomic, set by whoever takes or frees, reset by mal_scavenger_swap. */
extern MAL_HIDDEN uint64_t mal_pageheap_surplus_pages;
/* So many went back for that reason. */
void mal_pageheap_note_swapped(size_t pages);

/* Takes up to `most` resident free pages out of circulation at the top of the heap, for release;
 * then puts them back, released or not. See pageheap/scavenger.c. */
size_t mal_pageheap_borrow(size_t most, size_t *cursor_chunk, size_t *ret_first_page);
enum mal_borrow_result { MAL_BORROW_KEPT, MAL_BORROW_RELEASED };
void mal_pageheap_return(size_t first_page, size_t pages, enum mal_borrow_result result);
size_t mal_pageheap_top_chunk(void);

/* What a span looks like at one moment. */
struct mal_span_view {
    size_t page;
    size_t pages;
    uint32_t class;   /* or MAL_CLASS_LARGE, MAL_CLASS_GC */
    uint32_t objects; /* that fit */
    uint32_t live;    /* handed out: in the program's hands or in caches */
};

/* Copies views of at most `most` spans from *cursor_page on, in the order of addresses, and moves
 * the cursor behind them. Looks at a bounded number of pages under the lock; done when the cursor
 * is at mal_pageheap_end_page(). Returns how many views there are. Any thread. */
size_t mal_pageheap_view(size_t *cursor_page, struct mal_span_view *ret_views, size_t most);
size_t mal_pageheap_end_page(void);

void mal_pageheap_before_fork(void);
void mal_pageheap_after_fork(void);
void mal_pageheap_forget_in_child(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the page heap share.
 *
 *     pageheap.c  the state, the numbers, fork
 *     grow.c      finding a place for pages, making the heap larger
 *     books.c     pages change hands: bitmaps, counters, surplus
 *     take.c      spans come to be
 *     give.c      spans end, or change their size
 *     borrow.c    pages are out of circulation while the OS takes their memory
 *     view.c      looking at spans
 *
 * Functions whose names end in _locked are called with mal_heap.lock held (rank PAGEHEAP).
 */
#ifndef MAL_PAGEHEAP_HEAP_PRIVATE_H
#define MAL_PAGEHEAP_HEAP_PRIVATE_H

#include "base/attr.h"
#include "meta/memory.h"
#include "os/lock.h"
#include "pageheap/pageheap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_HEAP_BORROWERS 16u /* at once, whose runs a forked child gets back */

struct mal_heap_run {
    size_t first, pages; /* 0 pages: none */
};

/* All of it under `lock`. */
struct mal_heap {
    struct mal_lock lock;
    size_t end_page;   /* where the next growth starts */
    size_t fresh_page; /* no page from here on was ever taken */
    struct mal_pageheap_stats stats;
    uint64_t peak_pages;     /* most that were ever in use */
    uint64_t licensed_pages; /* that may be resident before others are asked to make room */
    uint64_t swapped_pages;  /* returned as surplus and not used again yet */
    uint64_t conceded_pages; /* more that may lie free: returning it again and again costs more */
    struct mal_heap_run borrowed[MAL_HEAP_BORROWERS];
    struct mal_pool spans;
};
extern MAL_HIDDEN struct mal_heap mal_heap;

/* ---- grow.c ---- */

/* The first page of a free run, in the heap as it is or, where that is allowed, larger. "As it is"
 * is its memory as well as its pages: see grow.c. MAL_NO_PAGE: none. */
size_t mal_heap_find_locked(size_t pages, enum mal_growth growth);

/* ---- books.c ---- */

/* Pages of the heap that are there: in use less holes, or idle and not released. */
uint64_t mal_heap_resident_locked(void);

/* Idle pages go to a user, and are his; returns how many of them had no memory. */
size_t mal_heap_use_pages_locked(size_t first, size_t pages);

/* The same, for the time of a release: nobody uses them. */
void mal_heap_borrow_pages_locked(size_t first, size_t pages);

/* Pages become idle; what of them is not resident is said afterwards. */
void mal_heap_give_pages_locked(size_t first, size_t pages);
void mal_heap_mark_released_locked(size_t first, size_t pages);

/* Pages that are nobody's from now on stay marked as used. */
void mal_heap_lose_pages_locked(size_t pages);

/* A large object has ended. */
void mal_heap_note_large_end_locked(void);

/* ---- take.c ---- */

size_t mal_heap_pages_for(size_t bytes);
/* Whether so many pages, so aligned, could lie in the window at all. */
bool mal_heap_fits_window(size_t pages, size_t align_pages);

/* What the page map says of pages that have no state bytes. */
void mal_heap_set_class_locked(size_t first, size_t pages, uint32_t class);

#endif

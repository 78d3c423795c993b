/* SPDX-License-Identifier: Apache-2.0
 *
 * The page heap.
 *
 * Which pages are free is in a radix tree (pageheap/pages.c); here is what belongs to no path
 * alone: the state that the parts share (heap_private.h says which part does what), its numbers,
 * and what a fork does to it.
 *
 * SYNCHRONIZATION
 *   1. `mal_heap.lock` (rank PAGEHEAP) guards everything in `mal_heap`, the tree and the page map's
 *      entries. It is held for bit flips and table writes only, never around a release of the
 *      heap's memory.
 *   2. Pages that are being released are marked used and belong to the releasing thread, so no
 *      other thread can be given them meanwhile (borrow.c).
 *
 * Must never touch the inside of a span: a free page stays as the OS has it.
 */
#include "pageheap/pageheap.h"

#include "meta/pagemap.h"
#include "pageheap/heap_private.h"
#include "pageheap/pages.h"
#include "pageheap/states.h"

struct mal_heap mal_heap = {
    .lock = MAL_LOCK_INIT(MAL_RANK_PAGEHEAP),
    .spans = MAL_POOL_INIT(sizeof(struct mal_span), MAL_META_SPAN),
};

int mal_pageheap_init(void) {
    int error = mal_states_init();
    return error ? error : mal_pages_init(mal_pagemap.window_bytes >> MAL_PAGE_SHIFT);
}

struct mal_pageheap_stats mal_pageheap_stats(void) {
    mal_lock(&mal_heap.lock);
    struct mal_pageheap_stats stats = mal_heap.stats;
    mal_unlock(&mal_heap.lock);
    return stats;
}

size_t mal_pageheap_top_chunk(void) {
    mal_lock(&mal_heap.lock);
    size_t chunks = mal_pages_chunks();
    mal_unlock(&mal_heap.lock);
    return chunks;
}

size_t mal_pageheap_end_page(void) {
    mal_lock(&mal_heap.lock);
    size_t end = mal_heap.end_page;
    mal_unlock(&mal_heap.lock);
    return end;
}

void mal_pageheap_before_fork(void) {
    mal_lock(&mal_heap.lock);
}

void mal_pageheap_after_fork(void) {
    mal_unlock(&mal_heap.lock);
}

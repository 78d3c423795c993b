/* SPDX-License-Identifier: Apache-2.0
 *
 * The page heap: pages are out of circulation while the OS takes their memory.
 *
 * Path down: the highest resident free pages are taken as if they were used, so that nobody is
 * given them while no lock is held; then they come back, released or as they were. When a chunk has
 * no resident page left, the page of pointers to its spans goes as well.
 *
 * SYNCHRONIZATION: under the page heap's lock. Runs are noted, because a forked child has lost the
 * threads that had borrowed them; `borrowed_here` belongs to its thread.
 *
 * Must never count a borrowed page as more use than there ever was.
 */
#include "base/attr.h"
#include "base/bits.h"
#include "meta/pagemap.h"
#include "os/vm.h"
#include "pageheap/chunk.h"
#include "pageheap/heap_private.h"
#include "pageheap/pages.h"

/* Only whole OS pages can be given back, and they may be larger than ours. */
static uint32_t pages_of_os_page(void) {
    return (uint32_t)mal_max(mal_vm_page_bytes() / MAL_PAGE_BYTES, 1);
}

static MAL_THREAD size_t borrowed_here; /* the first page that this thread has borrowed; 0: none */

/* Page 0 is never at the top of a heap with others, and if it were, a child would lose it. */
static void note_borrowed_locked(size_t first, size_t pages) {
    borrowed_here = first;
    for (unsigned i = 0; i < MAL_HEAP_BORROWERS; i++)
        if (mal_heap.borrowed[i].pages == 0) {
            mal_heap.borrowed[i] = (struct mal_heap_run){first, pages};
            return;
        }
}

static void forget_borrowed_locked(size_t first) {
    borrowed_here = 0;
    for (unsigned i = 0; i < MAL_HEAP_BORROWERS; i++)
        if (mal_heap.borrowed[i].pages > 0 && mal_heap.borrowed[i].first == first)
            mal_heap.borrowed[i].pages = 0;
}

size_t mal_pageheap_borrow(size_t most, size_t *cursor_chunk, size_t *ret_first_page) {
    mal_lock(&mal_heap.lock);
    size_t pages = mal_pages_find_resident(most, pages_of_os_page(), cursor_chunk, ret_first_page);
    if (pages > 0) {
        mal_heap_borrow_pages_locked(*ret_first_page, pages);
        note_borrowed_locked(*ret_first_page, pages);
    }
    mal_unlock(&mal_heap.lock);
    return pages;
}

/* A chunk that the OS has altogether leaves an OS page of pointers to spans that are no more. One
 * call a chunk, when its last page went. */
static void forget_spans_locked(size_t first_page, size_t pages) {
    size_t bytes = MAL_CHUNK_PAGES * sizeof *mal_pagemap.span;
    size_t last = (first_page + pages - 1) / MAL_CHUNK_PAGES;
    for (size_t chunk = first_page / MAL_CHUNK_PAGES; chunk <= last; chunk++)
        if (bytes % mal_vm_page_bytes() == 0 && mal_pages_chunk_is_released(chunk))
            mal_vm_release(&mal_pagemap.span[chunk * MAL_CHUNK_PAGES], bytes);
}

void mal_pageheap_return(size_t first_page, size_t pages, enum mal_borrow_result result) {
    mal_lock(&mal_heap.lock);
    forget_borrowed_locked(first_page);
    mal_heap_give_pages_locked(first_page, pages);
    if (result == MAL_BORROW_RELEASED) {
        mal_heap_mark_released_locked(first_page, pages);
        forget_spans_locked(first_page, pages);
    }
    mal_unlock(&mal_heap.lock);
}

/* What others had borrowed is free again: they do not exist here. The only thread may have been
 * interrupted while it borrowed, by a signal handler that forked. */
void mal_pageheap_forget_in_child(void) {
    mal_lock(&mal_heap.lock);
    for (unsigned i = 0; i < MAL_HEAP_BORROWERS; i++) {
        struct mal_heap_run *run = &mal_heap.borrowed[i];
        if (run->pages == 0 || run->first == borrowed_here)
            continue;
        mal_heap_give_pages_locked(run->first, run->pages);
        run->pages = 0;
    }
    mal_unlock(&mal_heap.lock);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The page heap: where a span finds its pages, and how the heap becomes larger.
 *
 * Path up: the lowest run that fits; when there is none and the caller may, whole chunks more at
 * the heap's end, and the same again. Path down: none; the heap never becomes smaller, only its
 * memory goes back.
 *
 * SYNCHRONIZATION: under the page heap's lock throughout, the system call too: who waits for it
 * wants what it brings.
 *
 * Must never leave a page known that is not mapped, nor one mapped that is not known.
 */
#include "pageheap/heap_private.h"

#include "base/bits.h"
#include "meta/pagemap.h"
#include "os/vm.h"
#include "pageheap/chunk.h"
#include "pageheap/pages.h"

#include <errno.h>

#define GROW_ATTEMPTS 64u
#define SKIP_PAGES ((64u << 20) / MAL_PAGE_BYTES) /* how far to jump over a foreign mapping */

/* Maps `pages` at the heap's end. When something else lies there, skips over it; when there is no
 * memory, there is none behind it either. */
static size_t map_at_end(size_t pages) {
    size_t window_pages = mal_pagemap.window_bytes >> MAL_PAGE_SHIFT;
    int error = -EEXIST;
    for (unsigned attempt = 0; error == -EEXIST && attempt < GROW_ATTEMPTS; attempt++) {
        if (pages > window_pages || mal_heap.end_page > window_pages - pages)
            return MAL_NO_PAGE;
        error = mal_vm_map_at(mal_pagemap_address(mal_heap.end_page), pages << MAL_PAGE_SHIFT);
        if (error == -EEXIST)
            mal_heap.end_page += SKIP_PAGES;
    }
    return error ? MAL_NO_PAGE : mal_heap.end_page;
}

/* Tables for pages that are there: what could not be mapped costs none. */
static bool describe_locked(size_t first, size_t pages) {
    return mal_pagemap_extend(first + pages) == 0 && mal_pages_add(first, pages) == 0;
}

static bool grow_locked(size_t pages) {
    size_t end_before = mal_heap.end_page;
    pages = mal_round_up(pages, MAL_CHUNK_PAGES);
    size_t first = map_at_end(pages);
    if (first == MAL_NO_PAGE) {
        mal_heap.end_page = end_before;
        return false;
    }
    if (!describe_locked(first, pages)) {
        mal_vm_unmap(mal_pagemap_address(first), pages << MAL_PAGE_SHIFT);
        mal_heap.end_page = end_before;
        return false;
    }
    mal_heap.end_page = first + pages;
    mal_heap.stats.mapped_pages += pages;
    mal_heap.stats.released_pages += pages;
    return true;
}

size_t mal_heap_find_locked(size_t pages, enum mal_growth growth) {
    size_t page = mal_pages_find(pages);
    if (page == MAL_NO_PAGE && growth == MAL_GROWTH_ALLOWED && grow_locked(pages))
        page = mal_pages_find(pages);
    return page;
}

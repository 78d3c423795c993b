/* SPDX-License-Identifier: Apache-2.0
 *
 * The page heap: where a span finds its pages, and how the heap becomes larger.
 *
 * Path up: the lowest run that fits, or if some of its memory would have to come from the OS while
 * that much lies idle, the lowest near by that has all of it; when there is none and the caller
 * may, whole chunks more at the heap's end, and the same again. Path down: none; the heap never
 * becomes smaller, only its memory goes back.
 *
 * What others keep for themselves (caches, spans without an object, pages inside spans) costs
 * memory only when the heap takes more from the OS than it ever had. So that much is licensed:
 *     a span takes memory from the OS => resident <= licensed, or growth was allowed
 *     licensed <= mapped
 * Whoever may not let the heap grow finds nothing beyond, and has others make room first
 * (central/room.c). A license is rounded up to whole chunks and never ends; it also becomes larger
 * by a sixty-fourth whenever it was asked for, so a heap that swings about its license asks less
 * and less often. What maps pages asks for those: were it to add its share as well, a large heap
 * that grows by chunks would license many times itself, and never make room again.
 *
 * What becomes resident in place (holes that are filled, a large span that grows) asks nobody; it
 * is seen when the next span is taken.
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
#define LICENSE_SHARE 64u
#define LICENSE_PAGES ((512u << 10) / MAL_PAGE_BYTES)
#define SKIP_PAGES ((64u << 20) / MAL_PAGE_BYTES) /* how far to jump over a foreign mapping */

enum shortage { SHORT_OF_PAGES, SHORT_OF_LICENSE };

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

/* The same run, or one elsewhere that has all its memory. */
static size_t with_memory_locked(size_t page, size_t pages) {
    if (mal_heap.stats.free_pages < pages)
        return page;
    size_t other = mal_pages_find_with_memory(pages, page / MAL_CHUNK_PAGES);
    return other == MAL_NO_PAGE ? page : other;
}

/* Room was made, or not: the heap may have what it needs. Where it mapped pages it may use them, so
 * that it is not asked for twice; where it is its license that was asked for, it may have a little
 * more each time, so that one whose use swings makes room a bounded number of times. More than is
 * mapped cannot be resident, nor licensed. */
static void license_locked(uint64_t needed_pages, enum shortage shortage) {
    uint64_t licensed = mal_heap.licensed_pages;
    if (shortage == SHORT_OF_LICENSE)
        licensed += mal_max(licensed / LICENSE_SHARE, LICENSE_PAGES);
    else
        needed_pages += MAL_CHUNK_PAGES;
    licensed = mal_max(licensed, mal_round_up(needed_pages, MAL_CHUNK_PAGES));
    mal_heap.licensed_pages = mal_min(licensed, mal_heap.stats.mapped_pages);
}

static size_t within_license_locked(size_t page, size_t pages, enum mal_growth growth,
                                    enum shortage shortage) {
    size_t released = mal_pages_released_in(page, pages);
    if (released == 0)
        return page;
    page = with_memory_locked(page, pages);
    uint64_t needed = mal_heap_resident_locked() + mal_pages_released_in(page, pages);
    if (needed > mal_heap.licensed_pages && growth == MAL_GROWTH_REFUSED)
        return MAL_NO_PAGE;
    if (growth == MAL_GROWTH_ALLOWED)
        license_locked(needed, shortage);
    return page;
}

size_t mal_heap_find_locked(size_t pages, enum mal_growth growth) {
    enum shortage shortage = SHORT_OF_LICENSE;
    size_t page = mal_pages_find(pages);
    if (page == MAL_NO_PAGE && growth == MAL_GROWTH_ALLOWED && grow_locked(pages)) {
        page = mal_pages_find(pages);
        shortage = SHORT_OF_PAGES;
    }
    return page == MAL_NO_PAGE ? page : within_license_locked(page, pages, growth, shortage);
}

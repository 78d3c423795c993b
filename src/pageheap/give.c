/* SPDX-License-Identifier: Apache-2.0
 *
 * The page heap: spans end, or change their size.
 *
 * Path down: clear the page map, give the pages back, say which of them the OS has already (holes,
 * what was moved away), recycle the descriptor; the scavenger returns their memory later. A large
 * span that shrinks gives the pages at its end in the same way, one that grows takes those behind.
 *
 * SYNCHRONIZATION: under the page heap's lock; the span is the caller's alone. A place that was
 * moved from or to (pageheap/move.c) is mapped anew before the lock is taken.
 *
 * Must never give a page that the page map still calls somebody's.
 */
#include "base/bits.h"
#include "base/check.h"
#include "meta/pagemap.h"
#include "os/vm.h"
#include "pageheap/heap_private.h"
#include "pageheap/move.h"
#include "pageheap/pages.h"
#include "pageheap/states.h"

static void free_descriptor_locked(struct mal_span *span) {
    mal_heap.stats.span_bytes -= sizeof *span + mal_states_own_bytes(span);
    mal_states_drop_locked(span);
    mal_pool_give(&mal_heap.spans, span);
}

/* Pages of a span with holes that lie in holes altogether: the OS has them already. */
static void mark_holes_locked(const struct mal_span *span, size_t first) {
    unsigned units = MAL_PAGE_BYTES / (unsigned)mal_vm_page_bytes();
    uint64_t all = mal_mask(0, units);
    for (size_t page = 0; page < span->pages; page++) {
        size_t unit = page * units;
        if ((span->holes[unit / 64] >> (unit % 64) & all) != all)
            continue;
        mal_heap_mark_released_locked(first + page, 1);
    }
}

static void retire_pages_locked(const struct mal_span *span, size_t first) {
    if (span->state == MAL_SPAN_LARGE && span->flags & MAL_SPAN_LOST) {
        mal_heap_lose_pages_locked(span->pages);
        return;
    }
    mal_heap_give_pages_locked(first, span->pages);
    if (span->flags & MAL_SPAN_HOLED)
        mark_holes_locked(span, first);
    if (span->flags & MAL_SPAN_GONE)
        mal_heap_mark_released_locked(first, span->pages);
}

void mal_pageheap_free_span(struct mal_span *span) {
    size_t first = mal_pagemap_page(span->base);
    mal_move_end(span);
    mal_lock(&mal_heap.lock);
    MAL_CHECK(mal_pagemap.span[first] == span, "a span was freed that the page map does not know");
    mal_heap_set_class_locked(first, span->pages, MAL_CLASS_NONE);
    mal_store_relaxed(&mal_pagemap.span[first], NULL);
    retire_pages_locked(span, first);
    mal_heap.stats.spans--;
    if (span->state == MAL_SPAN_LARGE) {
        mal_heap.stats.large_bytes -= mal_span_bytes(span);
        mal_heap_note_large_end_locked();
    }
    if (span->state == MAL_SPAN_GC)
        mal_heap.stats.gc_pages -= span->pages;
    free_descriptor_locked(span);
    mal_unlock(&mal_heap.lock);
}

static void shrink_locked(struct mal_span *span, size_t pages, bool cut_is_released) {
    size_t first_cut = mal_pagemap_page(span->base) + pages;
    size_t cut = span->pages - pages;
    mal_heap_set_class_locked(first_cut, cut, MAL_CLASS_NONE);
    mal_heap_give_pages_locked(first_cut, cut);
    if (cut_is_released)
        mal_heap_mark_released_locked(first_cut, cut);
    mal_heap.stats.large_bytes -= (uint64_t)cut << MAL_PAGE_SHIFT;
    span->pages = (uint32_t)pages;
}

static bool extend_locked(struct mal_span *span, size_t pages) {
    size_t first_new = mal_pagemap_page(span->base) + span->pages;
    size_t more = pages - span->pages;
    if (span->flags & MAL_SPAN_MOVED || mal_pages_free_behind(first_new, more) < more)
        return false;
    mal_heap_use_pages_locked(first_new, more);
    mal_heap.fresh_page = mal_max(mal_heap.fresh_page, first_new + more);
    mal_heap_set_class_locked(first_new, more, MAL_CLASS_INSIDE);
    mal_heap.stats.large_bytes += (uint64_t)more << MAL_PAGE_SHIFT;
    span->flags &= (uint8_t)~MAL_SPAN_ZEROED;
    span->pages = (uint32_t)pages;
    return true;
}

bool mal_pageheap_resize_large(struct mal_span *span, size_t bytes) {
    size_t pages = mal_heap_pages_for(bytes);
    bool done = true;
    if (!mal_heap_fits_window(pages, 1))
        return false;
    bool renewed = pages < span->pages && mal_move_cut(span, pages);
    mal_lock(&mal_heap.lock);
    if (pages < span->pages)
        shrink_locked(span, pages, renewed);
    else if (pages > span->pages)
        done = extend_locked(span, pages);
    mal_unlock(&mal_heap.lock);
    return done;
}

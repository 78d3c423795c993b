/* SPDX-License-Identifier: Apache-2.0
 *
 * The page heap: looking at spans.
 *
 * For maps of the heap and for the collector's roots: spans in the order of their addresses, a
 * bounded number of pages under one hold of the lock, so that nobody waits long for a look.
 *
 * SYNCHRONIZATION: the page heap's lock keeps spans from ending; counts inside them are a relaxed
 * snapshot.
 */
#include "base/atomic.h"
#include "base/bits.h"
#include "meta/pagemap.h"
#include "pageheap/heap_private.h"

#define VIEW_PAGES 8192u /* that a look at spans may take the lock for at once */

static struct mal_span_view view_locked(const struct mal_span *span, size_t page) {
    struct mal_span_view view = {
        .page = page, .pages = span->pages, .class = span->class, .objects = 1, .live = 1};
    if (span->state == MAL_SPAN_CENTRAL) {
        view.objects = span->object_count;
        view.live = span->object_count - mal_load_relaxed(&span->free_count);
    } else if (span->state == MAL_SPAN_GC) {
        view.objects = span->object_count;
        view.live = span->object_count -
                    (uint32_t)mal_min(mal_load_relaxed(&span->gc.free_count), span->object_count);
    }
    return view;
}

/* The span that begins at a page, NULL when none does. */
static const struct mal_span *span_beginning_at(size_t page) {
    uint32_t class = mal_entry_class(mal_load_relaxed(&mal_pagemap.entry[page]));
    if (class == MAL_CLASS_NONE || class == MAL_CLASS_INSIDE)
        return NULL;
    const struct mal_span *span = mal_pagemap.span[page];
    return span->base == mal_pagemap_address(page) ? span : NULL;
}

size_t mal_pageheap_view(size_t *cursor_page, struct mal_span_view *ret_views, size_t most) {
    size_t count = 0;
    size_t page = *cursor_page;
    mal_lock(&mal_heap.lock);
    size_t end = mal_min(mal_heap.end_page, page + VIEW_PAGES);
    while (page < end && count < most) {
        const struct mal_span *span = span_beginning_at(page);
        if (span)
            ret_views[count++] = view_locked(span, page);
        page += span ? span->pages : 1;
    }
    mal_unlock(&mal_heap.lock);
    *cursor_page = page;
    return count;
}

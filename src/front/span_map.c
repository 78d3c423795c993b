/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of spans, drawn into the box when somebody asks: where they lie, how full they are, and
 * for each one stack that allocated a sampled object which still lives there. So a reader can tell
 * which call sites keep spans from being returned.
 *
 * The page heap is looked at in small steps, so the map is no instant's picture: a span may appear
 * that has just gone. What is listed is in the order of addresses and does not overlap. A heap of
 * more spans than the section holds is listed by every stride'th of them.
 *
 * SYNCHRONIZATION  Background thread only. The page heap's lock is held for a bounded number of
 * pages at a time; live samples are looked up without one.
 */
#include "front/span_map.h"

#include "base/bits.h"
#include "box/writer.h"
#include "meta/pagemap.h"
#include "pageheap/pageheap.h"
#include "sample/live.h"

#define VIEWS_AT_ONCE 64u

static struct mal_box_span entry_of(const struct mal_span_view *view) {
    return (struct mal_box_span){
        .page = (uint32_t)view->page,
        .pages = (uint32_t)view->pages,
        .stack = MAL_BOX_NONE,
        .class = view->class >= MAL_CLASS_COUNT ? 0 : (uint16_t)view->class,
        .live = (uint16_t)view->live,
        .objects = (uint16_t)view->objects,
    };
}

/* Returns how many spans there were. */
static uint64_t put_spans(uint32_t stride) {
    struct mal_span_view views[VIEWS_AT_ONCE];
    uint64_t seen = 0;
    size_t page = 0;
    for (size_t end = mal_pageheap_end_page(); page < end;) {
        size_t count = mal_pageheap_view(&page, views, VIEWS_AT_ONCE);
        for (size_t i = 0; i < count; i++) {
            struct mal_box_span entry = entry_of(&views[i]);
            if (seen++ % stride == 0)
                mal_writer_spans_put(&entry);
        }
    }
    return seen;
}

/* The object may be freed meanwhile, and its span go. */
static void put_stack(uintptr_t address, uint32_t bucket) {
    if (bucket == MAL_LIVE_OWN || !mal_pagemap_span_of((const void *)address))
        return;
    struct mal_box_span *entry = mal_writer_spans_find(mal_pagemap_page((const void *)address));
    if (entry)
        entry->stack = mal_writer_bucket(bucket)->stack;
}

uint32_t mal_span_map_draw(void) {
    uint64_t expected = mal_pageheap_stats().spans;
    uint32_t stride = 1 + (uint32_t)(expected / MAL_BOX_SPANS_MAX);
    mal_writer_spans_begin((uintptr_t)mal_pagemap_address(0), MAL_PAGE_BYTES);
    uint64_t total = put_spans(stride);
    mal_live_each(put_stack);
    return mal_writer_spans_end(total, stride);
}

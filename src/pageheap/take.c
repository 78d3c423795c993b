/* SPDX-License-Identifier: Apache-2.0
 *
 * The page heap: spans come to be.
 *
 * Path up: find pages (grow.c), use them (books.c), make a descriptor, enter both in the page map:
 * a span of a class with its state bytes, a large object with nothing but what it is, a span of the
 * collected heap as nobody's to free.
 *
 * SYNCHRONIZATION: under the page heap's lock; a new span is the caller's alone until he lists it
 * or hands out what is in it.
 *
 * Must never leave a page in use without an entry that says whose it is.
 */
#include "base/bits.h"
#include "meta/pagemap.h"
#include "os/vm.h"
#include "pageheap/heap_private.h"
#include "pageheap/pages.h"
#include "pageheap/states.h"

#include <string.h>

static struct mal_span *new_descriptor_locked(void) {
    struct mal_span *span = mal_pool_take(&mal_heap.spans);
    if (!span)
        return NULL;
    memset(span, 0, sizeof *span);
    mal_heap.stats.span_bytes += sizeof *span;
    return span;
}

/* Released pages are zero, or were never touched at all. */
static bool is_zeroed_locked(size_t first, size_t pages, size_t released) {
    return released == pages && (mal_vm_released_is_zero() || first >= mal_heap.fresh_page);
}

static void take_pages_locked(struct mal_span *span, size_t first, size_t pages) {
    size_t released = mal_heap_use_pages_locked(first, pages);
    mal_heap.stats.spans++;
    span->base = mal_pagemap_address(first);
    span->pages = (uint32_t)pages;
    span->flags = is_zeroed_locked(first, pages, released) ? MAL_SPAN_ZEROED : 0;
    if (2 * released >= pages)
        span->flags |= MAL_SPAN_FRESH;
    mal_heap.fresh_page = mal_max(mal_heap.fresh_page, first + pages);
}

void mal_heap_set_class_locked(size_t first, size_t pages, uint32_t class) {
    uint64_t entry = mal_entry_without_states(class);
    for (size_t i = 0; i < pages; i++)
        mal_store_relaxed(&mal_pagemap.entry[first + i], entry);
}

static void enter_every_page_locked(struct mal_span *span) {
    size_t first = mal_pagemap_page(span->base);
    for (size_t i = 0; i < span->pages; i++)
        mal_store_relaxed(&mal_pagemap.span[first + i], span);
}

/* Spans of a class: every page knows the span and where its objects begin. */
static void enter_class_locked(struct mal_span *span) {
    enter_every_page_locked(span);
    mal_states_share_locked(span);
}

/* Large objects: the first page carries it, the others say INSIDE. */
static void enter_large_locked(struct mal_span *span) {
    size_t first = mal_pagemap_page(span->base);
    mal_store_relaxed(&mal_pagemap.span[first], span);
    mal_heap_set_class_locked(first, 1, MAL_CLASS_LARGE);
    mal_heap_set_class_locked(first + 1, span->pages - 1, MAL_CLASS_INSIDE);
}

static void fill_free_bits(struct mal_span *span) {
    unsigned whole = span->object_count / 64;
    for (unsigned word = 0; word < whole; word++)
        span->free_bits[word] = ~0ull;
    if (span->object_count % 64)
        span->free_bits[whole] = mal_mask(0, span->object_count % 64);
    span->free_count = span->object_count;
}

static void set_up_class_span_locked(struct mal_span *span, uint32_t class) {
    span->class = (uint8_t) class;
    span->state = MAL_SPAN_CENTRAL;
    span->object_count = mal_class[class].span_objects;
    fill_free_bits(span);
    enter_class_locked(span);
}

struct mal_span *mal_pageheap_new_class_span(uint32_t class, enum mal_growth growth) {
    const struct mal_class_info *info = &mal_class[class];
    mal_lock(&mal_heap.lock);
    struct mal_span *span = NULL;
    size_t page = mal_heap_find_locked(info->span_pages, growth);
    if (page != MAL_NO_PAGE)
        span = new_descriptor_locked();
    if (span) {
        take_pages_locked(span, page, info->span_pages);
        set_up_class_span_locked(span, class);
    }
    mal_unlock(&mal_heap.lock);
    return span;
}

bool mal_pageheap_own_states(struct mal_span *span) {
    if (mal_load_acquire(&span->state_units) > 0)
        return true;
    mal_lock(&mal_heap.lock);
    size_t before = mal_states_own_bytes(span);
    bool owned = mal_states_own_locked(span);
    mal_heap.stats.span_bytes += mal_states_own_bytes(span) - before;
    mal_unlock(&mal_heap.lock);
    return owned;
}

bool mal_heap_fits_window(size_t pages, size_t align_pages) {
    size_t window_pages = mal_pagemap.window_bytes >> MAL_PAGE_SHIFT;
    return pages <= window_pages && align_pages <= window_pages - pages && pages <= UINT32_MAX;
}

size_t mal_heap_pages_for(size_t bytes) {
    return (bytes >> MAL_PAGE_SHIFT) + (bytes % MAL_PAGE_BYTES != 0);
}

static struct mal_span *new_large_locked(size_t pages, size_t align_pages, enum mal_growth growth) {
    size_t page = mal_heap_find_locked(pages + align_pages - 1, growth);
    if (page == MAL_NO_PAGE)
        return NULL;
    /* The base of the window is aligned beyond any alignment worth serving. */
    page = mal_round_up(page, align_pages);
    struct mal_span *span = new_descriptor_locked();
    if (!span)
        return NULL;
    take_pages_locked(span, page, pages);
    span->class = MAL_CLASS_LARGE;
    span->state = MAL_SPAN_LARGE;
    enter_large_locked(span);
    mal_heap.stats.large_bytes += (uint64_t)pages << MAL_PAGE_SHIFT;
    return span;
}

bool mal_pageheap_could_hold(size_t bytes, size_t alignment) {
    return mal_heap_fits_window(mal_heap_pages_for(bytes), alignment >> MAL_PAGE_SHIFT) &&
           (mal_pagemap.base & (alignment - 1)) == 0;
}

struct mal_span *mal_pageheap_new_large_span(size_t bytes, size_t alignment,
                                             enum mal_growth growth) {
    size_t pages = mal_max(mal_heap_pages_for(bytes), 1);
    if (!mal_pageheap_could_hold(bytes, alignment))
        return NULL;
    mal_lock(&mal_heap.lock);
    struct mal_span *span = new_large_locked(pages, alignment >> MAL_PAGE_SHIFT, growth);
    mal_unlock(&mal_heap.lock);
    return span;
}

static struct mal_span *new_gc_locked(size_t pages, enum mal_growth growth) {
    size_t page = mal_heap_find_locked(pages, growth);
    struct mal_span *span = page == MAL_NO_PAGE ? NULL : new_descriptor_locked();
    if (!span)
        return NULL;
    take_pages_locked(span, page, pages);
    span->class = MAL_CLASS_GC;
    span->state = MAL_SPAN_GC;
    enter_every_page_locked(span);
    mal_heap_set_class_locked(page, pages, MAL_CLASS_GC);
    mal_heap.stats.gc_pages += pages;
    return span;
}

struct mal_span *mal_pageheap_new_gc_span(size_t pages, enum mal_growth growth) {
    if (!mal_heap_fits_window(pages, 1))
        return NULL;
    mal_lock(&mal_heap.lock);
    struct mal_span *span = new_gc_locked(pages, growth);
    mal_unlock(&mal_heap.lock);
    return span;
}

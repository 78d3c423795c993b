/* SPDX-License-Identifier: Apache-2.0
 *
 * The page heap.
 *
 * Holds which pages are free (pageheap/pages.c), the span descriptors, and the counters of pages.
 * Path up: find the lowest run that fits; when there is none, grow the heap by whole chunks at its
 * end and look again; take the pages, make a descriptor, enter it in the page map. Path down: clear
 * the page map, give the pages back, recycle the descriptor; the scavenger returns their memory
 * later.
 *
 * SYNCHRONIZATION
 *   1. `heap.lock` (rank PAGEHEAP) guards everything in `heap`, the tree and the page map's
 *      entries. It is held for bit flips and table writes only, never around a release of the
 * heap's memory.
 *   2. Pages that are being released are marked used and belong to the releasing thread, so no
 *      other thread can be given them meanwhile.
 *
 * Must never touch the inside of a span: a free page stays as the OS has it.
 */
#include "pageheap/pageheap.h"

#include "base/bits.h"
#include "base/check.h"
#include "meta/memory.h"
#include "meta/pagemap.h"
#include "os/lock.h"
#include "os/vm.h"
#include "pageheap/chunk.h"
#include "pageheap/limit.h"
#include "pageheap/move.h"
#include "pageheap/pages.h"
#include "pageheap/states.h"

#include <errno.h>
#include <string.h>

#define GROW_ATTEMPTS 64u
#define SPARE_SHARE 16u /* of the most ever in use may lie free and resident */
#define SPARE_PAGES ((1u << 20) / MAL_PAGE_BYTES)
#define FREED_SHARE                                                                                \
    16u /* of what is in use may lie free and resident when a large span is freed                  \
         */
#define FREED_PAGES ((2u << 20) / MAL_PAGE_BYTES)
#define CONCEDE_SHARE 2u
#define VIEW_PAGES 8192u /* that a look at spans may take the lock for at once */
#define SKIP_PAGES ((64u << 20) / MAL_PAGE_BYTES) /* how far to jump over a foreign mapping */

#define BORROWERS 16u /* at once, whose runs a forked child gets back */

struct run {
    size_t first, pages; /* 0 pages: none */
};

static struct {
    struct mal_lock lock;
    size_t end_page;   /* where the next growth starts */
    size_t fresh_page; /* no page from here on was ever taken */
    struct mal_pageheap_stats stats;
    uint64_t peak_pages;     /* most that were ever in use */
    uint64_t swapped_pages;  /* returned as surplus and not used again yet */
    uint64_t conceded_pages; /* more that may lie free: returning it again and again costs more */
    struct run borrowed[BORROWERS];
    struct mal_pool spans;
} heap = {
    .lock = MAL_LOCK_INIT(MAL_RANK_PAGEHEAP),
    .spans = MAL_POOL_INIT(sizeof(struct mal_span), MAL_META_SPAN),
};

uint64_t mal_pageheap_surplus_pages;

int mal_pageheap_init(void) {
    int error = mal_states_init();
    return error ? error : mal_pages_init(mal_pagemap.window_bytes >> MAL_PAGE_SHIFT);
}

/* Maps `pages` at the heap's end. When something else lies there, skips over it; when there is no
 * memory, there is none behind it either. */
static size_t map_at_end(size_t pages) {
    size_t window_pages = mal_pagemap.window_bytes >> MAL_PAGE_SHIFT;
    int error = -EEXIST;
    for (unsigned attempt = 0; error == -EEXIST && attempt < GROW_ATTEMPTS; attempt++) {
        if (pages > window_pages || heap.end_page > window_pages - pages)
            return MAL_NO_PAGE;
        error = mal_vm_map_at(mal_pagemap_address(heap.end_page), pages << MAL_PAGE_SHIFT);
        if (error == -EEXIST)
            heap.end_page += SKIP_PAGES;
    }
    return error ? MAL_NO_PAGE : heap.end_page;
}

/* Tables for pages that are there: what could not be mapped costs none. */
static bool describe_locked(size_t first, size_t pages) {
    return mal_pagemap_extend(first + pages) == 0 && mal_pages_add(first, pages) == 0;
}

static bool grow_locked(size_t pages) {
    size_t end_before = heap.end_page;
    pages = mal_round_up(pages, MAL_CHUNK_PAGES);
    size_t first = map_at_end(pages);
    if (first == MAL_NO_PAGE) {
        heap.end_page = end_before;
        return false;
    }
    if (!describe_locked(first, pages)) {
        mal_vm_unmap(mal_pagemap_address(first), pages << MAL_PAGE_SHIFT);
        heap.end_page = end_before;
        return false;
    }
    heap.end_page = first + pages;
    heap.stats.mapped_pages += pages;
    heap.stats.released_pages += pages;
    return true;
}

static size_t find_locked(size_t pages, enum mal_growth growth) {
    size_t page = mal_pages_find(pages);
    if (page == MAL_NO_PAGE && growth == MAL_GROWTH_ALLOWED && grow_locked(pages))
        page = mal_pages_find(pages);
    return page;
}

static struct mal_span *new_descriptor_locked(void) {
    struct mal_span *span = mal_pool_take(&heap.spans);
    if (!span)
        return NULL;
    memset(span, 0, sizeof *span);
    heap.stats.span_bytes += sizeof *span;
    return span;
}

static void free_descriptor_locked(struct mal_span *span) {
    heap.stats.span_bytes -= sizeof *span + mal_states_own_bytes(span);
    mal_states_drop_locked(span);
    mal_pool_give(&heap.spans, span);
}

static void tell_limit_locked(void) {
    mal_limit_note_pages(heap.stats.inuse_pages + heap.stats.free_pages);
}

/* Counts a change of `pages` pages from idle to in use; `released` of them had no memory. */
static void count_taken_locked(size_t pages, size_t released) {
    heap.stats.inuse_pages += pages;
    heap.stats.released_pages -= released;
    heap.stats.free_pages -= pages - released;
    tell_limit_locked();
}

static void count_released_locked(size_t pages) {
    heap.stats.free_pages -= pages;
    heap.stats.released_pages += pages;
    tell_limit_locked();
}

/* Released pages are zero, or were never touched at all. */
static bool is_zeroed_locked(size_t first, size_t pages, size_t released) {
    return released == pages && (mal_vm_released_is_zero() || first >= heap.fresh_page);
}

/* ---- surplus: what is resident though free ----
 *
 * The most that was ever resident is what a program is judged by, and what a container must have.
 * So where the heap takes memory from the OS although it has free memory elsewhere, which did not
 * fit, as much of that is to go back; and so is what a large object leaves behind beyond a
 * sixteenth of what is in use. What is wanted again cost a fault for nothing: half of it is
 * conceded for ever, so a heap whose use swings, or whose pieces never fit, pays a bounded number
 * of times. */

/* What is in use or free beyond `most_pages` and what was conceded is surplus. */
static void note_surplus_locked(uint64_t most_pages) {
    uint64_t resident = heap.stats.inuse_pages + heap.stats.free_pages;
    most_pages += heap.conceded_pages;
    if (resident > most_pages)
        mal_store_relaxed(&mal_pageheap_surplus_pages,
                          mal_min(resident - most_pages, heap.stats.free_pages));
}

/* Of `released` pages at `first` some were returned as surplus and are wanted again. */
static void concede_locked(size_t first, size_t pages, size_t released) {
    size_t fresh = first + pages - mal_clamp(heap.fresh_page, first, first + pages);
    size_t again = mal_min(released - mal_min(fresh, released), heap.swapped_pages);
    heap.swapped_pages -= again;
    heap.conceded_pages += again / CONCEDE_SHARE;
}

/* Pages go to a user: takes them, and keeps the books on how much memory that makes. */
static size_t use_pages_locked(size_t first, size_t pages) {
    size_t released = mal_pages_take(first, pages);
    count_taken_locked(pages, released);
    heap.peak_pages = mal_max(heap.peak_pages, heap.stats.inuse_pages);
    if (released > 0) {
        concede_locked(first, pages, released);
        note_surplus_locked(heap.peak_pages + mal_max(heap.peak_pages / SPARE_SHARE, SPARE_PAGES));
    }
    return released;
}

static void take_pages_locked(struct mal_span *span, size_t first, size_t pages) {
    size_t released = use_pages_locked(first, pages);
    heap.stats.spans++;
    span->base = mal_pagemap_address(first);
    span->pages = (uint32_t)pages;
    span->flags = is_zeroed_locked(first, pages, released) ? MAL_SPAN_ZEROED : 0;
    if (2 * released >= pages)
        span->flags |= MAL_SPAN_FRESH;
    heap.fresh_page = mal_max(heap.fresh_page, first + pages);
}

static void set_class_locked(size_t first, size_t pages, uint32_t class) {
    uint64_t entry = mal_entry_without_states(class);
    for (size_t i = 0; i < pages; i++)
        mal_store_relaxed(&mal_pagemap.entry[first + i], entry);
}

/* Spans of a class: every page knows the span and where its objects begin. */
static void enter_class_locked(struct mal_span *span) {
    size_t first = mal_pagemap_page(span->base);
    for (size_t i = 0; i < span->pages; i++)
        mal_store_relaxed(&mal_pagemap.span[first + i], span);
    mal_states_share_locked(span);
}

/* Large objects: the first page carries it, the others say INSIDE. */
static void enter_large_locked(struct mal_span *span) {
    size_t first = mal_pagemap_page(span->base);
    mal_store_relaxed(&mal_pagemap.span[first], span);
    set_class_locked(first, 1, MAL_CLASS_LARGE);
    set_class_locked(first + 1, span->pages - 1, MAL_CLASS_INSIDE);
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
    mal_lock(&heap.lock);
    struct mal_span *span = NULL;
    size_t page = find_locked(info->span_pages, growth);
    if (page != MAL_NO_PAGE)
        span = new_descriptor_locked();
    if (span) {
        take_pages_locked(span, page, info->span_pages);
        set_up_class_span_locked(span, class);
    }
    mal_unlock(&heap.lock);
    return span;
}

bool mal_pageheap_own_states(struct mal_span *span) {
    if (mal_load_acquire(&span->state_units) > 0)
        return true;
    mal_lock(&heap.lock);
    size_t before = mal_states_own_bytes(span);
    bool owned = mal_states_own_locked(span);
    heap.stats.span_bytes += mal_states_own_bytes(span) - before;
    mal_unlock(&heap.lock);
    return owned;
}

static struct mal_span *new_large_locked(size_t pages, size_t align_pages, enum mal_growth growth) {
    size_t page = find_locked(pages + align_pages - 1, growth);
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
    heap.stats.large_bytes += (uint64_t)pages << MAL_PAGE_SHIFT;
    return span;
}

static bool fits_window(size_t pages, size_t align_pages) {
    size_t window_pages = mal_pagemap.window_bytes >> MAL_PAGE_SHIFT;
    return pages <= window_pages && align_pages <= window_pages - pages && pages <= UINT32_MAX;
}

static size_t pages_for(size_t bytes) {
    return (bytes >> MAL_PAGE_SHIFT) + (bytes % MAL_PAGE_BYTES != 0);
}

bool mal_pageheap_could_hold(size_t bytes, size_t alignment) {
    return fits_window(pages_for(bytes), alignment >> MAL_PAGE_SHIFT) &&
           (mal_pagemap.base & (alignment - 1)) == 0;
}

struct mal_span *mal_pageheap_new_large_span(size_t bytes, size_t alignment,
                                             enum mal_growth growth) {
    size_t pages = mal_max(pages_for(bytes), 1);
    if (!mal_pageheap_could_hold(bytes, alignment))
        return NULL;
    mal_lock(&heap.lock);
    struct mal_span *span = new_large_locked(pages, alignment >> MAL_PAGE_SHIFT, growth);
    mal_unlock(&heap.lock);
    return span;
}

static void enter_gc_locked(struct mal_span *span) {
    size_t first = mal_pagemap_page(span->base);
    for (size_t i = 0; i < span->pages; i++)
        mal_store_relaxed(&mal_pagemap.span[first + i], span);
    set_class_locked(first, span->pages, MAL_CLASS_GC);
}

static struct mal_span *new_gc_locked(size_t pages, enum mal_growth growth) {
    size_t page = find_locked(pages, growth);
    struct mal_span *span = page == MAL_NO_PAGE ? NULL : new_descriptor_locked();
    if (!span)
        return NULL;
    take_pages_locked(span, page, pages);
    span->class = MAL_CLASS_GC;
    span->state = MAL_SPAN_GC;
    enter_gc_locked(span);
    heap.stats.gc_pages += pages;
    return span;
}

struct mal_span *mal_pageheap_new_gc_span(size_t pages, enum mal_growth growth) {
    if (!fits_window(pages, 1))
        return NULL;
    mal_lock(&heap.lock);
    struct mal_span *span = new_gc_locked(pages, growth);
    mal_unlock(&heap.lock);
    return span;
}

static void give_pages_locked(size_t first, size_t pages) {
    mal_pages_give(first, pages);
    heap.stats.inuse_pages -= pages;
    heap.stats.free_pages += pages;
}

/* Pages that are nobody's from now on stay marked as used. */
static void lose_pages_locked(size_t pages) {
    heap.stats.inuse_pages -= pages;
    heap.stats.mapped_pages -= pages;
    heap.stats.lost_pages += pages;
    tell_limit_locked();
}

/* Pages that were just given are not resident. */
static void mark_released_locked(size_t first, size_t pages) {
    mal_pages_mark_released(first, pages);
    count_released_locked(pages);
}

/* Pages of a span with holes that lie in holes altogether: the OS has them already. */
static void mark_holes_locked(const struct mal_span *span, size_t first) {
    unsigned units = MAL_PAGE_BYTES / (unsigned)mal_vm_page_bytes();
    uint64_t all = mal_mask(0, units);
    for (size_t page = 0; page < span->pages; page++) {
        size_t unit = page * units;
        if ((span->holes[unit / 64] >> (unit % 64) & all) != all)
            continue;
        mark_released_locked(first + page, 1);
    }
}

static void retire_pages_locked(const struct mal_span *span, size_t first) {
    if (span->state == MAL_SPAN_LARGE && span->flags & MAL_SPAN_LOST) {
        lose_pages_locked(span->pages);
        return;
    }
    give_pages_locked(first, span->pages);
    if (span->flags & MAL_SPAN_HOLED)
        mark_holes_locked(span, first);
    if (span->flags & MAL_SPAN_GONE)
        mark_released_locked(first, span->pages);
}

void mal_pageheap_free_span(struct mal_span *span) {
    size_t first = mal_pagemap_page(span->base);
    mal_move_end(span);
    mal_lock(&heap.lock);
    MAL_CHECK(mal_pagemap.span[first] == span, "a span was freed that the page map does not know");
    set_class_locked(first, span->pages, MAL_CLASS_NONE);
    mal_store_relaxed(&mal_pagemap.span[first], NULL);
    retire_pages_locked(span, first);
    heap.stats.spans--;
    if (span->state == MAL_SPAN_LARGE) {
        heap.stats.large_bytes -= (uint64_t)span->pages << MAL_PAGE_SHIFT;
        uint64_t inuse = heap.stats.inuse_pages;
        note_surplus_locked(inuse + mal_max(inuse / FREED_SHARE, FREED_PAGES));
    }
    if (span->state == MAL_SPAN_GC)
        heap.stats.gc_pages -= span->pages;
    free_descriptor_locked(span);
    mal_unlock(&heap.lock);
}

static void shrink_locked(struct mal_span *span, size_t pages, bool cut_is_released) {
    size_t first_cut = mal_pagemap_page(span->base) + pages;
    size_t cut = span->pages - pages;
    set_class_locked(first_cut, cut, MAL_CLASS_NONE);
    give_pages_locked(first_cut, cut);
    if (cut_is_released)
        mark_released_locked(first_cut, cut);
    heap.stats.large_bytes -= (uint64_t)cut << MAL_PAGE_SHIFT;
    span->pages = (uint32_t)pages;
}

static bool extend_locked(struct mal_span *span, size_t pages) {
    size_t first_new = mal_pagemap_page(span->base) + span->pages;
    size_t more = pages - span->pages;
    if (span->flags & MAL_SPAN_MOVED || mal_pages_free_behind(first_new, more) < more)
        return false;
    use_pages_locked(first_new, more);
    heap.fresh_page = mal_max(heap.fresh_page, first_new + more);
    set_class_locked(first_new, more, MAL_CLASS_INSIDE);
    heap.stats.large_bytes += (uint64_t)more << MAL_PAGE_SHIFT;
    span->flags &= (uint8_t)~MAL_SPAN_ZEROED;
    span->pages = (uint32_t)pages;
    return true;
}

bool mal_pageheap_resize_large(struct mal_span *span, size_t bytes) {
    size_t pages = pages_for(bytes);
    bool done = true;
    if (!fits_window(pages, 1))
        return false;
    bool renewed = pages < span->pages && mal_move_cut(span, pages);
    mal_lock(&heap.lock);
    if (pages < span->pages)
        shrink_locked(span, pages, renewed);
    else if (pages > span->pages)
        done = extend_locked(span, pages);
    mal_unlock(&heap.lock);
    return done;
}

struct mal_pageheap_stats mal_pageheap_stats(void) {
    mal_lock(&heap.lock);
    struct mal_pageheap_stats stats = heap.stats;
    mal_unlock(&heap.lock);
    return stats;
}

size_t mal_pageheap_top_chunk(void) {
    mal_lock(&heap.lock);
    size_t chunks = mal_pages_chunks();
    mal_unlock(&heap.lock);
    return chunks;
}

void mal_pageheap_note_swapped(size_t pages) {
    mal_lock(&heap.lock);
    heap.swapped_pages += pages;
    mal_unlock(&heap.lock);
}

/* Only whole OS pages can be given back, and they may be larger than ours. */
static uint32_t pages_of_os_page(void) {
    return (uint32_t)mal_max(mal_vm_page_bytes() / MAL_PAGE_BYTES, 1);
}

static MAL_THREAD size_t borrowed_here; /* the first page that this thread has borrowed; 0: none */

/* Page 0 is never at the top of a heap with others, and if it were, a child would lose it. */
static void note_borrowed_locked(size_t first, size_t pages) {
    borrowed_here = first;
    for (unsigned i = 0; i < BORROWERS; i++)
        if (heap.borrowed[i].pages == 0) {
            heap.borrowed[i] = (struct run){first, pages};
            return;
        }
}

static void forget_borrowed_locked(size_t first) {
    borrowed_here = 0;
    for (unsigned i = 0; i < BORROWERS; i++)
        if (heap.borrowed[i].pages > 0 && heap.borrowed[i].first == first)
            heap.borrowed[i].pages = 0;
}

size_t mal_pageheap_borrow(size_t most, size_t *cursor_chunk, size_t *ret_first_page) {
    mal_lock(&heap.lock);
    size_t pages = mal_pages_find_resident(most, pages_of_os_page(), cursor_chunk, ret_first_page);
    if (pages > 0) {
        count_taken_locked(pages, mal_pages_take(*ret_first_page, pages));
        note_borrowed_locked(*ret_first_page, pages);
    }
    mal_unlock(&heap.lock);
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
    mal_lock(&heap.lock);
    forget_borrowed_locked(first_page);
    give_pages_locked(first_page, pages);
    if (result == MAL_BORROW_RELEASED) {
        mark_released_locked(first_page, pages);
        forget_spans_locked(first_page, pages);
    }
    mal_unlock(&heap.lock);
}

/* ---- looking at spans ---- */

static struct mal_span_view view_locked(const struct mal_span *span, size_t page) {
    struct mal_span_view view = {
        .page = page, .pages = span->pages, .class = span->class, .objects = 1, .live = 1};
    if (span->state == MAL_SPAN_CENTRAL) {
        view.objects = span->object_count;
        view.live = span->object_count - mal_load_relaxed(&span->free_count);
    } else if (span->state == MAL_SPAN_GC) {
        view.objects = span->object_count;
        view.live = span->object_count - (uint32_t)mal_min(span->gc.free_count, span->object_count);
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
    mal_lock(&heap.lock);
    size_t end = mal_min(heap.end_page, page + VIEW_PAGES);
    while (page < end && count < most) {
        const struct mal_span *span = span_beginning_at(page);
        if (span)
            ret_views[count++] = view_locked(span, page);
        page += span ? span->pages : 1;
    }
    mal_unlock(&heap.lock);
    *cursor_page = page;
    return count;
}

size_t mal_pageheap_end_page(void) {
    mal_lock(&heap.lock);
    size_t end = heap.end_page;
    mal_unlock(&heap.lock);
    return end;
}

void mal_pageheap_before_fork(void) {
    mal_lock(&heap.lock);
}

void mal_pageheap_after_fork(void) {
    mal_unlock(&heap.lock);
}

/* What others had borrowed is free again: they do not exist here. The only thread may have been
 * interrupted while it borrowed, by a signal handler that forked. */
void mal_pageheap_forget_in_child(void) {
    mal_lock(&heap.lock);
    for (unsigned i = 0; i < BORROWERS; i++) {
        struct run *run = &heap.borrowed[i];
        if (run->pages == 0 || run->first == borrowed_here)
            continue;
        give_pages_locked(run->first, run->pages);
        run->pages = 0;
    }
    mal_unlock(&heap.lock);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The page heap: pages change hands.
 *
 * Holds what every change of a page's state has in common: the tree's bits, the counters
 *     in use + free + released = mapped
 * and what is told to the memory limit; and how much may lie free and resident.
 *
 * Path up: idle pages are used. Path down: used pages become idle, resident or released; surplus is
 * noted, and whoever leaves the lock behind releases it (mal_scavenger_swap).
 *
 * Surplus is what is resident though free. The most that was ever resident is what a program is
 * judged by, and what a container must have. So where the heap takes memory from the OS although it
 * has free memory elsewhere, which did not fit, as much of that is to go back; and so is what a
 * large object leaves behind beyond a sixteenth of what is in use. What is wanted again cost a
 * fault for nothing: half of it is conceded for ever, so a heap whose use swings, or whose pieces
 * never fit, pays a bounded number of times.
 *
 * SYNCHRONIZATION: under the page heap's lock, but mal_pageheap_surplus_pages, a relaxed atomic.
 *
 * Must never release memory: that is a system call, and no lock of ours is held around it.
 */
#include "base/atomic.h"
#include "base/bits.h"
#include "meta/pagemap.h"
#include "pageheap/heap_private.h"
#include "pageheap/limit.h"
#include "pageheap/pages.h"

#define SPARE_SHARE 16u /* of the most ever in use may lie free and resident */
#define SPARE_PAGES ((1u << 20) / MAL_PAGE_BYTES)
#define FREED_SHARE 16u /* of what is in use may, when a large span is freed */
#define FREED_PAGES ((2u << 20) / MAL_PAGE_BYTES)
#define CONCEDE_SHARE 2u

uint64_t mal_pageheap_surplus_pages;

static void tell_limit_locked(void) {
    mal_limit_note_pages(mal_heap.stats.inuse_pages + mal_heap.stats.free_pages);
}

uint64_t mal_heap_resident_locked(void) {
    uint64_t pages = mal_heap.stats.inuse_pages + mal_heap.stats.free_pages;
    return pages - mal_min(pages, mal_limit_holes_bytes() >> MAL_PAGE_SHIFT);
}

/* Counts a change of `pages` pages from idle to in use; `released` of them had no memory. */
static void count_taken_locked(size_t pages, size_t released) {
    mal_heap.stats.inuse_pages += pages;
    mal_heap.stats.released_pages -= released;
    mal_heap.stats.free_pages -= pages - released;
    tell_limit_locked();
}

static void count_released_locked(size_t pages) {
    mal_heap.stats.free_pages -= pages;
    mal_heap.stats.released_pages += pages;
    tell_limit_locked();
}

/* What is in use or free beyond `most_pages` and what was conceded is surplus. */
static void note_surplus_locked(uint64_t most_pages) {
    uint64_t resident = mal_heap.stats.inuse_pages + mal_heap.stats.free_pages;
    most_pages += mal_heap.conceded_pages;
    if (resident > most_pages)
        mal_store_relaxed(&mal_pageheap_surplus_pages,
                          mal_min(resident - most_pages, mal_heap.stats.free_pages));
}

/* Of `released` pages at `first` some were returned as surplus and are wanted again. */
static void concede_locked(size_t first, size_t pages, size_t released) {
    size_t fresh = first + pages - mal_clamp(mal_heap.fresh_page, first, first + pages);
    size_t again = mal_min(released - mal_min(fresh, released), mal_heap.swapped_pages);
    mal_heap.swapped_pages -= again;
    mal_heap.conceded_pages += again / CONCEDE_SHARE;
}

size_t mal_heap_use_pages_locked(size_t first, size_t pages) {
    size_t released = mal_pages_take(first, pages);
    count_taken_locked(pages, released);
    mal_heap.peak_pages = mal_max(mal_heap.peak_pages, mal_heap.stats.inuse_pages);
    if (released > 0) {
        concede_locked(first, pages, released);
        note_surplus_locked(mal_heap.peak_pages +
                            mal_max(mal_heap.peak_pages / SPARE_SHARE, SPARE_PAGES));
    }
    return released;
}

void mal_heap_borrow_pages_locked(size_t first, size_t pages) {
    count_taken_locked(pages, mal_pages_take(first, pages));
}

void mal_heap_give_pages_locked(size_t first, size_t pages) {
    mal_pages_give(first, pages);
    mal_heap.stats.inuse_pages -= pages;
    mal_heap.stats.free_pages += pages;
}

void mal_heap_lose_pages_locked(size_t pages) {
    mal_heap.stats.inuse_pages -= pages;
    mal_heap.stats.mapped_pages -= pages;
    mal_heap.stats.lost_pages += pages;
    mal_heap.licensed_pages = mal_min(mal_heap.licensed_pages, mal_heap.stats.mapped_pages);
    tell_limit_locked();
}

void mal_heap_mark_released_locked(size_t first, size_t pages) {
    mal_pages_mark_released(first, pages);
    count_released_locked(pages);
}

void mal_heap_note_large_end_locked(void) {
    uint64_t inuse = mal_heap.stats.inuse_pages;
    note_surplus_locked(inuse + mal_max(inuse / FREED_SHARE, FREED_PAGES));
}

void mal_pageheap_note_swapped(size_t pages) {
    mal_lock(&mal_heap.lock);
    mal_heap.swapped_pages += pages;
    mal_unlock(&mal_heap.lock);
}

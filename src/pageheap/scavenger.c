/* SPDX-License-Identifier: Apache-2.0
 *
 * Returning memory.
 *
 * The heap allocates at its low end, so the scavenger works from its high end: 1 MiB at a time it
 * borrows the highest resident free pages, gives their memory back without holding any lock, and
 * returns them marked released. It stops when pages in use plus resident free pages fit the goal,
 * or when its time is up.
 *
 * The goal is the largest use over the last RECENT_TICKS ticks: a program whose use swings within
 * that time keeps its memory and pays no page faults for the swing; after a spike the surplus goes
 * back once the spike has left the window. On top come Go's 10 %, but no more than the swing was: a
 * program that rests does not grow. What a memory limit does not allow goes back whatever the
 * window says.
 *
 * What a program locked into memory (mlock) and freed without unlocking it is mapped anew, since
 * the kernel does not take locked pages. A run that it takes in no way is passed over, so that it
 * is in nobody's way.
 *
 * SYNCHRONIZATION: `recent` belongs to the background thread. Counters are relaxed atomics.
 */
#include "pageheap/scavenger.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "meta/pagemap.h"
#include "os/clock.h"
#include "os/vm.h"
#include "pageheap/pageheap.h"

#include <stdbool.h>

/* The kernel gives a page back in 0.15 us where 256 KiB and more go at once, in 0.5 us at 64 KiB.
 */
#define QUANTUM_PAGES ((1u << 20) / MAL_PAGE_BYTES)
#define EAGER_QUANTUM_PAGES 512u /* whoever waits for it, waits less */
#define RECENT_TICKS 3u

static uint64_t recent[RECENT_TICKS]; /* pages in use at the last ticks; background thread only */
static unsigned recent_next;

static struct mal_scavenger_stats counters; /* relaxed atomics */

uint64_t mal_scavenger_goal_pages(uint64_t recent_peak_pages, uint64_t recent_low_pages) {
    uint64_t swing = recent_peak_pages - recent_low_pages;
    return recent_peak_pages + mal_min(recent_peak_pages / 10, swing);
}

/* Takes note of the use now. Returns the goal. */
static uint64_t goal_with(uint64_t inuse_pages) {
    uint64_t peak = 0;
    uint64_t low = UINT64_MAX;
    recent[recent_next++ % RECENT_TICKS] = inuse_pages;
    for (unsigned i = 0; i < RECENT_TICKS; i++) {
        peak = mal_max(peak, recent[i]);
        low = mal_min(low, recent[i]);
    }
    return mal_scavenger_goal_pages(peak, low);
}

static enum mal_borrow_result give_back(void *start, size_t bytes) {
    bool given = mal_vm_release(start, bytes) == 0 || mal_vm_release_locked(start, bytes) == 0;
    return given ? MAL_BORROW_RELEASED : MAL_BORROW_KEPT;
}

/* Releases one run at or below the cursor. Returns its pages, 0 when nothing is left. Where the OS
 * keeps a run, the rest of its chunk waits until somebody begins at the top again. */
static size_t release_run(size_t most_pages, size_t *cursor_chunk) {
    size_t first, pages;
    while ((pages = mal_pageheap_borrow(most_pages, cursor_chunk, &first)) > 0) {
        enum mal_borrow_result result =
            give_back(mal_pagemap_address(first), pages << MAL_PAGE_SHIFT);
        mal_pageheap_return(first, pages, result);
        if (result == MAL_BORROW_RELEASED)
            return pages;
        if ((*cursor_chunk)-- == 0)
            break;
    }
    return 0;
}

/* Idle pages to give back: those beyond the goal, or beyond what the limit allows. */
static uint64_t surplus_pages(uint64_t goal_pages, uint64_t over_bytes) {
    struct mal_pageheap_stats stats = mal_pageheap_stats();
    uint64_t resident = stats.inuse_pages + stats.free_pages;
    uint64_t beyond_goal = resident > goal_pages ? resident - goal_pages : 0;
    uint64_t beyond_limit = mal_ceil_div(over_bytes, MAL_PAGE_BYTES);
    return mal_min(mal_max(beyond_goal, beyond_limit), stats.free_pages);
}

static uint64_t release_pages(uint64_t pages, size_t quantum_pages, uint64_t end_ns) {
    size_t cursor = mal_pageheap_top_chunk();
    uint64_t done = 0;
    while (done < pages) {
        size_t step = release_run((size_t)mal_min(pages - done, quantum_pages), &cursor);
        done += step;
        if (step == 0 || mal_clock_mono_ns() >= end_ns)
            break;
    }
    return done;
}

void mal_scavenger_tick(uint64_t now_ns, uint64_t budget_ns, uint64_t over_bytes) {
    uint64_t start_ns = mal_clock_thread_ns();
    uint64_t surplus = surplus_pages(goal_with(mal_pageheap_stats().inuse_pages), over_bytes);
    uint64_t pages = release_pages(surplus, QUANTUM_PAGES, now_ns + budget_ns);
    mal_scavenger_count(MAL_SCAVENGE_BACKGROUND, pages << MAL_PAGE_SHIFT,
                        mal_clock_thread_ns() - start_ns);
}

uint64_t mal_scavenger_release(uint64_t most_bytes, uint64_t end_ns,
                               enum mal_scavenge_reason reason) {
    uint64_t start_ns = mal_clock_thread_ns();
    uint64_t pages =
        release_pages(mal_ceil_div(most_bytes, MAL_PAGE_BYTES), EAGER_QUANTUM_PAGES, end_ns);
    mal_scavenger_count(reason, pages << MAL_PAGE_SHIFT, mal_clock_thread_ns() - start_ns);
    return pages << MAL_PAGE_SHIFT;
}

void mal_scavenger_swap(void) {
    if (mal_load_relaxed(&mal_pageheap_surplus_pages) == 0)
        return;
    uint64_t surplus = mal_exchange_acquire(&mal_pageheap_surplus_pages, 0u);
    uint64_t start_ns = mal_clock_thread_ns();
    uint64_t total = 0;
    size_t cursor = mal_pageheap_top_chunk();
    for (size_t pages = 1; total < surplus && pages > 0; total += pages)
        pages = release_run(surplus - total, &cursor);
    mal_pageheap_note_swapped(total);
    mal_scavenger_count(MAL_SCAVENGE_EAGER, total << MAL_PAGE_SHIFT,
                        mal_clock_thread_ns() - start_ns);
}

uint64_t mal_scavenger_release_all(void) {
    return mal_scavenger_release(UINT64_MAX >> MAL_PAGE_SHIFT, UINT64_MAX, MAL_SCAVENGE_FORCED);
}

void mal_scavenger_count(enum mal_scavenge_reason reason, uint64_t bytes, uint64_t cpu_ns) {
    uint64_t *const counter[] = {
        [MAL_SCAVENGE_BACKGROUND] = &counters.background_bytes,
        [MAL_SCAVENGE_EAGER] = &counters.eager_bytes,
        [MAL_SCAVENGE_FORCED] = &counters.forced_bytes,
    };
    mal_add_relaxed(counter[reason], bytes);
    mal_add_relaxed(&counters.cpu_ns, cpu_ns);
}

struct mal_scavenger_stats mal_scavenger_stats(void) {
    return (struct mal_scavenger_stats){
        .background_bytes = mal_load_relaxed(&counters.background_bytes),
        .eager_bytes = mal_load_relaxed(&counters.eager_bytes),
        .forced_bytes = mal_load_relaxed(&counters.forced_bytes),
        .calls = mal_load_relaxed(&mal_vm_release_calls),
        .cpu_ns = mal_load_relaxed(&counters.cpu_ns),
    };
}

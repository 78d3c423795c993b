/* SPDX-License-Identifier: Apache-2.0
 *
 * Room: what classes give up that nobody frees.
 *
 * A class that took nothing since it was last looked at is not using what it keeps: its transfer
 * cache goes into its spans, and its spans without an object out go to the page heap. The
 * background thread looks once a tick, and whoever is about to make the heap grow looks, too. If
 * that is not enough for the latter, free memory inside spans goes back to the OS (holes.c) before
 * the heap takes new one. Path up: none. Path down: these.
 *
 * SYNCHRONIZATION: one class's lock at a time. `drain_cpu_for_growth` is constant after init;
 * `cursor_page` is a hint, which whoever makes holes moves.
 *
 * Must never be called with a lock held.
 */
#include "base/bits.h"
#include "central/central_private.h"
#include "meta/classes.h"
#include "os/clock.h"

#define EMPTY_WORTH_BYTES (1u << 20) /* from when on empty spans are worth giving up */
#define GROWTH_SHARE 16u             /* of the heap must lie free inside spans */
#define GROWTH_BYTES (8u << 20)      /* twice what the heap grows by at least */
#define GROWTH_BYTES_MAX (64u << 20) /* more is the background's, which knows what is idle */
#define GROWTH_NS 4000000u           /* of CPU time that growing may take longer */

/* The cache is empty before its first object is in a span: after a second free a handler may come
 * in between. */
static void flush_locked(struct central *central, uint32_t class) {
    uint32_t count = central->transfer_used;
    central->transfer_used = 0;
    mal_central_put_into_spans(central, class, central->transfer, count);
    mal_central_release_empty_locked(central);
}

void mal_central_flush(uint32_t class) {
    struct central *central = mal_central_lock_class(class);
    flush_locked(central, class);
    mal_central_unlock_class(central);
}

static void trim(uint32_t class, enum mal_trim trim) {
    struct central *central = mal_central_lock_class(class);
    if (central->taken_at_trim[trim] == central->stats.taken)
        flush_locked(central, class);
    central->taken_at_trim[trim] = central->stats.taken;
    mal_central_unlock_class(central);
}

void mal_central_trim_idle(uint32_t class) {
    trim(class, MAL_TRIM_TICK);
}

void mal_central_trim_for_growth(uint32_t class) {
    trim(class, MAL_TRIM_GROWTH);
}

static void (*drain_cpu_for_growth)(void); /* constant after init */

void mal_central_drain_before_growth(void (*drain_cpu)(void)) {
    drain_cpu_for_growth = drain_cpu;
}

static void give_up_unused(uint64_t bytes) {
    if (drain_cpu_for_growth)
        drain_cpu_for_growth();
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        mal_central_trim_for_growth(class);
    if (mal_central_empty_bytes() >= mal_min(bytes, EMPTY_WORTH_BYTES))
        mal_central_release_empty();
}

static void give_back_as_much(uint64_t bytes) {
    static size_t cursor_page; /* a hint; whoever works moves it */
    uint64_t heap_bytes = mal_pageheap_stats().inuse_pages << MAL_PAGE_SHIFT;
    if (mal_central_reclaimable_bytes() < heap_bytes / GROWTH_SHARE)
        return;
    struct mal_hole_request request = {mal_clamp(bytes, GROWTH_BYTES, GROWTH_BYTES_MAX),
                                       mal_clock_mono_ns() + GROWTH_NS, 0, MAL_SCAVENGE_EAGER};
    mal_central_make_holes(&request, &cursor_page);
}

enum mal_growth mal_central_make_room(unsigned step, uint64_t bytes) {
    bool is_last = step + 1 == MAL_CENTRAL_ROOM_STEPS;
    if (is_last)
        give_back_as_much(bytes);
    else
        give_up_unused(bytes);
    return is_last ? MAL_GROWTH_ALLOWED : MAL_GROWTH_REFUSED;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Giving memory back in the background, down all tiers.
 *
 * Without pressure: every second round what idle CPUs and idle classes hold goes to its spans; then
 * idle pages beyond the goal go back; what time is left goes to holes in spans that lay idle for
 * IDLE_TICKS rounds, where these are worth the walk. One part in a hundred of one CPU, and what was
 * not needed is saved for ten rounds: what a spike leaves behind goes at once.
 *
 * Above 95 % of a memory limit: every round, all classes, idle pages whatever was used lately, and
 * spans that lay idle for one round, until the goal is met. Above the limit itself: CPUs and spans
 * that are not idle as well, and a round may take a quarter of one CPU as long as that brings
 * memory back; so hundreds of MiB go back in a second, and a program that needs more than its limit
 * pays one part in a hundred again from the second round on. For AFTER_ROUNDS rounds after the
 * limit was passed the goal is half of it, at that pace: the next spike is to find room.
 *
 * CPUs are drained by visiting them: the thread moves itself to the CPU and pops its stacks like
 * any thread there. No protocol with other CPUs is needed, and the proof of os/percpu.h holds as it
 * stands. A CPU that the thread may not run on keeps what it has.
 *
 * SYNCHRONIZATION: everything here belongs to the background thread.
 */
#include "front/scavenge.h"

#include "base/bits.h"
#include "cache/percpu_cache.h"
#include "central/central.h"
#include "meta/classes.h"
#include "meta/pagemap.h"
#include "os/clock.h"
#include "os/thread.h"
#include "pageheap/limit.h"
#include "pageheap/pageheap.h"
#include "pageheap/scavenger.h"

#define IDLE_TICKS 3u
#define PRESSED_IDLE_TICKS 1u
#define AFTER_ROUNDS 5u
#define HOLES_SHARE 32u              /* of the heap must lie free inside spans */
#define HOLES_WORTH_BYTES (1u << 20) /* and so much at least */

static uint32_t round_count;
static size_t hole_cursor_page;
static uint64_t last_yield_bytes = UINT64_MAX; /* see mal_limit_round_budget_of */
static uint64_t saved_ns;                      /* see mal_limit_saved_of */
static uint32_t after_rounds;                  /* that are left since the limit was passed */

static void visit_cpus(enum mal_drain drain) {
    MAL_FOR_EACH_CACHE (cpu) {
        if (mal_cache_mode() == MAL_PERCPU_LOCK || mal_thread_move_to(cpu) == 0)
            mal_cache_drain_cpu(cpu, drain);
    }
    if (mal_cache_mode() == MAL_PERCPU_RSEQ)
        mal_thread_restore_cpus();
}

static void for_each_class(void (*empty)(uint32_t class)) {
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        empty(class);
}

static enum mal_limit_goal goal_now(void) {
    return after_rounds > 0 ? MAL_LIMIT_GOAL_AFTER_PASSING : MAL_LIMIT_GOAL_USUAL;
}

static uint64_t over_bytes(void) {
    return mal_limit_over_goal_bytes(goal_now());
}

static void drain_caches(void) {
    if (over_bytes() > 0) {
        visit_cpus(mal_limit_is_passed() ? MAL_DRAIN_ALL : MAL_DRAIN_IDLE);
        for_each_class(mal_central_flush);
    } else if (round_count % 2 == 0) {
        visit_cpus(MAL_DRAIN_IDLE);
        for_each_class(mal_central_trim_idle);
    }
}

static bool holes_are_worth_it(void) {
    uint64_t heap_bytes = mal_pageheap_stats().inuse_pages << MAL_PAGE_SHIFT;
    return mal_central_reclaimable_bytes() >= mal_max(heap_bytes / HOLES_SHARE, HOLES_WORTH_BYTES);
}

/* What pages could not bring, holes may; in spans that are in use only until the usual goal is met.
 */
static void make_holes(uint64_t end_ns) {
    struct mal_hole_request request = {over_bytes(), end_ns, PRESSED_IDLE_TICKS,
                                       MAL_SCAVENGE_BACKGROUND};
    if (mal_limit_is_passed()) {
        request.most_bytes = mal_limit_over_goal_bytes(MAL_LIMIT_GOAL_USUAL);
        request.idle_ticks = 0;
    } else if (request.most_bytes == 0) {
        if (!holes_are_worth_it())
            return;
        request.most_bytes = UINT64_MAX;
        request.idle_ticks = IDLE_TICKS;
    }
    mal_central_make_holes(&request, &hole_cursor_page);
}

static uint64_t background_bytes(void) {
    return mal_scavenger_stats().background_bytes;
}

/* The time after passing ends early when it brings nothing. */
static void count_after_rounds(void) {
    if (mal_limit_is_passed())
        after_rounds = AFTER_ROUNDS;
    else if (last_yield_bytes < MAL_LIMIT_YIELD_WORTH_BYTES)
        after_rounds = 0;
    else if (after_rounds > 0)
        after_rounds--;
}

void mal_scavenge_round(uint64_t round_ns) {
    uint64_t before_bytes = background_bytes();
    round_count++;
    mal_limit_note_tables(mal_cache_resident_bytes());
    count_after_rounds();
    uint64_t hard_bytes = after_rounds > 0 ? over_bytes() : 0;
    uint64_t budget_ns =
        mal_limit_round_budget_of(round_ns, saved_ns, hard_bytes, last_yield_bytes);
    drain_caches();
    mal_central_tick();
    uint64_t start_ns = mal_clock_thread_ns();
    uint64_t now_ns = mal_clock_mono_ns();
    mal_scavenger_tick(now_ns, budget_ns, over_bytes());
    make_holes(now_ns + budget_ns);
    saved_ns = mal_limit_saved_of(round_ns, saved_ns, mal_clock_thread_ns() - start_ns);
    last_yield_bytes = after_rounds > 0 ? background_bytes() - before_bytes : UINT64_MAX;
}

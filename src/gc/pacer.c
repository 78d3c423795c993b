/* SPDX-License-Identifier: Apache-2.0
 *
 * When a cycle begins and where the heap may be when it ends.
 *
 *     goal     live heap of the last cycle, plus GOGC % of everything that is scanned; or, if less,
 *              what a memory limit leaves. Malloc's memory is part of what the limit pays first.
 *     runway   what the program allocates while the next cycle marks, if the collector gets 25 % of
 *              the CPUs: bytes to scan * cons_mark * 75/25
 *     trigger  goal - runway, within bounds; later again where no runway would do
 *
 * cons_mark, allocation rate over scan rate, is measured per cycle and smoothed (pacer_cycle.c).
 * Two terms are not Go's, because its write barrier is not ours: the bytes scanned again since
 * their pages were written to are expected scan work, and what is allocated while pages are being
 * protected is part of the runway, and comes off the earliest trigger: marking shall not begin
 * before that. Both are averages of what cycles reported and 0 until one did.
 *
 * SYNCHRONIZATION: plain data under the owner's lock.
 *
 * It must never divide by zero or turn a double that does not fit into an integer.
 */
#include "gc/pacer.h"

#include "base/bits.h"
#include "gc/pacer_private.h"

#define HEAP_MINIMUM_BYTES (UINT64_C(4) << 20)
#define LIMIT_HEADROOM_BYTES (UINT64_C(1) << 20)
#define SWEEP_DISTANCE_BYTES (UINT64_C(1) << 20)
#define RUNWAY_MIN_BYTES (UINT64_C(64) << 10)
#define HEAP_PAGE_BYTES 8192

/* Bounds of the trigger between marked bytes and goal; for hopeless ones see runway. */
#define RATIO_PARTS 64
#define RATIO_LEAST 45
#define RATIO_HOPELESS 60
#define RATIO_MOST 61

/* Rounded down; 0 for what is negative or no number, 2^63 at most. */
static uint64_t bytes_of(double value) {
    if (!(value > 0))
        return 0;
    return value >= 9.2e18 ? UINT64_C(1) << 63 : (uint64_t)value;
}

uint64_t mal_gc_pacer_expected_scan(const struct mal_gc_pacer *pacer) {
    return pacer->last_heap_scan_bytes + pacer->last_stack_scan_bytes + pacer->heap.globals_bytes +
           pacer->rescan_bytes;
}

void mal_gc_pacer_init(struct mal_gc_pacer *pacer, int percent, int64_t memory_limit,
                       unsigned cpus) {
    *pacer = (struct mal_gc_pacer){.triggered_bytes = UINT64_MAX, .cpus = cpus};
    mal_gc_pacer_set(pacer, percent, memory_limit);
    mal_gc_pacer_commit(pacer, &pacer->heap);
}

void mal_gc_pacer_set(struct mal_gc_pacer *pacer, int percent, int64_t memory_limit) {
    pacer->percent = percent < 0 ? -1 : percent;
    pacer->memory_limit_bytes = memory_limit < 0 ? 0 : memory_limit;
}

void mal_gc_pacer_observe(struct mal_gc_pacer *pacer, const struct mal_gc_pacer_heap *heap) {
    if (&pacer->heap != heap)
        pacer->heap = *heap;
}

static uint64_t percent_goal(const struct mal_gc_pacer *pacer) {
    if (pacer->percent < 0)
        return UINT64_MAX;
    uint64_t percent = (uint64_t)pacer->percent;
    uint64_t scanned =
        pacer->marked_bytes + pacer->last_stack_scan_bytes + pacer->heap.globals_bytes;
    uint64_t growth;
    uint64_t goal;
    if (__builtin_mul_overflow(scanned, percent, &growth) ||
        __builtin_add_overflow(pacer->marked_bytes, growth / 100, &goal))
        return UINT64_MAX;
    return mal_max(goal, HEAP_MINIMUM_BYTES * percent / 100);
}

void mal_gc_pacer_commit(struct mal_gc_pacer *pacer, const struct mal_gc_pacer_heap *heap) {
    mal_gc_pacer_observe(pacer, heap);
    pacer->sweep_trigger_bytes = heap->unswept_pages ? heap->live_bytes + SWEEP_DISTANCE_BYTES : 0;
    pacer->percent_goal_bytes = percent_goal(pacer);
    pacer->runway_bytes =
        bytes_of(pacer->cons_mark * ((1 - MAL_GC_UTILIZATION) / MAL_GC_UTILIZATION) *
                 (double)mal_gc_pacer_expected_scan(pacer)) +
        pacer->protect_bytes;
}

/* With a part of the limit set aside for what pacing gets wrong; small limits lose it all. */
static uint64_t less_headroom(uint64_t bytes) {
    return bytes < 2 * LIMIT_HEADROOM_BYTES ? LIMIT_HEADROOM_BYTES : bytes - LIMIT_HEADROOM_BYTES;
}

/* How large the collected heap may get for all memory to fit the limit. The three numbers are read
 * at different instants by the caller, so their difference may come out below zero. */
static uint64_t limit_goal(const struct mal_gc_pacer *pacer) {
    const struct mal_gc_pacer_heap *heap = &pacer->heap;
    if (pacer->memory_limit_bytes == MAL_GC_NO_LIMIT)
        return UINT64_MAX;
    uint64_t limit = (uint64_t)pacer->memory_limit_bytes;
    uint64_t ready = heap->mapped_ready_bytes;
    uint64_t others = ready - mal_min(ready, heap->free_bytes + heap->object_bytes);
    uint64_t excess = ready - mal_min(ready, limit);
    if (others + excess >= limit)
        return pacer->marked_bytes;
    return mal_max(less_headroom(limit - others - excess), pacer->marked_bytes);
}

struct goal {
    uint64_t bytes;
    uint64_t least_trigger; /* the sweeper's */
};

static struct goal find_goal(const struct mal_gc_pacer *pacer) {
    uint64_t by_limit = limit_goal(pacer);
    uint64_t bytes = pacer->percent_goal_bytes;
    if (by_limit < bytes)
        return (struct goal){by_limit, 0};
    bytes = mal_max(bytes, pacer->sweep_trigger_bytes);
    if (pacer->triggered_bytes != UINT64_MAX)
        bytes = mal_max(bytes, pacer->triggered_bytes + RUNWAY_MIN_BYTES);
    return (struct goal){bytes, pacer->sweep_trigger_bytes};
}

uint64_t mal_gc_pacer_goal(const struct mal_gc_pacer *pacer) {
    return find_goal(pacer).bytes;
}

/* What is allocated between trigger and goal stays until the next cycle, garbage or not, and raises
 * its goal. That is the price of marking without assists. Where the program allocates so fast that
 * there will be assists in any case, less and less is paid: from a runway of 30 % on, which is the
 * most that it may be, it shrinks by half of what is beyond, down to a sixteenth. */
static uint64_t runway(const struct mal_gc_pacer *pacer, uint64_t part) {
    uint64_t most = part * (RATIO_PARTS - RATIO_LEAST);
    uint64_t least = part * (RATIO_PARTS - RATIO_HOPELESS);
    uint64_t wanted = pacer->runway_bytes - mal_min(pacer->runway_bytes, pacer->protect_bytes);
    if (wanted > most)
        wanted = most - mal_min((wanted - most) / 2, most - least);
    return wanted + pacer->protect_bytes;
}

uint64_t mal_gc_pacer_trigger(const struct mal_gc_pacer *pacer) {
    struct goal goal = find_goal(pacer);
    uint64_t marked = pacer->marked_bytes;
    if (marked >= goal.bytes)
        return goal.bytes;
    uint64_t part = (goal.bytes - marked) / RATIO_PARTS;
    uint64_t least = part * RATIO_LEAST;
    least = mal_max(goal.least_trigger, marked + least - mal_min(least, pacer->protect_bytes));
    uint64_t most = marked + part * RATIO_MOST;
    if (goal.bytes > HEAP_MINIMUM_BYTES)
        most = mal_max(most, goal.bytes - HEAP_MINIMUM_BYTES);
    most = mal_max(most, least);
    uint64_t wanted = goal.bytes - mal_min(goal.bytes, runway(pacer, part));
    return mal_min(mal_max(wanted, least), most);
}

double mal_gc_pacer_sweep_ratio(const struct mal_gc_pacer *pacer, uint64_t live_bytes,
                                uint64_t pages_inuse, uint64_t pages_swept) {
    if (pages_inuse <= pages_swept)
        return 0;
    uint64_t distance = mal_gc_pacer_trigger(pacer);
    distance -= mal_min(distance, live_bytes + SWEEP_DISTANCE_BYTES);
    return (double)(pages_inuse - pages_swept) / (double)mal_max(distance, HEAP_PAGE_BYTES);
}

/* The clock may have been read before the end was noted. */
uint64_t mal_gc_period_left_ns(uint64_t now_ns, uint64_t last_end_ns, int percent) {
    if (last_end_ns == 0 || percent < 0)
        return UINT64_MAX;
    uint64_t age_ns = now_ns > last_end_ns ? now_ns - last_end_ns : 0;
    return age_ns >= MAL_GC_PERIOD_NS ? 0 : MAL_GC_PERIOD_NS - age_ns;
}

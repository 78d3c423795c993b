/* SPDX-License-Identifier: Apache-2.0
 *
 * Go's pacer as arithmetic: when to start a cycle, how many workers, how much assist. No clock, no
 * lock, no system call: all inputs are arguments, so it can be simulated. Formulas: Go 1.19.
 *
 *     marked_bytes <= goal              (or nothing helps: goal = marked_bytes)
 *     trigger <= goal, and trigger < goal where marked_bytes < goal
 *     0.70 <= (trigger - marked) / (goal - marked) <= 0.95, or goal - 4 MiB if that is later
 *
 * A cycle: start, revise ..., end_cycle, commit. Between cycles: commit whenever a knob, or how far
 * the sweep is, changes; observe whenever memory numbers do and a memory limit is set.
 */
#ifndef MAL_GC_PACER_H
#define MAL_GC_PACER_H

#include <stdbool.h>
#include <stdint.h>

#define MAL_GC_NO_LIMIT INT64_MAX /* memory limit: none */

struct mal_gc_pacer_heap {
    uint64_t live_bytes, scan_bytes;         /* now */
    uint64_t stack_bytes, globals_bytes;     /* to be scanned */
    uint64_t mapped_ready_bytes, free_bytes; /* of the whole process's heap, malloc included */
    uint64_t object_bytes;                   /* heapAlloc of the collected heap */
    uint64_t unswept_pages;                  /* 0: the last cycle's sweep is done */
};

/* Smooths a measured ratio over cycles: proportional and integral parts, clamped. */
struct mal_gc_controller {
    double integral;
};

/* Plain data; the owner's lock guards it. */
struct mal_gc_pacer {
    int percent; /* GOGC; below 0: off */
    int64_t memory_limit_bytes;
    unsigned cpus;

    /* of the last finished cycle */
    uint64_t marked_bytes, last_heap_scan_bytes, last_stack_scan_bytes;
    uint64_t rescan_bytes;  /* smoothed: scanned again because pages were written to */
    uint64_t protect_bytes; /* smoothed: allocated between the trigger and the start of marking */
    double cons_mark;       /* bytes allocated per bytes scanned, per CPU time */
    struct mal_gc_controller controller;

    /* as of the last commit */
    uint64_t percent_goal_bytes, sweep_trigger_bytes, runway_bytes;

    struct mal_gc_pacer_heap heap; /* as last observed */
    uint64_t triggered_bytes;      /* live_bytes when the running cycle began; UINT64_MAX: none */
};

/* cpus >= 1. */
void mal_gc_pacer_init(struct mal_gc_pacer *pacer, int percent, int64_t memory_limit,
                       unsigned cpus);
/* Knobs: as Go's GOGC (below 0: off) and GOMEMLIMIT in bytes (MAL_GC_NO_LIMIT: none). Commit next.
 */
void mal_gc_pacer_set(struct mal_gc_pacer *pacer, int percent, int64_t memory_limit);
/* Memory numbers anew: the goal of a memory limit follows them at once. */
void mal_gc_pacer_observe(struct mal_gc_pacer *pacer, const struct mal_gc_pacer_heap *heap);
/* Goal and trigger anew. */
void mal_gc_pacer_commit(struct mal_gc_pacer *pacer, const struct mal_gc_pacer_heap *heap);
/* UINT64_MAX: never. */
uint64_t mal_gc_pacer_goal(const struct mal_gc_pacer *pacer);
uint64_t mal_gc_pacer_trigger(const struct mal_gc_pacer *pacer);

struct mal_gc_plan {
    unsigned dedicated;
    double fractional; /* of each CPU's time */
    unsigned idle_most;
};
enum mal_gc_start_reason { MAL_GC_START_HEAP, MAL_GC_START_FORCED, MAL_GC_START_TIME };
/* In the stop that begins marking. heap->live_bytes is where the cycle triggered. */
struct mal_gc_plan mal_gc_pacer_start(struct mal_gc_pacer *pacer,
                                      const struct mal_gc_pacer_heap *heap,
                                      enum mal_gc_start_reason reason);

/* Assist: scan bytes owed per allocated byte, and its inverse, as of now. */
struct mal_gc_assist_ratio {
    double work_per_byte, bytes_per_work;
};
/* scanned_bytes: all scan work of this cycle so far, pages scanned again included. */
struct mal_gc_assist_ratio mal_gc_pacer_revise(struct mal_gc_pacer *pacer,
                                               const struct mal_gc_pacer_heap *heap,
                                               uint64_t scanned_bytes);

struct mal_gc_pacer_end {
    uint64_t marked_bytes, scanned_heap_bytes, scanned_stack_bytes, globals_bytes;
    uint64_t rescanned_bytes; /* scanned again because written to; in none of the three above */
    uint64_t protect_bytes;   /* allocated from the trigger to the start; 0 where not measured */
    uint64_t mark_ns;         /* wall time of marking */
    uint64_t assist_ns, idle_ns, background_ns; /* CPU: assists, idle workers, the plan's workers */
    uint64_t program_ns;                        /* CPU: the program, assists excluded */
};
/* What the trace says about a cycle. */
struct mal_gc_pacer_outcome {
    uint64_t goal_bytes, triggered_bytes, live_bytes; /* goal: in force when marking ended */
    uint64_t expected_scan_bytes;
    double utilization;      /* of all CPUs while marking: the plan's workers and assists */
    double cons_mark_before; /* what the cycle was planned with */
    bool was_reset;          /* the smoothing overflowed and starts anew */
};
/* In the stop that ends marking; heap->live_bytes is still what it was while marking. */
struct mal_gc_pacer_outcome mal_gc_pacer_end_cycle(struct mal_gc_pacer *pacer,
                                                   const struct mal_gc_pacer_heap *heap,
                                                   const struct mal_gc_pacer_end *end);

/* Nothing was collected for so long: then time alone is reason enough. */
#define MAL_GC_PERIOD_NS UINT64_C(120000000000)
/* How long until then; 0: now. UINT64_MAX: never, as no cycle ended yet (last_end_ns == 0) or the
 * heap is not to be collected by itself (percent < 0). */
uint64_t mal_gc_period_left_ns(uint64_t now_ns, uint64_t last_end_ns, int percent);

/* Pages to sweep per byte allocated, so that sweeping ends before the next trigger. 0: all swept.
 */
double mal_gc_pacer_sweep_ratio(const struct mal_gc_pacer *pacer, uint64_t live_bytes,
                                uint64_t pages_inuse, uint64_t pages_swept);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Go's pacer as arithmetic: when to start a cycle, how many workers, how much assist. No clock, no
 * lock, no system call: all inputs are arguments, so it can be simulated. Formulas: GO 1.19.
 */
#ifndef MAL_GC_PACER_H
#define MAL_GC_PACER_H

#include <stdbool.h>
#include <stdint.h>

struct mal_gc_pacer; /* PACER defines it: plain data, the owner's lock guards it */

struct mal_gc_pacer_heap {
    uint64_t live_bytes, scan_bytes;         /* now */
    uint64_t stack_bytes, globals_bytes;     /* to be scanned */
    uint64_t mapped_ready_bytes, free_bytes; /* of the whole process's heap, malloc included */
    uint64_t object_bytes;                   /* heapAlloc of the collected heap */
};

/* See pacer.c for each formula. */
void mal_gc_pacer_init(struct mal_gc_pacer *pacer, int percent, int64_t memory_limit,
                       unsigned cpus);
void mal_gc_pacer_set(struct mal_gc_pacer *pacer, int percent, int64_t memory_limit);
void mal_gc_pacer_commit(struct mal_gc_pacer *pacer,
                         const struct mal_gc_pacer_heap *heap); /* goal and trigger anew */
uint64_t mal_gc_pacer_goal(const struct mal_gc_pacer *pacer);
uint64_t mal_gc_pacer_trigger(const struct mal_gc_pacer *pacer);
struct mal_gc_plan {
    unsigned dedicated;
    double fractional;
    unsigned idle_most;
};
struct mal_gc_plan mal_gc_pacer_start(struct mal_gc_pacer *pacer,
                                      const struct mal_gc_pacer_heap *heap, bool forced);
/* Assist: scan bytes owed per allocated byte, and its inverse, as of now. */
struct mal_gc_assist_ratio {
    double work_per_byte, bytes_per_work;
};
struct mal_gc_assist_ratio mal_gc_pacer_revise(struct mal_gc_pacer *pacer,
                                               const struct mal_gc_pacer_heap *heap,
                                               uint64_t scanned_bytes);
struct mal_gc_pacer_end {
    uint64_t marked_bytes, scanned_heap_bytes, scanned_stack_bytes, globals_bytes;
    uint64_t mark_ns, assist_ns,
        idle_ns; /* wall time of marking; CPU of assists and idle workers */
    bool forced;
};
void mal_gc_pacer_end_cycle(struct mal_gc_pacer *pacer, const struct mal_gc_pacer_heap *heap,
                            const struct mal_gc_pacer_end *end);
/* Pages to sweep per byte allocated, so that sweeping ends before the next trigger. */
double mal_gc_pacer_sweep_ratio(const struct mal_gc_pacer *pacer, uint64_t live_bytes,
                                uint64_t pages_inuse, uint64_t pages_swept);

#endif

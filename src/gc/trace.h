/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace lines, exactly as Go 1.19 writes them. Formatting only.
 *
 * Each function writes one line with its newline and a final NUL, and returns its length without
 * the NUL, less than `bytes`; MAL_GC_TRACE_BYTES hold every line, a smaller buffer cuts it. They
 * may be called on any thread and in any context.
 */
#ifndef MAL_GC_TRACE_H
#define MAL_GC_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_GC_TRACE_BYTES 640

struct mal_gc_trace {
    uint64_t number;
    uint64_t since_start_ns;
    double cpu_share; /* 0..1, idle marking excluded */
    uint64_t clock_ns[3];
    uint64_t sweep_term_cpu_ns, assist_ns, background_ns, idle_ns, mark_term_cpu_ns;
    uint64_t live_start_bytes, live_end_bytes, marked_bytes, goal_bytes;
    uint64_t stack_bytes, globals_bytes;
    unsigned cpus;
    bool forced;
};

/* gctrace=1 */
size_t mal_gc_trace_line(char *ret_line, size_t bytes, const struct mal_gc_trace *trace);

/* gctrace=2, after it: how the written pages were followed. No counterpart in Go. */
#define MAL_GC_TRACE_ROUNDS 8
struct mal_gc_trace_dirty {
    const char *backend;
    unsigned rounds;                           /* of scanning again while the program ran */
    uint64_t round_pages[MAL_GC_TRACE_ROUNDS]; /* written pages found by each */
    uint64_t final_pages;                      /* and with the world stopped */
    uint64_t stop_ns[2];                       /* until all threads stood, for each of the stops */
    uint64_t protect_ns;                       /* CPU spent before the first stop */
    unsigned restarts;                         /* times that marking was resumed */
};
size_t mal_gc_trace_dirty_line(char *ret_line, size_t bytes,
                               const struct mal_gc_trace_dirty *dirty);

/* gcpacertrace=1: what the pacer plans when marking starts, and what came of it. Go's third line,
 * about the sweep, is not written. */
struct mal_gc_trace_start {
    double assist_ratio;
    uint64_t scan_bytes, live_bytes, goal_bytes;
    unsigned dedicated;
    double fractional;
};
size_t mal_gc_trace_pacer_start(char *ret_line, size_t bytes,
                                const struct mal_gc_trace_start *start);

struct mal_gc_trace_end {
    double utilization; /* 0..1 */
    uint64_t heap_scan_bytes, stack_scan_bytes, globals_scan_bytes, expected_scan_bytes;
    uint64_t triggered_bytes, live_bytes, goal_bytes;
    double cons_mark;
    bool was_reset;
};
size_t mal_gc_trace_pacer_end(char *ret_line, size_t bytes, const struct mal_gc_trace_end *end);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace lines, exactly as Go 1.19 writes them. Formatting only.
 */
#ifndef MAL_GC_TRACE_H
#define MAL_GC_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* The line with its newline. Returns its length, less than `bytes`. */
size_t mal_gc_trace_line(char *ret_line, size_t bytes, const struct mal_gc_trace *trace);

#endif

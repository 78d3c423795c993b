/* SPDX-License-Identifier: Apache-2.0
 *
 * What a cycle says of itself: Go's line, and where asked for our own and the pacer's.
 *
 * SYNCHRONIZATION. None: the run and the text are the caller's.
 */
#include "gc/cycle_private.h"

#include "base/bits.h"

#include <string.h>

static size_t put_dirty(char *text, size_t bytes, const struct mal_gc_run *run) {
    struct mal_gc_trace_dirty dirty = {
        .backend = run->dirty ? run->dirty->name : "none",
        .rounds = run->rounds,
        .final_pages = run->final_pages,
        .stop_ns = {run->first_stop.stopped_ns - run->first_stop.asked_ns,
                    run->last_stop.stopped_ns - run->last_stop.asked_ns},
        .protect_ns = run->protect_ns,
        .restarts = run->restarts,
    };
    memcpy(dirty.round_pages, run->round_pages, sizeof dirty.round_pages);
    return mal_gc_trace_dirty_line(text, bytes, &dirty);
}

static size_t put_pacer(char *text, size_t bytes, const struct mal_gc_run *run) {
    struct mal_gc_trace_end end = {
        .utilization = run->outcome.utilization,
        .heap_scan_bytes = run->scanned_bytes - mal_min(run->scanned_bytes, run->rescanned_bytes),
        .stack_scan_bytes = run->stack_bytes,
        .globals_scan_bytes = run->globals_bytes,
        .expected_scan_bytes = run->outcome.expected_scan_bytes,
        .triggered_bytes = run->outcome.triggered_bytes,
        .live_bytes = run->outcome.live_bytes,
        .goal_bytes = run->outcome.goal_bytes,
        .cons_mark = run->outcome.cons_mark_before,
        .was_reset = run->outcome.was_reset,
    };
    size_t used = mal_gc_trace_pacer_start(text, bytes, &run->planned);
    return used + mal_gc_trace_pacer_end(text + used, bytes - used, &end);
}

size_t mal_gc_cycle_text(char *ret_text, size_t bytes, const struct mal_gc_run *run,
                         const struct mal_gc_trace *trace) {
    size_t used = 0;
    if (mal_gc_config.trace == 0 && !mal_gc_wants(MAL_GC_DEBUG_PACER_TRACE))
        return mal_gc_trace_line(ret_text, bytes, trace);
    if (mal_gc_wants(MAL_GC_DEBUG_PACER_TRACE))
        used = put_pacer(ret_text, bytes, run);
    if (mal_gc_config.trace >= 1)
        used += mal_gc_trace_line(ret_text + used, bytes - used, trace);
    if (mal_gc_config.trace >= 2)
        used += put_dirty(ret_text + used, bytes - used, run);
    return used;
}

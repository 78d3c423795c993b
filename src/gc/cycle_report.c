/* SPDX-License-Identifier: Apache-2.0
 *
 * What a cycle says of itself when its marking is over: the numbers of its line and of the
 * statistics, and for the thread that sweeps the text: Go's line, and where asked for our own and
 * the pacer's.
 *
 * SYNCHRONIZATION. None: the run and the text are the caller's.
 */
#include "gc/cycle_private.h"

#include "base/bits.h"
#include "gc/workers.h"

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

/* A stop that was given up is one as any other: what it took belongs to the last phase, in the line
 * as in the statistics. */
static struct mal_gc_trace trace_of(const struct mal_gc_run *run) {
    uint64_t procs = mal_gc_cpus();
    uint64_t sweep_term_ns = run->mark_ns - run->sweep_term_ns;
    uint64_t mark_term_ns = run->end_ns - run->mark_term_ns + run->given_up_ns;
    struct mal_gc_trace trace = {
        .since_start_ns = mal_gc_stats_since_start_ns(run->sweep_term_ns),
        .clock_ns = {sweep_term_ns, run->mark_term_ns - run->mark_ns - run->given_up_ns,
                     mark_term_ns},
        .sweep_term_cpu_ns = procs * sweep_term_ns,
        .assist_ns = run->assist_ns,
        .background_ns = mal_gc_workers_cpu().background_ns + run->own_ns + run->protect_ns,
        .idle_ns = run->idle_ns,
        .mark_term_cpu_ns = procs * mark_term_ns,
        .live_start_bytes = run->live_start_bytes,
        .live_end_bytes = run->live_end_bytes,
        .marked_bytes = run->marked_bytes,
        .goal_bytes = run->goal_bytes,
        .stack_bytes = run->stack_bytes,
        .globals_bytes = run->globals_bytes,
        .cpus = (unsigned)procs,
        .forced = (run->reasons & MAL_GC_REASON_FORCED) != 0,
    };
    return trace;
}

void mal_gc_cycle_report(const struct mal_gc_run *run) {
    struct mal_gc_trace trace = trace_of(run);
    uint64_t cpu_ns =
        trace.sweep_term_cpu_ns + trace.assist_ns + trace.background_ns + trace.mark_term_cpu_ns;
    trace.cpu_share = mal_gc_stats_count(run, trace.clock_ns[0] + trace.clock_ns[2], cpu_ns);
    trace.number = mal_gc_stats_cycles();
    mal_gc_sweeper_finish(run, &trace);
}

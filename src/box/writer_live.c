/* SPDX-License-Identifier: Apache-2.0
 *
 * What a box says of a process while it runs: the statistics, a row of them a second, and the lines
 * of traces.
 *
 * Path up: whoever gathered statistics publishes them as one record; whoever has a line to say adds
 * it to a ring. Old rows and old text are written over.
 *
 * SYNCHRONIZATION
 *   1. `box_lock` (rank BOX) makes writers take turns.
 *   2. Readers take no lock. The record is under a sequence lock, odd while it is written; the
 *      rings publish a running count after the bytes, and what may be half overwritten at that
 *      moment is at most one row, or TRACE_STEP_BYTES.
 *   3. A fork happens with `box_lock` held, so the child finds it free and its record whole.
 *
 * Must never allocate, never block for longer than a copy takes.
 */
#include "box/writer.h"

#include "box/writer_private.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "os/lock.h"

#include <string.h>

#define TRACE_STEP_BYTES 4096u  /* readers rely on it to know what may be half overwritten */
#define ROW_APART_NS 900000000u /* a row a second, and the seconds need not be exact */

static struct mal_lock box_lock = MAL_LOCK_INIT(MAL_RANK_BOX);

static struct mal_box_history_row row_of(const struct mal_box_stats *stats) {
    const uint64_t *v = stats->value;
    return (struct mal_box_history_row){
        .unix_ns = stats->published_unix_ns,
        .rss_bytes = v[MAL_STAT_RSS],
        .heap_alloc_bytes = v[MAL_STAT_HEAP_ALLOC],
        .heap_inuse_bytes = v[MAL_STAT_HEAP_INUSE],
        .heap_idle_bytes = v[MAL_STAT_HEAP_IDLE],
        .heap_released_bytes = v[MAL_STAT_HEAP_RELEASED],
        .cache_bytes = v[MAL_STAT_CPU_CACHE] + v[MAL_STAT_TRANSFER_CACHE],
        .span_free_bytes = v[MAL_STAT_SPAN_FREE],
        .tables_bytes = v[MAL_STAT_SPAN_SYS] + v[MAL_STAT_CACHE_SYS] + v[MAL_STAT_GC_SYS] +
                        v[MAL_STAT_OTHER_SYS],
        .profiler_bytes = v[MAL_STAT_BUCKET_SYS],
        .mallocs = v[MAL_STAT_MALLOCS],
        .frees = v[MAL_STAT_FREES],
        .total_alloc_bytes = v[MAL_STAT_TOTAL_ALLOC],
        .next_gc_bytes = v[MAL_STAT_NEXT_GC],
        .num_gc = v[MAL_STAT_NUM_GC],
        .scavenged_bytes =
            v[MAL_STAT_SCAV_BACKGROUND] + v[MAL_STAT_SCAV_EAGER] + v[MAL_STAT_SCAV_FORCED],
    };
}

/* At most one row a second, whoever publishes. */
static void append_history_locked(const struct mal_box_stats *stats) {
    struct mal_box_history *history = mal_writer_section(MAL_BOX_HISTORY);
    uint64_t slot = history->written % MAL_BOX_HISTORY_ROWS;
    uint64_t last = (history->written - 1) % MAL_BOX_HISTORY_ROWS;
    if (history->written > 0 &&
        stats->published_unix_ns - history->row[last].unix_ns < ROW_APART_NS)
        return;
    if (!mal_writer_ensure(MAL_BOX_HISTORY,
                           (uint64_t)((char *)&history->row[slot + 1] - (char *)history)))
        return;
    history->row[slot] = row_of(stats);
    mal_store_release(&history->written, history->written + 1);
}

void mal_writer_publish(const struct mal_box_stats *stats) {
    mal_lock(&box_lock);
    struct mal_box_stats *shared = mal_writer_section(MAL_BOX_STATS);
    uint64_t sequence = shared->sequence;
    mal_store_relaxed(&shared->sequence, sequence + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    size_t skip = sizeof shared->sequence;
    memcpy((char *)shared + skip, (const char *)stats + skip, sizeof *stats - skip);
    mal_store_release(&shared->sequence, sequence + 2);
    append_history_locked(stats);
    mal_unlock(&box_lock);
}

static void copy_into_ring(struct mal_box_trace *trace, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        trace->text[(trace->written + i) % MAL_BOX_TRACE_BYTES] = text[i];
}

void mal_writer_trace(const char *text, size_t bytes) {
    if (bytes > TRACE_STEP_BYTES)
        return;
    mal_lock(&box_lock);
    struct mal_box_trace *trace = mal_writer_section(MAL_BOX_TRACE);
    uint64_t reach = mal_min(trace->written + bytes, MAL_BOX_TRACE_BYTES);
    if (mal_writer_ensure(MAL_BOX_TRACE, offsetof(struct mal_box_trace, text) + reach)) {
        copy_into_ring(trace, text, bytes);
        mal_store_release(&trace->written, trace->written + bytes);
    }
    mal_unlock(&box_lock);
}

void mal_writer_before_fork(void) {
    mal_lock(&box_lock);
}

void mal_writer_after_fork(void) {
    mal_unlock(&box_lock);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The collector's numbers: what MemStats, ReadGCStats and the box say of it.
 *
 * SYNCHRONIZATION: `stats_lock` guards everything but the instants of rule 1. It is taken by the
 * owner of a cycle after the world goes on, and by readers.
 *   1. `start_ns` is constant after init, `last_end_ns` a relaxed atomic.
 */
#include "gc/cycle_private.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "gc/heap.h"
#include "mallard/gc.h"
#include "meta/memory.h"
#include "os/clock.h"
#include "os/lock.h"

#include <errno.h>
#include <string.h>

#define PARTS_PER_BILLION 1000000000.0

static struct mal_lock stats_lock = MAL_LOCK_INIT(MAL_RANK_GC_STATS);
static uint64_t start_ns, last_end_ns; /* rule 1 */
static struct {
    uint64_t cycles, forced, pause_total_ns, last_unix_ns, cpu_ns;
    double cpu_share;
    uint64_t pause_ns[MAL_BOX_PAUSES], pause_end_unix_ns[MAL_BOX_PAUSES];
} numbers; /* stats_lock */

void mal_gc_stats_init(void) {
    start_ns = mal_clock_mono_ns();
}

uint64_t mal_gc_stats_since_start_ns(uint64_t mono_ns) {
    return mono_ns - start_ns;
}

uint64_t mal_gc_stats_last_end_ns(void) {
    return mal_load_relaxed(&last_end_ns);
}

uint64_t mal_gc_stats_cycles(void) {
    mal_lock(&stats_lock);
    uint64_t cycles = numbers.cycles;
    mal_unlock(&stats_lock);
    return cycles;
}

static void count_pause(uint64_t pause_ns) {
    uint64_t at = numbers.cycles % MAL_BOX_PAUSES;
    numbers.last_unix_ns = mal_clock_unix_ns();
    numbers.pause_ns[at] = pause_ns;
    numbers.pause_end_unix_ns[at] = numbers.last_unix_ns;
    numbers.pause_total_ns += pause_ns;
}

double mal_gc_stats_count(const struct mal_gc_run *run, uint64_t pause_ns, uint64_t cpu_ns) {
    mal_lock(&stats_lock);
    count_pause(pause_ns);
    numbers.cycles++;
    numbers.forced += (run->reasons & MAL_GC_REASON_FORCED) != 0;
    numbers.cpu_ns += cpu_ns;
    double room_ns = (double)(run->end_ns - start_ns) * mal_gc_cpus();
    numbers.cpu_share = room_ns > 0 ? (double)numbers.cpu_ns / room_ns : 0;
    double share = numbers.cpu_share;
    mal_unlock(&stats_lock);
    mal_store_relaxed(&last_end_ns, run->end_ns);
    return share;
}

static void add_heap(uint64_t *v) {
    struct mal_gc_heap_counters heap = mal_gc_heap_counters();
    v[MAL_STAT_GC_HEAP] = heap.live_bytes;
    v[MAL_STAT_GC_LIVE] = heap.marked_bytes;
    v[MAL_STAT_MALLOCS] += heap.mallocs;
    v[MAL_STAT_FREES] += mal_min(heap.frees, heap.mallocs);
    v[MAL_STAT_TOTAL_ALLOC] += heap.total_alloc_bytes;
    v[MAL_STAT_TOTAL_FREE] += mal_min(heap.total_free_bytes, heap.total_alloc_bytes);
}

void mal_gc_add_stats(struct mal_box_stats *stats) {
    uint64_t *v = stats->value;
    v[MAL_STAT_GC_SYS] = mal_meta_bytes(MAL_META_GC);
    if (!mal_gc_is_up())
        return;
    add_heap(v);
    v[MAL_STAT_NEXT_GC] = mal_min(mal_gc_pace_goal(), INT64_MAX);
    mal_lock(&stats_lock);
    v[MAL_STAT_LAST_GC] = numbers.last_unix_ns;
    v[MAL_STAT_PAUSE_TOTAL] = numbers.pause_total_ns;
    v[MAL_STAT_NUM_GC] = numbers.cycles;
    v[MAL_STAT_NUM_FORCED_GC] = numbers.forced;
    v[MAL_STAT_GC_CPU_PPB] = (uint64_t)(numbers.cpu_share * PARTS_PER_BILLION);
    memcpy(stats->pause_ns, numbers.pause_ns, sizeof numbers.pause_ns);
    memcpy(stats->pause_end_unix_ns, numbers.pause_end_unix_ns, sizeof numbers.pause_end_unix_ns);
    mal_unlock(&stats_lock);
}

static void fill(struct mallard_gc_stats *stats) {
    struct mal_gc_heap_counters heap = mal_gc_heap_counters();
    stats->next_gc_bytes = mal_min(mal_gc_pace_goal(), INT64_MAX);
    stats->live_bytes = heap.live_bytes;
    stats->marked_bytes = heap.marked_bytes;
    stats->mallocs = heap.mallocs;
    stats->frees = heap.frees;
    mal_lock(&stats_lock);
    stats->num_gc = numbers.cycles;
    stats->num_forced_gc = numbers.forced;
    stats->pause_total_ns = numbers.pause_total_ns;
    stats->last_gc_unix_ns = numbers.last_unix_ns;
    stats->gc_cpu_fraction = numbers.cpu_share;
    memcpy(stats->pause_ns, numbers.pause_ns, sizeof stats->pause_ns);
    memcpy(stats->pause_end_unix_ns, numbers.pause_end_unix_ns, sizeof stats->pause_end_unix_ns);
    mal_unlock(&stats_lock);
}

/* The caller's structure may be older and shorter, or newer and longer, than ours. */
MAL_PUBLIC int mallard_gc_read_stats(struct mallard_gc_stats *stats) {
    struct mallard_gc_stats full;
    if (!stats || stats->size == 0)
        return -EINVAL;
    memset(&full, 0, sizeof full);
    full.size = stats->size;
    if (mal_gc_is_up())
        fill(&full);
    memcpy(stats, &full, mal_min(stats->size, sizeof full));
    return 0;
}

void mal_gc_stats_before_fork(void) {
    mal_lock(&stats_lock);
}

void mal_gc_stats_after_fork(void) {
    mal_unlock(&stats_lock);
}

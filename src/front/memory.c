/* SPDX-License-Identifier: Apache-2.0
 *
 * Acting on request.
 *
 * Releasing goes down the tiers: the calling CPU's cache (all CPUs' in lock mode), the transfer
 * caches, then the pages. Other CPUs' caches are reached by moving the calling thread only when it
 * is one of ours; a program's thread is never moved.
 *
 * SYNCHRONIZATION: no state; each tier locks for itself.
 */
#include "front/memory.h"

#include "base/bits.h"
#include "box/writer.h"
#include "cache/percpu_cache.h"
#include "central/central.h"
#include "front/init.h"
#include "front/options.h"
#include "front/thread.h"
#include "front/trace.h"
#include "gc/cycle.h"
#include "meta/classes.h"
#include "os/thread.h"
#include "pageheap/limit.h"
#include "pageheap/scavenger.h"

static void drain_every_cpu(void) {
    MAL_FOR_EACH_CACHE (cpu)
        if (mal_cache_mode() == MAL_PERCPU_LOCK || mal_thread_move_to(cpu) == 0)
            mal_cache_drain_cpu(cpu, MAL_DRAIN_ALL);
    if (mal_cache_mode() == MAL_PERCPU_RSEQ)
        mal_thread_restore_cpus();
}

uint64_t mal_memory_release(void) {
    mal_init_check_fork();
    if (mal_cache_mode() == MAL_PERCPU_LOCK || (mal_thread.flags & MAL_THREAD_OWN))
        drain_every_cpu();
    else
        mal_cache_drain_here();
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        mal_central_flush(class);
    uint64_t released = mal_scavenger_release_all();
    mal_trace_scavenge_forced();
    return released;
}

int64_t mal_memory_set_limit(int64_t bytes) {
    if (bytes < 0)
        return (int64_t)mal_limit_bytes();
    int64_t before = (int64_t)mal_limit_set((uint64_t)bytes);
    mal_gc_limit_changed();
    return before;
}

uint64_t mal_memory_gogc(void) {
    int percent = mal_gc_percent();
    return percent < 0 ? MAL_GOGC_OFF : (uint64_t)percent;
}

int64_t mal_memory_set_gogc(int64_t percent) {
    return mal_gc_set_percent(percent < 0 ? -1 : (int)mal_min((uint64_t)percent, INT32_MAX));
}

uint64_t mal_memory_set_rate(uint64_t rate_bytes) {
    uint64_t before = mal_thread_set_rate(rate_bytes);
    mal_writer_set_rate(mal_thread_rate());
    return before;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * From counters to MemStats.
 *
 * Tiers count on their own; nothing is counted twice. Here their numbers are read one after the
 * other while the program goes on, and then made to add up: sums are built from parts, never read
 * beside them, and where two parts were read at different moments the smaller truth wins, so that
 * the equations of box/layout.h hold in every row. Counters never go back: each is at least what
 * the row before it said.
 *
 * SYNCHRONIZATION: `stats_lock` (rank STATS) serialises collecting, so that "the row before"
 * exists. Large-object counters are relaxed atomics.
 */
#include "front/stats.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "box/writer.h"
#include "cache/percpu_cache.h"
#include "central/central.h"
#include "front/memory.h"
#include "front/thread.h"
#include "gc/cycle.h"
#include "meta/classes.h"
#include "meta/memory.h"
#include "os/clock.h"
#include "os/env.h"
#include "os/lock.h"
#include "os/thread.h"
#include "os/vm.h"
#include "pageheap/limit.h"
#include "pageheap/pageheap.h"
#include "pageheap/scavenger.h"
#include "sample/profile.h"

#include <string.h>

static struct mal_lock stats_lock = MAL_LOCK_INIT(MAL_RANK_STATS);
static struct mal_box_stats previous;   /* stats_lock */
static struct mal_box_stats publishing; /* stats_lock: too large for a stack */

/* relaxed atomics */
static uint64_t foreign_frees;
static uint64_t large_mallocs, large_frees;
static uint64_t large_alloc_bytes, large_free_bytes;

void mal_stats_count_foreign_free(void) {
    mal_add_relaxed(&foreign_frees, 1);
}

void mal_stats_count_large(uint64_t bytes) {
    mal_add_relaxed(&large_mallocs, 1);
    mal_add_relaxed(&large_alloc_bytes, bytes);
}

void mal_stats_uncount_large(uint64_t bytes) {
    mal_add_relaxed(&large_free_bytes, bytes);
    mal_add_relaxed(&large_frees, 1);
}

static void never_back(uint64_t *counter, uint64_t before) {
    *counter = mal_max(*counter, before);
}

/* One class: live = mallocs - frees, never negative, both never going back. */
static void collect_class(struct mal_box_stats *stats, uint32_t class) {
    struct mal_box_class *row = &stats->by_class[class];
    const struct mal_box_class *before = &previous.by_class[class];
    struct mal_cache_stats cache = mal_cache_stats(class);
    struct mal_central_stats central = mal_central_stats(class);
    row->size_bytes = mal_class[class].size_bytes;
    row->span_bytes = (uint64_t)mal_class[class].span_pages << MAL_PAGE_SHIFT;
    row->frees = cache.frees;
    never_back(&row->frees, before->frees);
    row->mallocs = mal_max(cache.mallocs, row->frees);
    never_back(&row->mallocs, before->mallocs);
    row->spans = central.spans;
    row->free_objects = cache.cached + central.transfer_objects + central.span_free;
    stats->value[MAL_STAT_CPU_CACHE] += cache.cached * row->size_bytes;
    stats->value[MAL_STAT_TRANSFER_CACHE] += central.transfer_objects * row->size_bytes;
    stats->value[MAL_STAT_SPAN_FREE] += central.span_free * row->size_bytes;
    stats->value[MAL_STAT_SPAN_HOLES] += central.holes_bytes;
    stats->value[MAL_STAT_SPAN_REFILLED] += central.refilled_bytes;
}

/* Row 0: objects that own their span. Their bytes vary, so they are kept as sums. */
static void collect_large(struct mal_box_stats *stats) {
    struct mal_box_class *row = &stats->by_class[0];
    row->frees = mal_load_relaxed(&large_frees);
    uint64_t freed = mal_load_relaxed(&large_free_bytes);
    uint64_t allocated = mal_load_relaxed(&large_alloc_bytes);
    row->mallocs = mal_max(mal_load_relaxed(&large_mallocs), row->frees);
    row->spans = row->mallocs - row->frees;
    stats->value[MAL_STAT_TOTAL_FREE] += freed;
    stats->value[MAL_STAT_TOTAL_ALLOC] += mal_max(allocated, freed);
    stats->value[MAL_STAT_LARGE_ALLOC] = mal_max(allocated, freed) - freed;
}

static void sum_classes(struct mal_box_stats *stats) {
    uint64_t *v = stats->value;
    for (uint32_t class = 0; class < MAL_CLASS_COUNT; class ++) {
        const struct mal_box_class *row = &stats->by_class[class];
        v[MAL_STAT_MALLOCS] += row->mallocs;
        v[MAL_STAT_FREES] += row->frees;
        v[MAL_STAT_TOTAL_ALLOC] += row->mallocs * row->size_bytes;
        v[MAL_STAT_TOTAL_FREE] += row->frees * row->size_bytes;
    }
    never_back(&v[MAL_STAT_TOTAL_ALLOC], previous.value[MAL_STAT_TOTAL_ALLOC]);
    never_back(&v[MAL_STAT_TOTAL_FREE], previous.value[MAL_STAT_TOTAL_FREE]);
    v[MAL_STAT_HEAP_OBJECTS] = v[MAL_STAT_MALLOCS] - v[MAL_STAT_FREES];
}

/* Cuts a gauge to what room is left, and takes its share of it. */
static void fit(uint64_t *gauge, uint64_t *room) {
    *gauge = mal_min(*gauge, *room);
    *room -= *gauge;
}

/* Pages were read at another moment than objects, and spans hold at least what is live and what is
 * cached. Gauges give way, because a counter that was moved once could never come back: more pages
 * count as in use; only what exceeds the whole heap counts as freed, which is what it was or is
 * about to be. */
static void settle_heap(uint64_t *v) {
    uint64_t live = v[MAL_STAT_TOTAL_ALLOC] - v[MAL_STAT_TOTAL_FREE];
    uint64_t held = v[MAL_STAT_CPU_CACHE] + v[MAL_STAT_TRANSFER_CACHE] + v[MAL_STAT_SPAN_FREE];
    uint64_t inuse = mal_max(v[MAL_STAT_HEAP_INUSE], live + held);
    v[MAL_STAT_HEAP_INUSE] = mal_min(inuse, v[MAL_STAT_HEAP_SYS]);
    v[MAL_STAT_HEAP_IDLE] = v[MAL_STAT_HEAP_SYS] - v[MAL_STAT_HEAP_INUSE];
    v[MAL_STAT_HEAP_RELEASED] = mal_min(v[MAL_STAT_HEAP_RELEASED], v[MAL_STAT_HEAP_IDLE]);
    if (live > v[MAL_STAT_HEAP_INUSE]) {
        v[MAL_STAT_TOTAL_FREE] += live - v[MAL_STAT_HEAP_INUSE];
        live = v[MAL_STAT_HEAP_INUSE];
    }
    v[MAL_STAT_HEAP_ALLOC] = live;
    uint64_t room = v[MAL_STAT_HEAP_INUSE] - live;
    fit(&v[MAL_STAT_CPU_CACHE], &room);
    fit(&v[MAL_STAT_TRANSFER_CACHE], &room);
    fit(&v[MAL_STAT_SPAN_FREE], &room);
}

static void collect_pages(uint64_t *v) {
    struct mal_pageheap_stats pages = mal_pageheap_stats();
    v[MAL_STAT_HEAP_SYS] = pages.mapped_pages << MAL_PAGE_SHIFT;
    v[MAL_STAT_HEAP_INUSE] = pages.inuse_pages << MAL_PAGE_SHIFT;
    v[MAL_STAT_HEAP_IDLE] = (pages.free_pages + pages.released_pages) << MAL_PAGE_SHIFT;
    v[MAL_STAT_HEAP_RELEASED] = pages.released_pages << MAL_PAGE_SHIFT;
    v[MAL_STAT_SPANS] = pages.spans;
    v[MAL_STAT_SPAN_INUSE] = pages.span_bytes;
}

static void collect_tables(uint64_t *v) {
    v[MAL_STAT_SPAN_SYS] = mal_max(mal_meta_bytes(MAL_META_SPAN), v[MAL_STAT_SPAN_INUSE]);
    v[MAL_STAT_CACHE_INUSE] = mal_cache_slab_bytes() + mal_meta_bytes(MAL_META_CACHE);
    v[MAL_STAT_CACHE_SYS] = v[MAL_STAT_CACHE_INUSE];
    v[MAL_STAT_BUCKET_SYS] = mal_meta_bytes(MAL_META_BUCKET);
    v[MAL_STAT_GC_SYS] = mal_meta_bytes(MAL_META_GC);
    v[MAL_STAT_OTHER_SYS] = mal_meta_bytes(MAL_META_OTHER);
    v[MAL_STAT_SYS] = v[MAL_STAT_HEAP_SYS] + v[MAL_STAT_STACK_SYS] + v[MAL_STAT_SPAN_SYS] +
                      v[MAL_STAT_CACHE_SYS] + v[MAL_STAT_BUCKET_SYS] + v[MAL_STAT_GC_SYS] +
                      v[MAL_STAT_OTHER_SYS];
}

static void collect_rest(uint64_t *v) {
    struct mal_profile_stats profile = mal_profile_stats();
    struct mal_scavenger_stats scavenger = mal_scavenger_stats();
    v[MAL_STAT_SAMPLES] = profile.samples;
    v[MAL_STAT_SAMPLES_LIVE] = profile.live;
    v[MAL_STAT_OWN_ALLOC] = profile.own_bytes;
    v[MAL_STAT_SCAV_BACKGROUND] = scavenger.background_bytes;
    v[MAL_STAT_SCAV_EAGER] = scavenger.eager_bytes;
    v[MAL_STAT_SCAV_FORCED] = scavenger.forced_bytes;
    v[MAL_STAT_SCAV_CALLS] = scavenger.calls;
    v[MAL_STAT_SCAV_CPU] = scavenger.cpu_ns;
    v[MAL_STAT_MAPS] = mal_load_relaxed(&mal_vm_map_calls);
    v[MAL_STAT_FOREIGN_FREES] = mal_load_relaxed(&foreign_frees);
    v[MAL_STAT_MEM_LIMIT] = mal_limit_bytes();
    v[MAL_STAT_RSS] = mal_process_resident_bytes();
    v[MAL_STAT_MAX_RSS] = mal_max(mal_process_max_resident_bytes(), v[MAL_STAT_RSS]);
}

/* First: the collected heap's objects are in the sums that others add to. */
static void collect_gc(struct mal_box_stats *stats) {
    stats->value[MAL_STAT_GOGC] = mal_memory_gogc();
    stats->value[MAL_STAT_NEXT_GC] = INT64_MAX;
    mal_gc_add_stats(stats);
}

static void collect_locked(struct mal_box_stats *ret_stats) {
    int cancel = mal_thread_forbid_cancel();
    memset(ret_stats, 0, sizeof *ret_stats);
    ret_stats->class_count = MAL_CLASS_COUNT;
    collect_gc(ret_stats);
    collect_large(ret_stats);
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        collect_class(ret_stats, class);
    sum_classes(ret_stats);
    collect_pages(ret_stats->value);
    settle_heap(ret_stats->value);
    collect_tables(ret_stats->value);
    collect_rest(ret_stats->value);
    ret_stats->published_unix_ns = mal_clock_unix_ns();
    ret_stats->published_mono_ns = mal_clock_mono_ns();
    previous = *ret_stats;
    mal_thread_restore_cancel(cancel);
}

void mal_stats_collect(struct mal_box_stats *ret_stats) {
    mal_lock(&stats_lock);
    collect_locked(ret_stats);
    mal_unlock(&stats_lock);
}

void mal_stats_publish(void) {
    if (!mal_writer_is_open())
        return;
    mal_lock(&stats_lock);
    collect_locked(&publishing);
    mal_writer_publish(&publishing);
    mal_unlock(&stats_lock);
}

void mal_stats_before_fork(void) {
    mal_lock(&stats_lock);
}

void mal_stats_after_fork(void) {
    mal_unlock(&stats_lock);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The public functions that ask and steer: thin, each a translation of names.
 *
 * SYNCHRONIZATION: the statistics row is large, so one copy lies here under `api_lock` (rank API).
 * The rest has no state.
 */
#include "base/bits.h"
#include "front/init.h"
#include "front/memory.h"
#include "front/stats.h"
#include "front/thread.h"
#include "mallard/mallard.h"
#include "os/lock.h"

#include <errno.h>
#include <string.h>

static struct mal_lock api_lock = MAL_LOCK_INIT(MAL_RANK_API);

MAL_PUBLIC const char *mallard_version(void) {
    return MAL_VERSION;
}

void mal_api_before_fork(void) {
    mal_lock(&api_lock);
    mal_lock_note_released(&api_lock);
}

void mal_api_after_fork(void) {
    mal_unlock(&api_lock);
}

static void translate(const uint64_t *v, struct mallard_memstats *stats) {
    stats->alloc = stats->heap_alloc = v[MAL_STAT_HEAP_ALLOC];
    stats->total_alloc = v[MAL_STAT_TOTAL_ALLOC];
    stats->sys = v[MAL_STAT_SYS];
    stats->mallocs = v[MAL_STAT_MALLOCS];
    stats->frees = v[MAL_STAT_FREES];
    stats->heap_sys = v[MAL_STAT_HEAP_SYS];
    stats->heap_idle = v[MAL_STAT_HEAP_IDLE];
    stats->heap_inuse = v[MAL_STAT_HEAP_INUSE];
    stats->heap_released = v[MAL_STAT_HEAP_RELEASED];
    stats->heap_objects = v[MAL_STAT_HEAP_OBJECTS];
    stats->stack_inuse = v[MAL_STAT_STACK_INUSE];
    stats->stack_sys = v[MAL_STAT_STACK_SYS];
    stats->mspan_inuse = v[MAL_STAT_SPAN_INUSE];
    stats->mspan_sys = v[MAL_STAT_SPAN_SYS];
    stats->mcache_inuse = v[MAL_STAT_CACHE_INUSE];
    stats->mcache_sys = v[MAL_STAT_CACHE_SYS];
    stats->buck_hash_sys = v[MAL_STAT_BUCKET_SYS];
    stats->gc_sys = v[MAL_STAT_GC_SYS];
    stats->other_sys = v[MAL_STAT_OTHER_SYS];
}

/* The caller's structure may be older and shorter, or newer and longer, than ours. */
MAL_PUBLIC int mallard_read_memstats(struct mallard_memstats *stats) {
    static struct mal_box_stats row; /* api_lock */
    if (!stats || stats->size == 0)
        return -EINVAL;
    struct mallard_memstats full = {.size = stats->size};
    if (!mal_init())
        return -ENOMEM;
    mal_lock(&api_lock);
    mal_stats_collect(&row);
    translate(row.value, &full);
    mal_unlock(&api_lock);
    memcpy(stats, &full, mal_min(stats->size, sizeof full));
    return 0;
}

MAL_PUBLIC uint64_t mallard_set_mem_profile_rate(uint64_t bytes) {
    return mal_init() ? mal_memory_set_rate(bytes) : 0;
}

MAL_PUBLIC uint64_t mallard_mem_profile_rate(void) {
    return mal_thread_rate();
}

MAL_PUBLIC int64_t mallard_set_memory_limit(int64_t bytes) {
    /* Knobs are read first, or they would overrule this. */
    mal_init();
    return mal_memory_set_limit(bytes);
}

MAL_PUBLIC uint64_t mallard_free_os_memory(void) {
    return mal_is_initialised() ? mal_memory_release() : 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Pools: put and get.
 *
 * Path down: an item is reset, weighed, and goes to this CPU's private slot, or to the head of its
 * young items. What is too large, or more than the pool may keep, is destroyed at once. Path up:
 * this CPU's private item, its young ones from the head, other CPUs' young ones from the tail and
 * then their private ones, old ones; then a new one.
 *
 * A thread may move to another CPU at any step: nothing here depends on staying, CPUs only spread
 * the threads.
 *
 * Go's owner-only slot is open to thieves as the last resort before an item is made: a program
 * whose threads wander makes fewer.
 *
 * SYNCHRONIZATION: gc/pool_private.h. The whole of put's store and get's search is a critical
 * section, so that the world is not stopped with an item in mid-air, and the phase is constant: an
 * item that is put while marking is shaded, since its shard may have been looked at. What is taken
 * goes to a stack, which is looked at again when the world is stopped for the end of marking.
 *
 * Must never call the program's functions with a lock held.
 */
#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"
#include "base/check.h"
#include "gc/collector.h"
#include "gc/pool_private.h"
#include "mallard/mallard.h"
#include "meta/memory.h"
#include "os/critical.h"
#include "os/percpu.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define OPTIONS_BYTES_MIN (offsetof(struct mallard_pool_options, new_item) + sizeof(void *))

static struct mallard_pool *idle_pools; /* mal_pools_lock; linked by `next` */
static struct mal_pool shards =         /* mal_pools_lock */
    MAL_POOL_INIT(sizeof(struct mal_pool_shard), MAL_META_GC);

struct mal_lock mal_pools_lock = MAL_LOCK_INIT(MAL_RANK_GC_POOLS);
struct mallard_pool *mal_pools;

unsigned mal_pool_cpus(void) {
    static uint32_t cpus; /* relaxed atomic; every writer stores the same value */
    uint32_t known = mal_load_relaxed(&cpus);
    if (known == 0) {
        known = mal_percpu_possible_cpus();
        mal_store_relaxed(&cpus, known);
    }
    return known;
}

static unsigned this_cpu(void) {
    int cpu = mal_percpu_current();
    unsigned cpus = mal_pool_cpus();
    return cpu >= 0 && (unsigned)cpu < cpus ? (unsigned)cpu : mal_percpu_ask_kernel(cpus);
}

/* ---- get ---- */

enum age { YOUNG, OLD };
enum pool_end { HEAD, TAIL };

static struct mal_pool_item pop(struct mal_pool_shard *shard, enum age age, enum pool_end end) {
    struct mal_pool_deque *deque = age == YOUNG ? &shard->young : &shard->old;
    struct mal_pool_item item = {0};
    if (mal_load_relaxed(&deque->count) == 0)
        return item;
    mal_lock(&shard->lock);
    item = end == HEAD ? mal_pool_deque_pop_head(deque) : mal_pool_deque_pop_tail(deque);
    mal_unlock(&shard->lock);
    return item;
}

static struct mal_pool_item take_own(struct mallard_pool *pool, unsigned cpu) {
    struct mal_pool_shard *shard = mal_pool_shard_at(pool, cpu);
    if (!shard)
        return (struct mal_pool_item){0};
    struct mal_pool_item item = mal_pool_take_private(shard);
    return item.item ? item : pop(shard, YOUNG, HEAD);
}

static struct mal_pool_item steal_young(struct mal_pool_shard *shard) {
    return pop(shard, YOUNG, TAIL);
}

static struct mal_pool_item steal_old(struct mal_pool_shard *shard) {
    return pop(shard, OLD, TAIL);
}

/* Goes around all CPUs from `first` on. */
static struct mal_pool_item search(struct mallard_pool *pool, unsigned first,
                                   struct mal_pool_item (*take)(struct mal_pool_shard *shard)) {
    unsigned cpus = mal_pool_cpus();
    for (unsigned i = 0; i < cpus; i++) {
        struct mal_pool_shard *shard = mal_pool_shard_at(pool, (first + i) % cpus);
        struct mal_pool_item item = shard ? take(shard) : (struct mal_pool_item){0};
        if (item.item)
            return item;
    }
    return (struct mal_pool_item){0};
}

static struct mal_pool_item take_old(struct mallard_pool *pool, unsigned cpu) {
    if (mal_load_relaxed(&pool->old_is_empty))
        return (struct mal_pool_item){0};
    struct mal_pool_shard *shard = mal_pool_shard_at(pool, cpu);
    struct mal_pool_item item = shard ? pop(shard, OLD, HEAD) : (struct mal_pool_item){0};
    if (!item.item)
        item = search(pool, cpu, steal_old);
    if (!item.item)
        mal_store_relaxed(&pool->old_is_empty, 1u);
    return item;
}

static struct mal_pool_item take(struct mallard_pool *pool) {
    unsigned cpu = this_cpu();
    struct mal_pool_item item = take_own(pool, cpu);
    if (!item.item)
        item = search(pool, cpu + 1, steal_young);
    if (!item.item)
        item = take_old(pool, cpu);
    return item.item ? item : search(pool, cpu + 1, mal_pool_take_private);
}

MAL_PUBLIC void *mallard_pool_get(struct mallard_pool *pool) {
    if (!pool)
        mal_die("mallard_pool_get: the pool is NULL");
    mal_critical_enter();
    struct mal_pool_item item = take(pool);
    mal_critical_leave();
    if (item.item) {
        mal_pool_release(pool, item.bytes);
        return item.item;
    }
    mal_gc_callbacks_kick();
    return pool->options.new_item ? pool->options.new_item(pool->options.context) : NULL;
}

/* ---- put ---- */

static size_t collected_bytes(const void *item) {
    const struct mal_gc_collector *collector = mal_gc_collector_get();
    uintptr_t start;
    size_t bytes;
    return collector && collector->find((uintptr_t)item, &start, &bytes) ? bytes : 0;
}

static size_t weigh(const struct mallard_pool_options *options, void *item) {
    if (options->max_item_bytes == 0 && options->max_kept_bytes == 0)
        return 0;
    if (options->size_of)
        return options->size_of(item, options->context);
    return options->destroy ? mallard_malloc_usable_size(item) : collected_bytes(item);
}

/* Makes room within the bounds; false when there is none. */
static bool reserve(struct mallard_pool *pool, size_t bytes) {
    size_t most = pool->options.max_kept_bytes;
    if (pool->options.max_item_bytes && bytes > pool->options.max_item_bytes)
        return false;
    if (most == 0)
        return true;
    uint64_t kept = mal_load_relaxed(&pool->kept_bytes);
    do {
        if (bytes > most || kept > most - bytes)
            return false;
    } while (!mal_cas_relaxed(&pool->kept_bytes, &kept, kept + bytes));
    return true;
}

static struct mal_pool_shard *make_shard(struct mallard_pool *pool, unsigned cpu) {
    mal_lock(&mal_pools_lock);
    struct mal_pool_shard *shard = pool->shard[cpu];
    if (!shard && (shard = mal_pool_take(&shards))) {
        memset(shard, 0, sizeof *shard);
        mal_lock_init(&shard->lock, MAL_RANK_GC_POOL);
        mal_store_release(&pool->shard[cpu], shard);
    }
    mal_unlock(&mal_pools_lock);
    return shard;
}

static bool keep(struct mallard_pool *pool, struct mal_pool_item item) {
    unsigned cpu = this_cpu();
    struct mal_pool_shard *shard = mal_pool_shard_at(pool, cpu);
    if (!shard && !(shard = make_shard(pool, cpu)))
        return false;
    mal_gc_collector_shade(item.item);
    if (mal_pool_put_private(shard, item))
        return true;
    mal_lock(&shard->lock);
    bool kept = mal_pool_deque_push(&shard->young, item);
    mal_unlock(&shard->lock);
    return kept;
}

static bool try_to_keep(struct mallard_pool *pool, void *item) {
    size_t bytes = weigh(&pool->options, item);
    if (!reserve(pool, bytes))
        return false;
    mal_critical_enter();
    bool kept = keep(pool, (struct mal_pool_item){item, bytes});
    mal_critical_leave();
    if (!kept)
        mal_pool_release(pool, bytes);
    return kept;
}

MAL_PUBLIC void mallard_pool_put(struct mallard_pool *pool, void *item) {
    if (!pool)
        mal_die("mallard_pool_put: the pool is NULL");
    if (!item)
        return;
    if (pool->options.reset)
        pool->options.reset(item, pool->options.context);
    if (try_to_keep(pool, item))
        return;
    mal_add_relaxed(&pool->refused, 1);
    if (pool->options.destroy)
        pool->options.destroy(item, pool->options.context);
}

/* ---- making and ending pools ---- */

static struct mallard_pool *take_pool_locked(void) {
    struct mallard_pool *pool = idle_pools;
    size_t bytes = sizeof *pool + mal_pool_cpus() * sizeof pool->shard[0];
    if (pool)
        idle_pools = pool->next;
    else
        pool = mal_meta_alloc(bytes, MAL_META_GC);
    if (pool)
        memset(pool, 0, bytes);
    return pool;
}

static void link_pool_locked(struct mallard_pool *pool) {
    pool->next = mal_pools;
    if (mal_pools)
        mal_pools->previous = pool;
    mal_store_relaxed(&mal_pools, pool);
}

static void unlink_pool_locked(struct mallard_pool *pool) {
    if (pool->previous)
        pool->previous->next = pool->next;
    else
        mal_store_relaxed(&mal_pools, pool->next);
    if (pool->next)
        pool->next->previous = pool->previous;
}

MAL_PUBLIC struct mallard_pool *mallard_pool_new(const struct mallard_pool_options *options) {
    if (!options || options->size < OPTIONS_BYTES_MIN) {
        errno = EINVAL;
        return NULL;
    }
    mal_lock(&mal_pools_lock);
    struct mallard_pool *pool = take_pool_locked();
    if (pool) {
        memcpy(&pool->options, options, mal_min(options->size, sizeof *options));
        link_pool_locked(pool);
    }
    mal_unlock(&mal_pools_lock);
    if (!pool)
        errno = ENOMEM;
    return pool;
}

void mal_pool_recycle_locked(struct mallard_pool *pool) {
    for (unsigned cpu = 0; cpu < mal_pool_cpus(); cpu++)
        if (pool->shard[cpu]) {
            mal_pool_deque_clear(&pool->shard[cpu]->young);
            mal_pool_deque_clear(&pool->shard[cpu]->old);
            mal_pool_give(&shards, pool->shard[cpu]);
        }
    mal_pool_deque_clear(&pool->doomed);
    pool->state = MAL_POOL_FREED;
    pool->next = idle_pools;
    idle_pools = pool;
}

static struct mal_pool_item take_doomed(struct mallard_pool *pool) {
    mal_lock(&mal_pools_lock);
    struct mal_pool_item item = mal_pool_deque_pop_head(&pool->doomed);
    mal_unlock(&mal_pools_lock);
    return item;
}

void mal_pool_destroy(struct mallard_pool *pool, struct mal_pool_item item) {
    mal_pool_release(pool, item.bytes);
    if (pool->options.destroy)
        pool->options.destroy(item.item, pool->options.context);
}

static void destroy_all(struct mallard_pool *pool) {
    struct mal_pool_item item;
    mal_store_relaxed(&pool->old_is_empty, 0u);
    while ((item = take(pool)).item || (item = take_doomed(pool)).item)
        mal_pool_destroy(pool, item);
}

MAL_PUBLIC void mallard_pool_free(struct mallard_pool *pool) {
    if (!pool)
        return;
    mal_lock(&mal_pools_lock);
    bool was_freed = pool->state == MAL_POOL_FREED || pool->state == MAL_POOL_ENDED;
    if (!was_freed)
        unlink_pool_locked(pool);
    mal_unlock(&mal_pools_lock);
    if (was_freed)
        mal_die("mallard_pool_free(%p): the pool was freed before", (void *)pool);
    destroy_all(pool);
    mal_lock(&mal_pools_lock);
    if (pool->state == MAL_POOL_IDLE)
        mal_pool_recycle_locked(pool);
    else
        pool->state = MAL_POOL_ENDED;
    mal_unlock(&mal_pools_lock);
}

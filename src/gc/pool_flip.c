/* SPDX-License-Identifier: Apache-2.0
 *
 * Pools over time: the flip, the roots, what is counted, forks.
 *
 * A flip drops the old items of every shard and makes the young ones old; the private one goes with
 * them. So an item that nobody fetches survives one flip and not the second, and one that is
 * fetched and put back is young again. Dropped items of pools with `destroy` wait in `doomed` for
 * the thread of gc/callbacks.h: a flip runs none of the program's code. Cycles flip; where none
 * runs for FLIP_NS, the background thread does.
 *
 * SYNCHRONIZATION: the registry lock is held for all of a flip or of marking, a shard's lock within
 * it for that shard. Both are free while the world is stopped.
 *
 * Must never allocate but chunks of our own memory, and never call the program's functions under a
 * lock.
 */
#include "gc/pool.h"

#include "gc/collector.h"
#include "gc/pool_private.h"
#include "os/clock.h"

#include <errno.h>
#include <string.h>

#define FLIP_NS (120ull * 1000 * 1000 * 1000) /* Go's longest time between two cycles */

static uint64_t last_flip_ns; /* registry lock; read relaxed by the tick */

/* ---- flip ---- */

static void drop(struct mallard_pool *pool, struct mal_pool_deque *deque) {
    mal_add_relaxed(&pool->dropped, deque->count);
    if (pool->options.destroy)
        mal_pool_deque_append(&pool->doomed, deque);
    else
        mal_pool_release(pool, mal_pool_deque_clear(deque));
}

/* Without memory for a chunk the private item stays where it is: young once more. */
static void age_private(struct mal_pool_shard *shard) {
    if (!mal_load_relaxed(&shard->private_item) || !mal_pool_deque_prepare(&shard->old))
        return;
    struct mal_pool_item item = mal_pool_take_private(shard);
    if (item.item)
        mal_pool_deque_push(&shard->old, item);
    else
        mal_pool_deque_settle(&shard->old);
}

static void age_shard(struct mallard_pool *pool, struct mal_pool_shard *shard) {
    mal_lock(&shard->lock);
    drop(pool, &shard->old);
    mal_pool_deque_append(&shard->old, &shard->young);
    age_private(shard);
    mal_unlock(&shard->lock);
}

static void retire(struct mal_gc_callback *callback) {
    (void)callback;
}

static struct mal_pool_item next_doomed(struct mallard_pool *pool) {
    mal_lock(&mal_pools_lock);
    struct mal_pool_item item = mal_pool_deque_pop_head(&pool->doomed);
    if (!item.item && pool->state == MAL_POOL_ENDED)
        mal_pool_recycle_locked(pool);
    else if (!item.item)
        pool->state = MAL_POOL_IDLE;
    mal_unlock(&mal_pools_lock);
    return item;
}

static void destroy_doomed(void *argument) {
    struct mallard_pool *pool = argument;
    struct mal_pool_item item;
    while ((item = next_doomed(pool)).item)
        mal_pool_destroy(pool, item);
}

static void flip_pool(struct mallard_pool *pool) {
    for (unsigned cpu = 0; cpu < mal_pool_cpus(); cpu++)
        if (pool->shard[cpu])
            age_shard(pool, pool->shard[cpu]);
    mal_store_relaxed(&pool->old_is_empty, 0u);
    if (pool->doomed.count == 0 || pool->state != MAL_POOL_IDLE)
        return;
    pool->state = MAL_POOL_DESTROYING;
    pool->callback = (struct mal_gc_callback){NULL, destroy_doomed, pool, retire};
    mal_gc_callbacks_push(&pool->callback);
}

void mal_gc_pools_flip(void) {
    mal_lock(&mal_pools_lock);
    for (struct mallard_pool *pool = mal_pools; pool; pool = pool->next)
        flip_pool(pool);
    mal_store_relaxed(&last_flip_ns, mal_clock_mono_ns());
    mal_unlock(&mal_pools_lock);
}

void mal_gc_pools_tick(uint64_t now_ns) {
    int64_t since_ns = (int64_t)(now_ns - mal_load_relaxed(&last_flip_ns));
    if (mal_load_relaxed(&mal_pools) && since_ns >= (int64_t)FLIP_NS)
        mal_gc_pools_flip();
    mal_gc_callbacks_kick();
}

/* ---- roots ---- */

struct marking {
    const struct mal_gc_collector *collector;
    struct mal_gc_worker *worker;
};

static void mark_item(struct mal_pool_item item, void *context) {
    const struct marking *marking = context;
    marking->collector->mark_word(marking->worker, (uintptr_t)item.item);
}

/* Whoever is at a BUSY slot has the item at hand, or shades it. */
static void mark_shard(struct mal_pool_shard *shard, struct marking *marking) {
    mal_lock(&shard->lock);
    mal_pool_deque_each(&shard->young, mark_item, marking);
    mal_pool_deque_each(&shard->old, mark_item, marking);
    mal_unlock(&shard->lock);
    void *item = mal_load_acquire(&shard->private_item);
    if (item && item != MAL_POOL_BUSY)
        mark_item((struct mal_pool_item){item, 0}, marking);
}

static void mark_pool(struct mallard_pool *pool, struct marking *marking) {
    for (unsigned cpu = 0; cpu < mal_pool_cpus(); cpu++)
        if (pool->shard[cpu])
            mark_shard(pool->shard[cpu], marking);
    mal_pool_deque_each(&pool->doomed, mark_item, marking);
}

void mal_gc_pools_mark_roots(struct mal_gc_worker *worker) {
    struct marking marking = {mal_gc_collector_get(), worker};
    mal_lock(&mal_pools_lock);
    for (struct mallard_pool *pool = mal_pools; pool; pool = pool->next)
        mark_pool(pool, &marking);
    mal_unlock(&mal_pools_lock);
}

/* ---- statistics ---- */

static void count_item(struct mal_pool_item item, void *context) {
    struct mallard_pool_stats *stats = context;
    stats->kept_items++;
    stats->kept_bytes += item.bytes;
}

static void count_shard(struct mal_pool_shard *shard, struct mallard_pool_stats *stats) {
    mal_lock(&shard->lock);
    mal_pool_deque_each(&shard->young, count_item, stats);
    mal_pool_deque_each(&shard->old, count_item, stats);
    mal_unlock(&shard->lock);
    void *item = mal_load_acquire(&shard->private_item);
    if (item && item != MAL_POOL_BUSY)
        count_item((struct mal_pool_item){item, mal_load_relaxed(&shard->private_bytes)}, stats);
}

static void count_pool(struct mallard_pool *pool, struct mallard_pool_stats *stats) {
    mal_lock(&mal_pools_lock);
    for (unsigned cpu = 0; cpu < mal_pool_cpus(); cpu++)
        if (pool->shard[cpu])
            count_shard(pool->shard[cpu], stats);
    mal_pool_deque_each(&pool->doomed, count_item, stats);
    mal_unlock(&mal_pools_lock);
}

MAL_PUBLIC int mallard_pool_read_stats(struct mallard_pool *pool,
                                       struct mallard_pool_stats *stats) {
    if (!pool || !stats || stats->size == 0)
        return -EINVAL;
    struct mallard_pool_stats full = {.size = stats->size};
    count_pool(pool, &full);
    full.refused = mal_load_relaxed(&pool->refused);
    full.dropped = mal_load_relaxed(&pool->dropped);
    memcpy(stats, &full, stats->size < sizeof full ? stats->size : sizeof full);
    return 0;
}

/* ---- fork ---- */

static void each_shard(void (*visit)(struct mal_pool_shard *shard)) {
    for (struct mallard_pool *pool = mal_pools; pool; pool = pool->next)
        for (unsigned cpu = 0; cpu < mal_pool_cpus(); cpu++)
            if (pool->shard[cpu])
                visit(pool->shard[cpu]);
}

static void lock_shard(struct mal_pool_shard *shard) {
    mal_lock(&shard->lock);
    mal_lock_note_released(&shard->lock);
}

static void unlock_shard(struct mal_pool_shard *shard) {
    mal_unlock(&shard->lock);
}

/* Who was at the slot is not in the child, and what it had at hand is lost with its stack. */
static void free_slot(struct mal_pool_shard *shard) {
    if (shard->private_item == MAL_POOL_BUSY)
        shard->private_item = NULL;
}

void mal_gc_pools_before_fork(void) {
    mal_lock(&mal_pools_lock);
    each_shard(lock_shard);
    mal_pool_deque_before_fork();
}

void mal_gc_pools_after_fork(bool child) {
    mal_pool_deque_after_fork();
    if (child)
        each_shard(free_slot);
    each_shard(unlock_shard);
    mal_unlock(&mal_pools_lock);
}

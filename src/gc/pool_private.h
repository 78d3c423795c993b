/* SPDX-License-Identifier: Apache-2.0
 *
 * What a pool is made of.
 *
 * A shard belongs to a CPU, and any thread may meet any shard:
 *
 *     private     one item, fetched first; the slot is
 *                     NULL -> BUSY -> item -> BUSY -> NULL
 *                 each step to BUSY a compare-and-swap (acquire), each step from it a store
 *                 (release) by whoever made it BUSY. `private_bytes` belongs to that one. So one
 *                 put and one get of an item pair up, and an item leaves the slot once
 *     young       items put since the last flip
 *     old         items put before it: taken last, gone at the next flip
 *
 *     kept_bytes = bytes of all items in shards and in `doomed`, where max_kept_bytes is set;
 *                  at most max_kept_bytes
 */
#ifndef MAL_GC_POOL_PRIVATE_H
#define MAL_GC_POOL_PRIVATE_H

#include "base/attr.h"
#include "gc/callbacks.h"
#include "gc/pool_deque.h"
#include "mallard/pool.h"
#include "os/lock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_POOL_BUSY ((void *)1)

struct mal_pool_shard {
    MAL_LINE_ALIGNED void *private_item; /* see above; atomic */
    size_t private_bytes;
    struct mal_lock lock; /* GC_POOL: the deques */
    struct mal_pool_deque young;
    struct mal_pool_deque old;
};

enum mal_pool_state {
    MAL_POOL_IDLE,
    MAL_POOL_DESTROYING, /* its callback is queued, or running */
    MAL_POOL_ENDED,      /* as DESTROYING, and the pool was freed: the callback ends it */
    MAL_POOL_FREED,      /* its memory waits for another pool */
};

struct mallard_pool {
    struct mal_gc_callback callback; /* first; queued while DESTROYING or ENDED */
    struct mallard_pool_options options;
    struct mallard_pool *next, *previous; /* registry lock */
    struct mal_pool_deque doomed;         /* to be destroyed; registry lock */
    uint32_t state;                       /* enum mal_pool_state; registry lock */
    uint32_t old_is_empty;                /* no use looking for old items; atomic */
    uint64_t kept_bytes;                  /* atomic */
    uint64_t refused, dropped;            /* relaxed atomics */
    struct mal_pool_shard *shard[];       /* by CPU, NULL until used; registry lock, release */
};

/* Guards the list of pools, and what the fields above say. Rank GC_POOLS. */
extern MAL_HIDDEN struct mal_lock mal_pools_lock;
extern MAL_HIDDEN struct mallard_pool
    *mal_pools; /* the list; mal_pools_lock, its head read relaxed */

/* How many shards a pool may have. Constant once a pool exists. */
unsigned mal_pool_cpus(void);

static inline struct mal_pool_shard *mal_pool_shard_at(const struct mallard_pool *pool,
                                                       unsigned cpu) {
    return mal_load_acquire(&pool->shard[cpu]);
}

/* Takes the item of the slot; item is NULL when there is none, or somebody is at it. */
static inline struct mal_pool_item mal_pool_take_private(struct mal_pool_shard *shard) {
    void *found = mal_load_relaxed(&shard->private_item);
    if (found == NULL || found == MAL_POOL_BUSY ||
        !mal_cas_acquire(&shard->private_item, &found, MAL_POOL_BUSY))
        return (struct mal_pool_item){0};
    struct mal_pool_item item = {found, shard->private_bytes};
    mal_store_release(&shard->private_item, NULL);
    return item;
}

/* False when the slot is taken. */
static inline bool mal_pool_put_private(struct mal_pool_shard *shard, struct mal_pool_item item) {
    void *empty = NULL;
    if (mal_load_relaxed(&shard->private_item) != NULL ||
        !mal_cas_acquire(&shard->private_item, &empty, MAL_POOL_BUSY))
        return false;
    shard->private_bytes = item.bytes;
    mal_store_release(&shard->private_item, item.item);
    return true;
}

/* The item left the pool for good or for a while: it does not count any more. */
static inline void mal_pool_release(struct mallard_pool *pool, size_t bytes) {
    if (pool->options.max_kept_bytes)
        mal_sub_relaxed(&pool->kept_bytes, bytes);
}

/* Gives an item back for good. No lock held. */
void mal_pool_destroy(struct mallard_pool *pool, struct mal_pool_item item);

/* The pool's memory may be used for another. Under the registry lock. */
void mal_pool_recycle_locked(struct mallard_pool *pool);

#endif

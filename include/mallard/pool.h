/* SPDX-License-Identifier: Apache-2.0
 *
 * Mallard's pools: items that were made and are not needed now, kept for the next who needs one.
 * Go's sync.Pool, with what it lacks: a bound.
 *
 * Each CPU keeps items of its own, so get and put rarely meet another thread. What is not fetched
 * goes: an item that lay in the pool through two cycles of the collector is dropped; where no
 * collector runs, one that lay for two to four minutes. No item is ever in two hands, none is lost
 * but those dropped, and in which order they come back is not said.
 *
 * Items are objects of the collected heap (no `destroy`: the collector takes what is dropped), or
 * anything else, such as memory from malloc (`destroy` gives back what is dropped). A program that
 * uses pools of the second kind only never starts the collector.
 *
 * C99 and C++. Any thread may call any of these at any time, but not from a signal handler; the
 * program's functions are called without locks and may use pools, this one included.
 */
#ifndef MALLARD_POOL_H
#define MALLARD_POOL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mallard_pool;

struct mallard_pool_options {
    uint64_t size; /* set to sizeof(struct mallard_pool_options) by the caller */

    /* Called by mallard_pool_get when the pool is empty. NULL: get returns NULL then. */
    void *(*new_item)(void *context);
    /* Called by mallard_pool_put before an item is kept. It may make the item smaller: its size is
     * looked at afterwards. NULL: items are kept as they are. */
    void (*reset)(void *item, void *context);
    /* Gives back an item that is not kept any more, on the thread that put it, or later on the
     * thread "mallard-gc-fin" (mallard/gc.h). NULL: items are collected objects. */
    void (*destroy)(void *item, void *context);
    /* Bytes that an item holds, with all that it alone leads to: a struct with a buffer says both.
     * NULL: mallard_gc_size without a `destroy`, else malloc_usable_size. Not called when neither
     * bound is set. */
    size_t (*size_of)(const void *item, void *context);
    void *context; /* for the functions above; a collected object is not kept alive by it */

    /* An item larger than this is not kept: one large buffer must not stay for ever. 0: no bound.
     */
    size_t max_item_bytes;
    /* All items in the pool together, on all CPUs; what would be more is not kept. 0: no bound. A
     * pool with this bound has one counter that all CPUs write to. */
    size_t max_kept_bytes;
};

/* NULL and errno ENOMEM, or EINVAL: no options, or options->size is less than this library knows.
 * The options are copied. Go: a sync.Pool literal. */
struct mallard_pool *mallard_pool_new(const struct mallard_pool_options *options);

/* An item: the last that this CPU put, or any other's, or a new one. NULL when there is none and no
 * `new_item`, or it returned NULL. Dies with a sentence for NULL. Go: Pool.Get. */
void *mallard_pool_get(struct mallard_pool *pool);

/* Gives an item to the pool, which may keep it. The caller must not use it any more. An item of
 * NULL is ignored. Dies with a sentence for a pool of NULL. Go: Pool.Put. */
void mallard_pool_put(struct mallard_pool *pool, void *item);

/* Ends the pool and destroys what it keeps, on the calling thread. Nobody may use it meanwhile or
 * afterwards; freed a second time, before another pool was made, it dies with a sentence. NULL is
 * ignored. */
void mallard_pool_free(struct mallard_pool *pool);

struct mallard_pool_stats {
    uint64_t size;       /* set to sizeof(struct mallard_pool_stats) by the caller */
    uint64_t kept_items; /* now in the pool */
    uint64_t kept_bytes; /* of them; 0 where neither bound is set */
    uint64_t refused;    /* puts of items that were too large or too many */
    uint64_t dropped;    /* items that nobody fetched in time */
};
/* Fills the first `stats->size` bytes: one moment of each CPU's items, while others go on. -EINVAL:
 * NULL, or size is 0. No counterpart in Go. */
int mallard_pool_read_stats(struct mallard_pool *pool, struct mallard_pool_stats *stats);

#ifdef __cplusplus
}
#endif

#endif

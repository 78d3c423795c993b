/* SPDX-License-Identifier: Apache-2.0
 *
 * Where Mallard's own structures live.
 *
 * Holds the current block, a piece of zero pages that is handed out by moving a mark, and one
 * counter of bytes per purpose. Path up: mal_meta_alloc moves the mark, or maps the next block.
 * Blocks double from 128 KiB to 4 MiB: a small program pays for a small one. Path down: none for
 * single structures; owners recycle through pools. Tables are their own mappings.
 *
 * SYNCHRONIZATION: the block is guarded by the META lock, the highest rank, so any tier may
 * allocate while holding its own. Counters are relaxed atomics.
 *
 * Must never call malloc, and never return memory that is not zero.
 */
#include "meta/memory.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "os/lock.h"
#include "os/vm.h"

#include <errno.h>

#define FIRST_BLOCK_BYTES (128u << 10)
#define LAST_BLOCK_BYTES (4u << 20)

static struct mal_lock meta_lock = MAL_LOCK_INIT(MAL_RANK_META);
static char *block_next;                   /* guarded by meta_lock */
static char *block_end;                    /* guarded by meta_lock */
static size_t next_block_bytes;            /* guarded by meta_lock */
static uint64_t used_bytes[MAL_META_USES]; /* relaxed atomics; OTHER also counts unused block */

static void account(enum mal_meta_use use, int64_t bytes) {
    mal_add_relaxed(&used_bytes[use], (uint64_t)bytes);
}

/* The rest of the old block is abandoned: it stays counted as OTHER. */
static int next_block(size_t bytes) {
    size_t wanted = mal_clamp(next_block_bytes, FIRST_BLOCK_BYTES, LAST_BLOCK_BYTES);
    wanted = mal_max(wanted, mal_round_up(bytes, FIRST_BLOCK_BYTES));
    char *block = mal_vm_map(wanted);
    if (!block)
        return -ENOMEM;
    block_next = block;
    block_end = block + wanted;
    next_block_bytes = 2 * wanted;
    account(MAL_META_OTHER, (int64_t)wanted);
    return 0;
}

static void *take_locked(size_t bytes) {
    if ((size_t)(block_end - block_next) < bytes && next_block(bytes) != 0)
        return NULL;
    void *taken = block_next;
    block_next += bytes;
    return taken;
}

void *mal_meta_alloc(size_t bytes, enum mal_meta_use use) {
    bytes = mal_round_up(bytes, MAL_CACHE_LINE_BYTES);
    mal_lock(&meta_lock);
    void *taken = take_locked(bytes);
    mal_unlock(&meta_lock);
    if (taken) {
        account(MAL_META_OTHER, -(int64_t)bytes);
        account(use, (int64_t)bytes);
    }
    return taken;
}

void *mal_meta_map(size_t bytes, enum mal_meta_use use) {
    void *address = mal_vm_map(bytes);
    if (address)
        account(use, (int64_t)bytes);
    return address;
}

void mal_meta_unmap(void *address, size_t bytes, enum mal_meta_use use) {
    mal_vm_unmap(address, bytes);
    account(use, -(int64_t)bytes);
}

int mal_table_reserve(struct mal_table *table, size_t bytes, enum mal_meta_use use) {
    bytes = mal_round_up(bytes, MAL_TABLE_STEP_BYTES);
    char *base = mal_vm_reserve(bytes);
    if (!base)
        return -ENOMEM;
    *table = (struct mal_table){base, bytes, 0, use};
    return 0;
}

int mal_table_commit(struct mal_table *table, size_t bytes) {
    bytes = mal_round_up(bytes, MAL_TABLE_STEP_BYTES);
    if (bytes <= table->committed_bytes)
        return 0;
    MAL_CHECK(bytes <= table->reserved_bytes, "a table grew over its reservation");
    size_t more = bytes - table->committed_bytes;
    int error = mal_vm_commit(table->base + table->committed_bytes, more);
    if (error)
        return -ENOMEM;
    table->committed_bytes = bytes;
    account(table->use, (int64_t)more);
    return 0;
}

void *mal_pool_take(struct mal_pool *pool) {
    void *object = pool->free;
    if (object)
        pool->free = *(void **)object;
    else
        object = mal_meta_alloc(pool->object_bytes, pool->use);
    if (object)
        pool->in_use++;
    return object;
}

void mal_pool_give(struct mal_pool *pool, void *object) {
    *(void **)object = pool->free;
    pool->free = object;
    pool->in_use--;
}

uint64_t mal_meta_bytes(enum mal_meta_use use) {
    return mal_load_relaxed(&used_bytes[use]);
}

void mal_meta_before_fork(void) {
    mal_lock(&meta_lock);
}

void mal_meta_after_fork(void) {
    mal_unlock(&meta_lock);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Deques of chunks.
 *
 * A chunk is 512 bytes: 30 items and its neighbours. The head grows downwards within its chunk, so
 * that the owner's push and pop touch one line; the tail is taken from the other end. Whole deques
 * are joined by two stores, so that a flip of a pool costs the same however much it keeps.
 *
 * Idle chunks are shared by all pools. A lone chunk that became empty stays: a pool that swings
 * between none and one asks for no memory.
 *
 * SYNCHRONIZATION: the shard's lock guards its deques; `chunk_lock` (rank GC_CHUNKS) the idle ones.
 */
#include "gc/pool_deque.h"

#include "base/atomic.h"
#include "meta/memory.h"
#include "os/lock.h"

#define CHUNK_ITEMS 30u

struct mal_pool_chunk {
    struct mal_pool_chunk *next, *previous; /* towards the tail, the head */
    uint32_t first, end;
    struct mal_pool_item item[CHUNK_ITEMS];
};

static struct mal_lock chunk_lock = MAL_LOCK_INIT(MAL_RANK_GC_CHUNKS);
static struct mal_pool chunks = MAL_POOL_INIT(sizeof(struct mal_pool_chunk), MAL_META_GC);

static struct mal_pool_chunk *take_chunk(void) {
    mal_lock(&chunk_lock);
    struct mal_pool_chunk *chunk = mal_pool_take(&chunks);
    mal_unlock(&chunk_lock);
    if (chunk) {
        chunk->next = chunk->previous = NULL;
        chunk->first = chunk->end = CHUNK_ITEMS;
    }
    return chunk;
}

static void give_chunk(struct mal_pool_chunk *chunk) {
    mal_lock(&chunk_lock);
    mal_pool_give(&chunks, chunk);
    mal_unlock(&chunk_lock);
}

static void unlink_chunk(struct mal_pool_deque *deque, struct mal_pool_chunk *chunk) {
    if (chunk->previous)
        chunk->previous->next = chunk->next;
    else
        deque->head = chunk->next;
    if (chunk->next)
        chunk->next->previous = chunk->previous;
    else
        deque->tail = chunk->previous;
    give_chunk(chunk);
}

static void drop_if_empty(struct mal_pool_deque *deque, struct mal_pool_chunk *chunk) {
    if (chunk->first < chunk->end)
        return;
    if (deque->head != deque->tail)
        unlink_chunk(deque, chunk);
    else
        chunk->first = chunk->end = CHUNK_ITEMS;
}

static bool add_head(struct mal_pool_deque *deque) {
    struct mal_pool_chunk *chunk = take_chunk();
    if (!chunk)
        return false;
    chunk->next = deque->head;
    if (deque->head)
        deque->head->previous = chunk;
    else
        deque->tail = chunk;
    deque->head = chunk;
    return true;
}

bool mal_pool_deque_prepare(struct mal_pool_deque *deque) {
    return (deque->head && deque->head->first > 0) || add_head(deque);
}

void mal_pool_deque_settle(struct mal_pool_deque *deque) {
    if (deque->head)
        drop_if_empty(deque, deque->head);
}

bool mal_pool_deque_push(struct mal_pool_deque *deque, struct mal_pool_item item) {
    if (!mal_pool_deque_prepare(deque))
        return false;
    deque->head->item[--deque->head->first] = item;
    mal_store_relaxed(&deque->count, deque->count + 1);
    return true;
}

struct mal_pool_item mal_pool_deque_pop_head(struct mal_pool_deque *deque) {
    struct mal_pool_chunk *chunk = deque->head;
    if (deque->count == 0)
        return (struct mal_pool_item){0};
    struct mal_pool_item item = chunk->item[chunk->first++];
    mal_store_relaxed(&deque->count, deque->count - 1);
    drop_if_empty(deque, chunk);
    return item;
}

struct mal_pool_item mal_pool_deque_pop_tail(struct mal_pool_deque *deque) {
    struct mal_pool_chunk *chunk = deque->tail;
    if (deque->count == 0)
        return (struct mal_pool_item){0};
    struct mal_pool_item item = chunk->item[--chunk->end];
    mal_store_relaxed(&deque->count, deque->count - 1);
    drop_if_empty(deque, chunk);
    return item;
}

/* An empty deque may still have its lone chunk, which would break the chain's rule. */
static void shed(struct mal_pool_deque *deque) {
    if (deque->count == 0 && deque->head)
        unlink_chunk(deque, deque->head);
}

static void join(struct mal_pool_deque *to, const struct mal_pool_deque *from) {
    if (to->tail) {
        to->tail->next = from->head;
        from->head->previous = to->tail;
    } else {
        to->head = from->head;
    }
    to->tail = from->tail;
    mal_store_relaxed(&to->count, to->count + from->count);
}

void mal_pool_deque_append(struct mal_pool_deque *to, struct mal_pool_deque *from) {
    if (from->count == 0)
        return;
    shed(to);
    join(to, from);
    from->head = from->tail = NULL;
    mal_store_relaxed(&from->count, (uint64_t)0);
}

size_t mal_pool_deque_clear(struct mal_pool_deque *deque) {
    size_t bytes = 0;
    while (deque->head) {
        for (uint32_t i = deque->head->first; i < deque->head->end; i++)
            bytes += deque->head->item[i].bytes;
        unlink_chunk(deque, deque->head);
    }
    mal_store_relaxed(&deque->count, (uint64_t)0);
    return bytes;
}

void mal_pool_deque_each(const struct mal_pool_deque *deque,
                         void (*visit)(struct mal_pool_item item, void *context), void *context) {
    for (const struct mal_pool_chunk *chunk = deque->head; chunk; chunk = chunk->next)
        for (uint32_t i = chunk->first; i < chunk->end; i++)
            visit(chunk->item[i], context);
}

void mal_pool_deque_before_fork(void) {
    mal_lock(&chunk_lock);
}

void mal_pool_deque_after_fork(void) {
    mal_unlock(&chunk_lock);
}

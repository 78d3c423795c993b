/* SPDX-License-Identifier: Apache-2.0
 *
 * A queue with two ends of pooled items, in chunks of our own memory. The owner's lock guards it.
 *
 *     count = items in all chunks;  a chunk's items are item[first .. end), the head's first
 *     every chunk but a lone one holds at least one item
 */
#ifndef MAL_GC_POOL_DEQUE_H
#define MAL_GC_POOL_DEQUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mal_pool_item {
    void *item;
    size_t bytes; /* what it counts for; 0 in a pool without bounds */
};

struct mal_pool_chunk;

struct mal_pool_deque {
    struct mal_pool_chunk *head, *tail;
    uint64_t count; /* written under the lock, read relaxed by who wonders whether to take it */
};

/* Makes sure that the next push succeeds. False: memory is short. A push, or settle, follows. */
bool mal_pool_deque_prepare(struct mal_pool_deque *deque);
void mal_pool_deque_settle(struct mal_pool_deque *deque);
/* False: memory is short, and nothing has changed. */
bool mal_pool_deque_push(struct mal_pool_deque *deque, struct mal_pool_item item);
/* item is NULL when there is none. */
struct mal_pool_item mal_pool_deque_pop_head(struct mal_pool_deque *deque);
struct mal_pool_item mal_pool_deque_pop_tail(struct mal_pool_deque *deque);
/* Moves all of `from` behind the tail of `to`. Takes no memory. */
void mal_pool_deque_append(struct mal_pool_deque *to, struct mal_pool_deque *from);
/* Forgets all items. Returns how many bytes they counted for. */
size_t mal_pool_deque_clear(struct mal_pool_deque *deque);
void mal_pool_deque_each(const struct mal_pool_deque *deque,
                         void (*visit)(struct mal_pool_item item, void *context), void *context);

void mal_pool_deque_before_fork(void);
void mal_pool_deque_after_fork(void);

#endif

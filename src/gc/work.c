/* SPDX-License-Identifier: Apache-2.0
 *
 * Work buffers on two lock-free lists: full ones and empty ones.
 *
 * Buffers lie in one table of address space and are never returned, so an index names the same
 * buffer for ever. Path up: an empty buffer from its list, or the next one of the table. Path down:
 * back on a list.
 *
 * SYNCHRONIZATION  A list is a head word: (changes << 32) | (index + 1), 0 in the low half when it
 * is empty. Every put and every take replaces it by compare-and-swap and adds one to `changes`.
 *
 * Proof. Put: the buffer belongs to the caller, so it may write `next` = the index of the head it
 * read; if the CAS succeeds, head was still that value, so what lies below the buffer is the list.
 * Take: reads head (acquire), then `next` of the top buffer. Another thread may take that buffer
 * and write its `next` meanwhile: the read may give any value, but memory is never unmapped, so it
 * is harmless. If the CAS succeeds, the head word was the same all the time or has returned to the
 * same value; the latter needs 2^32 changes between two instructions of one thread, which we take
 * as impossible. So no put or take happened in between, the buffer was on top all the time, nobody
 * but its putter has written its `next`, and that write is visible by release of the put (every
 * later CAS continues its release sequence) and acquire of the take. The same pair hands over the
 * items. Both lists have words of their own, and a buffer is on one at a time.
 *
 * The table grows under the WORK lock.
 *
 * Must never be called by anything but markers: a stopped thread may not be between the two
 * instructions, which critical sections take care of.
 */
#include "gc/work.h"

#include "base/bits.h"
#include "base/check.h"
#include "meta/memory.h"
#include "os/lock.h"

#include <errno.h>

#define BUFFERS_MAX (1u << 22) /* 8 GiB: more than the objects of 4 TiB could need at once */
#define BUFFERS_AT_ONCE 32u    /* one step of the table */

static struct mal_lock work_lock = MAL_LOCK_INIT(MAL_RANK_GC_WORK);
static struct mal_table buffer_table;   /* work_lock */
static uint32_t buffers_made;           /* work_lock */
static uint64_t full MAL_LINE_ALIGNED;  /* list head */
static uint64_t empty MAL_LINE_ALIGNED; /* list head */

_Static_assert(sizeof(struct mal_gc_buffer) == 2048, "buffers fill the table's steps");

int mal_gc_work_init(void) {
    /* Less where less can be had. */
    for (size_t count = BUFFERS_MAX; !buffer_table.base; count /= 2)
        if (mal_table_reserve(&buffer_table, count * sizeof(struct mal_gc_buffer), MAL_META_GC) !=
                0 &&
            count <= BUFFERS_AT_ONCE)
            return -ENOMEM;
    return 0;
}

static struct mal_gc_buffer *buffer_at(uint32_t index) {
    return (struct mal_gc_buffer *)(void *)buffer_table.base + index;
}

static void put(uint64_t *head, struct mal_gc_buffer *buffer) {
    uint64_t index = (uint64_t)(buffer - buffer_at(0)) + 1;
    uint64_t seen = mal_load_relaxed(head);
    uint64_t mine;
    do {
        mal_store_relaxed(&buffer->next, (uint32_t)seen);
        mine = ((seen >> 32) + 1) << 32 | index;
    } while (
        !__atomic_compare_exchange_n(head, &seen, mine, 1, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

static struct mal_gc_buffer *take(uint64_t *head) {
    uint64_t seen = mal_load_acquire(head);
    while ((uint32_t)seen != 0) {
        struct mal_gc_buffer *top = buffer_at((uint32_t)seen - 1);
        uint64_t below = ((seen >> 32) + 1) << 32 | mal_load_relaxed(&top->next);
        if (__atomic_compare_exchange_n(head, &seen, below, 1, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE))
            return top;
    }
    return NULL;
}

static struct mal_gc_buffer *make_locked(void) {
    size_t bytes = (buffers_made + 1) * sizeof(struct mal_gc_buffer);
    if (bytes > buffer_table.reserved_bytes || mal_table_commit(&buffer_table, bytes) != 0)
        return NULL;
    return buffer_at(buffers_made++);
}

struct mal_gc_buffer *mal_gc_work_get_empty(void) {
    struct mal_gc_buffer *buffer = take(&empty);
    if (!buffer) {
        mal_lock(&work_lock);
        buffer = make_locked();
        mal_unlock(&work_lock);
    }
    if (buffer)
        buffer->count = 0;
    return buffer;
}

struct mal_gc_buffer *mal_gc_work_get_full(void) {
    return take(&full);
}

void mal_gc_work_put_full(struct mal_gc_buffer *buffer) {
    MAL_ASSERT(buffer->count > 0);
    put(&full, buffer);
}

void mal_gc_work_put_empty(struct mal_gc_buffer *buffer) {
    put(&empty, buffer);
}

uint64_t mal_gc_work_full_head(void) {
    return mal_load_acquire(&full);
}

bool mal_gc_work_is_empty(uint64_t head) {
    return (uint32_t)head == 0;
}

void mal_gc_work_discard(void) {
    for (struct mal_gc_buffer *buffer; (buffer = take(&full));)
        put(&empty, buffer);
}

void mal_gc_work_before_fork(void) {
    mal_lock(&work_lock);
    mal_lock_note_released(&work_lock); /* the workers' lock has the same rank */
}

void mal_gc_work_after_fork(void) {
    mal_unlock(&work_lock);
}

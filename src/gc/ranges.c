/* SPDX-License-Identifier: Apache-2.0
 *
 * A sorted array of ranges in memory of its own.
 *
 * Path down: binary search, then a move of what lies behind. Path up: a visit steps from entry to
 * entry by address, holding the lock only for the step, since visitors read whole ranges.
 *
 * SYNCHRONIZATION
 *   1. `lock` guards table and count.
 *   2. While the program runs, a visitor holds `visit_lock`, and a removal takes it once after it
 * has taken the entry off: when it returns, nobody reads a range that may be unmapped next. It is
 *      no mal_lock: whoever waits for a long visit stays stoppable.
 *   3. While the world is stopped nobody else moves: visits take no visit_lock, whose holder may be
 * a stopped thread. That one holds it in order to wait, not to change anything.
 */
#include "gc/ranges.h"

#include "base/atomic.h"
#include "os/futex.h"

#include <errno.h>
#include <string.h>

static struct mal_gc_range *entries(const struct mal_gc_ranges *ranges) {
    return (struct mal_gc_range *)(void *)ranges->table.base;
}

static bool is_before(struct mal_gc_range a, struct mal_gc_range b) {
    return a.low != b.low ? a.low < b.low : a.high < b.high;
}

/* How many entries are before `key`. */
static size_t count_before_locked(const struct mal_gc_ranges *ranges, struct mal_gc_range key) {
    size_t low = 0;
    size_t high = ranges->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (is_before(entries(ranges)[middle], key))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int make_room_locked(struct mal_gc_ranges *ranges) {
    size_t most_bytes = MAL_GC_RANGES_MAX * sizeof(struct mal_gc_range);
    if (ranges->count == MAL_GC_RANGES_MAX)
        return -ENOMEM;
    if (!ranges->table.base && mal_table_reserve(&ranges->table, most_bytes, MAL_META_OTHER) != 0)
        return -ENOMEM;
    return mal_table_commit(&ranges->table, (ranges->count + 1) * sizeof(struct mal_gc_range));
}

static void insert_locked(struct mal_gc_ranges *ranges, struct mal_gc_range range) {
    size_t at = count_before_locked(ranges, range);
    struct mal_gc_range *entry = entries(ranges) + at;
    memmove(entry + 1, entry, (ranges->count - at) * sizeof *entry);
    *entry = range;
    ranges->count++;
}

int mal_gc_ranges_add(struct mal_gc_ranges *ranges, uintptr_t low, size_t bytes) {
    if (low == 0 || bytes == 0 || low + bytes < low || low + bytes > INTPTR_MAX)
        return -EINVAL;
    mal_lock(&ranges->lock);
    int error = make_room_locked(ranges);
    if (error == 0)
        insert_locked(ranges, (struct mal_gc_range){low, low + bytes});
    mal_unlock(&ranges->lock);
    return error;
}

static int remove_locked(struct mal_gc_ranges *ranges, uintptr_t low, size_t bytes) {
    size_t at = count_before_locked(ranges, (struct mal_gc_range){low, bytes ? low + bytes : 0});
    struct mal_gc_range *entry = entries(ranges) + at;
    if (at == ranges->count || entry->low != low || (bytes && entry->high != low + bytes))
        return -ENOENT;
    memmove(entry, entry + 1, (ranges->count - at - 1) * sizeof *entry);
    ranges->count--;
    return 0;
}

static void take_visit_lock(struct mal_gc_ranges *ranges) {
    uint32_t free_state = 0;
    if (mal_cas_acquire(&ranges->visit_lock, &free_state, 1u))
        return;
    while (mal_exchange_acquire(&ranges->visit_lock, 2u) != 0)
        mal_futex_wait(&ranges->visit_lock, 2, MAL_FUTEX_FOREVER);
}

static void give_visit_lock(struct mal_gc_ranges *ranges) {
    if (mal_exchange_release(&ranges->visit_lock, 0u) == 2)
        mal_futex_wake(&ranges->visit_lock, 1);
}

int mal_gc_ranges_remove(struct mal_gc_ranges *ranges, uintptr_t low, size_t bytes) {
    mal_lock(&ranges->lock);
    int error = remove_locked(ranges, low, bytes);
    mal_unlock(&ranges->lock);
    if (error == 0) {
        take_visit_lock(ranges);
        give_visit_lock(ranges);
    }
    return error;
}

bool mal_gc_ranges_find(struct mal_gc_ranges *ranges, uintptr_t address,
                        struct mal_gc_range *ret_range) {
    mal_lock(&ranges->lock);
    size_t at = count_before_locked(ranges, (struct mal_gc_range){address, UINTPTR_MAX});
    bool found = at > 0 && address < entries(ranges)[at - 1].high;
    if (found)
        *ret_range = entries(ranges)[at - 1];
    mal_unlock(&ranges->lock);
    return found;
}

/* The first entry behind *range, which it becomes. Equal ones count as one. */
static bool step(struct mal_gc_ranges *ranges, struct mal_gc_range *range) {
    mal_lock(&ranges->lock);
    struct mal_gc_range next = {range->low, range->high + 1};
    size_t at = count_before_locked(ranges, next);
    bool found = at < ranges->count;
    if (found)
        *range = entries(ranges)[at];
    mal_unlock(&ranges->lock);
    return found;
}

void mal_gc_ranges_each(struct mal_gc_ranges *ranges, enum mal_gc_visit_when when,
                        void (*visit)(struct mal_gc_range range, void *context), void *context) {
    struct mal_gc_range range = {0, 0};
    if (when == MAL_GC_WHILE_RUNNING)
        take_visit_lock(ranges);
    while (step(ranges, &range))
        visit(range, context);
    if (when == MAL_GC_WHILE_RUNNING)
        give_visit_lock(ranges);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Lock statistics, in a build of its own.
 *
 * Holds a side table, lock by lock: acquisitions, how many of them had to wait, how long in all and
 * at most. At exit the process writes one line a rank to standard error, with what its most
 * contended single lock had:
 *
 *     mallard: lock CENTRAL: 9 locks, 4711 taken, 12 waited, 3456 ns in all, 789 ns at most;
 * busiest lock: 4000 taken, 11 waited
 *
 * (in one line). A lock's rank is in the row, so locks need no names; rows of locks that are not
 * told apart any more, because the table is full, share the row of their rank at its start.
 *
 * The equations of a row, once its lock is idle:
 *
 *     waited <= taken     longest_ns <= waited_ns     waited_ns = 0 <=> waited = 0
 *
 * SYNCHRONIZATION: a row is claimed by compare-and-swap of its lock's address and keeps it;
 * counters are relaxed atomics.
 *
 * Must never take a lock, and never be part of a build whose speed is measured.
 */
#include "os/lock_stats.h"

#if MAL_LOCK_STATS

#include "base/atomic.h"
#include "base/attr.h"
#include "base/format.h"
#include "base/lock_rank.h"
#include "os/say.h"

#define ROWS 4096u /* a power of two; the first MAL_RANK_COUNT are for what finds no row */

struct row {
    MAL_LINE_ALIGNED const void *lock; /* NULL: free */
    uint32_t rank;                     /* written by everybody who counts, always the same */
    uint64_t taken;
    uint64_t waited;
    uint64_t waited_ns;
    uint64_t longest_ns;
};

static struct row rows[ROWS];

static struct row *row_of(const void *lock, uint32_t rank) {
    uint32_t at = (uint32_t)((uintptr_t)lock >> 4) * 2654435761u;
    for (uint32_t tries = 0; tries < ROWS; tries++) {
        struct row *row = &rows[MAL_RANK_COUNT + (at + tries) % (ROWS - MAL_RANK_COUNT)];
        const void *owner = mal_load_relaxed(&row->lock);
        if (owner == lock || (!owner && mal_cas_acquire(&row->lock, &owner, lock)) || owner == lock)
            return row;
    }
    return &rows[rank];
}

static void raise_to(uint64_t *most, uint64_t value) {
    uint64_t seen = mal_load_relaxed(most);
    while (seen < value && !mal_cas_acquire(most, &seen, value))
        ;
}

void mal_lock_stats_count(const void *lock, uint32_t rank, uint64_t waited_ns) {
    struct row *row = row_of(lock, rank);
    mal_store_relaxed(&row->rank, rank);
    mal_add_relaxed(&row->taken, 1);
    if (waited_ns == 0)
        return;
    mal_add_relaxed(&row->waited, 1);
    mal_add_relaxed(&row->waited_ns, waited_ns);
    raise_to(&row->longest_ns, waited_ns);
}

struct sum {
    uint64_t locks;
    struct row all, busiest;
};

static void add(struct sum *sum, const struct row *row) {
    sum->locks++;
    sum->all.taken += row->taken;
    sum->all.waited += row->waited;
    sum->all.waited_ns += row->waited_ns;
    if (row->longest_ns > sum->all.longest_ns)
        sum->all.longest_ns = row->longest_ns;
    if (row->waited > sum->busiest.waited || sum->locks == 1)
        sum->busiest = *row;
}

static void put_line(const char *name, const struct sum *sum) {
    mal_warn("lock %s: %lu locks, %lu taken, %lu waited, %lu ns in all, %lu ns at most; busiest "
             "lock: %lu taken, %lu waited",
             name, (unsigned long)sum->locks, (unsigned long)sum->all.taken,
             (unsigned long)sum->all.waited, (unsigned long)sum->all.waited_ns,
             (unsigned long)sum->all.longest_ns, (unsigned long)sum->busiest.taken,
             (unsigned long)sum->busiest.waited);
}

__attribute__((destructor)) static void put_all(void) {
    for (uint32_t rank = 0; rank < MAL_RANK_COUNT; rank++) {
        struct sum sum = {0};
        for (uint32_t at = 0; at < ROWS; at++)
            if (rows[at].taken > 0 && rows[at].rank == rank)
                add(&sum, &rows[at]);
        if (sum.locks > 0)
            put_line(mal_lock_rank_name(rank), &sum);
    }
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A small mutex on a futex: eight bytes, no owner, works before libc is ready and in a forked
 * child. Uncontended it is one compare-and-swap; contended it spins briefly, then sleeps.
 *
 * A holder is inside a critical section (os/critical.h) from before the compare-and-swap until
 * after the release, so the collector never stops a thread that holds a lock, nor one that waits
 * for one.
 *
 * Debug builds check base/lock_rank.h: taking a lock whose rank is not above all held ones aborts
 * with both names.
 */
#ifndef MAL_OS_LOCK_H
#define MAL_OS_LOCK_H

#include "base/atomic.h"
#include "base/attr.h"
#include "base/check.h"
#include "base/lock_rank.h"
#include "os/critical.h"
#include "os/lock_stats.h"

#include <stdbool.h>
#include <stdint.h>

struct mal_lock {
    uint32_t state; /* 0 free, 1 held, 2 held and somebody may sleep; atomic */
    uint16_t rank;  /* enum mal_lock_rank; every writer stores the same value; relaxed */
};

#define MAL_LOCK_INIT(rank_)                                                                       \
    { 0, (rank_) }

void mal_lock_init(struct mal_lock *lock, enum mal_lock_rank rank);
/* Returns how long it took, at least 1 ns, where locks are counted; else 0. */
MAL_SLOW uint64_t mal_lock_wait(struct mal_lock *lock);
MAL_SLOW void mal_lock_wake(struct mal_lock *lock);

/* The rank checker. Only debug builds do something here, and only they pay for it. */
void mal_lock_check_taken(const struct mal_lock *lock);
void mal_lock_check_released(const struct mal_lock *lock);

static inline void mal_lock_note_taken(const struct mal_lock *lock) {
    if (MAL_DEBUG > 0)
        mal_lock_check_taken(lock);
}

static inline void mal_lock_note_released(const struct mal_lock *lock) {
    if (MAL_DEBUG > 0)
        mal_lock_check_released(lock);
}

/* Whether the calling thread holds no lock. Builds that do not check ranks always say so. */
bool mal_lock_holds_none(void);

/* fork's child forgets what its lost siblings held. */
void mal_lock_forget_ranks(void);

/* The thread that holds every lock for a fork may take and release any of them: other libraries'
 * fork handlers run meanwhile and allocate. What it took before keeps it in a critical section. */
extern MAL_HIDDEN MAL_THREAD bool mal_lock_holds_all;

static inline void mal_lock(struct mal_lock *lock) {
    if (mal_lock_holds_all)
        return;
    mal_critical_enter();
    uint32_t free_state = 0;
    uint64_t waited_ns = 0;
    if (!mal_cas_acquire(&lock->state, &free_state, 1u))
        waited_ns = mal_lock_wait(lock);
    if (MAL_LOCK_STATS)
        mal_lock_stats_count(lock, mal_load_relaxed(&lock->rank), waited_ns);
    mal_lock_note_taken(lock);
}

static inline bool mal_lock_try(struct mal_lock *lock) {
    if (mal_lock_holds_all)
        return true;
    mal_critical_enter();
    uint32_t free_state = 0;
    if (!mal_cas_acquire(&lock->state, &free_state, 1u)) {
        mal_critical_leave();
        return false;
    }
    if (MAL_LOCK_STATS)
        mal_lock_stats_count(lock, mal_load_relaxed(&lock->rank), 0);
    mal_lock_note_taken(lock);
    return true;
}

/* Gives up after about `patience_ns`. For callers that may have interrupted the holder. */
MAL_SLOW bool mal_lock_try_for(struct mal_lock *lock, uint64_t patience_ns);

static inline void mal_unlock(struct mal_lock *lock) {
    if (mal_lock_holds_all)
        return;
    mal_lock_note_released(lock);
    if (mal_exchange_release(&lock->state, 0u) == 2)
        mal_lock_wake(lock);
    mal_critical_leave();
}

#endif

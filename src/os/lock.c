/* SPDX-License-Identifier: Apache-2.0
 *
 * The slow halves of the mutex, and the rank checker of debug builds.
 *
 * The state protocol is the classic three-valued one: whoever may have to sleep first sets 2, so
 * an unlock that finds 1 knows that nobody sleeps and makes no system call. A waiter that gets the
 * lock after sleeping keeps it at 2, which costs at most one needless wake.
 *
 * SYNCHRONIZATION: `state` is changed atomically, acquire to take and release to give up; what is
 * of a thread belongs to it.
 *
 * The rank checker keeps the ranks a thread holds as bits in a thread variable; ranks are unique
 * among the locks a thread may hold together, see base/lock_rank.h.
 */
#include "os/lock.h"

#include "base/check.h"
#include "os/clock.h"
#include "os/futex.h"

#include <stddef.h>

#define SPINS_BEFORE_SLEEP 64

MAL_THREAD bool mal_lock_holds_all;

void mal_lock_init(struct mal_lock *lock, enum mal_lock_rank rank) {
    mal_store_relaxed(&lock->rank, (uint16_t)rank);
    mal_store_release(&lock->state, 0u);
}

static void wait_for(struct mal_lock *lock) {
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
        uint32_t free_state = 0;
        if (mal_load_relaxed(&lock->state) == 0 && mal_cas_acquire(&lock->state, &free_state, 1u))
            return;
        mal_cpu_relax();
    }
    while (mal_exchange_acquire(&lock->state, 2u) != 0)
        mal_futex_wait(&lock->state, 2, MAL_FUTEX_FOREVER);
}

uint64_t mal_lock_wait(struct mal_lock *lock) {
    uint64_t start_ns = MAL_LOCK_STATS ? mal_clock_mono_ns() : 0;
    wait_for(lock);
    return MAL_LOCK_STATS ? mal_clock_mono_ns() - start_ns + 1 : 0;
}

#define PATIENCE_STEP_NS 1000000u

bool mal_lock_try_for(struct mal_lock *lock, uint64_t patience_ns) {
    for (uint64_t waited_ns = 0; !mal_lock_try(lock); waited_ns += PATIENCE_STEP_NS) {
        if (waited_ns >= patience_ns)
            return false;
        mal_futex_nap(PATIENCE_STEP_NS);
    }
    return true;
}

void mal_lock_wake(struct mal_lock *lock) {
    mal_futex_wake(&lock->state, 1);
}

static MAL_THREAD uint32_t held_ranks; /* bit r: a lock of rank r is held; debug builds only */
_Static_assert(MAL_RANK_COUNT <= 32, "a bit for every rank");

const char *mal_lock_rank_name(unsigned rank) {
    static const char *const names[MAL_RANK_COUNT] = {
        [MAL_RANK_NONE] = "NONE",
        [MAL_RANK_GC_THREADS] = "GC_THREADS",
        [MAL_RANK_GC_ROOTS] = "GC_ROOTS",
        [MAL_RANK_GC_HANDLES] = "GC_HANDLES",
        [MAL_RANK_API] = "API",
        [MAL_RANK_INIT] = "INIT",
        [MAL_RANK_STATS] = "STATS",
        [MAL_RANK_PROFILE] = "PROFILE",
        [MAL_RANK_LIVE] = "LIVE",
        [MAL_RANK_THREADS] = "THREADS",
        [MAL_RANK_BOX] = "BOX",
        [MAL_RANK_GC_PACE] = "GC_PACE",
        [MAL_RANK_GC_STATS] = "GC_STATS",
        [MAL_RANK_GC_ARENAS] = "GC_ARENAS",
        [MAL_RANK_GC_LINKS] = "GC_LINKS",
        [MAL_RANK_GC_PROCEDURES] = "GC_PROCEDURES",
        [MAL_RANK_GC_SPECIALS] = "GC_SPECIALS",
        [MAL_RANK_GC_POOLS] = "GC_POOLS",
        [MAL_RANK_GC_POOL] = "GC_POOL",
        [MAL_RANK_GC_CHUNKS] = "GC_CHUNKS",
        [MAL_RANK_GC_CALLBACKS] = "GC_CALLBACKS",
        [MAL_RANK_GC_SPANS] = "GC_SPANS",
        [MAL_RANK_GC_TABLES] = "GC_TABLES",
        [MAL_RANK_GC_WORK] = "GC_WORK",
        [MAL_RANK_CPU_SLABS] = "CPU_SLABS",
        [MAL_RANK_CPU_CACHE] = "CPU_CACHE",
        [MAL_RANK_CENTRAL] = "CENTRAL",
        [MAL_RANK_PAGEHEAP] = "PAGEHEAP",
        [MAL_RANK_META] = "META",
    };
    return rank < MAL_RANK_COUNT ? names[rank] : NULL;
}

void mal_lock_check_taken(const struct mal_lock *lock) {
    uint16_t rank = mal_load_relaxed(&lock->rank);
    if (held_ranks >> rank)
        mal_die("lock order: %s taken while holding %s", mal_lock_rank_name(rank),
                mal_lock_rank_name(31u - (unsigned)__builtin_clz(held_ranks)));
    held_ranks |= 1u << rank;
}

void mal_lock_check_released(const struct mal_lock *lock) {
    held_ranks &= ~(1u << mal_load_relaxed(&lock->rank));
}

bool mal_lock_holds_none(void) {
    return held_ranks == 0;
}

void mal_lock_forget_ranks(void) {
    held_ranks = 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The byte countdown of a thread: one instruction on the fast path.
 *
 * Only the owner subtracts; another thread may store a negative value to make the owner look up.
 * On x86-64 the subtraction is a single instruction, so after a membarrier a remote store is either
 * still there or visibly overwritten. Elsewhere it is a load and a store, and a remote store that
 * falls between them is lost: whoever stores must check and repeat (front/thread.c does).
 */
#ifndef MAL_OS_COUNTDOWN_H
#define MAL_OS_COUNTDOWN_H

#include "base/atomic.h"
#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

/* *countdown -= bytes; true when it is negative afterwards. */
#if defined(__x86_64__)
MAL_FAST bool mal_countdown_charge(int64_t *countdown, uint64_t bytes) {
    bool negative;
    __asm__ volatile("subq %[bytes], %[countdown]"
                     : [countdown] "+m"(*countdown), "=@ccs"(negative)
                     : [bytes] "r"(bytes));
    return negative;
}
#else
MAL_FAST bool mal_countdown_charge(int64_t *countdown, uint64_t bytes) {
    int64_t left = mal_load_relaxed(countdown) - (int64_t)bytes;
    mal_store_relaxed(countdown, left);
    return left < 0;
}
#endif

/* Makes every store of this thread before it visible to, and every instruction of other threads
 * complete against, what this thread loads after it. */
void mal_barrier_all_threads(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The byte countdown of a thread: one instruction on the fast path.
 *
 * Only the owner subtracts; another thread may store a negative value to make the owner look up.
 * On x86-64 the subtraction is a single instruction, so after a membarrier a remote store is either
 * still there or visibly overwritten. Elsewhere a plain load and store would not do: a thread that
 * was preempted between them could overwrite a remote store at any later time, so it is an atomic
 * one.
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
    return __atomic_sub_fetch(countdown, (int64_t)bytes, __ATOMIC_RELAXED) < 0;
}
#endif

/* Makes every store of this thread before it visible to, and every instruction of other threads
 * complete against, what this thread loads after it. */
void mal_barrier_all_threads(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The calling thread's stack, as return addresses. Runs inside malloc, in any thread and in signal
 * handlers; takes no lock, allocates nothing, leaves errno alone.
 */
#ifndef MAL_SAMPLE_UNWIND_H
#define MAL_SAMPLE_UNWIND_H

#include <stddef.h>
#include <stdint.h>

#define MAL_UNWIND_DEPTH_MAX 128

/* What code a stack is of, in this process and its forked children. */
struct mal_unwind_code {
    /* 0, or a number that no other stack has, which with the same `max` and the same frames left
     * out stands for the pcs for good. */
    uint32_t path;
    /* A hash of the objects that may be unloaded, and where they were: equal pcs with another hash
     * are other code. 0 for a stack without such. */
    uint32_t objects;
};

/* Stores the return addresses of the calling function and its callers, leaf first, at most
 * `max` <= MAL_UNWIND_DEPTH_MAX of them, and returns how many. Frames at the leaf end whose pc lies
 * in [skip_lo, skip_hi) are left out. A function that a signal interrupted has no return address;
 * its pc + 1 is stored, so that `stored - 1` is inside the right instruction in every case.
 * *ret_code, unless NULL, tells apart what looks alike. */
size_t mal_unwind_capture(uintptr_t *ret_pcs, size_t max, const void *skip_lo, const void *skip_hi,
                          struct mal_unwind_code *ret_code);

/* Where no loader has loaded the program, nothing is captured before this. */
void mal_unwind_allow(void);

/* Forgets every cached pc. Safe beside captures in other threads; for tests. */
void mal_unwind_reset(void);

/* What did not go the fast way, since the program's start. Relaxed atomics. */
struct mal_unwind_stats {
    uint64_t misses;     /* pcs whose tables had to be read */
    uint64_t uncached;   /* of those, rows that found no place in the tables of rows or objects */
    uint64_t full_walks; /* walks begun again with every register */
    uint64_t fp_steps;   /* frames without a row, passed by their frame pointer */
    uint64_t probes;     /* pages of stack that the kernel was asked about */
    uint64_t identified; /* objects that the dynamic linker was asked about */
};
extern struct mal_unwind_stats mal_unwind_stats;

#endif

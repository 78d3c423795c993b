/* SPDX-License-Identifier: Apache-2.0
 *
 * What a thread carries: its byte countdown to the next unusual moment.
 *
 * The countdown is charged with the size-class bytes of every allocation. Below zero, the slow path
 * finds out what is due: set-up, a changed rate, a tick, or a sample. The true distance to the next
 * sample is countdown + beyond: while no background thread runs, the countdown is cut into short
 * pieces, so that somebody looks at the clock now and then.
 */
#ifndef MAL_FRONT_THREAD_H
#define MAL_FRONT_THREAD_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

enum mal_thread_state {
    MAL_THREAD_NEW,        /* not in the registry yet */
    MAL_THREAD_REGISTERED, /* in the registry until the thread ends */
    MAL_THREAD_ENDING,     /* past its destructors: never registered again */
};

enum mal_thread_flags {
    MAL_THREAD_OWN = 1u << 0,  /* one of Mallard's own: its memory is counted apart */
    MAL_THREAD_BUSY = 1u << 1, /* inside a slow path that may allocate: nothing is due meanwhile */
};

struct mal_thread {
    int64_t countdown; /* owner subtracts; others may store a negative value, see os/countdown.h */
    int64_t beyond;    /* bytes to the next sample after the countdown; owner */
    uint64_t random;   /* sampler state, never 0 once set up; owner */
    uint64_t rate;     /* the rate that the current gap was drawn at; owner */
    uint32_t generation;     /* of the rate; owner writes, others read; relaxed */
    uint8_t state;           /* enum mal_thread_state; owner */
    uint8_t flags;           /* enum mal_thread_flags; owner */
    struct mal_thread *next; /* registry; THREADS lock */
    struct mal_thread *previous;
};

extern MAL_HIDDEN MAL_THREAD struct mal_thread mal_thread;

/* What the allocation that made the countdown negative has to do beside being served. */
enum mal_due { MAL_DUE_NOTHING, MAL_DUE_SAMPLE, MAL_DUE_OWN };

/* Decides, and sets the countdown anew. `size_bytes` was charged already. On SAMPLE *ret_rate is
 * the rate of the draw. Core initialised; no lock held. */
enum mal_due mal_thread_due(uint64_t size_bytes, uint64_t *ret_rate);

/* Changes the rate in all threads; returns the previous one. */
uint64_t mal_thread_set_rate(uint64_t rate_bytes);
uint64_t mal_thread_rate(void);

/* Marks the calling thread as one of Mallard's own. */
void mal_thread_become_own(void);

/* Counts what the calling thread allocates from here on as Mallard's, until `flags` are set back.
 * It stays a thread of the program, which the collector stops and scans. */
void mal_thread_count_as_own(void);

/* Makes the calling thread's next allocation a tick. */
void mal_thread_hurry(void);

/* Forgets the rest of the gap: the next allocation draws a new one before it is charged. */
void mal_thread_redraw(void);

/* Once, at init. */
void mal_thread_init(uint64_t rate_bytes);

void mal_thread_before_fork(void);
void mal_thread_after_fork(void);
/* In the child: the registry holds the calling thread only. */
void mal_thread_forget_others(void);

#endif

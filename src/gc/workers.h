/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads that mark: beside the program at the pacer's share of the CPUs, or all at once while
 * the world is stopped.
 */
#ifndef MAL_GC_WORKERS_H
#define MAL_GC_WORKERS_H

#include "gc/mark.h"
#include "gc/pacer.h"

#include <stdbool.h>
#include <stdint.h>

#define MAL_GC_WORKERS_MAX 8u

/* Starts the threads that are missing. They may be none: marking is then done by who asks for it.
 * No lock held; the owner of the cycle. */
void mal_gc_workers_start(unsigned cpus);
unsigned mal_gc_workers_threads(void);

/* Marks beside the program until halted. `idle_cpus` is how many CPUs nobody uses, in thousandths;
 * the owner of the cycle says it anew now and then. Halting returns when no thread holds work. */
void mal_gc_workers_mark_beside(const struct mal_gc_plan *plan, unsigned idle_permille);
void mal_gc_workers_set_idle(unsigned idle_permille);
void mal_gc_workers_halt(void);
/* Some thread is scanning at this moment, or may be about to. */
bool mal_gc_workers_are_busy(void);
/* There is new work: nobody sleeps on. */
void mal_gc_workers_kick(void);
/* To sleep until all seems done: whoever ran out of work says so when nobody else has any. `seen`
 * is the number of such notes before the caller last looked. */
void mal_gc_workers_note_lull(void);
uint32_t mal_gc_workers_lulls(void);
void mal_gc_workers_await_lull(uint32_t seen, uint64_t most_ns);

/* The world is stopped: every thread and the caller call `share` once, then scan until nothing is
 * left or the deadline has passed. True when nothing is left. */
typedef void mal_gc_workers_share(struct mal_gc_worker *worker);
bool mal_gc_workers_finish(struct mal_gc_worker *own, mal_gc_workers_share *share,
                           uint64_t deadline_ns);

/* CPU time of the threads since the last call of reset. */
struct mal_gc_workers_cpu {
    uint64_t background_ns; /* dedicated and fractional */
    uint64_t idle_ns;
};
struct mal_gc_workers_cpu mal_gc_workers_cpu(void);
void mal_gc_workers_reset_cpu(void);

void mal_gc_workers_forget_in_child(void);

#endif

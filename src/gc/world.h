/* SPDX-License-Identifier: Apache-2.0
 *
 * Stopping the program's threads, and where their pointers lie.
 */
#ifndef MAL_GC_WORLD_H
#define MAL_GC_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mal_gc_worker;

/* Installs the signal. 0 or a negative errno. Once, under the collector's start lock. */
int mal_gc_world_init(void);

/* Threads run until `asked`, and again from `ended`: right before they are woken, since whoever
 * wakes them may not run for a while then. */
struct mal_gc_stop {
    uint64_t asked_ns, stopped_ns, ended_ns; /* CLOCK_MONOTONIC */
    uint32_t threads, signalled;
};

/* Stops every thread of the process but the caller and the collector's own, runs `body`, lets them
 * go on. Inside, no Mallard lock is held by a thread of the program; one of Mallard's own threads,
 * which run on, may hold one for an instant, so locks are taken as always and will be had. libc's
 * locks may be held by whom they like: no malloc, no stdio. The loader's list of objects is frozen:
 * mal_gc_world_each_segment may be called inside. The caller holds no lock; if it is a thread of
 * the program, its own registers and stack are among the roots. Body must be short, and must not
 * stop the world again. */
void mal_gc_world_stopped(void (*body)(void *context), void *context, struct mal_gc_stop *ret_stop);

/* Ranges of roots; `kind` says what. Stacks and registers only while the world is stopped. */
enum mal_gc_root_kind {
    MAL_GC_ROOT_SEGMENT,
    MAL_GC_ROOT_EXPLICIT,
    MAL_GC_ROOT_STACK,
    MAL_GC_ROOT_TLS
};
typedef void mal_gc_range_visit(uintptr_t low, uintptr_t high, enum mal_gc_root_kind kind,
                                void *context);
void mal_gc_world_each_stack(mal_gc_range_visit *visit, void *context); /* stacks, registers, TLS */
void mal_gc_world_each_segment(mal_gc_range_visit *visit,
                               void *context); /* .data/.bss of all objects but ours */
void mal_gc_world_each_explicit(mal_gc_range_visit *visit, void *context); /* root_add, handles */

/* Marks the calling thread as the collector's own: never stopped, never scanned. Threads of
 * mal_thread_start begin so. Needed is it only for others. */
void mal_gc_world_become_own(void);

/* The calling thread, one of Mallard's own and born with all signals blocked, is one of the
 * program's from here on: registered, and can be stopped. Waits while the world is stopped. */
void mal_gc_world_become_program(void);

/* fork: from before_fork on no stop can begin; the child's registry holds the caller only. */
void mal_gc_world_before_fork(void);
void mal_gc_world_after_fork(bool child);

/* Around a critical section whose end is no place to stop at, since the caller has a few
 * instructions to go before it may be found stopped. `first` comes before it and registers the
 * thread, no lock held, outside of other sections; `later` is its end, where a stop is due: the
 * signal comes once more, when the stopping thread has waited for a fraction of a millisecond. A
 * thread puts off no stop twice: it is stopped in front of the next such section. */
void mal_gc_park_first(void);
/* Inside, last of all. */
void mal_gc_park_note_end(void);
void mal_gc_park_later(void);

#endif
